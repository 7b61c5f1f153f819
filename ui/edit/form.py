"""The form of the Edit tab: its fields by name, and their values as settings."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from mre.data.scenes.defects import FOLLOWING_TEXTS, PRESERVING_TEXTS, QUALITY_TEXTS
from mre.editors.capabilities import DEFAULT_SEED, Capabilities, unused
from mre.editors.settings import MAX_INSTRUCTION_CHARS, MAX_SEED, EditSettings
from mre.errors import SettingsError
from mre.masks import Mask
from mre.rewards import NOTHING_WRONG, PERSPECTIVES, Reward
from ui.chips import PICK, chips_html
from ui.events import QUIET
from ui.names import perspective_label
from ui.site.door import photo_field, score_slider
from ui.texts import add_texts, t

if TYPE_CHECKING:
    from mre.editors.editor import EditorInfo

PRESETS = (0, 3, 5)          # the scores of the paper's Table 6
NEGATIVES = ("0,0,0", "1,1,1", "2,2,2", "3,3,3")
CHIPS = 6                    # frequent defects offered for each perspective
TEXTS = {
    "photo": ("Photo", "照片"),
    "instruction": ("Instruction", "编辑指令"),
    "instruction_hint": ("What should change? For example: make it look like sunset", "想改什么？例如：make it look like sunset"),
    "run": ("Run", "运行"), "stop": ("Stop", "停止"),
    "reward_title": ("How good should the edit be?", "希望编辑有多好？"),
    "reward_about": ("Following: does what was asked. Preserving: leaves the rest alone. Quality: looks real, without blur or artefacts. "
                     "5 asks for the best that the model learned from edits scored 0–5; less shows what it learned to avoid.",
                     "遵循指令：做到所要求的。保持原貌：不动其余部分。图像质量：真实自然，没有模糊和瑕疵。"
                     "5 分要求模型从 0–5 分评分的编辑中学到的最好结果；低分可以看到它学会避免的东西。"),
    "no_wish": ("No wish for", "不作要求"),
    "no_wish_about": ("The model is asked for no score of these.", "不向模型提出这些方面的分数。"),
    "together": ("Move together", "一起移动"), "at_once": ("Edit at once", "立即编辑"),
    "texts_title": ("Defects to ask for (reward texts)", "要求的缺陷（奖励文本）"),
    "texts_about": ("Leave empty for “no defect”.", "无缺陷请留空。"),
    "more": ("More settings", "更多设置"),
    "model": ("Model", "模型"), "steps": ("Steps", "步数"),
    "guidance": ("Instruction guidance", "指令引导"), "image_guidance": ("Photo guidance", "照片引导"),
    "default_hint": ("0 = model default", "0：模型默认"), "default_is": ("0 = model default:", "0：模型默认："),
    "seed": ("Seed", "种子"), "seed_random": ("Random seed", "随机种子"),
    "seed_hint": ("The same seed gives the same picture", "相同的种子得到相同的图片"),
    "best": ("Make four, show the best", "生成四张，显示最好的"),
    "scheduler": ("Scheduler", "采样器"),
    "fast": ("Fast: half the steps, less guidance", "快速：步数减半，引导更少"),
    "negative": ("Move away from a low reward", "远离低奖励"),
    "negative_hint": ("Off in the paper", "论文中关闭"),
    "negative_off": ("off", "关闭"),
    "way_back": ("Restore to the photo's size", "恢复到照片尺寸"),
    "way_auto": ("model default", "模型默认"), "way_guided": ("keep the photo's detail", "保留照片细节"),
    "way_replace": ("plain resize", "直接缩放"),
    "preview": ("Show previews while running", "运行时显示预览"),
    "no_scores": ("This model reads no scores: there are none to set.", "该模型不读取评分，因此没有可设置的分数。"),
}
add_texts(TEXTS)


@dataclass(frozen=True)
class Form:
    """The components."""

    photo: gr.Image
    instruction: gr.Textbox
    scores: tuple[gr.Slider, gr.Slider, gr.Slider]
    no_wish: gr.CheckboxGroup    # perspectives whose score is left out
    at_once: gr.Checkbox         # whether a score that moves edits at once, where that is quick
    texts: tuple[gr.Textbox, gr.Textbox, gr.Textbox]
    model: gr.Dropdown
    steps: gr.Number
    guidance_scale: gr.Number
    image_guidance_scale: gr.Number
    seed: gr.Number
    scheduler: gr.Dropdown
    fast: gr.Checkbox
    negative_reward: gr.Dropdown
    way_back: gr.Dropdown
    mask: gr.Image               # what may change, as it was painted or sent
    put_back: gr.Checkbox
    random_seed: gr.Checkbox
    best: gr.Checkbox            # make four, show the best
    previews: gr.Checkbox
    rewards: gr.Column           # what holds the scores
    no_rewards: gr.Markdown      # what stands there instead
    effects: gr.HTML             # what the scores do, where that was measured
    reward_texts: gr.Accordion
    chips: tuple[gr.HTML, gr.HTML, gr.HTML]         # frequent defects, for each text
    judged: bool = False         # whether a judge is configured, who may choose the best of several

    @property
    def settings(self) -> dict[str, Any]:
        """Fields that make the settings, by the names that `settings_of` knows them under."""
        return {"instruction": self.instruction, **dict(zip(PERSPECTIVES, self.scores, strict=True)), "no_wish": self.no_wish,
                **{f"text_{name}": box for name, box in zip(PERSPECTIVES, self.texts, strict=True)},
                **{name: getattr(self, name) for name in ("steps", "guidance_scale", "image_guidance_scale", "seed", "scheduler",
                                                          "fast", "negative_reward", "way_back", "mask", "put_back")}}

    @property
    def memory(self) -> dict[str, Any]:
        """Fields that Undo and a reload bring back, by name."""
        return {"photo": self.photo, "model": self.model, **self.settings}

    @property
    def controls(self) -> list[Any]:
        """Everything that `follow` and `fill` may change."""
        return [*self.settings.values(), self.model, self.random_seed, self.best, self.previews, self.rewards, self.no_rewards,
                self.reward_texts]

    def follow(self, has: Capabilities, info: EditorInfo | None = None) -> dict[Any, Any]:
        """Updates for another model: what it can use is shown as it is, the rest is hidden and asks for nothing. `info` tells its defaults,
        where they are known."""
        updates = self.show_rewards(has)
        updates |= {} if has.reward else dict.fromkeys(self.scores, 5)
        updates |= {} if has.reward_text else dict.fromkeys(self.texts, "")
        updates[self.no_wish] = gr.update(visible=True) if has.no_wish else gr.update(visible=False, value=[])
        updates[self.random_seed] = gr.update(visible=True) if has.seed else gr.update(visible=False, value=False)
        updates[self.best] = gr.update(visible=self.judged) if has.seed else gr.update(visible=False, value=False)
        updates[self.previews] = gr.update(visible=has.preview)
        for box, shown, nothing, _ in self._optional(has):
            updates[box] = gr.update(visible=True) if shown else gr.update(visible=False, value=nothing)
        updates[self.scheduler]["choices"] = [(name, name) for name in ("default", *has.schedulers)]
        for box, hint in hints(self, info).items():
            updates[box] |= hint
        return updates

    def restore(self, values: dict[str, Any], has: Capabilities, info: EditorInfo | None, but: Collection[str] = ()) -> dict[Any, Any]:
        """Updates that show the values of `memory` as they were, `but` some; what the model cannot use is hidden and asks for nothing."""
        updates = self.follow(has, info)
        for name, box in self.memory.items():
            if name in but:
                continue
            update = updates.get(box)
            if not isinstance(update, dict):     # an update would make the field anew, without its own way to read what is sent
                updates[box] = values[name]
            elif update.get("visible") is not False:
                updates[box] = update | {"value": values[name]}
        return updates

    def show_rewards(self, *models: Capabilities) -> dict[Any, Any]:
        """Updates that show what one of these models reads of a reward, or that none reads any."""
        return self._show_reward(any(has.reward for has in models), any(has.reward_text for has in models))

    def fill(self, settings: EditSettings, model: str | None, info: EditorInfo, mask: str | None = None) -> dict[Any, Any]:
        """Updates that show the given settings in the form; `mask` is the file of theirs. What the model lacks is shown where it asks for
        something, as recipes of before do: what is seen is what counts. (Asked to be fast, a model that cannot be is what it is.)"""
        has, idle, reward = info.capabilities, unused(settings, info), settings.reward
        updates = {**self._show_reward(has.reward or "scores" in idle, has.reward_text or "reward_text" in idle),
                   self.instruction: settings.instruction,
                   **{slider: 5 if wish is None else wish for slider, wish in zip(self.scores, reward.wishes, strict=True)},
                   self.no_wish: gr.update(visible=has.no_wish or bool(reward.without_wish), value=list(reward.without_wish)),
                   **{box: "" if text == NOTHING_WRONG else text for box, text in zip(self.texts, reward.texts, strict=True)},
                   self.random_seed: gr.update(visible=has.seed, value=False),
                   self.best: gr.update(visible=has.seed and self.judged, value=False), self.previews: gr.update(visible=has.preview),
                   self.way_back: settings.way_back or "auto", self.mask: mask, self.put_back: settings.put_back,
                   **({self.model: model} if model else {})}
        worst = settings.negative_reward
        defaults = hints(self, info)
        for box, shown, nothing, name in self._optional(has):
            value = getattr(settings, name)
            if name == "negative_reward":
                value = None if worst is None else worst.shown(",")
            if name == "fast":
                value = settings.is_fast(info)
            shown = shown or (name in idle and name != "fast")
            updates[box] = gr.update(visible=shown, value=nothing if value is None or not shown else value) | defaults.get(box, {})
        updates[self.scheduler]["choices"] = [(name, name) for name in dict.fromkeys(("default", *has.schedulers, settings.scheduler))]
        negatives = [value for value in dict.fromkeys((*NEGATIVES, updates[self.negative_reward]["value"])) if value != "off"]
        updates[self.negative_reward]["choices"] = [(t("negative_off"), "off"), *((value, value) for value in negatives)]
        return updates

    def _show_reward(self, scores: bool, texts: bool) -> dict[Any, Any]:
        return {self.rewards: gr.update(visible=scores), self.no_rewards: gr.update(visible=not scores),
                self.reward_texts: gr.update(visible=texts)}

    def _optional(self, has: Capabilities) -> list[tuple[Any, bool, Any, str]]:
        """Fields that not every model has: whether this one does, the value that asks for nothing, and the name of the setting."""
        return [(self.steps, has.steps is not None, 0, "steps"), (self.guidance_scale, has.guidance_scale, 0, "guidance_scale"),
                (self.image_guidance_scale, has.image_guidance_scale, 0, "image_guidance_scale"),
                (self.seed, has.seed, DEFAULT_SEED, "seed"), (self.scheduler, bool(has.schedulers), "default", "scheduler"),
                (self.fast, has.fast, False, "fast"),
                (self.negative_reward, has.negative_reward, "off", "negative_reward")]


def hints(form: Form, info: EditorInfo | None) -> dict[Any, dict[str, Any]]:
    """Updates that tell a model's own numbers beside the fields where 0 means them; without `info`, only that it does."""
    def hint(default: float) -> dict[str, Any]:
        return gr.update(info=t("default_hint") if info is None else f"{t('default_is')} {default:g}")
    return {form.steps: hint(info.steps if info else 0), form.guidance_scale: hint(info.guidance_scale if info else 0),
            form.image_guidance_scale: hint(info.image_guidance_scale if info else 0)}


def settings_of(*, instruction: str | None, following: float, preserving: float, quality: float, no_wish: Sequence[str] | None = None,
                text_following: str | None = None, text_preserving: str | None = None, text_quality: str | None = None,
                steps: float | None = None, guidance_scale: float | None = None, image_guidance_scale: float | None = None,
                seed: float | None = None, scheduler: str | None = None, negative_reward: str | None = None, way_back: str | None = None,
                mask: str | None = None, put_back: bool | None = None, fast: bool | None = None) -> EditSettings:
    """The values of `Form.settings` as checked settings; 0 is the model's own. Raises MreError naming the field."""
    numbers: dict[str, Any] = {"seed": DEFAULT_SEED if seed is None else seed, "steps": steps or None}       # checked for being whole
    scores = dict(zip(PERSPECTIVES, (following, preserving, quality), strict=True)) | dict.fromkeys(no_wish or ())
    if unknown := scores.keys() - set(PERSPECTIVES):
        raise SettingsError(f"no_wish must be some of {', '.join(PERSPECTIVES)}, got {', '.join(sorted(unknown))}")
    return EditSettings(
        instruction=instruction or "",
        reward=Reward.of(tuple(scores.values()), (text_following or "", text_preserving or "", text_quality or "")),
        guidance_scale=guidance_scale or None, image_guidance_scale=image_guidance_scale or None,
        scheduler=scheduler or "default",
        negative_reward=None if negative_reward in (None, "", "off") else Reward.parse(negative_reward),
        way_back=None if way_back in (None, "", "auto") else way_back, mask=Mask.read(mask, "the mask") if mask else None,
        put_back=bool(put_back), fast=bool(fast), **numbers)


def new_seed() -> int:
    """A seed that nobody could have guessed, small enough to read out."""
    return secrets.randbelow(min(MAX_SEED, 10**9))


def build_photo() -> gr.Image:
    """The photo field."""
    return photo_field(label=t("photo"), sources=["upload", "clipboard", "webcam"], height=260, elem_id="photo", buttons=["fullscreen"],
                       webcam_options=gr.WebcamOptions(mirror=False))


def build_instruction() -> gr.Textbox:
    """The instruction field. Its limit is checked on the server too."""
    return gr.Textbox(label=t("instruction"), placeholder=t("instruction_hint"), lines=1, max_lines=4,
                      max_length=MAX_INSTRUCTION_CHARS + 200, elem_id="instruction")


def build_scores(has: Capabilities) -> dict[str, Any]:
    """Three sliders, with their presets and a lock that moves them together, in a column; and what stands in its place without them."""
    with gr.Column(elem_id="rewards", visible=has.reward) as column:
        gr.Markdown(t("reward_title"), elem_classes="heading")
        gr.Markdown(t("reward_about"), elem_classes="muted small")
        with gr.Row(elem_classes="sliders"):
            sliders = tuple(score_slider(minimum=0, maximum=5, value=5, step=1, label=perspective_label(name), elem_id=f"score-{name}",
                                         buttons=["reset"], interactive=True, min_width=180) for name in PERSPECTIVES)
        with gr.Row(elem_classes="presets"):
            presets = tuple(gr.Button(f"{score} / {score} / {score}", size="sm", elem_id=f"preset-{score}", min_width=64)
                            for score in PRESETS)
            together = gr.Checkbox(False, label=t("together"), elem_id="together", container=False, min_width=120)
            at_once = gr.Checkbox(True, label=t("at_once"), elem_id="at-once", container=False, min_width=120)
        no_wish = gr.CheckboxGroup([(perspective_label(name), name) for name in PERSPECTIVES], label=t("no_wish"),
                                   info=t("no_wish_about"), elem_id="no-wish", visible=has.no_wish, min_width=240)
        effects = gr.HTML(elem_id="effects")
    without = gr.Markdown(t("no_scores"), elem_classes="muted small", elem_id="no-scores", visible=not has.reward)
    for button, score in zip(presets, PRESETS, strict=True):
        button.click(None, None, list(sliders), js=f"() => [{score}, {score}, {score}]", **QUIET)    # at once: Run may be next
    for slider in sliders:
        others = [other for other in sliders if other is not slider]
        slider.input(_moved_together, [slider, together], others, trigger_mode="always_last", **QUIET)
    return {"rewards": column, "no_rewards": without, "effects": effects, "scores": sliders, "no_wish": no_wish, "at_once": at_once}


def _moved_together(value: float, locked: bool) -> list[Any]:
    return [value if locked else gr.skip()] * 2


def build_texts(has: Capabilities) -> dict[str, Any]:
    """Three reward texts, each with frequent defects as chips, whose `pick` carries the text."""
    boxes, chips = [], []
    tables = dict(zip(PERSPECTIVES, (FOLLOWING_TEXTS, PRESERVING_TEXTS, QUALITY_TEXTS), strict=True))
    with gr.Accordion(t("texts_title"), open=False, elem_id="reward-texts", visible=has.reward_text) as accordion:
        gr.Markdown(t("texts_about"), elem_classes="muted small")
        for name in PERSPECTIVES:
            boxes.append(gr.Textbox(label=perspective_label(name), placeholder=NOTHING_WRONG, max_lines=2, elem_id=f"text-{name}"))
            frequent = [text for texts in tables[name].values() for text in texts if "{" not in text][:CHIPS]
            chips.append(gr.HTML(chips_html(frequent, name), js_on_load=PICK, elem_id=f"chips-{name}"))
    return {"reward_texts": accordion, "texts": tuple(boxes), "chips": tuple(chips)}


def build_settings(has: Capabilities, judged: bool = False) -> dict[str, Any]:
    """Everything that has a good default, of which the first model's controls are shown. Numbers are checked where all settings are."""
    ways = [(t("way_auto"), "auto"), (t("way_guided"), "guided"), (t("way_replace"), "replace")]
    narrow: dict[str, Any] = {"min_width": 150}
    with gr.Row(elem_id="settings"):
        return {
            "steps": gr.Number(0, label=t("steps"), info=t("default_hint"), elem_id="steps", visible=has.steps is not None, **narrow),
            "guidance_scale": gr.Number(0, label=t("guidance"), info=t("default_hint"), step=0.1, elem_id="guidance-scale",
                                        visible=has.guidance_scale, **narrow),
            "image_guidance_scale": gr.Number(0, label=t("image_guidance"), info=t("default_hint"), step=0.1,
                                              elem_id="image-guidance-scale", visible=has.image_guidance_scale, **narrow),
            "seed": gr.Number(DEFAULT_SEED, label=t("seed"), info=t("seed_hint"), elem_id="seed", visible=has.seed, **narrow),
            "scheduler": gr.Dropdown(["default", *has.schedulers], value="default", label=t("scheduler"), elem_id="scheduler",
                                     filterable=False, visible=bool(has.schedulers), **narrow),
            "negative_reward": gr.Dropdown([(t("negative_off"), "off"), *NEGATIVES], value="off", label=t("negative"),
                                           info=t("negative_hint"), elem_id="negative-reward", filterable=False,
                                           visible=has.negative_reward, **narrow),
            "way_back": gr.Dropdown(ways, value="auto", label=t("way_back"), elem_id="way-back", filterable=False, **narrow),
            "fast": gr.Checkbox(False, label=t("fast"), elem_id="fast", container=False, visible=has.fast, **narrow),
            "random_seed": gr.Checkbox(False, label=t("seed_random"), elem_id="random-seed", container=False, visible=has.seed, **narrow),
            "best": gr.Checkbox(False, label=t("best"), elem_id="best", container=False,
                                visible=has.seed and judged, **narrow),
            "judged": judged,
            "previews": gr.Checkbox(True, label=t("preview"), elem_id="previews", container=False, visible=has.preview, **narrow)}
