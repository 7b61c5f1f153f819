"""What SmartEdit costs, and its two halves of a table: calls of the language model over edits, sweeps and benchmarks, pictures read a
second, memory of the converter, and SmartEdit against Reward-SmartEdit from weights to table.

    python -m tests.bench.smartedit [FOLDER_FOR_FILES] [--only calls reading memory pairs]

All at small sizes, on a small model of random weights in the released layout; the converter on a language model of 0.4 GB in float32.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import LlamaModel

from mre.__main__ import main as command
from mre.editors.kinds import make_editor
from mre.editors.settings import EditSettings
from mre.models.smartedit import convert
from mre.models.zoo import load_starting_pipeline
from mre.rewards import PERSPECTIVES, Reward
from mre.sweep import Axis, Sweep
from tests.conftest import SHARED
from tests.tiny_smartedit import released_tensors, write_released

PARTS = ("calls", "reading", "pairs", "memory")
WIDTH, HIDDEN, LAYERS, SHARD = 1024, 2752, 8, 20_000_000       # of the language model that is converted; bytes of a shard


@contextmanager
def counted_calls() -> Iterator[list[int]]:
    """Pictures that each call of the language model reads."""
    calls: list[int] = []
    forward = LlamaModel.forward

    def counting(self: Any, *args: Any, inputs_embeds: Any, **kwargs: Any) -> Any:
        calls.append(len(inputs_embeds))
        return forward(self, *args, inputs_embeds=inputs_embeds, **kwargs)

    LlamaModel.forward = counting
    try:
        yield calls
    finally:
        LlamaModel.forward = forward


def photo(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (24, 40, 3), dtype=np.uint8))


def print_calls(folder: Path) -> None:
    """One edit, ten slider moves, a sweep of 27 cells, ten items with three rewards each."""
    name = str(folder)
    for title, work in (
            ("one edit", lambda editor: editor.edit(photo(0), EditSettings("add 2 bicycles", steps=1))),
            ("ten slider moves", lambda editor: [editor.edit(photo(0), EditSettings("add 2 bicycles", Reward(move / 2, 3, 4), steps=1))
                                                 for move in range(10)]),
            ("sweep of 27 cells", lambda editor: [*Sweep.plan(
                EditSettings("add 2 bicycles", steps=1), name,
                [Axis("seed", (1, 2, 3)), Axis("guidance_scale", (1.5, 4.0, 7.5)), Axis("image_guidance_scale", (1.0, 1.5, 2.0))],
                {name: editor.info.capabilities}).run(photo(0), {name: editor})]),
            ("ten items, three rewards", lambda editor: [
                editor.edit(photo(item), EditSettings(f"item {item}", Reward(score, 5, 5), steps=1))
                for score in (5, 3, 0) for item in range(10)])):
        with counted_calls() as calls:
            work(make_editor(name, device="cpu"))
        print(f"| {title} | {sum(calls)} |", flush=True)


def print_reading(folder: Path) -> None:
    """Pictures and instructions that the small model reads a second, eight at once."""
    pipeline = make_editor(str(folder), device="cpu").prepare()
    encoder = pipeline.instruction_encoder.encoder
    started = time.perf_counter()
    for batch in range(4):
        encoder.encode([f"item {batch} {row}" for row in range(8)], [photo(row) for row in range(8)])
    print(f"reading, eight at once: {32 / (time.perf_counter() - started):.0f} a second", flush=True)


def anonymous_memory() -> int:
    """Bytes of this process that no file is behind (Linux)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def print_memory(root: Path) -> None:
    """Peak memory of converting, beside what was there before."""
    tensors = released_tensors(SHARED)
    llm, generator = {}, torch.Generator().manual_seed(0)
    for name, value in tensors["llm"].items():
        shape = [{32: WIDTH, 48: HIDDEN, 4: 32}.get(size, size) for size in value.shape]
        for layer in range(LAYERS) if "layers.0." in name else (0,) if "layers." not in name else ():
            llm[name.replace("layers.0.", f"layers.{layer}.")] = torch.rand(shape, generator=generator) + 0.5
    small = dict(tensors["embeddings"])
    for name, value in tensors["embeddings"].items():
        if name.startswith("mm_projector"):
            small[name] = torch.zeros(WIDTH, *value.shape[1:])
        elif name.endswith((".crossattention.self.key.weight", ".crossattention.self.value.weight", "lm_head.weight")):
            small[name] = torch.zeros(value.shape[0], WIDTH)
    folder = write_released(root / "large", SHARED, tensors={**tensors, "llm": llm, "embeddings": small})
    size = sum(value.nbytes for value in llm.values())
    del llm, small, tensors
    out, before, peak, done = root / "converted", anonymous_memory(), 0, threading.Event()
    out.mkdir()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, anonymous_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    convert.convert(folder, out, shard_bytes=SHARD)
    done.set()
    watcher.join()
    print(f"converting a language model of {size / 1e6:.0f} MB in shards of {SHARD / 1e6:.0f} MB: {(peak - before) / 1e6:.0f} MB beside "
          f"what was there, {time.perf_counter() - started:.0f} s")


def print_pairs(folder: Path, root: Path) -> None:
    """Both models over seven drawn scenes, by one command."""
    reward = load_starting_pipeline(str(folder), variant="released", use_score=True, use_text=True, use_attention=True, use_addition=True,
                                    perspectives=PERSPECTIVES, reward_init="released")
    reward.save_pretrained(root / "reward-smartedit")
    flags = ["bench", "scenes", "--model", "reward-smartedit", "smartedit", "--judge", "oracle", "--out", "pairs", "--per-type", "1",
             "--steps", "2", "--size", "64", "--tables", "scores", "--no-preserving"]
    print("$ python -m mre", *flags, flush=True)
    places = {"reward-smartedit": root / "reward-smartedit", "smartedit": folder, "pairs": root / "pairs"}
    command([str(places.get(flag, flag)) for flag in flags] + ["--cache", str(root / "answers.sqlite")])


def main(root: Path, only: Collection[str]) -> None:
    """Print what is asked for."""
    released = write_released(root, SHARED)
    command(["convert", str(released), "--out", str(root / "smartedit"), "--size", "64"])
    if "calls" in only:
        print("| calls of the language model for | pictures read |\n| --- | --- |")
        print_calls(root / "smartedit")
    if "reading" in only:
        print_reading(root / "smartedit")
    if "pairs" in only:
        print_pairs(root / "smartedit", root)
    if "memory" in only:
        print_memory(root)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="for files; none: one that goes afterwards")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        main(options.folder or Path(place), options.only)
