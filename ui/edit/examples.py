"""Pictures and instructions to try, one or more of each edit type: drawn scenes, whose true edit is known, and photographs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from PIL import Image

import mre
from mre.data.scenes.concepts import canonical, canonical_chinese
from mre.data.scenes.triplets import SceneTriplet, draw_triplet
from mre.errors import MreError
from mre.imaging import open_image, pixel_digest
from ui.texts import LANGUAGES

PHOTOS = Path(mre.__file__).parent / "assets" / "photos"
SCENE_SIZE, SCENE_SEED = 512, 20


@dataclass(frozen=True)
class Example:
    """A picture with an instruction; a drawn one knows its triplet, and so the true edit."""

    edit_type: str
    photo: str | None = None         # file name in assets/photos
    scene: int | None = None         # index of a drawn triplet
    words: str = ""                  # what is asked, of a photo, in English and in Chinese
    chinese: str = ""

    def triplet(self, size: int) -> SceneTriplet:
        """The drawn scene; the same at every size."""
        assert self.scene is not None, "asked for where there is no photo"
        return draw_triplet(SCENE_SEED, self.scene, "heldout", size, edit_type=self.edit_type, spoiled=False)

    def picture(self, size: int = SCENE_SIZE) -> Image.Image:
        """The photograph, or the scene drawn at this size."""
        return open_image(PHOTOS / self.photo) if self.photo else Image.fromarray(self.triplet(size).original)

    @cached_property
    def instruction(self) -> str:
        return self.words or canonical(self.triplet(32).edit.request)

    def said(self, language: str) -> str:
        """The instruction in English or ("zh") Chinese."""
        if language != "zh":
            return self.instruction
        return self.chinese or canonical_chinese(self.triplet(32).edit.request)

    @property
    def file_name(self) -> str:
        return self.photo or f"scene-{self.edit_type}.png"


EXAMPLES = (
    Example("style", "cat.jpg", words="turn it into a pencil sketch", chinese="变成铅笔素描"),
    Example("global", "rocket.jpg", words="make it look like sunset", chinese="变成日落时分"),
    Example("style", "astronaut.jpg", words="turn it into a poster", chinese="变成海报"),
    Example("global", "coffee.jpg", words="turn day into night", chinese="变成夜景"),
    Example("global", "cat.jpg", words="change the season to winter", chinese="改成冬天"),
    Example("style", "coffee.jpg", words="make it sepia", chinese="变成棕褐色"),
    Example("local", scene=4), Example("remove", scene=4), Example("add", scene=0), Example("texture", scene=2),
    Example("background", scene=1))


@lru_cache(maxsize=1)
def _drawn() -> dict[tuple[str, str], Example]:
    return {(pixel_digest(example.picture()), example.said(language)): example
            for example in EXAMPLES if not example.photo for language in LANGUAGES}


def small_triplet_of(picture: Image.Image, instruction: str, size: int) -> SceneTriplet | None:
    """The drawn triplet that this picture and instruction are the question of, if they are one of the examples', at another size."""
    example = _drawn().get((pixel_digest(picture), " ".join(instruction.split())))
    return example and example.triplet(size)


def example_of(picture: str | Path | None) -> Example | None:
    """The drawn example that a picture file is, whatever its name. Only a file of an example's size is decoded."""
    if picture is None:
        return None
    try:
        with Image.open(picture, formats=("PNG",)) as file:
            if file.size != (SCENE_SIZE, SCENE_SIZE):
                return None
        digest = pixel_digest(open_image(picture))
    except (OSError, ValueError, AttributeError, SyntaxError, MreError, Image.DecompressionBombError):
        return None                              # whoever opens the photo says what is wrong with it
    return next((example for (pixels, _), example in _drawn().items() if pixels == digest), None)
