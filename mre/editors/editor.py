"""The door: what an editor is, what is known of it before it is loaded, and what an edit gives. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from PIL import Image

from mre.editors.capabilities import NOTHING, Capabilities
from mre.recipes import Recipe, png_bytes

if TYPE_CHECKING:
    from mre.editors.device_queue import DeviceQueue
    from mre.editors.reading import Reading
    from mre.editors.settings import EditSettings
    from mre.effects import Effects
    from mre.imaging import Fit


@dataclass(frozen=True)
class EditorInfo:
    """What is known of an editor without loading it."""

    name: str                           # without the folders that lead to it
    title: str
    limits: str = ""                    # what it can edit, and what not
    limits_zh: str = ""                 # the same in Chinese; empty where nobody wrote it
    licence: str = ""                   # of its weights; empty where it is not known
    native_size: int = 512              # pixels
    size_rule: str = "own"              # see mre.imaging.fit_size
    steps: int = 1                      # this and the next two: its defaults
    guidance_scale: float = 1.0
    image_guidance_scale: float = 1.0
    guidable: bool = False              # whether guidance does anything at all, be it good or bad
    capabilities: Capabilities = NOTHING
    digest: str | None = None           # of its weights; none while they are not on this machine
    effects: Effects | None = field(default=None, compare=False)        # what its score sliders do, where that was measured

    @property
    def conditioned(self) -> bool:
        """Whether it reads rewards."""
        return self.capabilities.reward or self.capabilities.reward_text

    def is_guided(self, guidance_scale: float | None = None, image_guidance_scale: float | None = None) -> bool:
        """Whether an edit with these scales, or its defaults in their place, is guided at all: else no scale changes anything."""
        text = self.guidance_scale if guidance_scale is None else guidance_scale
        image = self.image_guidance_scale if image_guidance_scale is None else image_guidance_scale
        return self.guidable and text > 1 and image >= 1


@dataclass(frozen=True)
class EditResult:
    """An edited picture at the photo's own size, what the editor saw and made, and how."""

    image: Image.Image
    seen: Image.Image            # the photo at the editor's size
    made: Image.Image            # the editor's output, same size as `seen`
    fit: Fit
    settings: EditSettings
    recipe: Recipe
    seconds: float               # of the editor's work; waiting is not in it
    reading: Reading | None = None      # how it read the instruction, where it can tell; with nothing understood, `image` is the photo

    def png(self, with_recipe: bool = True) -> bytes:
        """The picture to take away: lossless, with its recipe inside unless it shall not travel."""
        return png_bytes(self.image, self.recipe if with_recipe else None)


@dataclass(frozen=True)
class Step:
    """Step `index` of `total` is done (0: the work begins). The time left is guessed from the edit before; None: there was none.
    `preview()` decodes the picture as far as it has come."""

    index: int
    total: int
    seconds_left: float | None
    preview: Callable[[], Image.Image | None]


class Vocabulary(Protocol):
    """The words of an editor that was taught a closed list of them."""

    nouns: Sequence[str]                                # things that it knows
    languages: Sequence[str]                            # whose instructions it reads, as "en"

    def suggestions(self, language: str = "en") -> Sequence[Sequence[str]]:
        """Instructions in one of its languages that it does well on any picture: wordings of one edit together."""
        ...

    def unknown_words(self, instruction: str) -> list[str]: ...

    def read(self, instruction: str) -> Reading | None:
        """What the editor makes of an instruction; None where it takes the words as they are."""
        ...

    def looked(self, reading: Reading, picture: Image.Image) -> Reading:
        """A reading when the picture is known too, as the editor sees it: what is asked for may not be there."""
        ...


class Editor(Protocol):
    """Anything that turns photo and instruction (and reward) into a picture. All methods may be called from many threads.

    `mre.editors.local_editor.LocalEditor` has all of it for an editor on this machine but `describe` and `make`.
    """

    name: str                                           # by which it was asked for
    queue: DeviceQueue                                  # shared by all editors of one device
    pace: float | None                                  # seconds per step of the last edit, for forecasts

    @property
    def info(self) -> EditorInfo:
        """Without loading the model. Raises ModelError for a name that leads nowhere."""
        ...

    @property
    def identity(self) -> str:
        """What makes its pictures: weights, and how they are loaded."""
        ...

    @property
    def dtype(self) -> str:
        """The number format of its weights. Raises SettingsError for one that was asked for and that the chip lacks."""
        ...

    @property
    def silent_dtype(self) -> str:
        """The number format of pictures whose recipe tells none, as those of before do not."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """Those of `info`, or what can be told without importing anything; never raises."""
        ...

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The words that it was taught, where these are a closed list."""
        ...

    @property
    def default_steps(self) -> int | None:
        """The steps of `info`, where it is known already."""
        ...

    @property
    def status(self) -> str:
        """`cold`, `loading`, `ready` or `failed`."""
        ...

    @property
    def failure(self) -> str | None:
        """Why loading failed, in one line."""
        ...

    def warm(self) -> None:
        """Start loading in the background."""
        ...

    def prepare(self) -> None:
        """Load, where that is not done. Raises ModelError."""
        ...

    def unload(self) -> None:
        """Give the memory back; the next edit loads again."""
        ...

    def edit(self, photo: Image.Image, settings: EditSettings, *, on_step: Callable[[Step], None] | None = None,
             on_wait: Callable[[int], None] | None = None, on_restore: Callable[[float], None] | None = None,
             should_stop: Callable[[], bool] | None = None) -> EditResult:
        """Edit the photo. Raises BusyError, ModelError, SettingsError, EditStopped."""
        ...

    def edit_many(self, photos: Sequence[Image.Image], settings: Sequence[EditSettings], *,
                  should_stop: Callable[[], bool] | None = None) -> Iterator[EditResult]:
        """Edit photos, each with its own settings, in batches where the editor takes these."""
        ...

    def read(self, instruction: str) -> Reading | None:
        """How it reads an instruction; None where it takes the words as they are."""
        ...

    def recipe(self, photo: Image.Image, settings: EditSettings) -> Recipe:
        """The recipe that an edit of this photo with these settings would carry, here and now."""
        ...

    def count_tokens(self, text: str) -> tuple[int, int, str] | None:
        """Tokens of a text, how many the model reads, and the end of the text that it would not read; None where nobody knows."""
        ...
