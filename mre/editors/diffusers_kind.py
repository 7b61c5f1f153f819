"""Any editing pipeline of diffusers, by folder or hub id. torch and diffusers are loaded on first use.

Pipelines agree on little but a prompt and a picture: FORMS is the table of what differs. A class that it does not hold is asked for its
signature, and either fits or is refused in one line. What is in a folder or repository is data: weights are safetensors, and its index may
name classes of diffusers and transformers only.
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from mre.editors.capabilities import MAX_STEPS, NOTHING, Capabilities
from mre.editors.editor import EditorInfo, Step
from mre.editors.local_editor import LocalEditor
from mre.errors import DataError, EditStopped, ModelError, MreError
from mre.files import read_json

if TYPE_CHECKING:
    import torch

    from mre.editors.settings import EditSettings

INDEX = "model_index.json"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
OWN = ("RewardEditPipeline", "StableDiffusionInstructPix2PixPipeline", "StableDiffusionPipeline")      # of PipelineEditor, or refused by it
LIBRARIES = ("diffusers", "transformers")


@dataclass(frozen=True)
class Form:
    """How a class of pipelines is called, and with what when nothing is asked for."""

    image: str = "image"
    is_list: bool = False               # the picture goes into a list
    steps: int = 50
    guidance: str = "guidance_scale"    # what follows the instruction more; empty: nothing does
    scale: float = 1.0                  # its default
    image_guidance: str = ""            # what keeps the photo more
    image_scale: float = 1.0
    blank: str | None = None            # a negative prompt, without which guidance does nothing
    sized: bool = True                  # takes height and width
    frames: bool = False                # gives frames, of which the last is the edit
    native: int = 1024                  # the root of the area that it was trained at, in pixels
    multiple: int = 16                  # of the sides
    extra: Mapping[str, Any] = field(default_factory=dict)      # what else it must be told; AREA stands for width x height


AREA = object()
FORMS = {
    "StableDiffusionXLInstructPix2PixPipeline": Form(steps=100, scale=5.0, image_guidance="image_guidance_scale", image_scale=1.5,
                                                     native=768, multiple=8),
    "FluxKontextPipeline": Form(steps=28, scale=3.5, extra={"max_area": AREA, "_auto_resize": False}),
    "Flux2Pipeline": Form(scale=4.0),
    "Flux2KleinPipeline": Form(scale=4.0),
    "Flux2KleinKVPipeline": Form(steps=4, guidance=""),
    "QwenImageEditPipeline": Form(guidance="true_cfg_scale", scale=4.0, blank=" ", multiple=32),
    "QwenImageEditPlusPipeline": Form(is_list=True, guidance="true_cfg_scale", scale=4.0, blank=" ", multiple=32),
    "QwenImage21Pipeline": Form(is_list=True, steps=40, guidance="true_cfg_scale", scale=1.0, blank=" ", multiple=32),
    "LongCatImageEditPipeline": Form(scale=4.5, sized=False),
    "JoyImageEditPipeline": Form(steps=40, scale=4.0),
    "JoyImageEditPlusPipeline": Form("images", is_list=True, steps=30, scale=4.0),
    "DreamLitePipeline": Form(steps=30, scale=3.5, image_guidance="image_guidance_scale", image_scale=1.5, multiple=32),
    "DreamLiteMobilePipeline": Form(steps=4, guidance="", multiple=32),
    "OmniGenPipeline": Form("input_images", is_list=True, scale=2.5, image_guidance="img_guidance_scale", image_scale=1.6),
    "BriaFiboEditPipeline": Form(steps=30, scale=5.0, extra={"_auto_resize": False}),
    "Kandinsky5I2IPipeline": Form(scale=3.5),
    "GlmImagePipeline": Form(scale=1.5, multiple=32),
    "ZImageOmniPipeline": Form(scale=5.0),
    "ChronoEditPipeline": Form(scale=5.0, frames=True, native=624, extra={"num_frames": 5, "output_type": "pil"}),
    "Cosmos3OmniPipeline": Form(steps=35, scale=6.0, frames=True, extra={"num_frames": 1}),
}
# What a class that is not in the table may call things.
IMAGES = ("image", "images", "input_images", "input_image")
GUIDANCES = ("guidance_scale", "true_cfg_scale")
IMAGE_GUIDANCES = ("image_guidance_scale", "img_guidance_scale")


# ------------------------------------------------------------------------------------------------------------- names -> classes

def is_diffusers(name: str) -> bool:
    """Whether a folder or hub id holds a pipeline, and not one of ours."""
    kind = index_of(name).get("_class_name")
    return kind is not None and kind not in OWN


def index_of(name: str) -> dict[str, Any]:
    """The index of a pipeline's folder, or of a repository, of which nothing else is fetched; empty where there is none."""
    folder = Path(name).expanduser()
    try:
        if folder.is_dir():
            return read_json(folder / INDEX)
        return read_json(_index_from_hub(name)) if HUB_ID.fullmatch(name) and not folder.exists() else {}
    except (DataError, OSError):
        return {}


@lru_cache(maxsize=64)
def _index_from_hub(name: str) -> Path:
    """Raises OSError where there is none, or the hub cannot be asked."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    there = try_to_load_from_cache(name, INDEX)
    if isinstance(there, str):
        return Path(there)
    try:
        return Path(hf_hub_download(name, INDEX, etag_timeout=5))
    except Exception as error:      # what the hub's library and those below it raise has no common class
        raise OSError(str(error)) from error


def form_of(kind: str, name: str) -> Form:
    """How the class of this name is called. Raises ModelError in one line for one that edits no pictures by instruction."""
    if kind in FORMS:
        return FORMS[kind]
    import diffusers

    found = getattr(diffusers, kind, None) if kind.isidentifier() and kind.endswith("Pipeline") else None
    if found is None:
        raise ModelError(f"{name} holds a {kind[:60]}, which diffusers {diffusers.__version__} does not have")
    takes = inspect.signature(found.__call__).parameters
    image = next((one for one in IMAGES if one in takes), None)
    if image is None or "prompt" not in takes or "num_inference_steps" not in takes:
        raise ModelError(f"{name} holds a {kind}, which takes no {'instruction' if image else 'picture'}: it is no editor")
    if "strength" in takes:
        raise ModelError(f"{name} holds a {kind}, which repaints a picture and follows no instruction for an edit")
    needed = [one for one, value in takes.items() if value.default is value.empty and value.kind is not value.VAR_KEYWORD]
    if more := [one for one in needed if one not in ("self", "prompt", image)]:
        raise ModelError(f"{name} holds a {kind}, which asks for {more[0]} beside picture and instruction")
    guidance = next((one for one in GUIDANCES if one in takes and takes[one].default is not None), "")
    image_guidance = next((one for one in IMAGE_GUIDANCES if one in takes and takes[one].default is not None), "")
    return Form(image, is_list=image.endswith("s"), steps=int(takes["num_inference_steps"].default), guidance=guidance,
                scale=float(takes[guidance].default) if guidance else 1.0, image_guidance=image_guidance,
                image_scale=float(takes[image_guidance].default) if image_guidance else 1.0,
                blank=" " if guidance == "true_cfg_scale" and "negative_prompt" in takes else None,
                sized="height" in takes and "width" in takes, frames="num_frames" in takes)


def capabilities_of(form: Form) -> Capabilities:
    """What changes the pictures of a class that is called so."""
    return replace(NOTHING, seed=True, steps=range(1, MAX_STEPS + 1), guidance_scale=bool(form.guidance),
                   image_guidance_scale=bool(form.image_guidance))


# --------------------------------------------------------------------------------------------------------------------- editor

class DiffusersEditor(LocalEditor):
    """A pipeline of diffusers that edits a picture by an instruction."""

    @property
    def form(self) -> Form:
        """How it is called. Raises ModelError."""
        kind = index_of(self.name).get("_class_name")
        if not isinstance(kind, str):
            raise ModelError(f"{self._shown} holds no pipeline of diffusers")
        return form_of(kind, self._shown)

    @property
    def _shown(self) -> str:
        return Path(self.name).name if Path(self.name).is_absolute() else self.name

    def describe(self) -> EditorInfo:
        index, form = index_of(self.name), self.form
        native = index.get("native_size", form.native)
        if not isinstance(native, int) or isinstance(native, bool) or not 16 <= native <= 4096:
            raise ModelError(f"{self._shown}/{INDEX}: native_size must be a whole number between 16 and 4096")
        licence = licence_of(self.name)
        limits = f"{index['_class_name']} of diffusers; it knows no rewards." + (f" Licence of its weights: {licence}." if licence else "")
        return EditorInfo(
            name=Path(self.name).name, title=Path(self.name).name, limits=limits, licence=licence, native_size=native,
            size_rule=f"area-{form.multiple}", steps=form.steps, guidance_scale=form.scale, image_guidance_scale=form.image_scale,
            guidable=bool(form.guidance), capabilities=capabilities_of(form), digest=self._digest())

    @property
    def capabilities(self) -> Capabilities:
        """What changes its pictures; nothing where that cannot be told: loading says why."""
        try:
            return capabilities_of(self.form)
        except ModelError:
            return NOTHING

    def _digest(self) -> str | None:
        """Of a folder the digest of its weights, of a repository its revision; none while it is not on this machine."""
        from mre.models.known import weight_digest

        folder = Path(self.name).expanduser()
        if folder.is_dir():
            return weight_digest(folder)
        return f"revision {_index_from_hub(self.name).parent.name}"

    def load(self) -> Any:
        from mre.models.quiet import quiet_libraries

        with quiet_libraries():
            import diffusers
            import torch

            index = index_of(self.name)
            check_index(index, self._shown)
            form_of(str(index.get("_class_name")), self._shown)         # raises ModelError for a class that does not edit
            device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
            folder = Path(self.name).expanduser()
            place = str(folder) if folder.is_dir() else self.name
            check_memory(folder if folder.is_dir() else _index_from_hub(self.name).parent, device, self._shown)
            try:
                pipeline = getattr(diffusers, index["_class_name"]).from_pretrained(
                    place, use_safetensors=True, low_cpu_mem_usage=True, torch_dtype=torch.float32 if device == "cpu" else torch.bfloat16,
                    **processors_without_video(index, place))
            except (OSError, ValueError, ImportError, TypeError, AttributeError) as error:
                raise ModelError(f"the model {self._shown} cannot be loaded: {_without_folder(first_line(error), folder)}") from error
            pipeline.set_progress_bar_config(disable=True)
            return pipeline.to(device)

    @property
    def device_kind(self) -> str:
        return str(getattr(self._loaded, "device", self.device or "cpu")).split(":")[0]

    def make(self, seen: Image.Image, settings: EditSettings, on_step: Callable[[Step], None],
             should_stop: Callable[[], bool]) -> Image.Image:
        import torch

        pipeline, form = self.prepare(), self.form
        total, guidance_scale, image_guidance_scale, _ = settings.filled
        steps = Steps(total, on_step, should_stop)
        takes = inspect.signature(pipeline.__call__).parameters
        arguments: dict[str, Any] = {
            "prompt": settings.instruction, form.image: [seen] if form.is_list else seen, "num_inference_steps": total,
            "generator": torch.Generator("cpu").manual_seed(settings.seed)}
        if form.guidance:
            arguments[form.guidance] = guidance_scale
        if form.image_guidance:
            arguments[form.image_guidance] = image_guidance_scale
        if form.blank is not None and guidance_scale > 1:
            arguments["negative_prompt"] = form.blank
        if form.sized:
            arguments |= {"width": seen.width, "height": seen.height}
        arguments |= {name: seen.width * seen.height if value is AREA else value for name, value in form.extra.items()}
        try:
            with torch.inference_mode(), nullcontext() if "callback_on_step_end" in takes else steps.counted(pipeline.scheduler):
                result = pipeline(**arguments, **({"callback_on_step_end": steps.after} if "callback_on_step_end" in takes else {}))
        except NameError as error:               # an optional package that the class wants, and that was not imported
            raise ModelError(f"the model {self._shown} needs the package {error.name}, which is not installed") from error
        except ValueError as error:              # what a pipeline says of its arguments
            if isinstance(error, MreError):
                raise
            raise ModelError(f"the model {self._shown}: {first_line(error)}") from error
        made = last_picture(result.frames if form.frames else result.images)
        return made if made.size == seen.size else made.resize(seen.size, Image.Resampling.LANCZOS)


class Steps:
    """Tells the steps of one edit as they are done, and ends it when it is to stop."""

    def __init__(self, total: int, on_step: Callable[[Step], None], should_stop: Callable[[], bool]) -> None:
        self.total, self.done = total, 0
        self._on_step, self._should_stop = on_step, should_stop
        self._started = time.perf_counter()

    def after(self, pipeline: Any, index: int, timestep: Any, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """For `callback_on_step_end`."""
        self._tell(index + 1)
        return values

    @contextmanager
    def counted(self, scheduler: Any) -> Iterator[None]:
        """For a pipeline without a callback: each call of its scheduler's `step` is a step."""
        own = scheduler.step

        def step(*values: Any, **named: Any) -> Any:
            result = own(*values, **named)
            self._tell(self.done + 1)
            return result
        scheduler.step = step
        try:
            yield
        finally:
            del scheduler.step

    def _tell(self, done: int) -> None:
        if self._should_stop():
            raise EditStopped(f"stopped after step {done} of {self.total}")
        self.done = done
        left = (time.perf_counter() - self._started) / done * max(self.total - done, 0)
        self._on_step(Step(min(done, self.total), self.total, left, lambda: None))


def last_picture(pictures: Any) -> Image.Image:
    """The edit: the last frame of the first of what a pipeline gives. Raises ModelError for what is no picture."""
    while isinstance(pictures, (list, tuple)) and pictures:
        pictures = pictures[0] if isinstance(pictures[0], (list, tuple)) else pictures[-1]
    if not isinstance(pictures, Image.Image):
        raise ModelError(f"the model gave no picture, but {type(pictures).__name__}")
    return pictures.convert("RGB")


def check_index(index: Mapping[str, Any], name: str) -> None:
    """Raises ModelError for an index that names a class outside of LIBRARIES: nothing from outside is run."""
    for part, place in index.items():
        if not isinstance(place, list) or part.startswith("_"):
            continue
        if len(place) != 2 or place[0] not in (None, *LIBRARIES):
            raise ModelError(f"{name}/{INDEX}: {part} is of {str(place[0])[:40]}, and only {' and '.join(LIBRARIES)} are used")


WEIGHTS = re.compile(r"(model|diffusion_pytorch_model)(-\d+-of-\d+)?\.safetensors")


def check_memory(folder: Path, device: str, name: str) -> None:
    """Raises ModelError, before anything is read, for weights that are larger than the memory that is free on the device."""
    size = sum(file.stat().st_size for file in folder.glob("*/*.safetensors") if WEIGHTS.fullmatch(file.name))
    free = free_memory(device)
    if free is not None and size > free:
        raise ModelError(f"the model {name} has {size / 1e9:.3g} GB of weights, and {free / 1e9:.3g} GB of memory are free on {device}")


def free_memory(device: str) -> int | None:
    """In bytes; none where it cannot be told."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def processors_without_video(index: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Processors of pictures and chats: in transformers they want torchvision for videos, which no editor is given; here they have none."""
    import transformers

    found = {}
    for part, (library, kind) in ((part, value) for part, value in index.items() if isinstance(value, list)):
        cls = getattr(transformers, kind, None) if library == "transformers" and str(kind).endswith("Processor") else None
        if cls is None or transformers.utils.is_torchvision_available() or "video_processor" not in inspect.signature(cls).parameters:
            continue

        class PictureProcessor(cls):
            """The same, for pictures and texts."""

            def check_argument_for_proper_class(self, name: str, argument: Any) -> Any:
                return None if name == "video_processor" else super().check_argument_for_proper_class(name, argument)
        found[part] = PictureProcessor(image_processor=transformers.AutoImageProcessor.from_pretrained(place, subfolder=part),
                                       tokenizer=transformers.AutoTokenizer.from_pretrained(place, subfolder=part))
    return found


def licence_of(name: str) -> str:
    """What the card of the weights says; empty where there is none here."""
    import yaml

    folder = Path(name).expanduser()
    try:
        card = folder / "README.md" if folder.is_dir() else _index_from_hub(name).parent / "README.md"
        front = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8"), flags=re.S)
        values = yaml.safe_load(front[1]) if front else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""
    said = values.get("license_name") or values.get("license") if isinstance(values, dict) else ""
    return said[:60] if isinstance(said, str) else ""


def first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]


def _without_folder(text: str, folder: Path) -> str:
    return text.replace(f"{folder}/", "").replace(str(folder), folder.name)
