"""Edit only here: brush and rectangle on the photo, in numbers for the keyboard, or a mask from a file.

`assets/region.js` paints, and keeps what was painted as an upload of the session in a field of its own, which goes with every run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import gradio as gr

from ui.events import QUIET
from ui.site.door import keep_as_input, photo_field
from ui.texts import add_texts, say, t

if TYPE_CHECKING:
    from PIL import Image

    from mre.editors.settings import EditSettings
    from mre.masks import Mask
    from ui.studio import Studio

TEXTS = {
    "region": ("Edit only here", "只编辑这里"),
    "region_brush": ("Brush", "画笔"), "region_box": ("Rectangle", "矩形"), "region_erase": ("Eraser", "橡皮"),
    "region_size": ("Brush size", "画笔大小"), "region_undo": ("Undo stroke", "撤销一笔"), "region_clear": ("Clear", "清除"),
    "region_file": ("From a file…", "从文件…"), "region_numbers": ("By numbers", "用数字标记"), "region_mark": ("Mark", "标记"),
    "region_left": ("Left %", "左 %"), "region_top": ("Top %", "上 %"), "region_right": ("Right %", "右 %"),
    "region_bottom": ("Bottom %", "下 %"),
    "region_half_left": ("Left half", "左半"), "region_half_right": ("Right half", "右半"), "region_half_upper": ("Upper half", "上半"),
    "region_half_lower": ("Lower half", "下半"), "region_half_middle": ("Middle", "中间"), "region_half_invert": ("Invert", "反选"),
    "region_none": ("Nothing is marked: the edit may change the whole picture.", "未标记区域：编辑可以改变整张图片。"),
    "region_some": ("The edit may change {percent} % of the picture; beyond a soft seam the photo stays as it is.",
                    "编辑只能改变图片的 {percent} %；柔和过渡以外保持原照片不变。"),
    "region_all": ("Everything is marked, which is the same as nothing: the edit may change the whole picture.",
                   "已标记全部，等于没有标记：编辑可以改变整张图片。"),
    "region_failed": ("The region could not be sent; change it to try again.", "区域发送失败；请再改动一次重试。"),
    "region_no_photo": ("Choose a photo first.", "请先选择照片。"),
    "put_back": ("Put back what should not change", "还原不该改变的部分"),
    "put_back_hint": ("Without a region: where nothing clearly changed, the photo's own pixels are put back.",
                      "未标记区域时：没有明显变化的地方还原为照片原有像素。"),
}
add_texts(TEXTS)
TOOLS, SIDES = ("brush", "box", "erase"), ("left", "top", "right", "bottom")
HALVES = ("left", "right", "upper", "lower", "middle", "invert")
STATES = ("none", "some", "all", "failed", "no_photo")
SHOW, TAKE = "(file) => { window.mreRegion.show(file); }", "() => window.mreRegion.taken()"
CLEAR = "() => { window.mreRegion.show(null); return null; }"


@dataclass(frozen=True)
class RegionPanel:
    """The tools that mark a region, and the fields that go with a run."""

    tools: gr.HTML
    mask: gr.Image
    put_back: gr.Checkbox


def build(photo: gr.Image) -> RegionPanel:
    """The tools, in an accordion that is closed at first, and the field that holds the mask. Another photo of the visitor's begins anew."""
    with gr.Accordion(t("region"), open=False, elem_id="region"):
        tools = gr.HTML(elem_id="region-tools")
        put_back = gr.Checkbox(False, label=t("put_back"), info=t("put_back_hint"), elem_id="put-back", container=False)
    mask = photo_field(label=t("region"), visible="hidden", elem_id="mask")
    take = gr.Button(visible="hidden", elem_id="mask-take")
    take.click(None, None, mask, js=TAKE, **QUIET)
    mask.change(None, mask, None, js=SHOW, **QUIET)
    gr.on([photo.upload, photo.clear], None, None, mask, js=CLEAR, **QUIET)
    return RegionPanel(tools, mask, put_back)


def tools_html(language: str) -> str:
    """The tools as HTML; what they say of the region is in the data of its line."""
    def button(kind: str, name: str, text: str, state: str = "") -> str:
        return f'<button type="button" class="chip" data-region-{kind}="{name}"{state}>{say(text, language)}</button>'
    tools = "".join(button("tool", name, f"region_{name}", ' aria-pressed="false"') for name in TOOLS)
    halves = "".join(button("half", name, f"region_half_{name}") for name in HALVES)
    numbers = "".join(f'<label>{say(f"region_{side}", language)}<input type="number" min="0" max="100" step="1" value="{value}" '
                      f'data-region-side="{side}"></label>' for side, value in zip(SIDES, (25, 25, 75, 75), strict=True))
    said = " ".join(f'data-{state.replace("_", "-")}="{say(f"region_{state}", language, percent="{percent}")}"' for state in STATES)
    return (f'<div class="region-tools" role="group" aria-label="{say("region", language)}"><div class="chips">{tools}'
            f'<label class="size">{say("region_size", language)}<input type="range" min="1" max="40" value="10" data-region-size></label>'
            f'{button("do", "undo", "region_undo")}{button("do", "clear", "region_clear")}{button("do", "file", "region_file")}</div>'
            f'<details><summary>{say("region_numbers", language)}</summary><div class="chips">{halves}</div>'
            f'<div class="chips numbers">{numbers}{button("do", "mark", "region_mark")}</div></details>'
            f'<p class="small muted" role="status" {said}>{say("region_none", language)}</p></div>')


def for_photo(settings: EditSettings, photo: Image.Image) -> EditSettings:
    """The same settings, the mask at the photo's size. Raises ImageError for a mask of another shape."""
    return settings if settings.mask is None else replace(settings, mask=settings.mask.scaled(photo.size))


def as_file(studio: Studio, mask: Mask | None, request: gr.Request | None) -> str | None:
    """A recipe's mask as a file of the session, for the field that holds it."""
    return None if mask is None else keep_as_input(studio, mask.png, "mask.png", request)
