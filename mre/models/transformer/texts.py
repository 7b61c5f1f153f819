"""Reward texts as a transformer's condition takes them: the states of the editor's own text encoder, one text for each perspective."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mre.rewards import Reward

TEXT_TOKENS = 32            # of the text of one perspective; what is beyond is cut


class PerspectiveTexts:
    """Each perspective's text is read by itself, so that one without a wish leaves no trace in the others."""

    def __init__(self, pipeline: Any) -> None:
        """pipeline: one of diffusers that has `tokenizer` and `text_encoder`, a language model."""
        self.pipeline = pipeline

    @torch.no_grad()
    def encode(self, rewards: Sequence[Reward], padding: str = "longest") -> dict[str, Tensor]:
        """`reward_text` (B, 3, T, D) of B rewards and `reward_text_mask` (B, 3, T). padding: "longest", or "max_length" for one T of all.
        Each different text is read once."""
        rows = {text: row for row, text in enumerate(dict.fromkeys(text for reward in rewards for text in reward.texts))}
        read = self.pipeline.tokenizer(list(rows), padding=padding, max_length=TEXT_TOKENS, truncation=True, return_tensors="pt")
        encoder = self.pipeline.text_encoder
        device = self.pipeline._execution_device
        output = encoder(input_ids=read.input_ids.to(device), attention_mask=read.attention_mask.to(device), output_hidden_states=True,
                         use_cache=False, logits_to_keep=1)
        states, mask = output.hidden_states[-1], read.attention_mask.to(device).bool()           # (U, T, D), (U, T)
        places = torch.tensor([[rows[text] for text in reward.texts] for reward in rewards], device=device)       # (B, 3)
        return {"reward_text": states[places], "reward_text_mask": mask[places]}

    def said(self, reward: Reward, wished: Sequence[bool]) -> Reward:
        """The reward itself: the network's mask leaves out the texts of perspectives without a wish."""
        return reward

    def key(self, reward: Reward) -> str:
        """A name under which a cache may keep what `encode` makes of this one: the three texts."""
        return json.dumps(reward.texts, ensure_ascii=False)
