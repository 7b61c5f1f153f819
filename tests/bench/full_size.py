"""What an edit costs at the size of Stable Diffusion 1.5, in float32 and in the number format of `--dtype auto`, with random weights.

    python -m tests.bench.full_size [--sizes 256 512] [--steps 2] [--threads 1] [--fast | --parts]

A row is a size. The seconds are CPU time of one denoising step of three guidance branches, the two formats in turn; the last column is how
far the decoded pictures of the same few steps are from each other, of 255 levels. Random weights cost what trained ones do; their pictures
say how rounding spreads, not how a photo looks. With `--fast` a row is a whole edit: 30 steps in float32 against what `edit --fast` asks
for in that format. `--parts` composes the same figure where whole edits would take too long: it times each part once (texts, photo, a step
with guidance and one without, decoding), prints it with how often an edit needs it, and sums that up.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

from mre.editors import pipeline_info
from mre.editors.settings import FAST_INTERVAL, EditSettings
from mre.editors.weights import computed_dtypes, torch_dtype
from mre.embedded.tokenizer import word_tokenizer
from mre.machine import free_memory
from mre.models.branches import BRANCHES
from mre.models.quiet import quiet_libraries
from mre.models.unet import RewardUNet2DConditionModel
from mre.pipeline import RewardEditPipeline
from mre.rewards import Reward

BILLIONS = 6.5e9        # bytes: weights in both formats, and a step


def full_size_pipeline() -> RewardEditPipeline:
    """Reward-InstructPix2Pix with random weights, in float32."""
    torch.manual_seed(0)
    text = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
                                        vocab_size=514, bos_token_id=512, eos_token_id=513, pad_token_id=513))
    unet = RewardUNet2DConditionModel(in_channels=8, cross_attention_dim=768, sample_size=64, attention_head_dim=8)
    vae = AutoencoderKL(block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
                        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=4, sample_size=512)
    pipeline = RewardEditPipeline(vae.eval(), text.eval(), word_tokenizer([], 77), unet.eval(),
                                  EulerAncestralDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.inference_mode()
def edit(pipeline: RewardEditPipeline, size: int, steps: int, **more: Any) -> tuple[Image.Image, list[float]]:
    """The picture, and the CPU seconds of each step of the U-Net."""
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8))
    seconds: list[float] = []
    hooks = (pipeline.unet.register_forward_pre_hook(lambda *_: seconds.append(-time.process_time())),
             pipeline.unet.register_forward_hook(lambda *_: seconds.append(seconds.pop() + time.process_time())))
    picture = pipeline("red", photo, reward=Reward.best(), num_inference_steps=steps,
                       generator=torch.Generator().manual_seed(0), **more).images[0]
    for hook in hooks:
        hook.remove()
    return picture, seconds


def whole_edits(whole: RewardEditPipeline, half: RewardEditPipeline, size: int, dtype: str) -> str:
    """A row: the seconds of a slow edit and of a fast one, CPU time of all that there is in it, and how far apart they are."""
    quick = DPMSolverMultistepScheduler.from_config(half.scheduler.config)
    pictures, seconds = [], []
    for pipeline, steps, more in ((whole, 30, {}), (half, 15, {"guidance_interval": FAST_INTERVAL})):
        own, started = pipeline.scheduler, time.process_time()
        pipeline.scheduler = quick if more else own
        pictures.append(np.asarray(edit(pipeline, size, steps, **more)[0], float))
        pipeline.scheduler = own
        seconds.append(time.process_time() - started)
    return (f"| {size} | {seconds[0]:.0f} | {seconds[1]:.0f} ({dtype}) | {seconds[0] / seconds[1]:.1f} | "
            f"{np.abs(pictures[0] - pictures[1]).mean():.1f} |")


@contextmanager
def timed(owner: Any, name: str, tell: Callable[[float, Any], object]) -> Iterator[None]:
    """Inside, each call of a method tells its CPU seconds, and the first tensor that it was given."""
    own = getattr(owner, name)

    def call(*values: Any, **named: Any) -> Any:
        started = time.process_time()
        result = own(*values, **named)
        tell(time.process_time() - started, next(iter((*values, *named.values()))))
        return result
    setattr(owner, name, call)
    try:
        yield
    finally:
        delattr(owner, name)


def parts_of_edit(pipeline: RewardEditPipeline, size: int, is_fast: bool) -> dict[str, float]:
    """CPU seconds of each part of an edit, by name: of a step with guidance and, where it is fast, of one without."""
    seconds: dict[str, float] = {}

    def tell(name: str) -> Callable[[float, Any], object]:
        return lambda taken, given: seconds.update({name: seconds.get(name, 0.0) + taken})

    def tell_step(taken: float, given: Any) -> None:
        seconds["a step with guidance" if len(given) == BRANCHES else "a step without"] = taken
    with ExitStack() as watched:
        for owner, name, told in ((pipeline.text_encoder, "forward", tell("texts")), (pipeline.vae, "encode", tell("photo encoded")),
                                  (pipeline.vae, "decode", tell("picture decoded")), (pipeline.unet, "forward", tell_step)):
            watched.enter_context(timed(owner, name, told))
        edit(pipeline, size, **({"steps": 2, "guidance_interval": (0.5, 1.0)} if is_fast else {"steps": 1}))     # noise levels 1 and 0
    return seconds


def composed_edits(pipeline: RewardEditPipeline, size: int, auto: str) -> None:
    """Prints the parts of a slow and a fast edit as they are measured, and what these add up to."""
    asked = {"float32": EditSettings("-"), auto: EditSettings("-", fast=True)}
    whole: dict[str, float] = {}
    for dtype, settings in asked.items():
        settings = settings.resolved(pipeline_info.describe("reward-insp2p"))
        pipeline.to(torch_dtype(dtype))
        kind: Any = type(pipeline.scheduler) if settings.scheduler == "default" else DPMSolverMultistepScheduler
        scheduler = kind.from_config(pipeline.scheduler.config)
        scheduler.set_timesteps(settings.filled[0])
        low, high = (level * scheduler.config.num_train_timesteps for level in settings.guidance_interval or (0, 1))
        guided = sum(low <= float(step) <= high for step in scheduler.timesteps)
        counts = {"a step with guidance": guided, "a step without": len(scheduler.timesteps) - guided}
        whole[dtype] = 0.0
        for name, seconds in parts_of_edit(pipeline, size, settings.guidance_interval is not None).items():
            whole[dtype] += seconds * counts.get(name, 1)
            print(f"| {size} | {dtype} | {name} | {seconds:.2f} | {counts.get(name, 1)} |", flush=True)
        print(f"| {size} | {dtype} | an edit, composed | {whole[dtype]:.0f} | |", flush=True)
    print(f"\n{size} pixels, composed of parts: {whole['float32'] / whole[auto]:.1f} times as fast\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], help="pixels of a side")
    parser.add_argument("--steps", type=int, default=2, help="of an edit")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fast", action="store_true", help="compare whole edits, slow and fast")
    parser.add_argument("--parts", action="store_true", help="compare them by their parts, each timed once")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    free, auto = free_memory("cpu"), computed_dtypes("cpu")[0]
    if free is not None and free < BILLIONS:
        raise SystemExit(f"{BILLIONS / 1e9:g} GB of memory are needed, and {free / 1e9:.3g} are free")
    with quiet_libraries():
        if args.parts:
            print("| pixels | format | part | CPU seconds | times |\n| --- | --- | --- | --- | --- |")
            for size in args.sizes:
                composed_edits(full_size_pipeline(), size, auto)
            return
        whole, half = full_size_pipeline(), full_size_pipeline().to(torch_dtype(auto))
        if args.fast:
            print("| pixels | 30 steps in float32, s | fast, s | times as fast | difference, of 255 |\n| --- | --- | --- | --- | --- |")
            for size in args.sizes:
                print(whole_edits(whole, half, size, auto), flush=True)
            return
        print(f"| pixels | float32, s a step | {auto} | times as fast | mean difference, of 255 |\n| --- | --- | --- | --- | --- |")
        for size in args.sizes:
            (one, slow), (other, fast) = (edit(pipeline, size, args.steps) for pipeline in (whole, half))
            slow, fast = statistics.median(slow), statistics.median(fast)
            away = np.abs(np.asarray(one, float) - np.asarray(other, float)).mean()
            print(f"| {size} | {slow:.2f} | {fast:.2f} | {slow / fast:.2f} | {away:.2f} |", flush=True)


if __name__ == "__main__":
    main()
