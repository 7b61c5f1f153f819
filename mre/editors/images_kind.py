"""An editor on a server, `images:MODEL@URL`: OpenAI's, or whatever speaks its images API. The photo and the instruction are sent there.

What the server can use beside a picture and an instruction cannot be asked of it; the name says it: `images:MODEL@URL?steps=28&seed=1`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import math
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from PIL import Image

from mre.editors import images_api
from mre.editors.capabilities import MAX_STEPS, NOTHING, Capabilities
from mre.editors.device_queue import DeviceQueue
from mre.editors.editor import EditorInfo, EditResult, Step
from mre.editors.images_price import Charge, charge_of
from mre.editors.local_editor import EditorOptions, LocalEditor, mask_at
from mre.editors.settings import EditSettings
from mre.errors import EditRefused, ModelError, PerhapsPaid, ServiceError, SettingsError
from mre.imaging import Fit, Size, fit_size, open_image, pixel_digest
from mre.masks import Mask
from mre.paid.budget import Budget, Limits
from mre.paid.cache import AnswerCache, StoredAnswer, answer_key, utc_now
from mre.paid.connection import Endpoint, find_endpoint
from mre.recipes import Recipe, png_bytes

if TYPE_CHECKING:
    from mre.editors.reading import Reading
    from mre.editors.settings import EditSettings
    from mre.masks import Mask

log = logging.getLogger("mre.editors.images")
FORM = "images:MODEL@URL"
NAME = re.compile(r"images:(?P<model>[^@?\s]{1,200})(@(?P<url>https?://[^?\s]+))?(\?(?P<options>\S*))?")
MULTIPLE = 16                   # of the sides of a picture that is sent
MOST_UNANSWERED = 4             # edits one after the other that a server takes and does not answer, before no other is sent there
LONGEST = 2048                  # pixels of its longer side, at most
OPENAI_SIZES: tuple[Size, ...] = ((1024, 1024), (1536, 1024), (1024, 1536))         # that its models make
SWITCHES = ("seed", "mask", "idempotent")       # options of a name that are 0 or 1
WHY = {"seed": "is sent no seed, and answers as it likes (a server that takes seeds is named with ?seed=1)",
       "steps": "is sent no number of steps (a server that takes one is named with ?steps=28, its default)"}


@dataclass(frozen=True)
class ServerName:
    """What a name says: the model, its server, and what this takes beside picture and instruction."""

    model: str
    url: str | None = None          # None: as the environment says, or OpenAI's own
    size: int = 1024                # the root of the area of a picture that is sent, in pixels
    steps: int | None = None        # the default number, where it takes one
    seed: bool = False
    mask: bool = False
    idempotent: bool = False        # it makes what comes twice with one Idempotency-Key once, and charges once

    @classmethod
    def parse(cls, name: str) -> ServerName:
        """Raises ModelError."""
        found = NAME.fullmatch(name)
        if found is None:
            raise ModelError(f"an editor on a server is called {FORM}, such as images:gpt-image-1 or images:qwen@http://localhost:8000/v1")
        options: dict[str, Any] = {"mask": found["url"] is None}
        for key, text in parse_qsl(found["options"] or "", keep_blank_values=True):
            low, high = {"size": (64, 2048), "steps": (1, MAX_STEPS), **dict.fromkeys(SWITCHES, (0, 1))}.get(key, (1, 0))
            if low > high:
                raise ModelError(f"{FORM}: an option is called {key[:40]!r}; there are size, steps, seed, mask and idempotent")
            if not (text.isascii() and text.isdigit()) or not low <= int(text[:9]) <= high:
                raise ModelError(f"{FORM}?{key}= must be a whole number between {low} and {high}, got {text[:40]!r}")
            options[key] = bool(int(text)) if key in SWITCHES else int(text)
        return cls(found["model"], found["url"] and found["url"].rstrip("/"), **options)

    @property
    def capabilities(self) -> Capabilities:
        return replace(NOTHING, seed=self.seed, steps=range(1, MAX_STEPS + 1) if self.steps else None, mask=self.mask, why=WHY)


@dataclass(frozen=True)
class KeptEdits:
    """Edits that were paid for, kept where judges' answers could be too; without a cache none are: a page would fill its memory."""

    cache: AnswerCache | None

    def get(self, request: images_api.Request) -> Image.Image | None:
        """The picture that was made for this request."""
        stored = None if self.cache is None else self.cache.get(request.key)
        return None if stored is None else open_image(base64.b64decode(stored.raw), name="the kept picture")

    def put(self, request: images_api.Request, edited: images_api.Edited, cost: float | None) -> None:
        """On return it survives the process."""
        if self.cache is not None:
            self.cache.put(request.key, StoredAnswer("images", request.model, "edit", "picture", base64.b64encode(edited.file).decode(), "",
                                                     edited.input_tokens, edited.output_tokens, cost, edited.seconds, utc_now()))


class ImagesEditor(LocalEditor):
    """A server that edits a picture by an instruction. What was paid for is kept where `cache` says, and not asked for again."""

    def __init__(self, name: str, options: EditorOptions | None = None) -> None:
        options = options or EditorOptions()
        super().__init__(name, replace(options, queue=DeviceQueue()))       # it waits for no device of this machine
        self.options = options
        self._answered = threading.local()              # size of the picture that came for the edit of this thread
        self._said: set[tuple[Size, Size]] = set()
        self._unanswered = 0                            # edits in a row

    @property
    def wants_gpu(self) -> bool:
        return False

    @cached_property
    def named(self) -> ServerName:
        """Raises ModelError."""
        return ServerName.parse(self.name)

    @cached_property
    def endpoint(self) -> Endpoint:
        """Raises ModelError for want of a key, and for an address that is none."""
        try:
            return find_endpoint(self.named.url, self.options.key_file, who=f"the editor images:{self.named.model}", address=FORM)
        except (ServiceError, SettingsError) as error:
            raise ModelError(str(error)) from error

    @cached_property
    def charge(self) -> Charge:
        """What an edit costs. Raises ModelError, SettingsError."""
        return charge_of(self.named.model, self.endpoint.is_own_server, self.options.price_picture)

    @cached_property
    def budget(self) -> Budget:
        """Of all edits together. Raises ModelError, SettingsError."""
        return Budget(Limits(requests=self.options.max_requests, usd=self.options.budget), self.charge.price, "--price-picture")

    def describe(self) -> EditorInfo:
        named, host = self.named, self.endpoint.host
        return EditorInfo(
            name=f"images:{named.model}", title=f"{named.model} ({host})",
            limits=f"It runs on {host}: photo and instruction are sent there. It knows no rewards, and the same settings may give another "
                   "picture.",
            limits_zh=f"它运行在 {host} 上：照片和指令会发送到那里。它不读取评分，同样的设置可能给出不同的图片。",
            native_size=named.size, size_rule=f"area-{MULTIPLE}", steps=named.steps or 1, capabilities=named.capabilities)

    @property
    def capabilities(self) -> Capabilities:
        """What its name says; nothing where that cannot be read: `info` says why."""
        try:
            return self.named.capabilities
        except ModelError:
            return NOTHING

    @property
    def device_kind(self) -> str:
        return "server"

    def load(self) -> KeptEdits:
        """The edits that are kept; the server is asked for nothing. Raises SettingsError for a budget without a price."""
        assert self.budget
        try:
            return KeptEdits(None if self.options.cache is None else AnswerCache(self.options.cache))
        except ServiceError as error:
            raise ModelError(str(error)) from error

    def _fit(self, photo: Image.Image) -> Fit:
        aspect = max(photo.size) / min(photo.size)
        return fit_size(photo.size, self.info.size_rule, round(min(self.info.native_size, LONGEST / math.sqrt(aspect))), MULTIPLE)

    # -- edits

    def edit(self, photo: Image.Image, settings: EditSettings, **hooks: Any) -> EditResult:
        """As every editor's. Its recipe says which server answered, and with a picture of which size."""
        result = super().edit(photo, settings, **hooks)
        made_with = {**result.recipe.made_with, "answered": "{}x{}".format(*self._answered.size)}
        return replace(result, recipe=replace(result.recipe, made_with=made_with))

    def _recipe(self, photo: Image.Image, settings: EditSettings, fit: Fit, reading: Reading | None) -> Recipe:
        recipe = super()._recipe(photo, settings, fit, reading)
        return replace(recipe, made_with={**recipe.made_with, "server": self.endpoint.host})

    def make(self, seen: Image.Image, settings: EditSettings, on_step: Callable[[Step], None],
             should_stop: Callable[[], bool]) -> Image.Image:
        request, kept = self.request(seen, settings), self.prepare()
        made = kept.get(request)
        if made is None:
            edited = self._asked(request, kept, should_stop)
            kept.put(request, edited, self.charge.cost(edited))
            made = edited.image
        self._answered.size = made.size
        if made.size == seen.size:
            return made
        if (made.size, seen.size) not in self._said:
            self._said.add((made.size, seen.size))
            log.warning("%s answered with %d x %d pixels for a picture of %d x %d: resized", self.endpoint.host, *made.size, *seen.size)
        return made.resize(seen.size, Image.Resampling.LANCZOS)

    def _asked(self, request: images_api.Request, kept: KeptEdits, should_stop: Callable[[], bool]) -> images_api.Edited:
        """The edit as it came. What was perhaps paid is asked for again where that was said to be right, or costs nothing more. Raises
        ModelError where edit after edit goes unanswered: all of them may be charged."""
        repeats = self.options.ask_again or self.named.idempotent or self.charge.price.cost(1, 1) == 0
        try:
            edited = images_api.ask(self.endpoint, request, images_api.Terms(self.budget, self.charge, kept.cache, repeats), should_stop)
        except images_api.Unheard as error:
            self._unanswered += 1
            if self._unanswered >= MOST_UNANSWERED:
                raise ModelError(f"{self._unanswered} edits in a row went unanswered, the last: {error}") from error
            raise
        except PerhapsPaid:
            raise                                       # the server was not asked
        except EditRefused:
            self._unanswered = 0
            raise
        self._unanswered = 0
        return edited

    def request(self, seen: Image.Image, settings: EditSettings) -> images_api.Request:
        """What is sent for an edit. Its key is a digest of that and of the seed: another seed is another edit, sent or not."""
        named, endpoint = self.named, self.endpoint
        fields = {"model": named.model, "prompt": settings.instruction, "n": "1"}
        width, height = seen.size if endpoint.is_own_server else nearest(seen.size)
        fields["size"] = f"{width}x{height}"
        if endpoint.is_own_server or named.model.startswith("dall-e"):
            fields["response_format"] = "b64_json"          # OpenAI's newer models know no other, and refuse the field
        if named.steps:
            fields["num_inference_steps"] = str(settings.filled[0])
        if named.seed:
            fields["seed"] = str(settings.seed)
        files = {"image": ("photo.png", png_bytes(seen), "image/png")}
        if named.mask and settings.mask is not None:
            files["mask"] = ("mask.png", mask_png(settings.mask, seen.size), "image/png")
        marked = hashlib.sha256(files["mask"][1]).hexdigest() if "mask" in files else None
        key = answer_key(version=1, kind="images", address=endpoint.base_url, photo=pixel_digest(seen), mask=marked, seed=settings.seed,
                         fields=fields)
        return images_api.Request(named.model, fields, files, key)


def nearest(size: Size) -> Size:
    """The size of OpenAI's whose shape is nearest to that of a picture."""
    return min(OPENAI_SIZES, key=lambda one: abs(math.log(one[0] / one[1] / (size[0] / size[1]))))


def mask_png(mask: Mask, size: Size) -> bytes:
    """The mask as this API reads it: transparent where the picture may change."""
    inside = mask_at(mask, size)
    picture = Image.new("RGBA", size)
    picture.putalpha(inside.point(lambda value: 0 if value else 255))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
