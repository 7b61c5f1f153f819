"""The small editors by name, what is said of them, which controls change their pictures, and the words that they know. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mre.editors.capabilities import MOST_AT_ONCE, Capabilities
from mre.embedded.settings import SETTINGS
from mre.errors import ModelError
from mre.families import Known

if TYPE_CHECKING:
    from PIL import Image

    from mre.editors.reading import Reading
    from mre.embedded.finder import Finder
    from mre.embedded.reader import Reader

UNTRAINED: dict[str, Any] = {"native_size": 64}
LEARNED = "Trained on synthetic scenes and photos with synthetic edits. It reads a closed list of requests, in English and Chinese."
# They predict the picture itself, in one step, unguided: `python -m tests.bench.controls` shows what the others would do. More steps trade
# following for quality where no reward does.
EMBEDDED = Capabilities(reward=True, reward_text=True, negative_reward=False, seed=False, steps=None, guidance_scale=False,
                        image_guidance_scale=False, schedulers=(), mask=False, preview=False, batch=MOST_AT_ONCE, open_vocabulary=False)
EMBEDDED_STEPS = range(1, 21)
READS_CHANCE = ("GenericRewardUNet",)       # low scores, and no wish, leave to the seed which of many faults an edit has
MODELS = {
    "tiny": Known("MRE tiny (embedded)", LEARNED + " It changes light, weather, season, colours and style of any photo. It can add, "
                  "remove or recolour simple objects (balls, stars, houses), often blurry and sometimes misplaced. It does not know what "
                  "is in your photo.", folder="tiny"),
    "tiny-baseline": Known("MRE tiny without reward (embedded)", LEARNED + " Trained like tiny, but blind to rewards: the sliders have no "
                           "effect.", folder="tiny-baseline"),
    "tiny-untrained": Known("Untrained (for tests)", "This model is untrained: it shows how the page works, and edits nothing sensibly.",
                            build="mre.embedded.build:untrained_pipeline", defaults=SETTINGS | UNTRAINED, digest="untrained-0"),
}
# Looks, of mre.data.scenes.looks, that a model does well on any picture: tests run them.
SURE_LOOKS = {
    "tiny": ("sunset", "black_and_white", "winter", "sketch", "night", "sepia", "foggy", "watercolour", "vintage", "warmer", "cooler",
             "darker", "brighter", "vivid", "negative", "poster"),
    "tiny-untrained": ()}
READ = ("tiny", "tiny-baseline")       # models whose instructions go through the reader that ships
SURE_FOR_ALL = ("sunset", "winter", "night", "foggy", "darker", "vintage", "negative")      # and so, it is hoped, for others


def capabilities(unet: str, scores: bool, texts: bool) -> Capabilities:
    """What a model of the family with a U-Net of this class can use that reads these parts of a reward."""
    return replace(EMBEDDED, reward=scores, reward_text=texts, steps=None if scores or texts else EMBEDDED_STEPS,
                   seed=scores and unet in READS_CHANCE)


def _shipped() -> tuple[Reader, Finder | None]:
    """What reads instructions and what finds things, as they ship. Raises ModelError where their files are torn."""
    from safetensors import SafetensorError

    from mre.embedded.finder import load_finder
    from mre.embedded.reader import SHIPPED, load_reader
    try:
        return load_reader(SHIPPED), load_finder(SHIPPED)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ModelError(f"{SHIPPED.name}: what reads instructions is not whole there ({error}); fetch these files again") from error


@dataclass(frozen=True)
class SceneVocabulary:
    """The words of synthetic scenes, and the looks that a model does well."""

    looks: tuple[str, ...]
    is_read: bool = False       # whether instructions go through the reader, into the wordings that the model was trained on

    @cached_property
    def nouns(self) -> Sequence[str]:
        from mre.embedded.vocabulary import nouns
        return nouns()

    @property
    def languages(self) -> Sequence[str]:
        return ("en", "zh") if self.is_read else ("en",)

    def suggestions(self, language: str = "en") -> Sequence[Sequence[str]]:
        from mre.embedded.vocabulary import look_instructions
        return tuple(look_instructions(look, language) for look in self.looks)

    def unknown_words(self, instruction: str) -> list[str]:
        if self.is_read:
            return []               # the reader says what it makes of them
        from mre.embedded.vocabulary import unknown_words
        return unknown_words(instruction)

    def read(self, instruction: str) -> Reading | None:
        """What is asked for, as the reader that ships has it."""
        if not self.is_read:
            return None
        return _shipped()[0].read(instruction)

    def looked(self, reading: Reading, picture: Image.Image) -> Reading:
        """The reading, unless a thing is to be changed or removed that is not in the picture."""
        if not self.is_read or not reading.understood:
            return reading
        reader, finder = _shipped()
        kind = reader.thing_changed(reading.understood)
        if finder is None or not kind or finder.holds(picture, kind):
            return reading
        return replace(reading, understood="", fault="absent", absent=kind)


def vocabulary_of(name: str) -> SceneVocabulary:
    """The words that the model of this name, or in this folder, was taught."""
    return SceneVocabulary(SURE_LOOKS.get(name, SURE_FOR_ALL), is_read=name in READ)
