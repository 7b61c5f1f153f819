"""EditReward's released networks (arXiv 2509.26346): Qwen2.5-VL or MiMo-VL, read at a reward token under two prompts, one head for each.

Three things decide whether the numbers are theirs: the decoder runs with one-dimensional positions, though the model's own are
three-dimensional; the hidden state is that at `<|Reward|>`, not the last; and each head reads its own prompt. What comes out of a head is a
mean and a logarithm of a deviation, not two perspectives.

What all prompts about one edit have in common, and all edits of one original, is computed once: the keys and values of the original's
tokens are shared among its edits, those of both pictures among the two prompts, and nothing after the reward token is computed at all.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from mre.device import best_device
from mre.errors import ImageError, JudgeError

HEADS = ("following", "quality")            # head_0 and head_1, by the prompt that each reads
REWARD_TOKEN, IMAGE_TOKEN = "<|Reward|>", "<|image_pad|>"
PIXELS = 256 * 28 * 28                      # of a picture, as near as multiples of 28 allow
PROMPTS = Path(__file__).with_name("editreward_prompts.json")


@lru_cache(maxsize=1)
def prompts() -> dict[str, str]:
    """The two prompts and their suffix. Raises JudgeError where one is not, to the byte, what the weights were trained with."""
    read = json.loads(PROMPTS.read_text(encoding="utf-8"))
    for name, digest in read["sha256"].items():
        if hashlib.sha256(read[name].encode()).hexdigest() != digest:
            raise JudgeError(f"{PROMPTS}: the text of {name} was changed; EditReward's weights know another")
    return {name: read[name] for name in read["sha256"]}


def cleaned(instruction: str) -> str:
    """The instruction without the reward token, however it is nested: the sequence must hold exactly one."""
    while REWARD_TOKEN in instruction:
        instruction = instruction.replace(REWARD_TOKEN, "")
    return instruction.replace(IMAGE_TOKEN, "")


def user_text(head: str, instruction: str) -> str:
    """What stands after the two pictures. Braces in an instruction are text."""
    return prompts()[head].replace("{text_prompt}", cleaned(instruction)) + prompts()["suffix"]


def resized(picture: Image.Image, name: str = "picture") -> Image.Image:
    """A picture at the size at which it is seen: about PIXELS, sides multiples of 28.

    In two steps, width first, as Pillow before 13 did it in one. Raises ImageError for a picture over 200 times as long as wide.
    """
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    try:
        height, width = smart_resize(picture.height, picture.width, 28, PIXELS, PIXELS)
    except ValueError as error:
        raise ImageError(f"{name}: {picture.width}x{picture.height} is too long and thin to be judged ({error})") from error
    picture = picture.convert("RGB")
    if picture.size == (width, height):
        return picture
    return picture.resize((width, picture.height), Image.Resampling.BICUBIC).resize((width, height), Image.Resampling.BICUBIC)


class RewardHead(nn.Sequential):
    """Linear, ReLU, dropout, linear, ReLU, linear: hidden size -> (mean, log deviation), in the released names."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(width, 1024), nn.ReLU(), nn.Dropout(0.05), nn.Linear(1024, 16), nn.ReLU(), nn.Linear(16, 2))


def fused(heads: Tensor, pooling: str = "mean") -> Tensor:
    """(B, 2) of both heads (B, 2 heads, 2), as released: `mean`, which is the default, `min` element by element, or `sum`."""
    if pooling == "min":
        return heads.amin(1)
    if pooling == "sum":
        return torch.stack([heads[..., 0].sum(1), torch.logsumexp(2 * heads[..., 1], 1) / 2], dim=-1)
    return heads.mean(1)


@dataclass
class _Read:
    """A batch of sequences as far as they were read: keys and values, which of them count, and how many do."""

    cache: Any
    mask: Tensor            # (B, L)
    lengths: Tensor         # (B,)

    def rows(self, rows: Tensor) -> _Read:
        """Some of the sequences, repeated as often as asked for. The cache is copied: reading on changes it."""
        cache = copy.deepcopy(self.cache)
        cache.batch_select_indices(rows)
        return _Read(cache, self.mask[rows], self.lengths[rows])


class EditReward(nn.Module):
    """The backbone without its language head, and the two reward heads."""

    def __init__(self, backbone: Any, tokenizer: Any, image_processor: Any, heads: Sequence[RewardHead]) -> None:
        super().__init__()
        self.backbone, self.tokenizer, self.image_processor = backbone, tokenizer, image_processor
        self.rm_heads = nn.ModuleDict({f"head_{number}": head for number, head in enumerate(heads)})
        self.reward_id = tokenizer.convert_tokens_to_ids(REWARD_TOKEN)
        self.image_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)

    @property
    def device(self) -> torch.device:
        return self.backbone.language_model.norm.weight.device

    # -- sequences

    def chat_text(self, head: str, instruction: str) -> str:
        """The whole turn with one image token per picture, by the checkpoint's own chat template."""
        content = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": user_text(head, instruction)}]
        return self.tokenizer.apply_chat_template([{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True)

    def ids(self, head: str, instruction: str, tokens: Sequence[int]) -> list[int]:
        """Token ids up to and with the reward token; `tokens`: how many each of the two pictures takes."""
        found = self.tokenizer(self.chat_text(head, instruction)).input_ids
        ids: list[int] = []
        pictures = iter(tokens)
        for one in found:
            ids += [one] * (next(pictures) if one == self.image_id else 1)
            if one == self.reward_id:
                return ids
        raise JudgeError("the chat template of these weights leaves the reward token out")

    # -- pictures

    def patches(self, picture: Image.Image) -> tuple[Tensor, Tensor]:
        """(patches, 1176) and the grid (3,) of a picture at its judged size."""
        made = self.image_processor(images=[picture], do_resize=False, return_tensors="pt")
        return made["pixel_values"], made["image_grid_thw"][0]

    def seen(self, pictures: Sequence[Image.Image]) -> list[Tensor]:
        """Merged tokens (T, H) of each picture, which are `resized` already; one that comes twice is looked at once."""
        unique: dict[bytes, int] = {}
        places = [unique.setdefault(hashlib.sha256(str(p.size).encode() + p.tobytes()).digest(), len(unique)) for p in pictures]
        made = [self.patches(pictures[places.index(place)]) for place in range(len(unique))]
        grids = torch.stack([grid for _, grid in made]).to(self.device)
        visual = self.backbone.visual
        tokens = visual(torch.cat([patches for patches, _ in made]).to(self.device, visual.patch_embed.proj.weight.dtype), grid_thw=grids)
        counts = (grids.prod(-1) // visual.spatial_merge_size**2).tolist()
        parts = tokens.pooler_output.split(counts)
        return [parts[place] for place in places]

    # -- reading

    def embedded(self, ids: Sequence[int], pictures: Sequence[Tensor]) -> Tensor:
        """(L, H): embeddings of the ids with those of pictures in their places, in order."""
        rows = torch.tensor(ids, device=self.device)
        made = self.backbone.get_input_embeddings()(rows)
        if pictures:
            made = made.masked_scatter((rows == self.image_id)[:, None], torch.cat(list(pictures)).to(made.dtype))
        return made

    def read_on(self, so_far: _Read | None, parts: Sequence[Tensor]) -> tuple[Tensor, _Read]:
        """Read more of each sequence, (L_i, H) each: the last hidden state at the end of each, (B, H), and what has been read.

        Positions count what is there, on all three axes; shorter parts are filled up behind their end, where nothing looks.
        """
        lengths = torch.tensor([len(part) for part in parts], device=self.device)
        embeds = nn.utils.rnn.pad_sequence(list(parts), batch_first=True)                          # (B, L, H)
        here = torch.arange(embeds.shape[1], device=self.device)[None]
        mask = (here < lengths[:, None]).long()                                                    # (B, L)
        start = so_far.lengths if so_far else torch.zeros_like(lengths)
        whole = torch.cat([so_far.mask, mask], dim=1) if so_far else mask
        positions = (start[:, None] + here)[None].expand(3, -1, -1)
        out = self.backbone.language_model(inputs_embeds=embeds, attention_mask=whole, position_ids=positions, use_cache=True,
                                           past_key_values=so_far.cache if so_far else None)
        last = out.last_hidden_state[torch.arange(len(parts), device=self.device), lengths - 1]
        return last, _Read(out.past_key_values, whole, start + lengths)

    @torch.inference_mode()
    def forward(self, originals: Sequence[Image.Image], editeds: Sequence[Image.Image], instructions: Sequence[str]) -> Tensor:
        """(B, 2 heads, 2): mean and log deviation by the following and by the quality prompt. Pictures are `resized`."""
        hidden = self.hidden(originals, editeds, instructions)                                    # (B, 2, H)
        return torch.stack([self.rm_heads[f"head_{number}"](hidden[:, number].float()) for number in range(len(HEADS))], dim=1)

    def hidden(self, originals: Sequence[Image.Image], editeds: Sequence[Image.Image], instructions: Sequence[str]) -> Tensor:
        """(B, 2, H): hidden states at the reward token, under each prompt."""
        tokens = self.seen([*originals, *editeds])
        firsts, seconds = tokens[:len(originals)], tokens[len(originals):]
        sequences = [[self.ids(head, instruction, (len(first), len(second))) for head in HEADS]
                     for instruction, first, second in zip(instructions, firsts, seconds, strict=True)]
        after_original = [self._after_pictures(pair[0], len(first)) for pair, first in zip(sequences, firsts, strict=True)]
        after_both = [self._after_pictures(pair[0], len(first) + len(second))
                      for pair, first, second in zip(sequences, firsts, seconds, strict=True)]
        unique: dict[int, int] = {}         # `seen` gives one and the same tensor for the same picture
        of_original = [unique.setdefault(id(first), len(unique)) for first in firsts]
        starts = [of_original.index(number) for number in range(len(unique))]
        _, read = self.read_on(None, [self.embedded(sequences[row][0][:after_original[row]], [firsts[row]]) for row in starts])
        read = read.rows(torch.tensor(of_original, device=self.device))
        _, read = self.read_on(read, [self.embedded(pair[0][start:end], [second]) for pair, start, end, second in
                                      zip(sequences, after_original, after_both, seconds, strict=True)])
        read = read.rows(torch.arange(len(sequences), device=self.device).repeat_interleave(len(HEADS)))
        rests = [self.embedded(ids[end:], []) for pair, end in zip(sequences, after_both, strict=True) for ids in pair]
        return self.read_on(read, rests)[0].unflatten(0, (len(sequences), len(HEADS)))

    def _after_pictures(self, ids: Sequence[int], count: int) -> int:
        """Where the text goes on after so many picture tokens."""
        seen = 0
        for place, one in enumerate(ids):
            seen += one == self.image_id
            if seen == count:
                return place + 1
        raise JudgeError("the chat template of these weights does not hold both pictures")


# -- weights --------------------------------------------------------------------------------------------------------------------------

def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names of transformers 4.52 and later, whichever of the two layouts they have; `lm_head`, which nothing reads, is
    left out."""
    made: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name.startswith("lm_head."):
            continue
        if name.startswith("visual."):
            name = f"model.{name}"
        elif name.startswith("model.") and not name.startswith(("model.visual.", "model.language_model.")):
            name = f"model.language_model.{name.removeprefix('model.')}"
        made[name] = value
    return made


def read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], Path]:
    """All tensors of a release: `model.safetensors` or `model.pth`, perhaps under an entry `model`. Raises JudgeError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    for path in (folder / "model.safetensors", folder / "model.pth"):
        if not path.is_file():
            continue
        try:
            tensors: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", mmap=True,
                                                                                           weights_only=True)
        except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, EOFError) as error:
            raise JudgeError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from error
        except Exception as error:          # what an unpickler that allows nothing says: never run, whatever it is
            raise JudgeError(f"{path}: is not a file of tensors ({type(error).__name__})") from error
        if isinstance(tensors, dict) and set(tensors) == {"model"}:
            tensors = tensors["model"]
        if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
            raise JudgeError(f"{path}: is not a file of tensors")
        if all(name.startswith("model.") and name.count("model.") > 1 for name in tensors):
            tensors = {name.removeprefix("model."): value for name, value in tensors.items()}
        return tensors, path
    raise JudgeError(f"{folder} holds no weights of EditReward: neither model.safetensors nor model.pth")


def load_editreward(weights: Path, base: Path) -> EditReward:
    """A release in `weights`, with config, tokenizer and preprocessing of the base model in `base`.

    In bfloat16 on an accelerator, in float32 without one; the heads in float32. Raises JudgeError for weights of another layout or size,
    or a tokenizer that does not fit them.
    """
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoTokenizer
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    try:
        from transformers import Qwen2_5_VLModel
    except ImportError as error:
        raise JudgeError("this version of transformers has no Qwen2.5-VL, which EditReward is built on") from error
    try:
        config: Any = AutoConfig.from_pretrained(base)
        tokenizer = AutoTokenizer.from_pretrained(_tokenizer_folder(weights, base))
        image_processor = Qwen2VLImageProcessorPil.from_pretrained(base)
    except (OSError, ValueError, KeyError) as error:
        raise JudgeError(f"{base}: not a whole base model ({' '.join(str(error).split())[:200]})") from error
    if config.model_type != "qwen2_5_vl":
        raise JudgeError(f"{base}: is a {config.model_type}, EditReward's weights are of a qwen2_5_vl")
    if not tokenizer.chat_template:
        raise JudgeError(f"{base}: has no chat template")
    tokenizer.add_special_tokens({"additional_special_tokens": [REWARD_TOKEN]})
    tensors, path = read_checkpoint(weights)
    tensors = renamed(tensors)
    rows = _checked_rows(tensors, tokenizer, path)
    config.text_config.vocab_size = rows
    width = config.text_config.hidden_size
    with init_empty_weights():              # parameters take no memory; the tables of rotary positions, which no file has, are computed
        backbone = Qwen2_5_VLModel(config)
        heads = [RewardHead(width) for _ in HEADS]
    device = best_device()
    model = EditReward(backbone, tokenizer, image_processor, heads)
    _fill(model, tensors, path, torch.bfloat16 if device == "cuda" else torch.float32)
    return model.to(device).eval()


def _tokenizer_folder(weights: Path, base: Path) -> Path:
    """Where the tokenizer is: of the base, or in a folder of its own as some releases have it."""
    for folder in (base, base / "tokenizer", weights / "tokenizer"):
        if (folder / "tokenizer_config.json").is_file():
            return folder
    return base


def _checked_rows(tensors: Mapping[str, Tensor], tokenizer: Any, path: Path) -> int:
    """Rows of the embedding table: the tokenizer's tokens, of which the reward token is the last."""
    table = tensors.get("model.language_model.embed_tokens.weight")
    if table is None:
        raise JudgeError(f"{path}: missing tensor model.language_model.embed_tokens.weight: not weights of EditReward")
    reward = tokenizer.convert_tokens_to_ids(REWARD_TOKEN)
    if reward != len(table) - 1:
        raise JudgeError(f"{path}: has {len(table)} rows of token embeddings, and the tokenizer's {REWARD_TOKEN} is number {reward}; it "
                         "must be the last: the base model is another one")
    return len(table)


def _fill(model: EditReward, tensors: dict[str, Tensor], path: Path, dtype: torch.dtype) -> None:
    if any(name.startswith("rm_head.") for name in tensors):
        raise JudgeError(f"{path}: has one head (rm_head); only weights with two heads (rm_heads.head_0 and head_1) are read")
    given: dict[str, Tensor] = {}
    for name, value in tensors.items():
        head = name.startswith("rm_heads.")
        given[name if head else "backbone." + name.removeprefix("model.")] = value.to(torch.float32 if head else dtype)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    for what, names in (("missing", expected.keys() - given.keys()), ("unexpected", given.keys() - expected.keys())):
        if names:
            shown = min(names).replace("backbone.", "model.")
            raise JudgeError(f"{path}: {what} tensor {shown}" + (f" and {len(names) - 1} more" if len(names) > 1 else ""))
    for name, shape in expected.items():
        if tuple(given[name].shape) != shape:
            raise JudgeError(f"{path}: tensor {name.replace('backbone.', 'model.')} must be {shape}, it is {tuple(given[name].shape)}")
    model.load_state_dict(given, assign=True)


