"""What a run starts from, made ready to train, and the editor that it leaves."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from accelerate.utils import parse_flag_from_env
from diffusers.models.attention_processor import AttnProcessor

from mre.compiling import check_compiler
from mre.editors.download import check_own_download
from mre.editors.weights import computed_dtypes
from mre.errors import SettingsError
from mre.families import build_fresh, later, layout_of
from mre.models.folders import reads_rewards
from mre.models.hub import local_folder
from mre.models.quiet import quiet_libraries
from mre.models.transformer.pipeline import TransformerPipeline
from mre.models.zoo import load_starting_pipeline
from mre.training.adapters import add_adapters, has_adapters, merged_adapters, save_adapters
from mre.training.config import FRESH, SYNTHETIC, TrainConfig
from mre.training.examples import ExampleSource
from mre.training.memory import check_memory
from mre.training.optimizer import check_optimizer
from mre.training.scene_examples import SyntheticExamples
from mre.training.stored_examples import StoredExamples

is_transformer_editor = later("mre.training.transformers:is_transformer_editor")
transformer_pipeline = later("mre.training.transformers:transformer_pipeline")
shrink_frozen = later("mre.training.transformers:shrink_frozen")
save_transformer_editor = later("mre.training.transformers:save_transformer_editor")
LORA = "lora"               # folder of adapters, inside the finished editor's
SWITCHES = ("use_score", "use_text", "use_attention", "use_addition", "perspectives", "variant", "reward_init")


def check_machine(config: TrainConfig, device: torch.device) -> None:
    """Raises SettingsError for what this machine cannot do, before anything is read: more processes than it has GPUs, a number format that
    its chip lacks, compiling without a compiler. Of the first, one process alone speaks."""
    asked, there = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    wants_gpus = there > 0 or ("ACCELERATE_MIXED_PRECISION" in os.environ and not parse_flag_from_env("ACCELERATE_USE_CPU"))
    if asked > max(there, 1) and wants_gpus:
        if os.environ.get("LOCAL_RANK", "0") != "0":
            raise SystemExit(1)
        raise SettingsError(f"accelerate's config asks for {asked} GPUs on this machine, which has {there or 'none'}; "
                            + (f"set num_processes to {there}" if there else "to train on its CPUs, set ACCELERATE_USE_CPU=true"))
    if config.mixed_precision == "fp16" and device.type == "cpu":
        raise SettingsError("mixed_precision fp16 needs a GPU; without one, take bf16 or no")
    if device.type == "cuda" and config.mixed_precision == "bf16" and not computes_bf16(device):
        raise SettingsError(f"mixed_precision bf16: the GPU {device} has no units for it; take fp16 or no")
    if config.compile:
        check_compiling(device)
    check_optimizer(config)


def check_compiling(device: torch.device) -> None:
    """Raises SettingsError where a network cannot be compiled for training."""
    if device.type == "cpu":
        raise SettingsError("compile is for GPUs: on a CPU, torch's compiler gives a U-Net wrong gradients, zeros in its inner blocks")
    check_compiler(device.type, "compile")


def computes_bf16(device: torch.device) -> bool:
    """Whether a device has units for bfloat16. A CPU without them still gives the same numbers, more slowly than those of float32."""
    return "bfloat16" in computed_dtypes(place_of(device))


def place_of(device: torch.device) -> str:
    """The device as `mre.machine` and `mre.editors` name it: a CPU has no number, which accelerate gives it among processes."""
    return "cpu" if device.type == "cpu" else str(device)


def check_size(config: TrainConfig, device: torch.device, shares: int) -> None:
    """Raises ModelError, before anything is read, for an editor with a U-Net that is too large to be trained here; of one with a
    transformer, whoever loads it says so."""
    if config.init_from not in FRESH and not is_transformer_editor(str(config.init_from)):
        here = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if device.type == "cpu" else 1
        check_memory(config, check_own_download(str(config.init_from)), place_of(device), here, shares)


def starting_pipeline(config: TrainConfig, begun: Path | None = None):
    """The pipeline that a run trains: a fresh one of a family of models, or an existing one, whose U-Net is given the config's reward
    condition.

    begun: a folder that a fresh model of this run was saved to, which a resumed run takes, whatever is the default by then
    """
    if config.init_from not in FRESH and is_transformer_editor(str(config.init_from)):
        return transformer_pipeline(str(config.init_from), config)
    if config.init_from in FRESH and begun is None:
        pipeline = build_fresh(config.init_from, config, **switches(config))
    else:
        pipeline = load_starting_pipeline(str(begun or config.init_from), **switches(config))
    if config.perspective_dropout:
        pipeline.unet.register_to_config(knows_no_wish=True)
    return pipeline


def open_examples(config: TrainConfig) -> ExampleSource:
    """The training examples that the config names. Raises DataError for data that are not right."""
    return SyntheticExamples(config) if config.data in SYNTHETIC else StoredExamples(config)


def switches(config: TrainConfig) -> dict[str, object]:
    """The settings of the reward condition, as the U-Net takes them."""
    return {name: getattr(config, name) for name in SWITCHES}


def prepare_models(pipeline, config: TrainConfig, device: torch.device) -> None:
    """Place the models; freeze what is not trained, in the number format of the forward pass where that is a GPU's."""
    formats = {"fp16": torch.float16, "bf16": torch.bfloat16} if device.type != "cpu" else {}
    dtype = formats.get(config.mixed_precision, torch.float32)
    learning = trained_models(pipeline, config)
    with quiet_libraries():
        own_format = getattr(pipeline, "own_format", ())
        for name, model in frozen_models(pipeline, config).items():
            model.requires_grad_(False).eval().to(device=device, dtype=None if name in own_format else dtype)
        for model in learning:
            model.requires_grad_(True).to(device, torch.float32)
    for model in learning:
        for tensor in (*model.parameters(), *model.buffers()):      # those of a file lie where the file had them; a copy is aligned,
            tensor.data = tensor.data.clone()                       # and its sums come out the same to the last bit
    if config.lora_rank:
        if config.channels_last and device.type == "cpu":
            raise SettingsError("channels_last with lora_rank needs a GPU: on a CPU, torch crashes in it")
        transformer = isinstance(pipeline, TransformerPipeline)
        fresh = config.conditioned and (transformer or not starts_conditioned(config))
        add_adapters(pipeline.unet, config, pipeline.unet.reward_layers if fresh else ())
        if transformer and config.mixed_precision == "bf16":
            shrink_frozen(pipeline, torch.bfloat16)
    if config.plain_attention:
        pipeline.unet.set_attn_processor(AttnProcessor())
        pipeline.text_encoder.set_attn_implementation("eager")
    if config.gradient_checkpointing:
        pipeline.unet.enable_gradient_checkpointing()
    if config.channels_last:
        pipeline.unet.to(memory_format=torch.channels_last)


def trained_models(pipeline, config: TrainConfig) -> list[torch.nn.Module]:
    """What the config lets be trained."""
    return list(pipeline.trainable_parts(config.train_text_encoder, config.train_readers).values())


def frozen_models(pipeline, config: TrainConfig) -> dict[str, torch.nn.Module]:
    """All other models of the pipeline, by name."""
    learning = trained_models(pipeline, config)
    return {name: model for name, model in pipeline.components.items() if isinstance(model, torch.nn.Module) and model not in learning}


def latent_shape(pipeline, config: TrainConfig) -> tuple[int, int, int]:
    """(C, h, w) of the latents at the training resolution. Raises SettingsError for a resolution that the U-Net cannot take."""
    factor = pipeline.vae_scale_factor
    if config.resolution % factor:
        raise SettingsError(f"resolution must be a multiple of {factor} for this model, got {config.resolution}")
    side = config.resolution // factor
    return pipeline.vae.config.latent_channels, side, side


def starts_conditioned(config: TrainConfig) -> bool:
    """Whether the model that a run begins with read rewards before."""
    folder = local_folder(config.init_from)
    assert folder is not None, "asked of a run that has begun"
    if layout_of(config.init_from, folder) is not None:
        return False                            # released layouts of families hold models without rewards
    return reads_rewards(folder / "unet")


def save_editor(pipeline, folder: Path, config: TrainConfig) -> None:
    """The pipeline as a folder of safetensors, with the settings that made it; adapters are added to the weights, and stand beside them
    as a LoRA of their own."""
    (folder / "training.yaml").write_text(config.as_yaml(), encoding="utf-8")
    if isinstance(pipeline, TransformerPipeline):
        save_transformer_editor(pipeline, folder, config)
        return
    with merged_adapters(pipeline):
        halves = {"unet": torch.float16, "text_encoder": torch.float16, "vae": torch.float16,
                  **dict.fromkeys(config.train_readers, torch.bfloat16)}        # a language model may overflow in float16
        kept = []
        for part, half in halves.items() if config.half else ():
            model = getattr(pipeline, part)
            kept.append((model, model.dtype, {name: value.clone() for name, value in model.state_dict().items()}))
            model.to(half)
        pipeline.save_pretrained(folder)
        for model, dtype, tensors in kept:
            model.to(dtype).load_state_dict(tensors)
    if has_adapters(pipeline.unet):
        save_adapters(pipeline, folder / LORA)
