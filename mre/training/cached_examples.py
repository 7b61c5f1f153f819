"""Latents and text states of stored triplets, encoded once on disk, so that later epochs skip the frozen encoders.

Pictures are cropped in the centre here, since a crop at random would have to be encoded anew each time; both ways round are kept where the
config mirrors. Numbers stay in the format in which the encoders gave them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor
from tqdm.auto import tqdm

from mre.errors import DataError, SettingsError
from mre.files import read_json
from mre.models.instruction import NULL, EditCondition, InstructionEncoder
from mre.rewards import PERSPECTIVES, Reward
from mre.training.checkpoints import save_tensors, write_whole
from mre.training.encoding import Latents, encode_pictures, to_pixels
from mre.training.examples import ExampleSource, TrainingExample, pictures
from mre.training.stored_examples import StoredExamples, View

if TYPE_CHECKING:
    from mre.models.reward_text import RewardTextEncoder
    from mre.models.smartedit.kept import KeptConditions
    from mre.training.config import TrainConfig

ITEMS = 64                  # triplets, or texts, in a file
ENCODED_AT_ONCE = 8
MADE_FOR = "made_for.json"


class CachedExamples(ExampleSource):
    """A source of triplets whose pictures are latents, and the encoders of their texts, which look these up: `instructions` and
    `reward_texts`."""

    def __init__(self, source: StoredExamples, pipeline, config: TrainConfig) -> None:
        self.source, self.config = source, config
        self.folder = Path(config.cache_latents)
        self.mirrors = (False, True) if config.flip else (False,)
        self.vae, self.pipeline = pipeline.vae, pipeline
        self.instruction_encoder, self.reward_text_encoder = pipeline.instruction_encoder, pipeline.reward_text_encoder
        self.made_for = {
            "autoencoder": fingerprint(pipeline.vae), "text_encoder": fingerprint(pipeline.text_encoder), "resolution": config.resolution,
            "flip": config.flip, "variant": config.variant, "perspectives": list(config.perspectives),
            **({"readers": pipeline.readers_fingerprint()} if self.instruction_encoder.reads_images else {}),
            "triplets": hashlib.sha256("\n".join(text.id for text in source.texts[:source.count]).encode()).hexdigest()}
        self.looks = list(self._looks()) if self.instruction_encoder.reads_images else []
        self._place_of_look = {look: place for place, look in enumerate(self.looks)}
        self.texts = self._texts()
        self.instructions: InstructionEncoder = self.instruction_encoder if self.looks else CachedInstructions(self,
                                                                                                               self.instruction_encoder)
        self.reward_texts = CachedRewardTexts(self, pipeline.reward_text_encoder)

    # A source of triplets

    def row(self, sample: int) -> tuple[int, View]:
        """Which triplet a sample is, in the order of the source, and how it is looked at."""
        return self.source.draw(sample)

    def example(self, row: tuple[int, View]) -> TrainingExample:
        """The triplet as latents."""
        index, view = row
        item = index * len(self.mirrors) + view.mirrored
        text = self.source.texts[index]
        latents = Latents(**{name: self.row_of_file("pictures", item, name) for name in ("original", "mean", "std")})
        condition = self.condition(index, view.wording_of(text), view.mirrored) if self.looks else None
        return TrainingExample(view.worded(text), self.source.reward(text), latents=latents, condition=condition,
                               **self.source.judgement(text))

    def held_out(self, index: int) -> TrainingExample:
        """As the source's, in pictures: to look at."""
        return self.source.held_out(index)

    def condition(self, index: int, wording: int = 0, mirrored: bool = False) -> EditCondition:
        """What was read of a triplet's picture and one of its instructions."""
        place = self._place_of_look[index, wording, mirrored]
        context, residual = (self.row_of_file("conditions", place, name).float() for name in ("context", "residual"))
        return EditCondition(context, self.row_of_file("conditions", 0, "null").float()[None], residual)

    def show(self, keep: KeptConditions) -> None:
        """Let what was read of the held-out triplets be asked for without the model that read it."""
        keep.clear()
        for index in self.source.held_out_rows[:self.config.validation_samples]:
            condition, example = self.condition(index), self.source.example(self.source.row_of(index, View()))
            assert condition.residual is not None, "stored with each"
            keep.put([keep.key(example.instruction, Image.fromarray(example.pictures[0]))],
                     EditCondition(condition.context[None], condition.null_context, condition.residual[None]))

    # How it is made

    @property
    def needs_readers(self) -> bool:
        """Whether there is something left to read that takes a model which looks at pictures."""
        return any(not self._path("conditions", chunk).parent.exists() for chunk, _ in enumerate(in_parts(self.looks, ITEMS)))

    def claim(self) -> None:
        """Make the folder this cache's. Raises SettingsError for one that was made for something else, or holds other things."""
        path = self.folder / MADE_FOR
        if not path.exists():
            if self.folder.exists() and any(self.folder.iterdir()):
                raise SettingsError(f"cache_latents: {self.folder} holds other things; give a new folder")
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(self.made_for, indent=1) + "\n", encoding="utf-8")
        made_for = read_json(path)
        for name, value in self.made_for.items():
            if made_for.get(name) != value:
                raise SettingsError(f"cache_latents: {self.folder} was made for other {name.replace('_', ' ')}; give a new folder")

    def make(self, rank: int, world: int) -> None:
        """Encode what is not there yet: each process its share of the files, each file whole or absent.

        A share is a run of neighbouring files, so that triplets that lie together on disk are read by one process.
        """
        views = [(index, View(mirrored=mirrored)) for index in range(self.source.count) for mirrored in self.mirrors]
        instructions, rewards = (list(self.texts[kind].values()) for kind in ("instructions", "rewards"))
        encoders = {"pictures": (views, self._encoded_pictures), "instructions": (instructions, self._encoded_instructions),
                    "rewards": (rewards, self._encoded_rewards)}
        if self.looks:
            encoders["conditions"] = (self.looks, self._encoded_conditions)
        jobs = [(self._path(kind, chunk), part, encode) for kind, (things, encode) in encoders.items()
                for chunk, part in enumerate(in_parts(things, ITEMS))]
        share = jobs[len(jobs) * rank // world:len(jobs) * (rank + 1) // world]
        mine = [job for job in share if not job[0].parent.exists()]
        for path, part, encode in tqdm(mine, desc="encoding", unit="file", disable=rank > 0 or not mine):
            tensors = encode(part)
            write_whole(path.parent, lambda folder, tensors=tensors, path=path: save_tensors(tensors, folder / path.name))

    def _encoded_pictures(self, part: Sequence[tuple[int, View]]) -> dict[str, Tensor]:
        made = []
        for some in in_parts(part, ENCODED_AT_ONCE):
            examples = [self.source.example(self.source.row_of(index, view)) for index, view in some]
            sides = (to_pixels(pictures([getattr(one, side) for one in examples]), self.vae.device) for side in ("original", "edited"))
            made.append(encode_pictures(self.vae, *sides))
        return {name: torch.cat([getattr(one, name) for one in made]) for name in ("original", "mean", "std")}

    def _encoded_conditions(self, part: Sequence[tuple[int, int, bool]]) -> dict[str, Tensor]:
        """In float16: about 280 kB for each."""
        made: list[dict[str, Tensor]] = []
        for some in in_parts(part, ENCODED_AT_ONCE):
            views = [(index, View((wording + 0.5) / len(self.source.texts[index].instructions), mirrored=mirrored))
                     for index, wording, mirrored in some]
            examples = [self.source.example(self.source.row_of(*view)) for view in views]
            condition = self.pipeline.instruction_encoder.encode([one.instruction for one in examples],     # with readers in memory by now
                                                                 [Image.fromarray(one.pictures[0]) for one in examples])
            assert condition.residual is not None, "of an encoder that looks at pictures"
            tensors = {"context": condition.context, "residual": condition.residual, "null": condition.null_context}
            made.append({name: value.to("cpu", torch.float16) for name, value in tensors.items()})
            if not all(value.isfinite().all() for value in made[-1].values()):
                raise DataError(f"what was read of the triplet {self.source.texts[some[0][0]].id} or of the next {len(some)} is too large "
                                "for float16")
        return {"context": torch.cat([one["context"] for one in made]), "residual": torch.cat([one["residual"] for one in made]),
                "null": made[0]["null"]}

    def _looks(self) -> Iterator[tuple[int, int, bool]]:
        """(triplet, wording, mirrored) of everything that is read: for training, and of held-out triplets the first wording."""
        for index, text in enumerate(self.source.texts):
            for wording in range(len(text.instructions) if index < self.source.count else 1):
                for mirrored in self.mirrors if index < self.source.count else (False,):
                    yield index, wording, mirrored

    def _encoded_instructions(self, part: Sequence[str]) -> dict[str, Tensor]:
        return {"states": self.instruction_encoder.encode(part).context}

    def _encoded_rewards(self, part: Sequence[Reward]) -> dict[str, Tensor]:
        return self.reward_text_encoder.encode(part, padding="max_length")

    def _texts(self) -> dict[str, dict[str, Any]]:
        """Every instruction and reward that training will ask for, once, by the encoders' keys."""
        key_of, key_of_reward = self.instruction_encoder.key, self.reward_text_encoder.key
        instructions, rewards = {} if self.looks else {key_of(NULL): NULL}, {key_of_reward(Reward.best()): Reward.best()}
        for text in self.source.texts[:self.source.count]:
            for wording in range(0 if self.looks else len(text.instructions)):      # a look says it all
                for mirrored in self.mirrors:
                    worded = View((wording + 0.5) / len(text.instructions), mirrored=mirrored).worded(text)
                    instructions.setdefault(key_of(worded), worded)
            reward = self.source.reward(text)
            for one in self._said(reward):
                rewards.setdefault(key_of_reward(one), one)
        return {"instructions": instructions, "rewards": rewards if self.config.conditioned and self.config.use_text else {}}

    def _said(self, reward: Reward) -> list[Reward]:
        """What may be read of a reward's texts, as perspectives are dropped."""
        if not self.config.perspective_dropout:
            return [reward]
        return [self.reward_text_encoder.said(reward, wished) for wished in itertools.product((True, False), repeat=len(PERSPECTIVES))]

    def _path(self, kind: str, chunk: int) -> Path:
        return self.folder / kind / f"{chunk:05d}" / "tensors.safetensors"

    def row_of_file(self, kind: str, place: int, name: str) -> Tensor:
        """One row of a tensor of what was encoded."""
        return opened(self._path(kind, place // ITEMS)).get_slice(name)[place % ITEMS]


class CachedInstructions:
    """An instruction encoder that looks up what another has made."""

    reads_images = False

    def __init__(self, cache: CachedExamples, encoder: InstructionEncoder) -> None:
        self.cache, self.key = cache, encoder.key
        self._places = {key: place for place, key in enumerate(cache.texts["instructions"])}

    def encode(self, instructions: Sequence[str], images: Any = None) -> EditCondition:
        """(B, T, D) states of B instructions, and (1, T, D) of none."""
        states = [self.cache.row_of_file("instructions", self._places[self.key(text)], "states") for text in (*instructions, NULL)]
        return EditCondition(torch.stack(states[:-1]), states[-1][None])


class CachedRewardTexts:
    """A reward-text encoder that looks up what another has made."""

    def __init__(self, cache: CachedExamples, encoder: RewardTextEncoder) -> None:
        self.cache, self.key, self.said = cache, encoder.key, encoder.said
        self._places = {key: place for place, key in enumerate(cache.texts["rewards"])}

    def encode(self, rewards: Sequence[Reward]) -> dict[str, Tensor]:
        """The reward text of B rewards as the U-Net takes it."""
        places = [self._places[self.key(reward)] for reward in rewards]
        names = ("reward_text", "reward_text_mask") if self.cache.config.variant == "paper" else ("reward_text",)
        return {name: torch.stack([self.cache.row_of_file("rewards", place, name) for place in places]) for name in names}


@lru_cache(maxsize=256)
def opened(path: Path) -> safe_open:
    """A file of tensors, mapped into memory."""
    return safe_open(path, "pt")


def fingerprint(model: torch.nn.Module) -> str:
    """SHA-256 of a model's weights and their number format."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def in_parts(things: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Slices of at most `size`."""
    return (things[start:start + size] for start in range(0, len(things), size))
