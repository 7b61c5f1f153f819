"""More editing pipelines of diffusers at a tiny size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import FlowMatchEulerDiscreteScheduler

from mre.editors.compatibility import class_of
from mre.embedded.tokenizer import word_tokenizer
from tests.editors.tiny_diffusers import (
    CHAT,
    SPECIAL,
    WORDS,
    byte_tokenizer,
    flux2_vae,
    kl,
    klein,
    picture_processor,
    qwen_text,
    qwen_vl,
)
from tests.tiny_models import text_encoder

GLM_CHAT = CHAT.replace("{{ part.get('text', '') }}",
                        "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}"
                        "{{ part['text'] }}{% endif %}")


def qwen3_vl(layers: int = 2) -> tuple[Any, Any, Any]:
    """Qwen3-VL, its tokenizer and its processor."""
    ids = {name: 256 + place for place, name in enumerate(SPECIAL)}
    config = transformers.Qwen3VLConfig(
        text_config=qwen_text(layers) | {"head_dim": 8, "rope_scaling": {"rope_type": "default", "mrope_section": [1, 1, 2],
                                                                   "mrope_interleaved": True}},
        vision_config={"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16, "patch_size": 16,
                       "num_position_embeddings": 16, "deepstack_visual_indexes": [0]},
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"], vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"])
    tokenizer = byte_tokenizer()
    return (transformers.Qwen3VLForConditionalGeneration(config).eval(), tokenizer,
            picture_processor(tokenizer, transformers.Qwen3VLProcessor, patch=16))


def wan(latent: int = 4) -> Any:
    return diffusers.AutoencoderKLWan(base_dim=3, z_dim=latent, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
                                      temperal_downsample=[False, True, True], latents_mean=[0.0] * latent,
                                      latents_std=[1.0] * latent).eval()


def joy(kind: str, model: str) -> Any:
    encoder, tokenizer, processor = qwen3_vl()
    transformer = getattr(diffusers, model)(in_channels=4, out_channels=4, hidden_size=32, num_attention_heads=2, text_dim=16,
                                            num_layers=1, rope_dim_list=[4, 6, 6])
    return getattr(diffusers, kind)(scheduler=FlowMatchEulerDiscreteScheduler(), vae=wan(), text_encoder=encoder, tokenizer=tokenizer,
                                    transformer=transformer, processor=processor)


def qwen_2_1() -> Any:
    encoder, _, processor = qwen3_vl()
    processor.image_processor.size = {"shortest_edge": 32 * 32, "longest_edge": 1024 * 1024}      # pixels: it must not shrink a picture
    transformer = diffusers.QwenImage21Transformer2DModel(in_channels=4, out_channels=4, num_layers=1, attention_head_dim=16,
                                                          num_attention_heads=2, context_in_dim=16, axes_dims_rope=(4, 6, 6))
    vae = diffusers.AutoencoderKLQwenImage21(base_dim=8, decoder_base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1, 1], num_res_blocks=1,
                                             latents_mean=[0.0] * 4, latents_std=[1.0] * 4)
    return diffusers.QwenImage21Pipeline(scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae.eval(), text_encoder=encoder,
                                         processor=processor, transformer=transformer)


def kandinsky() -> Any:
    encoder, _, processor = qwen_vl()
    transformer = diffusers.Kandinsky5Transformer3DModel(
        in_visual_dim=4, out_visual_dim=4, in_text_dim=16, in_text_dim2=32, time_dim=16, model_dim=16, ff_dim=32, num_text_blocks=1,
        num_visual_blocks=1, axes_dims=(2, 2, 4), visual_cond=True)
    for value in transformer.parameters():          # its gates begin shut: no text would reach the picture
        if not value.any():
            torch.nn.init.normal_(value, std=0.1)
    return diffusers.Kandinsky5I2IPipeline(
        transformer=transformer, vae=kl(levels=4), text_encoder=encoder, tokenizer=processor, text_encoder_2=text_encoder(),
        tokenizer_2=word_tokenizer([], 77), scheduler=FlowMatchEulerDiscreteScheduler())


def fibo_edit() -> Any:
    encoder = transformers.SmolLM3ForCausalLM(transformers.SmolLM3Config(**qwen_text() | {"vocab_size": 128_001}, pad_token_id=0)).eval()
    transformer = diffusers.BriaFiboTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32,
        text_encoder_dim=16, axes_dims_rope=[4, 6, 6])
    return diffusers.BriaFiboEditPipeline(transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(), vae=wan(16),
                                          text_encoder=encoder, tokenizer=byte_tokenizer())


class ChatsAlone(transformers.ProcessorMixin):
    """Saves what Pixtral's processor saves of texts: it cannot be made without torchvision."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def save_pretrained(self, folder: str, **_: Any) -> None:
        self.tokenizer.save_pretrained(folder)
        (Path(folder) / "chat_template.jinja").write_text(CHAT)


def flux2() -> Any:
    text = {"vocab_size": WORDS, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 30, "num_attention_heads": 2,
            "num_key_value_heads": 2, "head_dim": 8, "model_type": "mistral"}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 16,
              "image_size": 64, "model_type": "pixtral"}
    encoder = transformers.Mistral3ForConditionalGeneration(transformers.Mistral3Config(
        text_config=text, vision_config=vision, image_token_index=256 + SPECIAL.index("<|image_pad|>"))).eval()
    tokenizer = byte_tokenizer()
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=48,
        timestep_guidance_channels=32, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=True)
    processor = ChatsAlone(tokenizer)
    processor.__class__ = type("PixtralProcessor", (ChatsAlone,), {"__module__": "transformers.models.pixtral.processing_pixtral"})
    return diffusers.Flux2Pipeline(scheduler=FlowMatchEulerDiscreteScheduler(), vae=flux2_vae(), text_encoder=encoder,
                                   tokenizer=processor, transformer=transformer)


def fibo_2() -> Any:
    encoder, _, processor = qwen3_vl(layers=36)
    transformer = diffusers.BriaFibo2Transformer2DModel(
        in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, cap_feat_dim=48, injection_layer_ids=(1,), perceiver_num_layers=1,
        min_num_gist_tokens=8, max_num_gist_tokens=16, gist_step=8, axes_dims=(4, 6, 6))
    return diffusers.BriaFibo2Pipeline(transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
                                       vae=flux2_vae(), text_encoder=encoder, processor=processor)


def z_image() -> Any:
    encoder = transformers.Qwen3Model(transformers.Qwen3Config(**qwen_text(), head_dim=8)).eval()
    transformer = diffusers.ZImageTransformer2DModel(in_channels=4, dim=32, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2,
                                                     cap_feat_dim=16, siglip_feat_dim=16, axes_dims=[4, 6, 6])
    siglip = transformers.Siglip2VisionModel(transformers.Siglip2VisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, patch_size=16, num_patches=16)).eval()
    vae = kl(4, 4, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.0609, scaling_factor=1.5035)
    return diffusers.ZImageOmniPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae, text_encoder=encoder, tokenizer=byte_tokenizer(), transformer=transformer,
        siglip=siglip, siglip_processor=transformers.Siglip2ImageProcessorPil(patch_size=16, max_num_patches=16))


def cosmos() -> Any:
    transformer = diffusers.Cosmos3OmniTransformer(
        head_dim=8, hidden_size=16, intermediate_size=16, latent_channel=4, num_attention_heads=2, num_hidden_layers=1,
        num_key_value_heads=2, patch_latent_dim=16, vocab_size=WORDS, rope_axes_dim=(2, 1, 1))
    return diffusers.Cosmos3OmniPipeline(
        transformer=transformer, text_tokenizer=byte_tokenizer(), vae=wan(), enable_safety_checker=False,
        scheduler=diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0))


def dreamlite(kind: str) -> Any:
    encoder, tokenizer, processor = qwen3_vl()
    unet = diffusers.DreamLiteUNetModel(
        in_channels=4, out_channels=4, block_out_channels=(16, 32, 32), layers_per_block=1, cross_attention_dim=16, attention_head_dim=8,
        norm_num_groups=4, encoder_hid_dim=16, encoder_hid_dim_type="text_proj")
    vae = diffusers.AutoencoderTiny(latent_channels=4, encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4,
                                    num_encoder_blocks=(1,) * 4, num_decoder_blocks=(1,) * 4)
    return getattr(diffusers, kind)(text_encoder=encoder, tokenizer=tokenizer, processor=processor, vae=vae.eval(), unet=unet,
                                    scheduler=FlowMatchEulerDiscreteScheduler())


def chrono_edit() -> Any:
    umt5 = transformers.UMT5Config(vocab_size=WORDS, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    vision = transformers.CLIPVisionConfig(hidden_size=4, projection_dim=4, num_hidden_layers=2, num_attention_heads=2, image_size=32,
                                           intermediate_size=16, patch_size=8)
    transformer = diffusers.ChronoEditTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=36, out_channels=16, text_dim=32, freq_dim=16,
        ffn_dim=32, num_layers=1, image_dim=4)
    vae = diffusers.AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
                                     temperal_downsample=[False, True, True])
    pictures = transformers.CLIPImageProcessorPil(crop_size={"height": 32, "width": 32}, size={"shortest_edge": 32})
    return diffusers.ChronoEditPipeline(
        tokenizer=byte_tokenizer(), text_encoder=transformers.UMT5EncoderModel(umt5).eval(), transformer=transformer, vae=vae.eval(),
        image_encoder=transformers.CLIPVisionModelWithProjection(vision).eval(), image_processor=pictures,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0))


def omnigen() -> Any:
    scales = [1.0] * 4
    transformer = diffusers.OmniGenTransformer2DModel(
        hidden_size=16, num_attention_heads=2, num_key_value_heads=2, intermediate_size=32, num_layers=1, pad_token_id=0, vocab_size=WORDS,
        rope_scaling={"long_factor": scales, "short_factor": scales}, pos_embed_max_size=64, time_step_dim=16)
    return class_of("OmniGenPipeline")(transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
                                       vae=kl(levels=4), tokenizer=byte_tokenizer())


def glm_image() -> Any:
    ids = {name: 256 + place for place, name in enumerate(SPECIAL)}
    codes = 64                                      # pictures in tokens, which come first in the vocabulary
    config = transformers.GlmImageConfig(
        text_config=qwen_text() | {
            "vision_vocab_size": codes, "eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"], "initializer_range": 0.5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2], "partial_rotary_factor": 1.0}},
        vision_config={"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "image_size": 256},
        vq_config={"embed_dim": 16, "num_embeddings": codes, "latent_channels": 16}, image_token_id=ids["<|image_pad|>"],
        image_start_token_id=ids["<|vision_start|>"], image_end_token_id=ids["<|vision_end|>"])
    tokenizer = byte_tokenizer()
    tokenizer = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, pad_token=SPECIAL[0], eos_token=SPECIAL[2],
                                bos_token="<|vision_start|>", extra_special_tokens={
                                    "image_token": "<|image_pad|>", "grid_bos_token": "<|im_start|>", "grid_eos_token": "<|video_pad|>"})
    pictures = transformers.GlmImageImageProcessorPil(patch_size=16, merge_size=1, temporal_patch_size=1, min_pixels=32 * 32,
                                                      max_pixels=256 * 256)
    transformer = diffusers.GlmImageTransformer2DModel(
        in_channels=4, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2, text_embed_dim=16, time_embed_dim=16,
        condition_dim=8, prior_vq_quantizer_codebook_size=codes)
    letters = transformers.T5Config(vocab_size=384, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    return diffusers.GlmImagePipeline(
        tokenizer=transformers.ByT5Tokenizer(), processor=transformers.GlmImageProcessor(pictures, tokenizer, chat_template=GLM_CHAT),
        text_encoder=transformers.T5EncoderModel(letters).eval(), vae=kl(levels=4, latents_mean=[0.0] * 4, latents_std=[1.0] * 4),
        vision_language_encoder=transformers.GlmImageForConditionalGeneration(config).eval(), transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler())


MORE: dict[str, Callable[[], Any]] = {
    "Flux2KleinKVPipeline": lambda: klein("Flux2KleinKVPipeline"),
    "Flux2Pipeline": flux2, "ZImageOmniPipeline": z_image, "Cosmos3OmniPipeline": cosmos, "QwenImage21Pipeline": qwen_2_1,
    "Kandinsky5I2IPipeline": kandinsky, "OmniGenPipeline": omnigen, "GlmImagePipeline": glm_image,
    "BriaFibo2Pipeline": fibo_2,
    "BriaFiboEditPipeline": fibo_edit, "ChronoEditPipeline": chrono_edit,
    "JoyImageEditPipeline": lambda: joy("JoyImageEditPipeline", "JoyImageEditTransformer3DModel"),
    "JoyImageEditPlusPipeline": lambda: joy("JoyImageEditPlusPipeline", "JoyImageEditPlusTransformer3DModel"),
    "DreamLitePipeline": lambda: dreamlite("DreamLitePipeline"), "DreamLiteMobilePipeline": lambda: dreamlite("DreamLiteMobilePipeline")}
