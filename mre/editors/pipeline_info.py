"""What is known of our pipelines without loading them: titles, limits, defaults, and which controls change what they make.

Importing this loads no torch, and nothing here fetches anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mre.editors.capabilities import Capabilities
from mre.editors.editor import EditorInfo
from mre.editors.settings import MAX_STEPS, SCHEDULERS
from mre.errors import DataError, ModelError
from mre.files import read_json
from mre.models import zoo

MOST_AT_ONCE = 256            # pictures; what fits in memory is for whoever asks for a batch
# A latent diffusion model with guidance, such as InstructPix2Pix.
FULL_SIZE = Capabilities(reward=True, reward_text=True, negative_reward=True, seed=True, steps=range(1, MAX_STEPS + 1), guidance_scale=True,
                         image_guidance_scale=True, schedulers=tuple(SCHEDULERS)[1:], mask=False, preview=True, batch=MOST_AT_ONCE,
                         open_vocabulary=True)
# It predicts the picture itself, in one step, unguided: `python -m tests.bench.controls` shows what the others would do. More steps trade
# following for quality where no reward does.
EMBEDDED = Capabilities(reward=True, reward_text=True, negative_reward=False, seed=False, steps=None, guidance_scale=False,
                        image_guidance_scale=False, schedulers=(), mask=False, preview=False, batch=MOST_AT_ONCE, open_vocabulary=False)
EMBEDDED_STEPS = range(1, 21)
LEARNED = "Trained on synthetic scenes and on photos with synthetic edits, in English."
ANY_PHOTO = "Made for photographs of any kind, at 512 pixels; its safety checker is not loaded."
# What both embedded models do well, and so, it may be hoped, another of their kind.
SURE_LOOKS = ("sunset", "winter", "night", "foggy", "darker", "vintage", "negative")


@dataclass(frozen=True)
class About:
    """What to say of a model that has a short name."""

    title: str
    limits: str
    sure_looks: tuple[str, ...] = ()     # of mre.data.scenes.looks, which it does well on any picture: tests run them


ABOUT = {
    "tiny": About("MRE tiny (embedded)", LEARNED + " It changes light, weather, season, colours and style of any photo. It can add, "
                  "remove or recolour simple objects (balls, stars, houses), often blurry and sometimes misplaced. It does not know what "
                  "is in your photo.",
                  ("sunset", "black_and_white", "winter", "sketch", "night", "sepia", "foggy", "watercolour", "vintage", "warmer",
                   "cooler", "darker", "brighter", "vivid", "negative", "poster")),
    "tiny-baseline": About("MRE tiny without reward (embedded)", LEARNED + " Trained like tiny, but blind to rewards: the sliders have no "
                           "effect.", SURE_LOOKS),
    "tiny-untrained": About("Untrained (for tests)", "Random weights: what it makes means nothing."),
    "insp2p": About("InstructPix2Pix", ANY_PHOTO + " It knows no rewards: the sliders have no effect."),
    "reward-insp2p": About("Reward-InstructPix2Pix", ANY_PHOTO),
}


def is_embedded(name: str) -> bool:
    """Whether the name, or folder, is that of a model which knows the words and things of drawn scenes only."""
    if name in zoo.KNOWN:
        return not zoo.KNOWN[name].hub_id
    config = Path(name).expanduser() / "unet" / "config.json"
    try:
        return read_json(config)["_class_name"] == "GatedRewardUNet"
    except (DataError, LookupError, TypeError):
        return False


def capabilities_of(name: str) -> Capabilities:
    """What a model can use, as far as its folder's settings tell without loading torch; of public weights that are not here yet, what is
    published of them."""
    if name == "tiny-untrained":
        return replace(FULL_SIZE, open_vocabulary=False)        # as it was before any training
    folder = zoo.ASSETS / zoo.KNOWN[name].folder if name in zoo.KNOWN and zoo.KNOWN[name].folder else Path(name).expanduser()
    try:
        config = read_json(folder / "unet" / "config.json")
    except DataError:
        config = {}
    return _capabilities(config if isinstance(config, dict) else {}, name != "insp2p")


def _capabilities(config: dict[str, Any], conditioned: bool) -> Capabilities:
    """What a U-Net of these settings can use; `conditioned` where they do not say whether it reads rewards."""
    base = EMBEDDED if config.get("_class_name") == "GatedRewardUNet" else FULL_SIZE
    scores = texts = conditioned
    if "variant" in config:
        reads = config.get("use_attention", True) or config.get("use_addition", True)
        scores, texts = bool(reads and config.get("use_score", True)), bool(reads and config.get("use_text", True))
    return replace(base, reward=scores, reward_text=texts, negative_reward=base.negative_reward and (scores or texts),
                   steps=base.steps if base is FULL_SIZE or scores or texts else EMBEDDED_STEPS)


@dataclass(frozen=True)
class SceneVocabulary:
    """The words of drawn scenes, and the looks that a model does well."""

    looks: tuple[str, ...]

    @cached_property
    def nouns(self) -> Sequence[str]:
        from mre.data.scenes import nouns
        return nouns()

    @cached_property
    def suggestions(self) -> Sequence[Sequence[str]]:
        from mre.data.scenes import look_instructions
        return tuple(look_instructions(look) for look in self.looks)

    def unknown_words(self, instruction: str) -> list[str]:
        from mre.data.scenes import unknown_words
        return unknown_words(instruction)


def vocabulary_of(name: str) -> SceneVocabulary | None:
    """The words that a model was taught, where it knows no others."""
    if not is_embedded(name):
        return None
    return SceneVocabulary(ABOUT[name].sure_looks if name in ABOUT else SURE_LOOKS)


def describe(name: str) -> EditorInfo:
    """What is known of a model: its defaults and limits, and the digest of its weights. Loads nothing, fetches nothing.

    Raises ModelError for a name that leads nowhere; public weights that are not here yet are described by what is published of them.
    """
    if name == "tiny-untrained":
        from mre.embedded.build import SETTINGS

        return _info(name, SETTINGS | zoo.UNTRAINED, capabilities_of(name), f"untrained-{zoo.UNTRAINED_SEED}")
    folder = zoo.local_folder(name)
    if folder is None:
        return _info(name, {}, capabilities_of(name), None)
    from mre.models.folders import reads_rewards
    from mre.models.weight_files import INDEX, read_json

    try:
        capabilities = _capabilities(read_json(folder / "unet" / "config.json"), reads_rewards(folder / "unet"))
        return _info(name, read_json(folder / INDEX), capabilities, zoo.weight_digest(folder))
    except ModelError as error:
        raise zoo.shortened(error, folder, name) from None


def _info(name: str, index: dict[str, Any], capabilities: Capabilities, digest: str | None) -> EditorInfo:
    about = ABOUT.get(name, About(Path(name).name, ""))
    return EditorInfo(
        name=name if name in ABOUT else Path(name).name, title=about.title, limits=about.limits,
        native_size=index.get("native_size", 512), size_rule=index.get("size_rule", "released"), steps=index.get("default_steps", 30),
        guidance_scale=index.get("default_guidance_scale", 7.5), image_guidance_scale=index.get("default_image_guidance_scale", 1.5),
        guidable=True, capabilities=capabilities, digest=digest)
