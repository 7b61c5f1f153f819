"""An editor on this machine: it waits for the device, fits the photo to the model, and brings the picture back to the photo's size."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mre.device import LentGpu, best_device, is_zero_gpu
from mre.editors.device_queue import DeviceQueue
from mre.editors.editor import EditorInfo, EditResult, Step, Vocabulary
from mre.editors.load_options import OWN_WAY, LoadOptions
from mre.editors.tiling import is_tiled
from mre.errors import EditStopped, ModelError, MreError
from mre.imaging import Fit, Size, fit_size, map_back, pixel_digest
from mre.recipes import MAX_NOTE, Recipe, circumstances
from mre.reward_words import with_scores

if TYPE_CHECKING:
    from mre.editors.capabilities import Capabilities
    from mre.editors.reading import Reading
    from mre.editors.settings import EditSettings
    from mre.masks import Mask


@dataclass(frozen=True)
class EditorOptions:
    """What a command line or a page may say of an editor; a kind reads what concerns it."""

    queue: DeviceQueue | None = None            # shared by all editors of one device; None: a queue of its own
    device: str | None = None                   # cpu, cuda, cuda:1, mps; None: the best there is
    loading: LoadOptions = OWN_WAY        # of an editor on this machine: how its weights are loaded
    key_file: str | Path | None = None          # of an editor on a server: its key; None: as the environment says
    cache: str | Path | None = None             # and where its paid edits are kept; None: nowhere
    max_requests: int | None = None             # and the most that it is asked,
    budget: float | None = None                 # and the most that it may cost, in USD,
    price_picture: float | None = None          # at this price for each edit; None: the list price
    ask_again: bool = False                     # and whether it is asked again for what was perhaps paid already


class LocalEditor:
    """Loaded on first use, once; one edit at a time on its device, whoever asks.

    A kind says what it is (`describe`) and how it makes a picture (`make`); what must be in memory for that comes from `load`.
    """

    def __init__(self, name: str, options: EditorOptions | None = None) -> None:
        options = options or EditorOptions()
        self.name = name
        self.queue = DeviceQueue() if options.queue is None else options.queue
        self.device = options.device
        self.loading = options.loading.of_model(name)
        self.pace: float | None = None           # the way in and back included
        self._info: EditorInfo | None = None
        self._loaded: Any = None
        self._failure: ModelError | None = None
        self._most_pixels: int | None = None     # that its autoencoder takes at once, see `mre.editors.tiling`
        self._loading = threading.Lock()
        self._lent = LentGpu(self._make_lent, self._take_gpu, self.shown) if is_zero_gpu() and self.wants_gpu else None

    # -- what a kind says

    def describe(self) -> EditorInfo:
        """What is known of it without loading. Called once. Raises ModelError for a name that leads nowhere."""
        raise NotImplementedError

    def load(self) -> Any:
        """What `make` needs in memory. Raises ModelError where weights are not there or not whole."""
        return self

    def make(self, seen: Image.Image, settings: EditSettings, on_step: Callable[[Step], None],
             should_stop: Callable[[], bool]) -> Image.Image:
        """The edited picture of a photo at the editor's size. All settings have values. Each step that is done is told, where there are
        any, and none begins when `should_stop` says so: EditStopped."""
        raise NotImplementedError

    def make_many(self, seen: Sequence[Image.Image], settings: Sequence[EditSettings]) -> list[Image.Image]:
        """A batch: pictures of one size, whose settings differ in instruction, reward and seed alone."""
        return [self.make(each, asked, lambda step: None, lambda: False) for each, asked in zip(seen, settings, strict=True)]

    def count_tokens(self, text: str) -> tuple[int, int, str] | None:
        """Tokens of a text, how many the model reads, and the end of the text that it would not read; None where nobody knows."""
        return None

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The words that it was taught, where these are a closed list."""
        return None

    def read(self, instruction: str) -> Reading | None:
        """How it reads an instruction; None where it takes the words as they are."""
        return self.vocabulary.read(instruction) if self.vocabulary else None

    def loaded_with(self) -> dict[str, str]:
        """How its weights are loaded, for recipes: in which number format, and what else is not the usual way."""
        return {}

    @property
    def dtype(self) -> str:
        """The number format of its weights. Raises SettingsError for one that was asked for and that the chip lacks."""
        return "float32"

    @property
    def silent_dtype(self) -> str:
        """The number format of pictures whose recipe tells none, as those of before do not."""
        return "float32"

    @property
    def identity(self) -> str:
        """What makes its pictures: weights, and how they are loaded; of the number format, where that is not the one of before."""
        said = self.loaded_with().get("dtype", self.silent_dtype)
        loading = replace(self.loading, dtype=None if said == self.silent_dtype else said)
        return "; ".join(filter(None, (self.info.digest, loading.shown)))

    @property
    def computes_on(self) -> str:
        """The device that its edits are made on."""
        return "cuda" if self._lent else self.device or best_device()

    @property
    def wants_gpu(self) -> bool:
        """Whether it is worth a GPU that is lent by the minute."""
        return True

    @property
    def device_kind(self) -> str:
        """cpu, cuda, mps: equal bytes are promised for the same kind only."""
        return str(self.device or "cpu").split(":")[0]

    # -- what is known of it

    @property
    def shown(self) -> str:
        """Its name in messages: without the folders that lead to it."""
        return Path(self.name).name if Path(self.name).is_absolute() else self.name

    @property
    def info(self) -> EditorInfo:
        """Without loading the model. Raises ModelError for a name that leads nowhere."""
        if self._info is None:
            self._info = self.describe()
        return self._info

    @property
    def capabilities(self) -> Capabilities:
        """What changes its pictures."""
        return self.info.capabilities

    @property
    def default_steps(self) -> int | None:
        """Its own number of steps, as far as it is known without importing anything."""
        return self._info.steps if self._info else None

    @property
    def status(self) -> str:
        """`cold`, `loading`, `ready` or `failed`."""
        if self._loaded is not None:
            return "ready"
        return "failed" if self._failure else "loading" if self._loading.locked() else "cold"

    @property
    def failure(self) -> str | None:
        """Why loading failed, in one line."""
        return str(self._failure) if self._failure else None

    # -- loading

    def warm(self) -> None:
        """Start loading in the background; `status` tells how it goes."""
        def load_quietly() -> None:
            with suppress(MreError):             # kept in `failure`, and raised for whoever edits
                self.prepare()
        threading.Thread(target=load_quietly, name=f"load {self.name}", daemon=True).start()

    def unload(self) -> None:
        """Give the memory back; the next edit loads again."""
        with self._loading:
            self._loaded = None

    def prepare(self) -> Any:
        """What `load` gives, loaded once. Raises ModelError; asking again tries again."""
        if (loaded := self._loaded) is not None:
            return loaded
        with self._loading:
            if self._loaded is None:
                self._failure = None
                try:
                    self._info = self.info
                    self._loaded = self.load()
                except MreError as error:
                    self._failure = error if isinstance(error, ModelError) else ModelError(str(error))
                    raise
                except (OSError, ValueError, RuntimeError, ImportError) as error:
                    self._failure = ModelError(f"the model {self.shown} cannot be loaded")
                    raise self._failure from error
            return self._loaded

    # -- edits

    def edit(self, photo: Image.Image, settings: EditSettings, *, on_step: Callable[[Step], None] | None = None,
             on_wait: Callable[[int], None] | None = None, on_restore: Callable[[float], None] | None = None,
             should_stop: Callable[[], bool] | None = None) -> EditResult:
        """Edit the photo. The same photo, settings, model, code and kind of device give the same bytes.

        `on_wait(place)` is called while others are ahead, `on_step` before the first and after each step, `on_restore` with the share of
        the photo whose own detail is back in its place, 0 to 1; when `should_stop` says so no further step begins and EditStopped is
        raised. An instruction that it reads and makes nothing of gives the photo itself. Raises BusyError, ModelError, SettingsError;
        ImageError for a mask of another size.
        """
        stop = should_stop or (lambda: False)
        restored = on_restore or (lambda share: None)

        def on_share(share: float) -> None:
            if stop():
                raise EditStopped("stopped after the last step")
            restored(share)
        if settings.mask is not None:
            settings.mask.fitting(photo.size)
        self.prepare()                           # before its turn: others edit meanwhile
        with self._turn(on_wait, stop):
            settings = settings.resolved(self.info)
            steps, _, _, way_back = settings.filled
            fit = self._fit(photo)
            seen = fit.apply(photo)
            reading = self._read(settings, seen)
            started = time.perf_counter()
            tell = on_step or (lambda step: None)
            tell(Step(0, steps, self.pace and self.pace * steps, lambda: None))
            is_made = reading is None or bool(reading.understood)
            made = self._guarded(lambda: self._make(seen, as_made(settings, reading), tell, stop)) if is_made else seen
            seconds = time.perf_counter() - started
        image = photo.convert("RGB")
        if is_made:
            restored(0.0)
            with self._restoring(stop):
                started = time.perf_counter()
                image = put_back_asked(photo, map_back(photo, made, fit, way_back, on_share), settings)
                seconds += time.perf_counter() - started
            self.pace = seconds / steps
        return EditResult(image, seen, made, fit, settings, self._recipe(photo, settings, fit, reading), seconds, reading)

    def edit_many(self, photos: Sequence[Image.Image], settings: Sequence[EditSettings], *,
                  should_stop: Callable[[], bool] | None = None) -> Iterator[EditResult]:
        """Edit photos, each with its own settings: in batches where all have the editor's size already, else one by one.

        A picture of a batch may differ from the same one made alone by the last bits of its numbers.
        """
        most, stop = self.capabilities.batch, should_stop or (lambda: False)
        for start in range(0, len(photos), most):
            group = photos[start:start + most], settings[start:start + most]
            if len(group[0]) > 1 and self._is_batch(*group):
                yield from self._edit_batch(*group, stop)
            else:
                yield from (self.edit(photo, asked, should_stop=stop) for photo, asked in zip(*group, strict=True))

    def _is_batch(self, photos: Sequence[Image.Image], settings: Sequence[EditSettings]) -> bool:
        alike = {(asked.steps, asked.guidance_scale, asked.image_guidance_scale, asked.scheduler, asked.negative_reward is None,
                  asked.way_back, asked.guidance_interval, asked.fast) for asked in settings}
        if self._lent is not None:               # one at a time has it
            return False
        return len(alike) == len({photo.size for photo in photos}) == 1 and self._fit(photos[0]).seen == photos[0].size

    def _edit_batch(self, photos: Sequence[Image.Image], settings: Sequence[EditSettings],
                    stop: Callable[[], bool]) -> Iterator[EditResult]:
        """Pictures of the editor's own size: there is no way back."""
        with self._turn(None, stop):
            self.prepare()
            settings = [asked.resolved(self.info) for asked in settings]
            started = time.perf_counter()
            readings = [self._read(asked, photo) for asked, photo in zip(settings, photos, strict=True)]
            done = [place for place, reading in enumerate(readings) if reading is None or reading.understood]
            pictures = list(photos)
            if done:
                made_of = [photos[place] for place in done], [as_made(settings[place], readings[place]) for place in done]
                for place, made in zip(done, self._guarded(lambda: self.make_many(*made_of)), strict=True):
                    pictures[place] = made
            seconds = (time.perf_counter() - started) / len(photos)
        for photo, asked, made, reading in zip(photos, settings, pictures, readings, strict=True):
            fit = self._fit(photo)
            image = put_back_asked(photo, made, asked)
            yield EditResult(image, photo, made, fit, asked, self._recipe(photo, asked, fit, reading), seconds, reading)

    def _make(self, seen: Image.Image, settings: EditSettings, on_step: Callable[[Step], None],
              should_stop: Callable[[], bool]) -> Image.Image:
        """`make`, where the GPU is."""
        return self._lent(on_step, should_stop, seen, settings) if self._lent else self.make(seen, settings, on_step, should_stop)

    def _make_lent(self, tell: Callable[[Step], None], should_stop: Callable[[], bool], seen: Image.Image,
                   settings: EditSettings) -> Image.Image:
        """In the process that has the GPU: with each step its preview, since the latents stay there."""
        return self.make(seen, settings, lambda step: tell(replace(step, preview=partial(_same, step.preview()))), should_stop)

    def _take_gpu(self) -> None:
        loaded = self.prepare()
        if hasattr(loaded, "to"):
            loaded.to(best_device())

    @contextmanager
    def _turn(self, on_wait: Callable[[int], None] | None, stop: Callable[[], bool]) -> Iterator[None]:
        """The device, for as long as the block takes. Raises BusyError, EditStopped."""
        with self.queue.join() as ticket:
            while not ticket.wait(0):
                if stop():
                    raise EditStopped("stopped while waiting")
                if on_wait and (place := ticket.place):
                    on_wait(place)
                ticket.wait(0.2)
            if stop():
                raise EditStopped("stopped before the first step")
            yield

    @contextmanager
    def _restoring(self, stop: Callable[[], bool]) -> Iterator[None]:
        """The way back to a photo's own size, one at a time: it needs the processor and memory for the photo, and not the device. Raises
        EditStopped."""
        while not self.queue.restoring.acquire(timeout=0.2):
            if stop():
                raise EditStopped("stopped after the last step")
        try:
            yield
        finally:
            self.queue.restoring.release()

    def _guarded(self, work: Callable[[], Any]) -> Any:
        """What `work` gives; a failure of the libraries below is a ModelError."""
        try:
            return work()
        except (RuntimeError, ValueError, NotImplementedError, OSError) as error:
            if isinstance(error, MreError):
                raise
            raise ModelError(f"the model {self.shown} failed on this picture") from error

    def _read(self, settings: EditSettings, seen: Image.Image) -> Reading | None:
        """How an instruction is read before this picture, which has the editor's size."""
        def read() -> Reading | None:
            reading = self.read(settings.instruction)
            return self.vocabulary.looked(reading, seen) if reading is not None and self.vocabulary else reading
        return None if settings.as_typed else self._guarded(read)

    def _fit(self, photo: Image.Image) -> Fit:
        return fit_size(photo.size, self.info.size_rule, self.info.native_size)

    def recipe(self, photo: Image.Image, settings: EditSettings) -> Recipe:
        """The recipe that an edit of this photo with these settings would carry, here and now."""
        fit, settings = self._fit(photo), settings.resolved(self.info)
        return self._recipe(photo, settings, fit, self._read(settings, fit.apply(photo)))

    def _recipe(self, photo: Image.Image, settings: EditSettings, fit: Fit, reading: Reading | None) -> Recipe:
        made_with = circumstances(model=self.info.name, weights=self.info.digest or "", input_digest=pixel_digest(photo), size=fit.seen,
                                  device="cuda" if self._lent else self.device_kind) | self.loaded_with()
        if is_tiled(fit.seen, self._most_pixels):
            made_with["autoencoder"] = "in tiles"
        if settings.reward_words:
            made_with["reward_words"] = "in the instruction"
        if reading is not None:
            made_with["reading"] = reading.line[:MAX_NOTE]
        steps, guidance_scale, image_guidance_scale, way_back = settings.filled
        return Recipe(settings.instruction, settings.reward, settings.seed, steps, guidance_scale, image_guidance_scale,
                      settings.scheduler, settings.negative_reward, way_back, made_with, settings.mask, settings.put_back,
                      settings.guidance_interval)


def _same(picture: Image.Image | None) -> Image.Image | None:
    return picture


def as_made(settings: EditSettings, reading: Reading | None) -> EditSettings:
    """The settings with the instruction as the model is given it: in its own words, and with the scores said where that is asked for."""
    instruction = settings.instruction if reading is None else reading.understood
    return replace(settings, instruction=with_scores(instruction, settings.reward) if settings.reward_words else instruction)


def mask_at(mask: Mask | None, size: Size) -> Image.Image:
    """A mask at the editor's size, as a grey picture: white where it may change. None: everywhere."""
    if mask is None:
        return Image.new("L", size, 255)
    return Image.fromarray(mask.inside.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)


def put_back_asked(photo: Image.Image, image: Image.Image, settings: EditSettings) -> Image.Image:
    """The edit with the photo's own pixels put back, where that is asked for."""
    if not settings.put_back:
        return image
    from mre.put_back import put_back
    return put_back(photo, image, settings.mask).image
