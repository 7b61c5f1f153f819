"""A vision-language model as a judge's body: Qwen2.5-VL or Qwen3-VL reads both pictures and the instruction, heads read its last state.

The model stays as it is, or learns through low-rank adapters (LoRA). A judge's folder holds the heads and the adapters; the model itself
is named in `judge.json` and read from where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mre.device import best_device
from mre.errors import JudgeError
from mre.judge.reward_models.heads import RewardHeads, Scores
from mre.rewards import PERSPECTIVES

MODELS = {"qwen2_5_vl": "Qwen2_5_VLModel", "qwen3_vl": "Qwen3VLModel"}
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")          # of the decoder's attention
QUESTION = ("The second picture is the first one after this edit was asked for: {instruction}\n"
            "How far was the edit followed, how well was everything else preserved, and how good does the picture look?")


@dataclass(frozen=True)
class VlmConfig:
    """What a VlmJudge is made of."""

    base: str = "Qwen/Qwen2.5-VL-3B-Instruct"       # folder or hub id of the model
    side: int = 448                                 # pictures are seen at about side * side pixels, in their own aspect
    lora_rank: int = 0                              # 0: only the heads are trained
    hidden: int = 256                               # of the heads
    perspectives: tuple[str, ...] = PERSPECTIVES


class VlmJudge(nn.Module):
    """The model without its language head, frozen but for adapters, and the heads that every judge has."""

    kind = "vlm"

    def __init__(self, config: VlmConfig) -> None:
        """Raises JudgeError where the model cannot be had, or is of another kind."""
        super().__init__()
        self.config = config
        self.model, self.tokenizer, self.image_processor = _opened(config.base)
        self.model.requires_grad_(False)
        if config.lora_rank:
            _add_adapters(self.model.language_model, config.lora_rank)
        self.heads = RewardHeads(self.model.config.text_config.hidden_size, config.perspectives, config.hidden)
        patch = self.model.config.vision_config
        self.factor = patch.patch_size * patch.spatial_merge_size               # pixels to a side of one token
        self.image_id = self.model.config.image_token_id

    def kept_state(self) -> dict[str, Tensor]:
        """What a judge's folder holds: everything that can be trained."""
        trained = {name for name, value in self.named_parameters() if value.requires_grad}
        return {name: value for name, value in self.state_dict().items() if name in trained}

    def seen(self, picture: Image.Image) -> np.ndarray:
        """A picture with sides that are whole tokens, (H, W, 3) uint8."""
        scale = self.config.side / (picture.width * picture.height) ** 0.5
        width, height = (max(1, round(length * scale / self.factor)) * self.factor for length in picture.size)
        return np.asarray(picture.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))

    def inputs(self, originals: Sequence[np.ndarray], editeds: Sequence[np.ndarray], instructions: Sequence[str]) -> dict[str, Tensor]:
        """Token ids, filled up on the left, and the patches of all pictures in the order in which the ids speak of them."""
        device = self.heads.log_half_width.device
        pairs = [picture for pair in zip(originals, editeds, strict=True) for picture in pair]
        made = self.image_processor(images=[Image.fromarray(picture) for picture in pairs], do_resize=False, return_tensors="pt")
        merged = self.model.config.vision_config.spatial_merge_size**2
        counts = (made["image_grid_thw"].prod(-1) // merged).tolist()
        rows = [self._ids(text, counts[2 * number:2 * number + 2]) for number, text in enumerate(instructions)]
        length = max(map(len, rows))
        ids = torch.tensor([[self.tokenizer.pad_token_id] * (length - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
        return {name: value.to(device) for name, value in {
            "input_ids": ids, "attention_mask": mask, "pixel_values": made["pixel_values"], "image_grid_thw": made["image_grid_thw"],
            "mm_token_type_ids": (ids == self.image_id).long()}.items()}

    def _ids(self, instruction: str, counts: Sequence[int]) -> list[int]:
        image = self.tokenizer.convert_ids_to_tokens(self.image_id)
        question = QUESTION.format(instruction=instruction.replace(image, ""))
        content = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": question}]
        text = self.tokenizer.apply_chat_template([{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True)
        ids: list[int] = []
        pictures = iter(counts)
        for one in self.tokenizer(text).input_ids:
            ids += [one] * (next(pictures) if one == self.image_id else 1)
        return ids

    def forward(self, **inputs: Tensor) -> Scores:
        """`inputs` as `inputs` makes them."""
        self.model.rope_deltas = None           # of the batch before
        pixels = inputs.pop("pixel_values").to(self.model.dtype)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.config.lora_rank > 0):
            last = self.model(pixel_values=pixels, use_cache=False, **inputs).last_hidden_state[:, -1]          # (B, H)
        return self.heads(last.float())


def build(sizes: dict[str, Any], perspectives: tuple[str, ...]) -> VlmJudge:
    """A judge of these sizes, heads and adapters drawn at random. Raises TypeError for a size that there is not."""
    return VlmJudge(VlmConfig(**sizes, perspectives=perspectives))


def _opened(base: str) -> tuple[Any, Any, Any]:
    import transformers
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    try:
        config: Any = transformers.AutoConfig.from_pretrained(base)
        if config.model_type not in MODELS:
            raise JudgeError(f"{base}: is a {config.model_type}; a judge's body is one of {', '.join(MODELS)}")
        kind = getattr(transformers, MODELS[config.model_type], None)
        if kind is None:
            raise JudgeError(f"this version of transformers has no {MODELS[config.model_type]}")
        dtype = torch.bfloat16 if best_device() == "cuda" else torch.float32
        return (kind.from_pretrained(base, dtype=dtype), transformers.AutoTokenizer.from_pretrained(base),
                Qwen2VLImageProcessorPil.from_pretrained(base))
    except (OSError, ValueError, KeyError) as error:
        where = "folder" if Path(base).is_dir() else "model on this machine or the hub"
        raise JudgeError(f"{base}: no whole {where} ({' '.join(str(error).split())[:200]})") from error


def _add_adapters(decoder: nn.Module, rank: int) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise JudgeError("lora_rank needs the package peft; pip install peft") from error
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(TARGETS)), decoder)
    for name, parameter in decoder.named_parameters():
        parameter.requires_grad_("lora_" in name)
