"""SmartEdit's instruction encoder: a language model reads picture and instruction, in one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from mre.imaging import pixel_digest
from mre.models.instruction import NULL, CLIPInstructionEncoder, EditCondition
from mre.models.smartedit.connector import LanguageHead, refuse_not_finite
from mre.models.smartedit.prompt import BARRED, DEFAULT_TEMPLATE, END, IMAGE_TOKENS, MOST_SAID, MOST_TOKENS, PICTURE, encode, question

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
LAYER = -2                  # of the vision tower, whose states are the picture's features
PADDING = 0                 # id of what fills shorter conversations; nothing looks at it


@dataclass(frozen=True)
class Readers:
    """What reads picture and instruction: components of a pipeline."""

    vision_tower: Any           # CLIPVisionModel
    projector: Any              # VisionProjector
    language_model: Any         # LlamaModel
    llm_tokenizer: Any          # LlamaTokenizer with SmartEdit's tokens
    connector: Any              # SmartEditConnector

    @property
    def are_trained(self) -> bool:
        """Whether a training changes any of them."""
        return any(parameter.requires_grad for part in (self.vision_tower, self.projector, self.language_model, self.connector)
                   for parameter in part.parameters())


class LlavaInstructionEncoder:
    """The picture's patches and the instruction go through the language model, whose states of 32 tokens go through the connector.
    No instruction is that of the CLIP text encoder."""

    reads_images = True

    def __init__(self, readers: Readers, null: CLIPInstructionEncoder, device: torch.device | None = None,
                 template: int = DEFAULT_TEMPLATE, head: LanguageHead | None = None) -> None:
        """
        device  where inputs go; by default where the language model is
        head    what the language model decodes its answer with, greedily; none = the answer is given
        """
        self.readers, self.null, self.template, self.head = readers, null, template, head
        self.device = readers.language_model.device if device is None else device

    def encode(self, instructions: Sequence[str], images: Any = None) -> EditCondition:
        """B instructions with their B pictures; residuals are (B, C, g, g) where the vision tower sees g x g patches.

        Readers that are being trained are read with gradients. Raises SettingsError for an instruction that cannot be read, ModelError
        where numbers are no longer finite.
        """
        ids = [encode(text, self.readers.llm_tokenizer, self.template) for text in instructions]
        pictures = as_pictures(images)
        if len(pictures) != len(ids):
            raise ValueError(f"there are {len(ids)} instructions and {len(pictures)} pictures")
        learns = self.readers.are_trained and torch.is_grad_enabled()
        with torch.inference_mode(False), torch.set_grad_enabled(learns):          # what is kept of it may be used in training, too
            features = self.look(self.pixels(pictures))
            if self.head is not None:
                ids = [self.answered(text, features[row:row + 1]) for row, text in enumerate(instructions)]
            states = self.image_tokens(ids, self.read(ids, features))
            refuse_not_finite(states, "the language model")
            context, residual = self.readers.connector(states.to(self.readers.connector.dtype), features)
            return EditCondition(context, self.null.encode([NULL]).null_context, residual)

    def key(self, instruction: str, image: Any = None) -> str:
        """The picture's pixels, upright, and the instruction."""
        return condition_key(instruction, image, self.template, self.head is not None)

    def pixels(self, pictures: Sequence[Image.Image]) -> Tensor:
        """B pictures -> (B, 3, S, S): squeezed into the square that the vision tower sees, and normalised as it was trained."""
        side = self.readers.vision_tower.config.image_size
        squares = np.stack([np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC)) for picture in pictures])
        values = torch.from_numpy(squares).permute(0, 3, 1, 2).float().div_(255)
        mean, std = (torch.tensor(each)[:, None, None] for each in (CLIP_MEAN, CLIP_STD))
        return ((values - mean) / std).to(self.device, self.readers.vision_tower.dtype)

    def look(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, P, D): features of the picture's patches."""
        features = self.readers.vision_tower(pixels, output_hidden_states=True).hidden_states[LAYER][:, 1:]
        refuse_not_finite(features, "the vision tower")
        return features

    def read(self, ids: Sequence[Sequence[int]], features: Tensor) -> Tensor:
        """B conversations and (B, P, D) features of what they are about -> (B, T - 1 + P, W): the language model's last states.

        Conversations are filled up at their ends to one length. The picture's patches stand where the question holds PICTURE.
        """
        return self._read(ids, features, use_cache=False).last_hidden_state

    @torch.no_grad()
    def answered(self, instruction: str, features: Tensor) -> list[int]:
        """Ids of the conversation about a picture with (1, P, D) features, with the answer that the language model finds likeliest token by
        token. The sentence ends where it would show a picture or end, or after MOST_SAID tokens; the 32 tokens follow in their order."""
        assert self.head is not None, "the answer is given"
        number = self.readers.llm_tokenizer.convert_tokens_to_ids
        shown, barred, end = number(list(IMAGE_TOKENS)), number(list(BARRED)), number(END)
        asked: list[int] = self.readers.llm_tokenizer.encode(question(instruction, self.template))
        said: list[int] = []
        result = self._read([asked], features, use_cache=True)
        while len(said) < min(MOST_SAID, MOST_TOKENS - len(asked) - len(shown) - 1):
            refuse_not_finite(result.last_hidden_state, "the language model")
            logits = self.head(result.last_hidden_state[0, -1])                                                 # (V,)
            logits[barred] = -torch.inf
            token = int(logits.argmax())
            if token in (*shown, end):
                break
            said.append(token)
            step = self._embedded(torch.tensor([[token]])).to(result.last_hidden_state)                         # (1, 1, W)
            result = self.readers.language_model(inputs_embeds=step, past_key_values=result.past_key_values, use_cache=True)
        return [*asked, *said, *shown, end]

    def _read(self, ids: Sequence[Sequence[int]], features: Tensor, use_cache: bool) -> Any:
        readers = self.readers
        words = readers.projector(features.to(readers.projector.dtype)).to(readers.language_model.dtype)        # (B, P, W)
        longest, start = max(map(len, ids)), readers.llm_tokenizer.convert_tokens_to_ids(PICTURE)
        filled = torch.tensor([[*row, *[PADDING] * (longest - len(row))] for row in ids])                       # (B, T)
        embedded = self._embedded(filled).to(words)                                                             # (B, T, W)
        places = [list(row).index(start) for row in ids]
        merged = torch.stack([torch.cat([row[:place], seen, row[place + 1:]])
                              for row, seen, place in zip(embedded, words, places, strict=True)])               # (B, T - 1 + P, W)
        lengths = torch.tensor([len(row) - 1 + words.shape[1] for row in ids])
        mask = (torch.arange(merged.shape[1])[None] < lengths[:, None]).long().to(merged.device)
        return readers.language_model(inputs_embeds=merged, attention_mask=mask, use_cache=use_cache)

    def image_tokens(self, ids: Sequence[Sequence[int]], states: Tensor) -> Tensor:
        """B conversations and what `read` makes of them -> (B, 32, W): the states of the image tokens in the answer."""
        tokens = set(self.readers.llm_tokenizer.convert_tokens_to_ids(list(IMAGE_TOKENS)))
        beside = states.shape[1] - max(map(len, ids))           # patches in place of one token
        places = torch.tensor([[place + beside for place, token in enumerate(row) if token in tokens][1:] for row in ids])
        return states.gather(1, places.to(states.device)[..., None].expand(-1, -1, states.shape[-1]))

    def _embedded(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, W), wherever the embeddings are at the moment."""
        embeddings = self.readers.language_model.get_input_embeddings()
        place = embeddings.weight.device
        return embeddings(ids.to(self.device if place.type == "meta" else place)).to(self.device)


def condition_key(instruction: str, image: Any, template: int, greedy: bool = False) -> str:
    """A name of what is read: the picture's pixels, upright, the instruction, how it is asked, and how it is answered."""
    [picture] = as_pictures(image)
    return f"{template}{' greedy' if greedy else ''} {pixel_digest(picture)} {instruction}"


def as_pictures(images: Any) -> list[Image.Image]:
    """Pictures of any form that a pipeline or a trainer hands over, upright, in RGB: PIL pictures, (B, 3, H, W) tensors and
    (B, H, W, 3) arrays of bytes or of numbers in [0, 1]."""
    if images is None:
        raise ValueError("this model's instruction encoder looks at the picture, and there is none")
    if isinstance(images, Tensor):
        values = images.detach().cpu()
        images = (values if values.dtype == torch.uint8 else values.float()).movedim(-3, -1).numpy()
    if isinstance(images, np.ndarray):
        arrays = images if images.ndim == 4 else images[None]
        if arrays.dtype != np.uint8:
            arrays = (arrays.clip(0, 1) * 255).round().astype(np.uint8)
        return [Image.fromarray(array) for array in arrays]
    return [cast(Image.Image, ImageOps.exif_transpose(picture)).convert("RGB") if isinstance(picture, Image.Image)
            else as_pictures(picture)[0] for picture in (images if isinstance(images, (list, tuple)) else [images])]
