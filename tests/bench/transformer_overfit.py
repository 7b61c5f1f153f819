"""Whether a transformer editor learns what its reward condition says: tiny FLUX.2 klein and Qwen-Image-Edit, trained by train.py's trainer
on 16 scored triplets until they know them by heart.

    python -m tests.bench.transformer_overfit [--kind klein|qwen] [--steps N] [--lora RANK]

Each of 8 photos is there twice with the same instruction: with a good edit scored 5/5/5 and with a bad one scored 0/0/0. The trained
model then edits each photo at both rewards. An edit is as asked where its latents are nearer to those of the edit with that score than to
those of the other; and at no wish the model should be between the two. Nothing but the reward tells them apart.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from mre.models.instruction import EditCondition
from mre.models.kept_readings import KeptReadings, tensor_key
from mre.models.quiet import quiet_libraries
from mre.rewards import Reward
from mre.training.encoding import encode_pictures, to_pixels
from mre.training.loop import Run
from tests.editors.tiny_diffusers import save
from tests.training.transformers import squares
from tests.training.transformers.autoencoder import settle

KINDS = {"klein": "Flux2KleinPipeline", "qwen": "QwenImageEditPipeline"}
PHOTOS = 8
TOKENS = 32             # of the instruction, where its padding would be most of the work
SEEN = 56               # pixels of the photo's side that Qwen's text encoder looks at, which would be most of the work too


class ReadOnce:
    """An instruction encoder that reads each of a few photos with its instruction once: a frozen one reads the same at every step."""

    def __init__(self, encoder: Any) -> None:
        self.encoder, self.kept = encoder, KeptReadings()

    def encode(self, instructions: Sequence[str], images: torch.Tensor) -> EditCondition:
        read = [self.kept.of((text, tensor_key(photo)), lambda text=text, photo=photo: self.encoder.encode([text], photo[None]))
                for text, photo in zip(instructions, images, strict=True)]
        return EditCondition(torch.cat([one.context for one in read]), torch.cat([one.null_context for one in read]))


@torch.no_grad()
def sampled(run: Run, number: int, reward: Reward | None, steps: int = 20) -> torch.Tensor:
    """(1, C, h, w): latents of an edit of a photo, without guidance. reward: none for no wish"""
    pipeline = run.pipeline
    photo = torch.from_numpy(squares.photo(number)).permute(2, 0, 1)[None]
    pixels = to_pixels(photo, run.device)
    image = encode_pictures(pipeline.vae, pixels, pixels).original
    text = pipeline.instruction_encoder.encode([squares.INSTRUCTION], photo).context
    given = {} if reward is None else pipeline.encode_rewards(reward)
    latents = torch.randn(image.shape, generator=torch.Generator().manual_seed(number))
    scheduler: Any = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(steps)
    for step in scheduler.timesteps:
        velocity = pipeline.denoiser(torch.cat([latents, image], dim=1), step[None], text, given).sample
        latents = scheduler.step(velocity, step, latents).prev_sample
    return latents


@torch.no_grad()
def distances(run: Run, number: int, latents: torch.Tensor) -> tuple[float, float]:
    """Root mean square distance to the latents of the good edit, and to those of the bad one."""
    pairs = [to_pixels(torch.from_numpy(squares.edited(number, reward)).permute(2, 0, 1)[None], run.device)
             for reward in (squares.GOOD, squares.BAD)]
    found = encode_pictures(run.pipeline.vae, *pairs)
    bad = encode_pictures(run.pipeline.vae, *reversed(pairs)).original
    good, bad = ((latents - one).square().mean().sqrt().item() for one in (found.original, bad))
    return good, bad


def main(argv: list[str] | None = None) -> int:
    """Train, edit, print. Returns 1 where an edit is not as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, default="klein")
    parser.add_argument("--steps", type=int, default=400, help="optimizer steps of 16 triplets")
    parser.add_argument("--lora", type=int, default=0, help="rank of adapters; 0 = the whole transformer is trained")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as place, quiet_libraries():
        folder = Path(place)
        tree, editor = squares.write(folder / "tree", PHOTOS), save(KINDS[args.kind], folder / "editor")
        settle(editor, [squares.edited(*triplet) for triplet in squares.triplets(PHOTOS)])
        config = squares.config(tree, editor, folder / "out", batch_size=16, max_steps=args.steps, learning_rate=3e-3, warmup_steps=20,
                                schedule="cosine", log_every=50, checkpoint_every=args.steps, ema=False, condition_dropout=0.0,
                                perspective_dropout=0.1, reward_text_dropout=0.2, lora_rank=args.lora)
        started = time.monotonic()
        run = Run(config)
        if args.kind == "klein":
            run.pipeline.instruction_encoder.length = TOKENS
        else:
            run.pipeline.instruction_encoder.seen = SEEN
            run.learner.instruction_encoder = ReadOnce(run.pipeline.instruction_encoder)
        run.train()
        seconds = time.monotonic() - started
        run.learner.eval()
        right = 0
        print("| photo | at 5/5/5: to the good edit, to the bad | at 0/0/0: to the good edit, to the bad |\n| --- | --- | --- |")
        for number in range(PHOTOS):
            best, worst = (distances(run, number, sampled(run, number, reward)) for reward in (squares.GOOD, squares.BAD))
            right += (best[0] < best[1]) + (worst[1] < worst[0])
            print(f"| {number} | {best[0]:.3f}, {best[1]:.3f} | {worst[0]:.3f}, {worst[1]:.3f} |")
    print(f"\n{args.kind}: {right} of {2 * PHOTOS} edits as asked, after {args.steps} steps in {seconds:.0f} s")
    return 0 if right == 2 * PHOTOS else 1


if __name__ == "__main__":
    sys.exit(main())
