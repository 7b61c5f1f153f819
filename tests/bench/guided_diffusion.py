"""The controls that matter most, of a plain guided diffusion model: with the reward and blind, on the same triplets, three trainings each.

The networks of `python -m mre bench controls` predict an edit in one step as a gated change of the photo, so that a blind one may lose by
averaging alone. Here is one without any of that: a stock U-Net on patches of pixels, velocity prediction, 20 steps, guided by instruction
and photo. Scenes, scores, intervals and table are those of the controls; a training that is there is not made again.

  python -m tests.bench.guided_diffusion --out runs/guided-diffusion [--trainings 3] [--steps 6000]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from transformers import CLIPTextConfig, CLIPTextModel

from mre.benchmark.controls import POOL, Training, claim, run_cell, table_of_controls
from mre.embedded.patch_autoencoder import PatchAutoencoder
from mre.embedded.tokenizer import word_tokenizer
from mre.embedded.vocabulary import vocabulary
from mre.models.unet import RewardUNet2DConditionModel
from mre.pipeline import RewardEditPipeline
from mre.training.checkpoints import write_whole
from mre.training.loop import Run

ARMS = ("reward", "blind")
PATCH, SCALE, TEXT_WIDTH, TOKENS, HEADS = 4, 2.0, 128, 24, 4
# As the paper trains: all timesteps alike, instruction and photo dropped for guidance. Nothing weighs what is changed.
DIFFUSION: dict[str, Any] = {"width": (), "objective": "noise", "timestep_terminal": 0.0, "condition_dropout": 0.05, "image_dropout": True,
                             "learning_rate": 5e-4, "ema_decay": 0.999}
SAMPLING = {"default_steps": 20, "default_guidance_scale": 3.0, "default_image_guidance_scale": 1.5, "size_rule": "fit"}


def plain_pipeline(seed: int, side: int, width: tuple[int, ...]) -> RewardEditPipeline:
    """An untrained InstructPix2Pix of stock layers on patches of `side` x `side` pixels, without a reward condition.

    width: channels of the U-Net's levels
    """
    torch.manual_seed(seed)
    tokenizer = word_tokenizer(vocabulary(), TOKENS)
    special: dict[str, Any] = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text_encoder = CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=TEXT_WIDTH, intermediate_size=3 * TEXT_WIDTH, num_hidden_layers=2,
        num_attention_heads=HEADS, max_position_embeddings=TOKENS, **special))
    latents = 3 * PATCH**2
    unet = RewardUNet2DConditionModel(
        use_score=False, use_text=False, use_attention=False, use_addition=False, in_channels=2 * latents, out_channels=latents,
        sample_size=side // PATCH, block_out_channels=width, layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=HEADS, norm_num_groups=16, reward_text_dim=TEXT_WIDTH, reward_sinusoid_channels=32, reward_num_heads=HEADS,
        reward_dropout=0.0)
    scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=False,
                              rescale_betas_zero_snr=True, timestep_spacing="trailing")
    parts: dict[str, Any] = {"vae": PatchAutoencoder(PATCH, SCALE), "scheduler": scheduler}
    return RewardEditPipeline(text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, native_size=side, **parts, **SAMPLING)


def trained(out: Path, trainings: int, steps: int, side: int = 64, width: tuple[int, ...] = (64, 96, 128), pool: int = POOL,
            **lab: Any) -> dict[Training, list[dict[str, float]]]:
    """Scores of all trainings, one row a held-out scene; of those that are there as they are there."""
    claim(out, steps)
    results = {}
    for training in range(trainings):
        start = out / f"start-{training}"
        if not start.is_dir():
            write_whole(start, lambda folder, seed=training: plain_pipeline(seed, side, width).save_pretrained(folder))
        for arm in ARMS:
            cell = Training(arm, "chance", training)
            print(f"{arm}, training {training}", flush=True)
            results[cell] = run_cell(cell, out, lambda config, examples: Run(config, examples).train(), steps, pool,
                                     **{**DIFFUSION, "init_from": str(start), "resolution": side, **lab})
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings; the same command goes on there")
    parser.add_argument("--trainings", type=int, default=3, help="of each arm (%(default)s)")
    parser.add_argument("--steps", type=int, default=6000, help="of 32 triplets (%(default)s)")
    args = parser.parse_args()
    table = table_of_controls(trained(args.out, args.trainings, args.steps), args.steps, POOL)
    table.write(args.out / "tables")
    print(table.markdown())


if __name__ == "__main__":
    main()
