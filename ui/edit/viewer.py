"""Two pictures to look at closely: slide between them, hold to flip, side by side with one zoom, and where they differ.

The handlers make plain HTML; `assets/viewer.js` gives it life by listening on the document, so that it works after every update.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from mre.imaging import open_image
from ui.edit.views import CHANGED_LEVELS, SCALE, Change, Kept, difference_address, measure, preserving_address
from ui.texts import add_texts, say

if TYPE_CHECKING:
    from ui.edit.visit import EditVisit

TEXTS = {
    "viewer_slide": ("Slide", "滑动"), "viewer_flip": ("Hold to flip", "按住切换"), "viewer_side": ("Side by side", "并排"),
    "viewer_difference": ("Difference", "差异"), "viewer_before": ("Before", "之前"), "viewer_after": ("After", "之后"),
    "viewer_reset": ("Reset zoom", "重置缩放"), "viewer_full": ("Full screen", "全屏"),
    "viewer_hint": ("Drag anywhere to move the divider. Ctrl + wheel, pinch or + and − zoom; then drag or arrows move both pictures; "
                    "0 resets, F fills the screen.",
                    "在图上任意处拖动可移动分隔线。Ctrl + 滚轮、双指或 + − 缩放；放大后拖动或方向键同步平移两张图；0 重置，F 全屏。"),
    "viewer_working": ("Computing differences…", "正在计算差异…"),
    "viewer_position": ("Position of the divider", "分隔线位置"),
    "viewer_changed": ("{percent} of pixels changed (by more than {levels} of 255 levels)",
                       "{percent} 的像素有变化（超过 {levels}/255 级）"),
    "viewer_measured": ("Measured:", "测量："),
    "viewer_scale": ("Colour of the difference map: change of a pixel, in levels of 255", "差异图颜色：像素变化的大小（0–255 级）"),
    "viewer_empty": ("Your edit will appear here.", "编辑结果会显示在这里。"),
    "viewer_empty_how": ("Choose a picture or an example, say what to change, and press Run.",
                         "选择图片或示例，写下要改什么，然后点“运行”。"),
}
add_texts(TEXTS)


def compare_html(visit: EditVisit, before: Kept, after: Kept, language: str, change: Change | None = None,
                 labels: tuple[str, str] | None = None, element: str = "look", caption: str = "") -> str:
    """The viewer for two pictures of the shelf; how much they differ is measured where it is not known."""
    if change is None:
        change = measure(*(open_image(visit.shelf.path(kept.token)) for kept in (before, after)))
    return viewer(before, after, change, language=language, labels=labels, element=element, caption=caption)


def viewer(before: Kept, after: Kept, change: Change, *, language: str, labels: tuple[str, str] | None = None,
           element: str = "look", caption: str = "") -> str:
    """The widget; `labels` name the two pictures when they are not before and after, `caption` says what is shown."""
    first, second = (html.escape(label) for label in labels or (say("viewer_before", language), say("viewer_after", language)))
    modes = "".join(f'<button type="button" class="chip" data-mode="{mode}" aria-pressed="{"true" if mode == "slide" else "false"}">'
                    f'{say("viewer_" + mode, language)}</button>' for mode in ("slide", "flip", "side", "difference"))
    colours = ", ".join(f"rgb{colour}" for colour in SCALE)
    percent, differs = f"{100 * change.share:.1f} %", difference_address(before, after)
    before_image = _image("before", before.view_address, first, before.whole_address if before.is_reduced else "")
    name = html.escape(caption or f"{first}, {second}", quote=True)
    after_image = _image("after", after.view_address, second, after.whole_address if after.is_reduced else "")
    return f"""<div class="mre-viewer" id="{element}-viewer" data-mode="slide" style="--ratio:{before.size[0] / before.size[1]:.4f}">
<div class="toolbar" role="group" aria-label="{say("viewer_slide", language)}, {say("viewer_flip", language)}">{modes}
<button type="button" class="chip" data-reset>{say("viewer_reset", language)}</button>
<button type="button" class="chip" data-full aria-pressed="false">{say("viewer_full", language)}</button></div>
{f'<p class="caption" role="status">{html.escape(caption)}</p>' if caption else ""}
<div class="panes"><div class="pane one" tabindex="0" role="group" aria-label="{name}">{before_image}
{after_image}
<img class="difference" data-later="{differs}" {f'data-whole="{differs}?whole=1"' if before.is_reduced else ""}
alt="{say("viewer_difference", language)}" draggable="false">
<i class="divider"></i><span class="tag left">{first}</span><span class="tag right">{second}</span>
<span class="tag working" role="status">{say("viewer_working", language)}</span>
<input type="range" class="cut" min="0" max="100" step="0.5" value="50" aria-label="{say("viewer_position", language)}"></div>
<div class="pane two">{after_image}<span class="tag right">{second}</span></div></div>
<div class="scale" style="--scale:linear-gradient(to right, {colours})"><span>0</span><i aria-hidden="true"></i><span>{change.top}</span>
<em>{say("viewer_scale", language)}</em></div>
<p class="small muted measured" role="status"
data-later="{html.escape(preserving_address(before, after, language), quote=True)}">{say("viewer_measured", language)} <span>…</span></p>
<p class="small muted"><b class="changed">{say("viewer_changed", language, percent=percent, levels=CHANGED_LEVELS)}</b> ·
{say("viewer_hint", language)}</p></div>"""


def _image(kind: str, address: str, alt: str, whole: str) -> str:
    """A picture of the viewer; where it is a reduced view, with the address of the whole, which is fetched on zooming in."""
    later = f' data-whole="{html.escape(whole, quote=True)}"' if whole else ""
    return f'<img class="{kind}" src="{address}"{later} alt="{alt}" draggable="false">'


def empty_viewer(language: str) -> str:
    """Where the result will be."""
    return (f'<div class="viewer-empty"><svg viewBox="0 0 64 48" aria-hidden="true"><rect x="2" y="2" width="60" height="44" rx="5"/>'
            f'<path d="M32 2v44M8 38l12-14 8 9 12-17 16 22"/><circle cx="46" cy="13" r="4"/></svg>'
            f'<p>{say("viewer_empty", language)}</p><p class="small muted">{say("viewer_empty_how", language)}</p></div>')
