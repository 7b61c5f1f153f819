"""A fresh small SmartEdit: the same classes as the released models', of a size that trains on any machine, and a plain editor of its size.

A vision tower, a language model, Q-Former and interaction module start at random beside the embedded editor with the generic head, and are
trained with it, end to end. Words alone are what the language model reads: it is asked without the sentences around an instruction.
"""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AddedToken, CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaModel, LlamaTokenizer

from mre.data.scenes.looking import looking_words
from mre.embedded.build import TEXT_TOKENS, build_parts
from mre.embedded.generic_unet import GenericRewardUNet
from mre.embedded.vocabulary import vocabulary
from mre.models.smartedit.connector import SmartEditConnector, VisionProjector
from mre.models.smartedit.prompt import BARE_TEMPLATE, NEW_TOKENS, SPECIAL
from mre.pipeline import RewardEditPipeline
from mre.smartedit_pipeline import SmartEditPipeline

WIDTH = (48, 64, 96)            # channels of the U-Net's levels
CONTEXT = 128                   # width of what the U-Net attends to
VISION, VISION_LAYERS = 96, 4   # the last layer of a vision tower is not looked at
PATCHES = 8                     # a side of the picture, for the vision tower as for the U-Net
LANGUAGE, LANGUAGE_LAYERS, LANGUAGE_HEADS = 128, 2, 4
PLAIN_WIDTH, PLAIN_LAYERS = (64, 80, 112), 3        # U-Net and text encoder of a plain editor with as many parameters


def fresh_smart_pipeline(config: Any, **switches: Any) -> SmartEditPipeline:
    """An untrained small SmartEdit of the width and size that a TrainConfig names."""
    parts = parts_of_both(config, width=config.width or WIDTH, text_layers=1, **switches)
    tokenizer = small_llama_tokenizer()
    tower = CLIPVisionModel(CLIPVisionConfig(
        hidden_size=VISION, intermediate_size=3 * VISION, num_hidden_layers=VISION_LAYERS, num_attention_heads=LANGUAGE_HEADS,
        image_size=config.resolution, patch_size=config.resolution // PATCHES))
    language_model = LlamaModel(LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=LANGUAGE, intermediate_size=3 * LANGUAGE, num_hidden_layers=LANGUAGE_LAYERS,
        num_attention_heads=LANGUAGE_HEADS, num_key_value_heads=LANGUAGE_HEADS, max_position_embeddings=512, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, rms_norm_eps=1e-6))
    connector = SmartEditConnector(
        language_width=LANGUAGE, vision_width=VISION, queries=TEXT_TOKENS, query_width=CONTEXT, query_heads=4, query_hidden=3 * CONTEXT,
        query_layers=2, unet_channels=parts["unet"].config.block_out_channels[0], interaction_heads=4, interaction_hidden=2 * VISION,
        interaction_depth=2, dropout=0.0)
    parts["size_rule"] = "square"
    return SmartEditPipeline(**parts, vision_tower=tower, projector=VisionProjector(VISION, LANGUAGE),
                             language_model=language_model, llm_tokenizer=tokenizer, connector=connector, template=BARE_TEMPLATE)


def fresh_plain_pipeline(config: Any, **switches: Any) -> RewardEditPipeline:
    """An untrained plain editor with about as many parameters, whose instructions are read without looking."""
    return RewardEditPipeline(**parts_of_both(config, width=config.width or PLAIN_WIDTH, text_layers=PLAIN_LAYERS, **switches))


def parts_of_both(config: Any, **settings: Any) -> dict[str, Any]:
    """What both have: an embedded editor's parts, in cells as large as the vision tower's patches."""
    return build_parts(words=known_words(), native_size=config.resolution, patch_size=config.resolution // PATCHES,
                       unet_class=GenericRewardUNet, text_width=CONTEXT, **settings)


def known_words() -> frozenset[str]:
    """What the tokenizers know whole."""
    return vocabulary() | looking_words()


def small_llama_tokenizer() -> LlamaTokenizer:
    """A tokenizer of LLaMA's kind that reads each of `known_words` as one token, other text by letters or bytes, and SmartEdit's own
    tokens as their own."""
    learner = Tokenizer(models.BPE(byte_fallback=True))
    learner.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    learner.train_from_iterator(sorted(known_words()), trainers.BpeTrainer(vocab_size=50_000, min_frequency=1, special_tokens=special,
                                                                     show_progress=False))
    learned = json.loads(learner.to_str())["model"]
    tokenizer = LlamaTokenizer(vocab=learned["vocab"], merges=[tuple(pair) for pair in learned["merges"]], legacy=True, add_bos_token=True)
    tokenizer.add_tokens([AddedToken(token, lstrip=True, rstrip=True, normalized=False, special=token in SPECIAL)
                          for token in NEW_TOKENS])
    return tokenizer
