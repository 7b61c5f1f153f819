"""Two pictures to look at closely: slide between them, hold to flip, side by side with one zoom, and where they differ.

The handlers make plain HTML; `assets/viewer.js` gives it life by listening on the document, so that it works after every update.
"""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ui.texts import add_texts, say

CHANGED_LEVELS = 2            # of 255; a smaller difference is not seen and not counted
TEXTS = {
    "viewer_slide": ("Slide", "滑动"), "viewer_flip": ("Hold to flip", "按住切换"), "viewer_side": ("Side by side", "并排"),
    "viewer_difference": ("Difference", "差异"), "viewer_before": ("Before", "之前"), "viewer_after": ("After", "之后"),
    "viewer_reset": ("Reset zoom", "重置缩放"),
    "viewer_hint": ("Wheel or pinch to zoom, drag to move; both pictures move together.", "滚轮或双指缩放，拖动平移；两张图同步移动。"),
    "viewer_position": ("Position of the divider", "分隔线位置"),
    "viewer_changed": ("{percent} of pixels changed (by more than {levels} of 255 levels)",
                       "{percent} 的像素有变化（超过 {levels}/255 级）"),
    "viewer_scale": ("Colour of the difference map: change of a pixel, in levels of 255", "差异图颜色：像素变化的大小（0–255 级）"),
    "viewer_empty": ("Your edit will appear here.", "编辑结果会显示在这里。"),
    "viewer_empty_how": ("Choose a picture or an example, say what to change, and press Run.",
                         "选择图片或示例，写下要改什么，然后点“运行”。"),
}
add_texts(TEXTS)


@dataclass(frozen=True)
class Difference:
    """Where and how much two pictures of equal size differ."""

    picture: Image.Image      # heat map
    changed: float            # share of pixels
    top: int                  # levels at the upper end of the colour scale


def difference(before: Image.Image, after: Image.Image) -> Difference:
    """The largest change of a channel in each pixel, on a linear scale of levels; the scale's end is the largest change, at least 32."""
    change = np.abs(np.asarray(before, np.int16) - np.asarray(after, np.int16)).max(axis=2)
    top = max(32, int(change.max()))
    stops = np.array(SCALE, np.float32)
    place = change.astype(np.float32) / top * (len(stops) - 1)
    low = np.minimum(place.astype(int), len(stops) - 2)
    part = (place - low)[..., None]
    colours = stops[low] * (1 - part) + stops[low + 1] * part
    return Difference(Image.fromarray(colours.round().astype(np.uint8)), float((change > CHANGED_LEVELS).mean()), top)


SCALE = ((12, 12, 20), (66, 22, 94), (156, 42, 96), (226, 92, 52), (250, 178, 58), (252, 250, 190))   # dark to light


def viewer(before: str, after: str, difference_map: str, *, changed: float, top: int, size: tuple[int, int], language: str,
           labels: tuple[str, str] | None = None, element: str = "look") -> str:
    """The widget. Addresses of three pictures; `labels` name the two pictures when they are not before and after."""
    first, second = (html.escape(label) for label in labels or (say("viewer_before", language), say("viewer_after", language)))
    modes = "".join(f'<button type="button" class="chip" data-mode="{mode}" aria-pressed="{"true" if mode == "slide" else "false"}">'
                    f'{say("viewer_" + mode, language)}</button>' for mode in ("slide", "flip", "side", "difference"))
    colours = ", ".join(f"rgb{colour}" for colour in SCALE)
    percent = f"{100 * changed:.1f} %"
    return f"""<div class="mre-viewer" id="{element}-viewer" data-mode="slide" style="--ratio:{size[0] / size[1]:.4f}">
<div class="toolbar" role="group" aria-label="{say("viewer_slide", language)}, {say("viewer_flip", language)}">{modes}
<button type="button" class="chip" data-reset>{say("viewer_reset", language)}</button></div>
<div class="panes"><div class="pane one"><img class="before" src="{before}" alt="{first}" draggable="false">
<img class="after" src="{after}" alt="{second}" draggable="false">
<img class="difference" src="{difference_map}" alt="{say("viewer_difference", language)}" draggable="false" loading="lazy">
<i class="divider"></i><span class="tag left">{first}</span><span class="tag right">{second}</span>
<input type="range" class="cut" min="0" max="100" step="0.5" value="50" aria-label="{say("viewer_position", language)}"></div>
<div class="pane two"><img class="after" src="{after}" alt="{second}" draggable="false"><span class="tag right">{second}</span></div></div>
<div class="scale" style="--scale:linear-gradient(to right, {colours})"><span>0</span><i aria-hidden="true"></i><span>{top}</span>
<em>{say("viewer_scale", language)}</em></div>
<p class="small muted"><b class="changed">{say("viewer_changed", language, percent=percent, levels=CHANGED_LEVELS)}</b> ·
{say("viewer_hint", language)}</p></div>"""


def empty_viewer(language: str) -> str:
    """Where the result will be."""
    return (f'<div class="viewer-empty"><svg viewBox="0 0 64 48" aria-hidden="true"><rect x="2" y="2" width="60" height="44" rx="5"/>'
            f'<path d="M32 2v44M8 38l12-14 8 9 12-17 16 22"/><circle cx="46" cy="13" r="4"/></svg>'
            f'<p>{say("viewer_empty", language)}</p><p class="small muted">{say("viewer_empty_how", language)}</p></div>')


def data_address(image: Image.Image, longest: int = 256, quality: int = 80) -> str:
    """A small JPEG of the picture inside an address, for what is shown for a moment only."""
    small = image.copy()
    small.thumbnail((longest, longest))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
