"""Tiny transformers of FLUX.2 and Qwen-Image, stock and with a reward condition, and calls of them as the stock pipelines make them."""

from __future__ import annotations

import copy
from typing import Any

import torch
from diffusers import Flux2Transformer2DModel, QwenImageTransformer2DModel

from mre.models.transformer.models import with_condition

SIDE, LETTERS, TEXT, WIDTH = 4, 6, 12, 16           # tokens of a side, of the instruction; width of the states; of the reward's tokens
FLUX = {"in_channels": 16, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16, "num_attention_heads": 2,
        "joint_attention_dim": TEXT, "timestep_guidance_channels": 32, "axes_dims_rope": (4, 4, 4, 4), "guidance_embeds": False}
QWEN = {"patch_size": 2, "in_channels": 16, "out_channels": 4, "num_layers": 2, "attention_head_dim": 16, "num_attention_heads": 2,
        "joint_attention_dim": TEXT, "guidance_embeds": False, "axes_dims_rope": (8, 4, 4)}
KINDS = ("flux", "qwen", "qwen-plus")               # the last with the time of its own for the photo's tokens that Edit-2511 has
KEYWORDS = {"flux": "joint_attention_kwargs", "qwen": "attention_kwargs", "qwen-plus": "attention_kwargs"}


def stock(kind: str) -> Any:
    """A stock transformer with random weights, the same at every call."""
    torch.manual_seed(0)
    model = Flux2Transformer2DModel(**FLUX) if kind == "flux" else QwenImageTransformer2DModel(**QWEN, zero_cond_t=kind == "qwen-plus")
    return model.eval()


def conditioned(kind: str, acts: bool = False, **settings: Any) -> Any:
    """The same with a reward condition: untrained, or with layers at random so that it acts."""
    model = with_condition(stock(kind), **{"reward_text_dim": TEXT, "reward_width": WIDTH, "reward_num_heads": 2,
                                           "reward_sinusoid_channels": 8, **settings})
    if acts:
        for name, parameter in model.named_parameters():
            if name in ("reward_reader.out.weight", "reward_condition.term.linear_2.weight"):
                torch.nn.init.normal_(parameter)
    return model


def inputs(kind: str, batch: int = 2) -> dict[str, Any]:
    """One step of an edit: noise and photo as image tokens."""
    generator = torch.Generator().manual_seed(1)
    given: dict[str, Any] = {"hidden_states": torch.randn(batch, 2 * SIDE**2, 16, generator=generator),
                             "encoder_hidden_states": torch.randn(batch, LETTERS, TEXT, generator=generator),
                             "timestep": torch.full((batch,), 0.7)}
    if kind == "flux":
        ids = torch.cartesian_prod(torch.tensor([0, 10]), torch.arange(SIDE), torch.arange(SIDE), torch.arange(1))
        text = torch.cartesian_prod(torch.arange(1), torch.arange(1), torch.arange(1), torch.arange(LETTERS))
        return given | {"img_ids": ids.expand(batch, -1, -1), "txt_ids": text.expand(batch, -1, -1)}
    mask = torch.ones(batch, LETTERS, dtype=torch.long)
    mask[0, -2:] = 0
    return given | {"img_shapes": [[(1, SIDE, SIDE)] * 2] * batch, "encoder_hidden_states_mask": mask}


def reward(scores: Any = ((5, 0, 3), (1, 2, 4)), tokens: int = 3, read: int = 2) -> dict[str, torch.Tensor]:
    """A reward of each sample, whose texts have `read` tokens each and padding up to `tokens`."""
    scores = torch.tensor(scores, dtype=torch.float32)
    text = torch.randn(len(scores), 3, tokens, TEXT, generator=torch.Generator().manual_seed(2))
    mask = (torch.arange(tokens) < read).expand(len(scores), 3, -1)
    return {"reward_scores": scores, "reward_text": text, "reward_text_mask": mask}


def call(model: Any, kind: str, negative: Any = None, given: dict[str, Any] | None = None, **wish: Any) -> torch.Tensor:
    """What the model makes of a step, (B, tokens, C)."""
    extra = {**({"reward": wish} if wish else {}), **({"negative_reward": negative} if negative else {})}
    return model(**(given or copy.copy(inputs(kind))), **{KEYWORDS[kind]: extra or None}, return_dict=False)[0]
