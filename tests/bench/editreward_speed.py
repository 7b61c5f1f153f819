"""How much reading once what prompts and edits have in common saves EditReward's judge: python -m tests.bench.editreward_speed SHARED

On a random Qwen2.5-VL of a laboratory size (SHARED/parity_editreward has tokenizer and layout). Three ways to the same numbers, in one run:
whole sequences to their end, one by one, as the reference reads them; cut after the reward token, in one batch; and the shared prefixes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoConfig, AutoTokenizer, Qwen2_5_VLModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from mre.judge.reward_models.editreward import HEADS, REWARD_TOKEN, EditReward, RewardHead, resized

EDITS, REPEATS = 4, 1
WIDTH, LAYERS = 512, 2


def small_model(parity: Path) -> EditReward:
    config = AutoConfig.from_pretrained(parity)
    for name, value in {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "intermediate_size": 4 * WIDTH, "num_attention_heads": 4,
                        "num_key_value_heads": 2, "layer_types": ["full_attention"] * LAYERS}.items():
        setattr(config.text_config, name, value)
    config.text_config.rope_parameters = {**config.text_config.rope_parameters, "mrope_section": [16, 24, 24]}
    config.vision_config.out_hidden_size = WIDTH
    tokenizer = AutoTokenizer.from_pretrained(parity / "tokenizer")
    tokenizer.add_special_tokens({"additional_special_tokens": [REWARD_TOKEN]})
    torch.manual_seed(0)
    backbone = Qwen2_5_VLModel(config).float()
    return EditReward(backbone, tokenizer, Qwen2VLImageProcessorPil.from_pretrained(parity), [RewardHead(WIDTH) for _ in HEADS]).eval()


def as_the_reference(model: EditReward, originals: list, editeds: list, words: list[str]) -> torch.Tensor:
    """Every picture for every sequence, every sequence to its end, one at a time."""
    rows = []
    for original, edited, text in zip(originals, editeds, words, strict=True):
        for head in HEADS:
            tokens = model.seen([original]) + model.seen([edited])
            ids = model.ids(head, text, [len(part) for part in tokens])
            rest = list(model.tokenizer(model.chat_text(head, text)).input_ids)
            tail = rest[rest.index(model.reward_id) + 1:]
            embeds = model.embedded([*ids, *tail], tokens)[None]
            positions = torch.arange(embeds.shape[1])[None, None].expand(3, 1, -1)
            out = model.backbone.language_model(inputs_embeds=embeds, position_ids=positions, use_cache=False)
            rows.append(out.last_hidden_state[0, len(ids) - 1])
    return torch.stack(rows).unflatten(0, (len(originals), len(HEADS)))


def cut_in_a_batch(model: EditReward, originals: list, editeds: list, words: list[str]) -> torch.Tensor:
    """Pictures once, sequences cut after the reward token, all in one batch, nothing shared."""
    tokens = model.seen([*originals, *editeds])
    parts = []
    for first, second, text in zip(tokens[:len(originals)], tokens[len(originals):], words, strict=True):
        parts += [model.embedded(model.ids(head, text, (len(first), len(second))), [first, second]) for head in HEADS]
    return model.read_on(None, parts)[0].unflatten(0, (len(originals), len(HEADS)))


def seconds(run: Callable[[], torch.Tensor]) -> float:
    """Processor time, the least of some runs: on a busy machine the clock says nothing."""
    best = float("inf")
    for _ in range(REPEATS):
        started = time.process_time()
        run()
        best = min(best, time.process_time() - started)
    return best


@torch.inference_mode()
def main(shared: str) -> None:
    model = small_model(Path(shared) / "parity_editreward")
    rng = np.random.default_rng(0)
    pictures = [resized(Image.fromarray(rng.integers(0, 256, (512, 512, 3), dtype=np.uint8))) for _ in range(2 * EDITS)]
    words = [f"make the car on the left blue and add {number} birds" for number in range(EDITS)]
    print(f"{EDITS} edits, {LAYERS} layers of {WIDTH}, float32, {torch.get_num_threads()} threads; processor seconds")
    editeds = pictures[EDITS:]
    for title, originals in (("of one original", [pictures[0]] * EDITS), ("of as many originals", pictures[:EDITS])):
        ways = {"as the reference": as_the_reference, "cut, in a batch": cut_in_a_batch,
                "shared prefixes": lambda m, o, e, w: m.hidden(o, e, w)}
        made = {name: way(model, originals, editeds, words) for name, way in ways.items()}
        taken = {name: seconds(lambda way=way, these=originals: way(model, these, editeds, words)) for name, way in ways.items()}
        for name in ways:
            apart = (made[name] - made["as the reference"]).abs().max().item()
            print(f"{title:<22}{name:<20}{taken[name]:8.2f} s   {taken['as the reference'] / taken[name]:5.2f} times as fast, "
                  f"at most {apart:.1e} apart")


if __name__ == "__main__":
    main(sys.argv[1])
