"""Names that every tab uses, in each language: of perspectives, of edit types; and what the models that have a name can edit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradio.i18n import I18nData

from mre.models.known import KNOWN
from mre.rewards import EDIT_TYPES, PERSPECTIVES
from ui.texts import add_texts, say, t

if TYPE_CHECKING:
    from mre.editors.editor import EditorInfo

TEXTS = {
    "name_following": ("Following", "遵循指令"), "name_preserving": ("Preserving", "保持原貌"), "name_quality": ("Quality", "图像质量"),
    "type_local": ("Local", "局部"), "type_remove": ("Remove", "移除"), "type_add": ("Add", "添加"), "type_texture": ("Texture", "纹理"),
    "type_background": ("Background", "背景"), "type_global": ("Global", "全局"), "type_style": ("Style", "风格"),
}
SMARTEDIT = ("语言模型在编辑之前先看照片。适用于任何照片，256 像素，压成正方形；作者认为 384 也好，512 较差。约需 {memory} GB 内存。"
             "按 LLaMA 最初的条款仅供研究。它不懂奖励：滑块不起作用。")
LIMITS = {     # in English they stand with the models
    "tiny": "在合成场景和带有绘制编辑的照片上训练，能理解一份固定清单里的中英文请求。能改变任何照片的光线、天气、季节、颜色和风格；"
            "能添加、移除简单物体（球、星星、房子等）或改变其颜色和图案，但常常模糊，位置有时不对。它不知道你的照片里有什么。",
    "tiny-baseline": "在合成场景和带有绘制编辑的照片上训练，能理解固定清单里的中英文请求。"
                     "训练方式与 tiny 相同，但看不到奖励：滑块不起作用。",
    "tiny-untrained": "该模型未经训练：只用于演示页面，不能真正编辑。",
    "insp2p": "适用于任何照片，512 像素；未加载安全检查器。它不懂奖励：滑块不起作用。",
    "reward-insp2p": "适用于任何照片，512 像素；未加载安全检查器。",
    "smartedit-7b": SMARTEDIT.format(memory=18), "smartedit-13b": SMARTEDIT.format(memory=31)}
add_texts(TEXTS)
add_texts({f"limits_{name}": (KNOWN[name].limits, chinese) for name, chinese in LIMITS.items() if name in KNOWN})


def perspective_label(name: str) -> I18nData:
    return t(f"name_{name}")


def edit_type_label(name: str) -> I18nData:
    return t(f"type_{name}")


def perspective_names(language: str) -> dict[str, str]:
    return {name: say(f"name_{name}", language) for name in PERSPECTIVES}


def edit_type_names(language: str) -> dict[str, str]:
    return {name: say(f"type_{name}", language) for name in EDIT_TYPES}


def limits_of(model: EditorInfo, language: str) -> str:
    """What a model can edit, and what not; in the language where that is known."""
    if model.name in LIMITS and model.name in KNOWN:
        return say(f"limits_{model.name}", language)
    return model.limits_zh or model.limits if language == "zh" else model.limits
