"""Editing pipelines of diffusers at a tiny size, with random weights from a fixed seed and tokenizers that read bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from diffusers import AutoencoderKL, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from mre.embedded.tokenizer import word_tokenizer
from tests.tiny_models import text_encoder

CHAT = ("{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}{{ message['content'] }}"
        "{% else %}{% for part in message['content'] %}{{ part.get('text', '') }}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
WORDS = 256 + len(SPECIAL)


def byte_tokenizer(kind: type = transformers.Qwen2TokenizerFast) -> Any:
    """Reads bytes, and the special tokens of Qwen's chats."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(SPECIAL))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, pad_token=SPECIAL[0], eos_token=SPECIAL[2])
    tokenizer.chat_template = CHAT
    return tokenizer


def t5() -> tuple[Any, Any]:
    encoder = transformers.T5EncoderModel(transformers.T5Config(vocab_size=WORDS, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2))
    return encoder.eval(), byte_tokenizer()


def qwen_text(layers: int = 2) -> dict[str, Any]:
    return {"vocab_size": WORDS, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2,
            "num_key_value_heads": 2, "max_position_embeddings": 4096}


def qwen_vl() -> tuple[Any, Any, Any]:
    """Qwen2.5-VL, its tokenizer and its processor."""
    ids = {name: 256 + place for place, name in enumerate(SPECIAL)}
    config = transformers.Qwen2_5_VLConfig(
        text_config=qwen_text() | {"rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2], "rope_type": "default"}},
        vision_config={"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16, "patch_size": 14},
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"], vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"])
    tokenizer = byte_tokenizer()
    return transformers.Qwen2_5_VLForConditionalGeneration(config).eval(), tokenizer, picture_processor(tokenizer)


def picture_processor(tokenizer: Any, kind: type = transformers.Qwen2VLProcessor, patch: int = 14) -> Any:
    """The processor of pictures and chats; that of videos, which asks for torchvision, is left out."""
    class Pictures(kind):
        def check_argument_for_proper_class(self, name, argument):
            return None if name == "video_processor" else super().check_argument_for_proper_class(name, argument)

        def save_pretrained(self, folder, **_):
            self.image_processor.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
            (Path(folder) / "chat_template.jinja").write_text(CHAT)
    pictures = transformers.Qwen2VLImageProcessorPil(patch_size=patch, min_pixels=(2 * patch) ** 2, max_pixels=(2 * patch) ** 2 * 16)
    processor = Pictures(image_processor=pictures, tokenizer=tokenizer, chat_template=CHAT)
    processor.__class__ = type(kind.__name__, (Pictures,), {"__module__": kind.__module__})
    return processor


def kl(latent: int = 4, levels: int = 1, **more: Any) -> AutoencoderKL:
    return AutoencoderKL(block_out_channels=(8,) * levels, down_block_types=("DownEncoderBlock2D",) * levels,
                         up_block_types=("UpDecoderBlock2D",) * levels, layers_per_block=1, norm_num_groups=4, latent_channels=latent,
                         sample_size=32, **more).eval()


def xl_instruct() -> Any:
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(16, 32), layers_per_block=1, sample_size=16, in_channels=8, out_channels=4, norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4), use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 1),
        projection_class_embeddings_input_dim=6 * 8 + 32, cross_attention_dim=64)
    second = transformers.CLIPTextModelWithProjection(transformers.CLIPTextConfig(
        vocab_size=514, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, projection_dim=32,
        bos_token_id=512, eos_token_id=513, pad_token_id=513)).eval()
    return diffusers.StableDiffusionXLInstructPix2PixPipeline(
        vae=kl(levels=2), text_encoder=text_encoder(), text_encoder_2=second, tokenizer=word_tokenizer([], 77),
        tokenizer_2=word_tokenizer([], 77), unet=unet, scheduler=EulerDiscreteScheduler(), add_watermarker=False)


def kontext(kind: str = "FluxKontextPipeline", **denoiser: Any) -> Any:
    encoder, tokenizer = t5()
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1, joint_attention_dim=32, pooled_projection_dim=32, guidance_embeds=True,
        **{"in_channels": 4, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16, "num_attention_heads": 2,
           "axes_dims_rope": (4, 4, 8)} | denoiser)
    return getattr(diffusers, kind)(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=kl(1, 3, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.0609,
                                                            scaling_factor=1.5035),
        text_encoder=text_encoder(), tokenizer=word_tokenizer([], 77), text_encoder_2=encoder, tokenizer_2=tokenizer,
        transformer=transformer)


def flux2_vae() -> Any:
    return diffusers.AutoencoderKLFlux2(
        block_out_channels=(8,) * 3, down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1, norm_num_groups=4, latent_channels=4, sample_size=32).eval()


def klein(kind: str = "Flux2KleinPipeline") -> Any:
    encoder = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**qwen_text(27), head_dim=8)).eval()
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=48,
        timestep_guidance_channels=32, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False)
    return getattr(diffusers, kind)(scheduler=FlowMatchEulerDiscreteScheduler(), vae=flux2_vae(), text_encoder=encoder,
                                        tokenizer=byte_tokenizer(), transformer=transformer)


def qwen_edit(kind: str = "QwenImageEditPipeline") -> Any:
    encoder, tokenizer, processor = qwen_vl()
    transformer = diffusers.QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=16,
        guidance_embeds=False, axes_dims_rope=(8, 4, 4))
    vae = diffusers.AutoencoderKLQwenImage(base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, latents_mean=[0.0] * 4,
                                           temperal_downsample=[False, True, True], latents_std=[1.0] * 4)
    return getattr(diffusers, kind)(scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae.eval(), text_encoder=encoder, tokenizer=tokenizer,
                                    processor=processor, transformer=transformer)


def longcat() -> Any:
    encoder, tokenizer, processor = qwen_vl()
    transformer = diffusers.LongCatImageTransformer2DModel(
        patch_size=1, in_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=[4, 4, 8])
    vae = kl(16, 3, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.0609, scaling_factor=1.5035)
    return diffusers.LongCatImageEditPipeline(scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae, text_encoder=encoder,
                                              tokenizer=tokenizer, text_processor=processor, transformer=transformer)


BUILDERS: dict[str, Callable[[], Any]] = {
    "StableDiffusionXLInstructPix2PixPipeline": xl_instruct, "FluxKontextPipeline": kontext, "Flux2KleinPipeline": klein,
    "QwenImageEditPipeline": qwen_edit, "QwenImageEditPlusPipeline": lambda: qwen_edit("QwenImageEditPlusPipeline"),
    "LongCatImageEditPipeline": longcat, "FluxKontextInpaintPipeline": lambda: kontext("FluxKontextInpaintPipeline")}
MASKED: dict[str, Callable[[], Any]] = {        # built by programs and by the tests of masks
    "FluxFillPipeline": lambda: kontext("FluxFillPipeline", in_channels=4 + 4 + 64, out_channels=4),
    "Flux2KleinInpaintPipeline": lambda: klein("Flux2KleinInpaintPipeline"),
    "QwenImageEditInpaintPipeline": lambda: qwen_edit("QwenImageEditInpaintPipeline")}


QWEN = "diffusers.pipelines.qwenimage.pipeline_qwenimage_edit"


def see_small_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Qwen's and LongCat's editors see the photo at a megapixel, whatever the size of the edit: then at a sixty-fourth, for time."""
    for module in (QWEN, f"{QWEN}_plus", f"{QWEN}_inpaint", "diffusers.pipelines.longcat_image.pipeline_longcat_image_edit"):
        own = import_module(module)
        real = own.calculate_dimensions
        monkeypatch.setattr(own, "calculate_dimensions", lambda area, ratio, real=real: real(min(area, 128 * 128), ratio))


def save(kind: str, folder: Path, native: int = 128, build: Callable[[], Any] | None = None) -> Path:
    """A folder with a pipeline of this class, whose index says at which size it works."""
    torch.manual_seed(0)
    (build or (BUILDERS | MASKED)[kind])().save_pretrained(folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"native_size": native}))
    return folder
