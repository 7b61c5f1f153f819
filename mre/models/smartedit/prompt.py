"""What the language model reads: the conversation around an instruction, and a tokenizer that splits it as in SmartEdit's training.

The answer, too, is given: in training it was always the same sentence and 32 tokens, whose states are what is wanted, so that one forward
pass is enough and nothing needs to be generated. Where the model is to find the sentence itself, it does so greedily, and the 32 tokens
follow in their order.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mre.errors import ModelError, SettingsError
from mre.models.quiet import quiet_libraries

PICTURE = "<img_0>"                 # in the question: stands for the picture. In the answer: the first of those that are read
IMAGE_TOKENS = tuple(f"<img_{number}>" for number in range(32))
NEW_TOKENS = ("<img>", "<im_start>", "<im_end>", *IMAGE_TOKENS)        # in the order of their ids, after the base vocabulary
SPECIAL = ("<im_start>", "<im_end>")
BASE_VOCABULARY = 32_000            # of LLaMA; the released models' is 35 more
BARRED = ("<img>", *SPECIAL, "<s>", "<unk>")        # what no answer holds
END = "</s>"
MOST_SAID = 64                      # tokens of an answer before its 32: twice as many as the longest sentence of training
MOST_TOKENS = 256                   # of question and answer together, as in training
SYSTEM = ("A chat between a curious user and an artificial intelligence assistant. The assistant can generate <img>. The assistant needs "
          "to conduct the image to image translation task based on given image and text information. The assistant gives helpful, "
          "detailed, and polite answers to the user's questions.")
FRAME = SYSTEM + " USER: {} ASSISTANT:"


@dataclass(frozen=True)
class Template:
    """A question and its answer; training drew among thirty of them."""

    question: str               # {} stands for picture and instruction
    answer: str                 # before the 32 tokens
    frame: str = FRAME          # around the question: {} stands for it
    quoted: str = '"<im_start> <img_0> <im_end>{}"'         # picture and instruction: {} stands for the latter


TEMPLATES = {                   # by their place among the thirty: those that are known to the letter
    0: Template("Could you produce an image based on the previous image and text description {}?",
                "Certainly, I can create the image you requested"),
    3: Template("I'm looking for a new image that matches the conditional image and caption {}.", "Understood, the image you need is"),
    13: Template("Please generate a graphic that corresponds to the earlier visual and description {}.",
                 "Certainly, I can generate the graphic you requested"),
    27: Template("Could you design a visual that captures the former picture and message {}?",
                 "Yes, I can design the visual that captures the former picture and message"),
    28: Template("Please generate a visual that represents the former picture and message {}.",
                 "Certainly, I can generate the visual you're looking for"),
    29: Template("I need a visual that embodies the former picture and message {}. Can you design it?",
                 "Of course, I have designed the visual that embodies the former picture and message"),
    # not of the thirty: for small models that are trained from nothing, to which polite words say nothing
    100: Template("{}", "", frame="{}", quoted="<im_start> <img_0> <im_end>{}")}
BARE_TEMPLATE = 100
DEFAULT_TEMPLATE = 28           # the one that the 7B model is known to answer as it should

# Ids of the default question with the original vocabulary, as a user of the 7B model has published them, before and after an instruction.
KNOWN_START = (1, 319, 13563, 1546, 263, 12758, 1404, 322, 385, 23116, 21082, 20255, 29889, 450, 20255, 508, 5706, 32000, 869, 450, 20255,
               4225, 304, 7512, 278, 1967, 304, 1967, 13962, 3414, 2729, 373, 2183, 1967, 322, 1426, 2472, 29889, 450, 20255, 4076, 8444,
               29892, 13173, 29892, 322, 1248, 568, 6089, 304, 278, 1404, 29915, 29879, 5155, 29889, 3148, 1001, 29901, 3529, 5706, 263,
               7604, 393, 11524, 278, 4642, 7623, 322, 2643, 376, 32001, 32003, 32002)
KNOWN_ANSWER = (315, 13946, 368, 29892, 306, 508, 5706, 278, 7604, 366, 29915, 276, 3063, 363, *range(32003, 32035), 2)


def question(instruction: str, template: int = DEFAULT_TEMPLATE) -> str:
    """The conversation up to where the answer begins."""
    one = TEMPLATES[template]
    return one.frame.format(one.question.format(one.quoted.format(instruction)))


def conversation(instruction: str, template: int = DEFAULT_TEMPLATE) -> str:
    """The question with its answer and its end."""
    return f"{question(instruction, template)} {TEMPLATES[template].answer} {' '.join(IMAGE_TOKENS)}{END}"


def read_tokenizer(folder: Path) -> Any:
    """LLaMA's tokenizer from a folder with `tokenizer.model` or `tokenizer.json`, with the new tokens added where they are not there.

    Raises ModelError for a folder that has none, and, naming the first position that differs, for one that does not split as it should.
    """
    from transformers import AddedToken, LlamaTokenizer

    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        raise ModelError(f"{folder / 'tokenizer.model'} is missing: the tokenizer of LLaMA or Vicuna")
    with quiet_libraries():
        try:        # `legacy`: each piece of text begins with a space of its own, as the tokenizers of that time had it
            tokenizer = LlamaTokenizer.from_pretrained(folder, local_files_only=True, legacy=True, add_bos_token=True)
        except Exception as error:              # the libraries below raise bare Exceptions for a damaged file
            raise ModelError(f"{folder} cannot be read: {str(error).strip().splitlines()[0]}") from error
    tokenizer.add_tokens([AddedToken(token, lstrip=True, rstrip=True, normalized=False, special=token in SPECIAL)
                          for token in NEW_TOKENS])
    check_tokenizer(tokenizer, str(folder))
    return tokenizer


def check_tokenizer(tokenizer: Any, where: str) -> None:
    """Raise ModelError for a tokenizer whose ids are not those that the weights were trained with."""
    base = len(tokenizer) - len(NEW_TOKENS)
    ids = tokenizer.convert_tokens_to_ids(list(NEW_TOKENS))
    if ids != list(range(base, base + len(NEW_TOKENS))):
        raise ModelError(f"{where}: the tokens {NEW_TOKENS[0]} to {NEW_TOKENS[-1]} must be the last of the vocabulary, in this order; "
                         f"{NEW_TOKENS[0]} is {ids[0]} of {len(tokenizer)}")
    if base != BASE_VOCABULARY:                 # a small one, for tests: nothing is known of its ids
        return
    found = tokenizer.encode(conversation("wolf"))
    for known, part, first in ((KNOWN_START, found[:len(KNOWN_START)], 0),
                               (KNOWN_ANSWER, found[-len(KNOWN_ANSWER):], len(found) - len(KNOWN_ANSWER))):
        for place, (expected, got) in enumerate(zip(known, part, strict=False)):
            if expected != got:
                raise ModelError(f"{where}: this tokenizer does not split text as SmartEdit's does: token {first + place} of the question "
                                 f"is {got}, it must be {expected}")


def encode(instruction: str, tokenizer: Any, template: int = DEFAULT_TEMPLATE) -> list[int]:
    """Ids of the conversation about an instruction. Raises SettingsError for one that holds tokens of the model's own, or is too long."""
    for token in (*NEW_TOKENS, *(str(added) for added in tokenizer.added_tokens_decoder.values())):
        if token in instruction:
            raise SettingsError(f"the instruction holds {token}, which this model reads as a sign of its own; write it in another way")
    ids = tokenizer.encode(conversation(instruction, template))
    if len(ids) > MOST_TOKENS:
        room = MOST_TOKENS - len(tokenizer.encode(conversation("", template)))
        raise SettingsError(f"the instruction has about {len(ids) - MOST_TOKENS + room} tokens, and this model reads {room}; shorten it")
    return ids
