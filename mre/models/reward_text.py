"""The reward text: joined, shortened until a text encoder reads all of it, and encoded. Training and use both do it here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mre.rewards import NOTHING_WRONG, PERSPECTIVES, TEXT_SEPARATOR, Reward


class TextStates(NamedTuple):
    """What a text encoder makes of B texts."""

    tokens: Tensor      # (B, T, D)
    pooled: Tensor      # (B, D)
    mask: Tensor        # (B, T) bool, true for tokens that are not padding


def fitting_texts(rewards: Sequence[Reward], perspectives: Sequence[str], tokenizer: Any) -> list[str]:
    """The reward texts that a model with these perspectives reads: theirs, joined, such that the tokenizer cuts none.

    The released code cuts what is beyond 77 tokens, so that the third perspective is the first to be lost. Here the longest of the texts
    gives way, word by word, until all fit.
    """
    def lengths(texts: list[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(texts, truncation=False, verbose=False).input_ids]

    read = [[text for name, text in zip(PERSPECTIVES, reward.texts, strict=True) if name in perspectives] for reward in rewards]
    joined = [TEXT_SEPARATOR.join(texts) for texts in read]
    for row, length in enumerate(lengths(joined)):
        texts = read[row]
        while length > tokenizer.model_max_length:
            longest = max(range(len(texts)), key=lambda index: len(texts[index]))
            shorter = texts[longest].rpartition(" ")[0] or texts[longest][:len(texts[longest]) // 2]
            if not shorter:                     # a limit too small for three letters: the tokenizer cuts
                break
            texts[longest] = shorter
            joined[row] = TEXT_SEPARATOR.join(texts)
            [length] = lengths([joined[row]])
    return joined


def encode_texts(texts: Sequence[str], tokenizer: Any, text_encoder: Any, padding: str, device: torch.device | None = None) -> TextStates:
    """The states of B texts, each different one read once, on `device` (by default the text encoder's).

    padding: "max_length", or "longest". States before the padding do not depend on it, since the encoder is causal.
    """
    rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    read = tokenizer(list(rows), padding=padding, max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt")
    device = text_encoder.device if device is None else device
    mask = read.attention_mask.to(device) if getattr(text_encoder.config, "use_attention_mask", False) else None
    output = text_encoder(read.input_ids.to(device), attention_mask=mask)
    states = TextStates(output[0], output[1], read.attention_mask.to(device).bool())
    return states if len(rows) == len(texts) else TextStates(*(part[[rows[text] for text in texts]] for part in states))


class RewardTextEncoder:
    """The reward text of rewards as the U-Net takes it: `reward_text` pooled (B, D), or in the paper's variant of all tokens (B, T, D)
    with `reward_text_mask` (B, T)."""

    def __init__(self, config: Any, tokenizer: Any, text_encoder: Any, device: torch.device | None = None) -> None:
        """
        config: anything that has the `perspectives` and the `variant` of a U-Net
        device: where its inputs go; by default where the text encoder is
        """
        self.config, self.tokenizer, self.text_encoder, self.device = config, tokenizer, text_encoder, device

    def encode(self, rewards: Sequence[Reward], padding: str = "longest") -> dict[str, Tensor]:
        """The texts of B rewards. Nothing reads their padding, so the longest needs none; with "max_length" all have one length."""
        texts = fitting_texts(rewards, self.config.perspectives, self.tokenizer)
        states = encode_texts(texts, self.tokenizer, self.text_encoder, padding, self.device)
        if self.config.variant == "paper":
            return {"reward_text": states.tokens, "reward_text_mask": states.mask}
        return {"reward_text": states.pooled}

    def said(self, reward: Reward, wished: Sequence[bool]) -> Reward:
        """The reward whose texts are read where there is a wish for some of the perspectives only: nothing is said of the others, since
        the texts are read as one."""
        return replace(reward, texts=tuple(text if told else NOTHING_WRONG for text, told in zip(reward.texts, wished, strict=True)))

    def key(self, reward: Reward) -> str:
        """A name under which a cache may keep what `encode` makes of this one: the three texts."""
        return json.dumps(reward.texts, ensure_ascii=False)
