"""A CLIP tokenizer made from a list of words: each is one token, and any other text still has tokens, byte by byte."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, cast

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

END_OF_WORD = "</w>"
SPECIAL_TOKENS = ("<|startoftext|>", "<|endoftext|>")


def word_tokenizer(words: Iterable[str], max_length: int) -> CLIPTokenizer:
    """A byte-complete CLIP tokenizer that reads each of `words` as one token; texts are cut and padded at `max_length` tokens.

    A symbol missing from the alphabet would map to the unknown token, which for CLIP is the end of the text, and what comes after it would
    not be read: so every byte is there, inside a word and at its end.
    """
    reader = CLIPTokenizer().backend_tokenizer                  # for its normaliser and its way of splitting words
    learner = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    learner.normalizer, learner.pre_tokenizer = reader.normalizer, reader.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    last_letters = [symbol + END_OF_WORD for symbol in alphabet]
    trainer = trainers.BpeTrainer(vocab_size=50_000, min_frequency=1, initial_alphabet=alphabet, end_of_word_suffix=END_OF_WORD,
                                  special_tokens=last_letters,      # numbered in order: else ties fall differently at each run
                                  show_progress=False)
    learner.train_from_iterator(sorted({word.lower() for word in words}), trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    tokens = [*alphabet, *last_letters, *("".join(pair) for pair in merges), *SPECIAL_TOKENS]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=cast(Any, merges), model_max_length=max_length)
