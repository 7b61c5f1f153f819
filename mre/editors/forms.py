"""How each class of editing pipelines of diffusers is called. They agree on little but a prompt and a picture: FORMS is the table of what
differs. A class that it does not hold is asked for its signature, and either fits or is refused in one line.

Importing this loads no torch.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mre.editors.capabilities import MAX_STEPS, NOTHING, Capabilities
from mre.errors import ModelError
from mre.imaging import Size


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
    sizes: tuple[Size, ...] = ()        # the only sizes that it makes, where it does not make all
    json: bool = False                  # the instruction goes into a JSON object, as its `edit_instruction`
    before: str = ""                    # what must stand before the instruction: a mark for the picture
    vae_dtype: str = ""                 # the number format that its autoencoder must have, whatever the others have
    native: int = 1024                  # the root of the area that it was trained at, in pixels
    multiple: int = 16                  # of the sides
    mask: str = ""                      # what takes a mask, white where it paints
    unmasked: str = ""                  # what it is given where there is none: nothing, a `white` one, or it must have one: `refused`
    strength: float = 1.0               # the share of the steps that are done, where a class has such a share
    extra: Mapping[str, Any] = field(default_factory=dict)      # what else it must be told; for AREA and SIDE see `told`

    def prompt(self, instruction: str) -> str:
        """What it is given as its prompt."""
        return json.dumps({"edit_instruction": instruction}) if self.json else self.before + instruction

    def told(self, width: int, height: int) -> dict[str, Any]:
        """`extra` for an edit of this size: AREA stands for its pixels, SIDE for their square root."""
        values = {AREA: width * height, SIDE: round(math.sqrt(width * height))}
        return {name: values.get(value, value) for name, value in self.extra.items()}

    @property
    def size_rule(self) -> str:
        """See mre.imaging.fit_size."""
        return "one-of-" + ",".join(f"{width}x{height}" for width, height in self.sizes) if self.sizes else f"area-{self.multiple}"


AREA, SIDE = object(), object()
# What JoyImage crops a picture to where it is given another size.
JOY_SIZES = tuple((wide, high) for short, longs in {
    512: (1792, 1856, 1920, 1984, 2048), 576: (1600, 1664, 1728, 1792), 640: (1472, 1536, 1600), 704: (1344, 1408, 1472),
    768: (1216, 1280, 1344), 832: (1152, 1216), 896: (1088, 1152), 960: (1024, 1088), 1024: (1024,)}.items()
    for long in longs for wide, high in dict.fromkeys([(short, long), (long, short)]))
KANDINSKY_SIZES = (1024, 1024), (640, 1408), (1408, 640), (768, 1280), (1280, 768), (896, 1152), (1152, 896)
FORMS = {
    "StableDiffusionXLInstructPix2PixPipeline": Form(steps=100, scale=5.0, image_guidance="image_guidance_scale", image_scale=1.5,
                                                     native=768, multiple=8),
    "FluxKontextPipeline": Form(steps=28, scale=3.5, extra={"max_area": AREA, "_auto_resize": False}),
    "FluxKontextInpaintPipeline": Form(steps=28, scale=3.5, mask="mask_image", unmasked="white",
                                       extra={"max_area": AREA, "_auto_resize": False}),
    "FluxFillPipeline": Form(scale=30.0, mask="mask_image", unmasked="refused"),
    "Flux2Pipeline": Form(scale=4.0),
    "Flux2KleinPipeline": Form(scale=4.0),
    "Flux2KleinInpaintPipeline": Form(scale=8.0, mask="mask_image", unmasked="white", strength=0.8),
    "Flux2KleinKVPipeline": Form(steps=4, guidance=""),
    "QwenImageEditPipeline": Form(guidance="true_cfg_scale", scale=4.0, blank=" ", multiple=32),
    "QwenImageEditInpaintPipeline": Form(guidance="true_cfg_scale", scale=4.0, blank=" ", multiple=32, mask="mask_image",
                                         unmasked="white", strength=0.6),
    "QwenImageEditPlusPipeline": Form(is_list=True, guidance="true_cfg_scale", scale=4.0, blank=" ", multiple=32),
    "QwenImage21Pipeline": Form(is_list=True, steps=40, guidance="true_cfg_scale", scale=1.0, blank=" ", multiple=32,
                                extra={"output_resolution": SIDE}),
    "LongCatImageEditPipeline": Form(scale=4.5, sized=False),
    "JoyImageEditPipeline": Form(steps=40, scale=4.0, sizes=JOY_SIZES),
    "JoyImageEditPlusPipeline": Form("images", is_list=True, steps=30, scale=4.0, sizes=JOY_SIZES),
    "DreamLitePipeline": Form(steps=30, scale=3.5, image_guidance="image_guidance_scale", image_scale=1.5, multiple=32),
    "DreamLiteMobilePipeline": Form(steps=4, guidance="", multiple=32),
    "OmniGenPipeline": Form("input_images", is_list=True, scale=2.5, image_guidance="img_guidance_scale", image_scale=1.6,
                            before="<img><|image_1|></img> "),
    "BriaFiboEditPipeline": Form(steps=30, scale=5.0, multiple=32, json=True, mask="mask", extra={"_auto_resize": False}),
    "BriaFibo2Pipeline": Form(steps=30, scale=5.0, mask="mask"),
    "Kandinsky5I2IPipeline": Form(scale=3.5, sizes=KANDINSKY_SIZES),
    "GlmImagePipeline": Form(is_list=True, scale=1.5, multiple=32),
    "ZImageOmniPipeline": Form(scale=5.0, vae_dtype="bfloat16"),
    "ChronoEditPipeline": Form(scale=5.0, native=624, extra={"num_frames": 5, "output_type": "pil"}),
    "Cosmos3OmniPipeline": Form(steps=35, scale=6.0, extra={"num_frames": 5}),     # with one frame it does not look at the picture
}
# What a class that takes picture and prompt does with them, where it is no edit: told by an argument that it takes, or by its name.
OTHER_WORK = {"num_frames": "makes a video", "frames": "makes a video", "noise_level": "enlarges or varies a picture",
              "adapter_conditioning_scale": "draws over a sketch, a map of depth or a pose",
              "DiffusionGemmaPipeline": "writes a text", "HunyuanImageRefinerPipeline": "refines a picture that another class drew",
              "QwenImageLayeredPipeline": "takes a picture apart", "StableDiffusionLatentUpscalePipeline": "enlarges a picture",
              "StableCascadeCombinedPipeline": "varies a picture", "StableCascadePriorPipeline": "makes no picture",
              "UniDiffuserPipeline": "varies a picture, or tells what is on it", "VersatileDiffusionDualGuidedPipeline": "varies a picture"}
# What a class that is not in the table may call things.
IMAGES = ("image", "images", "input_images", "input_image")
GUIDANCES = ("guidance_scale", "true_cfg_scale")
MASKS = ("mask_image", "mask")
IMAGE_GUIDANCES = ("image_guidance_scale", "img_guidance_scale")


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
    if work := next((OTHER_WORK[one] for one in (kind, *takes) if one in OTHER_WORK), None):
        raise ModelError(f"{name} holds a {kind}, which {work}: it is no editor")
    mask = next((one for one in MASKS if one in takes), "")
    if "strength" in takes and not mask:
        raise ModelError(f"{name} holds a {kind}, which repaints a picture and follows no instruction for an edit")
    if controlled := next((one for one in takes if one.startswith("control_")), None):
        raise ModelError(f"{name} holds a {kind}, which asks for {controlled} beside picture and instruction")
    needed = [one for one, value in takes.items() if value.default is value.empty and value.kind is not value.VAR_KEYWORD]
    if more := [one for one in needed if one not in ("self", "prompt", image)]:
        raise ModelError(f"{name} holds a {kind}, which asks for {more[0]} beside picture and instruction")
    guidance = next((one for one in GUIDANCES if one in takes and takes[one].default is not None), "")
    image_guidance = next((one for one in IMAGE_GUIDANCES if one in takes and takes[one].default is not None), "")
    return Form(image, is_list=image.endswith("s"), steps=int(takes["num_inference_steps"].default), guidance=guidance,
                scale=float(takes[guidance].default) if guidance else 1.0, image_guidance=image_guidance,
                image_scale=float(takes[image_guidance].default) if image_guidance else 1.0,
                blank=" " if guidance == "true_cfg_scale" and "negative_prompt" in takes else None,
                sized="height" in takes and "width" in takes, mask=mask, unmasked="refused",
                strength=float(takes["strength"].default) if mask and "strength" in takes else 1.0)


def capabilities_of(form: Form) -> Capabilities:
    """What changes the pictures of a class that is called so."""
    return replace(NOTHING, mask=bool(form.mask), seed=True, steps=range(1, MAX_STEPS + 1), guidance_scale=bool(form.guidance),
                   image_guidance_scale=bool(form.image_guidance))
