"""Give an untrained embedded editor a text encoder that can name what is asked: `python -m mre.embedded.train_words OUT`.

Trained together with the network from nothing, the encoder tells looks and landscapes apart soon and colours and places late: these move
few pixels. So it learns first, on texts alone, to name the slots of a request; the heads that name them are thrown away.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mre.data.scenes import requests
from mre.data.scenes.concepts import canonical
from mre.embedded.reader_texts import VALUES, request_of
from mre.embedded.request import SLOTS, all_values
from mre.embedded.settings import GENERIC
from mre.embedded.train_reader import rate_at, targets
from mre.models.reward_text import encode_texts
from mre.training.checkpoints import write_whole
from mre.training.config import PRESETS, TrainConfig
from mre.training.start import save_editor, starting_pipeline

STEPS, BATCH, RATE = 600, 64, 1e-3
PIPELINE = "pipeline"


class SlotHeads(nn.Module):
    """States of a text's tokens -> scores of each slot's values. Each slot looks at the tokens in its own way, as the networks do."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.values = all_values(VALUES)
        self.asks = nn.Linear(width, len(SLOTS))
        self.heads = nn.ModuleDict({slot: nn.Linear(width, len(self.values[slot])) for slot in SLOTS})

    def forward(self, states: Tensor) -> dict[str, Tensor]:
        """(B, T, D) -> (B, values) of each slot."""
        looks = self.asks(states).softmax(dim=1)                                                            # (B, T, S)
        slots = torch.einsum("bts,btd->bsd", looks, states)                                                 # (B, S, D)
        return {slot: self.heads[slot](slots[:, place]) for place, slot in enumerate(SLOTS)}


def learn_words(pipeline: Any, *, seed: int = 0, steps: int = STEPS, batch: int = BATCH) -> float:
    """Train the text encoder of a pipeline; returns the share of slots that it then names right, of requests drawn anew."""
    torch.manual_seed(seed)
    encoder = pipeline.text_encoder.train()
    heads = SlotHeads(encoder.config.hidden_size)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *heads.parameters()], lr=RATE, betas=(0.9, 0.98), weight_decay=0.02)
    began = time.monotonic()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * rate_at(step, steps)
        scores, asked = _named(pipeline, heads, np.random.default_rng((seed, step)), batch)
        loss = torch.stack([F.cross_entropy(scores[slot], asked[slot]) for slot in SLOTS if (asked[slot] >= 0).any()]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1} of {steps}: loss {loss.item():.3f}, {(time.monotonic() - began) / (step + 1):.2f} s a step", flush=True)
    encoder.eval()
    with torch.no_grad():
        scores, asked = _named(pipeline, heads, np.random.default_rng((seed, steps)), 4 * batch)
    right = torch.cat([(scores[slot].argmax(dim=1) == asked[slot])[asked[slot] >= 0] for slot in SLOTS])
    return right.float().mean().item()


def write_start(config: TrainConfig, folder: Path, steps: int) -> float:
    """Write the fresh editor of a config, whole, after its text encoder has learned; returns what `learn_words` does."""
    torch.manual_seed(config.seed)
    pipeline = starting_pipeline(config)
    right = learn_words(pipeline, seed=config.seed, steps=steps)
    write_whole(folder, lambda whole: save_editor(pipeline, whole, config))
    return right


def _named(pipeline: Any, heads: SlotHeads, rng: np.random.Generator, count: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What is said of the slots of some requests in the plainest words, and what is right."""
    drawn = [requests.draw_asked(rng) for _ in range(count)]
    states = encode_texts([canonical(asked) for asked in drawn], pipeline.tokenizer, pipeline.text_encoder, "max_length").tokens
    return heads(states), targets([request_of(asked) for asked in drawn], heads.values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the run: the editor is OUT/pipeline, which train.py takes as --init-from")
    parser.add_argument("--preset", choices=[name for name in PRESETS if name.startswith("tiny-lab")], default="tiny-lab-start",
                        help="whose sizes it has (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if (args.out / PIPELINE).is_dir():
        print(f"{args.out / PIPELINE} is there already")
        return
    args.out.mkdir(parents=True, exist_ok=True)
    config = TrainConfig(**PRESETS[args.preset] | {"init_from": GENERIC, "seed": args.seed, "out": str(args.out)})
    print(f"{write_start(config, args.out / PIPELINE, args.steps):.3f} of the slots named right")


if __name__ == "__main__":
    main()
