"""The Edit tab: a photo, an instruction and three sliders in; an edited photo out."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import FastAPI

from mre.editors.settings import EditSettings
from mre.errors import EditStopped, MreError
from mre.rewards import PERSPECTIVES, Reward
from ui import pictures
from ui.edit import example_strip, history, judge, link, models, pair, programs, recipe, region, seen, session, sweep, views, words
from ui.edit.best import Judging, run_best
from ui.edit.effects import effects_html
from ui.edit.form import Form, build_instruction, build_photo, build_scores, build_settings, build_texts, hints, new_seed, settings_of
from ui.edit.job import Job
from ui.edit.result import ResultPanel, on_show, on_use_as_input
from ui.edit.run import LIVE_SECONDS, done_text, run_edit, run_live
from ui.edit.viewer import empty_viewer
from ui.edit.visit import EditVisit, enter, leave, visit_of
from ui.events import AFTER_UPLOAD, QUEUED, QUIET
from ui.names import limits_of
from ui.notices import note
from ui.site.door import Page, keep_as_input, this_page
from ui.texts import add_texts, language_of, say, t

if TYPE_CHECKING:
    from ui.studio import Studio

OPENED_SECONDS = 0.5          # between the page's opening and the loading of the model
add_texts({
    "tab_edit": ("Edit", "编辑"), "reuse": ("Reuse last run's settings", "使用上次的全部设置"),
    "own_mask": ("It is told the region that you mark.", "它会收到你标记的区域。"),
    "need_photo": ("Photo: choose a picture first.", "照片：请先选择图片。"),
    "not_at_once": ("An edit of this photo takes longer than a second: press Run to see it with these scores.",
                    "编辑这张照片需要一秒以上：请按“运行”查看新评分的结果。"),
    "need_instruction": ("Instruction: say what to change.", "编辑指令：请写下要改什么。"),
})
title = t("tab_edit")
JUDGING = Judging(judge.score, judge.can_judge, judge.used_up, judge.lacking)
# In the browser, so that it is at once: what was wrong is not said any longer when something was changed. Progress stays.
FORGET_TROUBLE = "(shown) => typeof shown === 'string' && shown.includes('notice bad') ? '' : shown"


@dataclass(frozen=True)
class EditTab:
    """The components of the tab that its own handlers read or change."""

    visit: gr.State
    form: Form
    examples: gr.HTML
    seen: gr.HTML               # below the photo
    region: gr.HTML             # the tools that mark one
    words: gr.HTML              # below the instruction
    status: gr.HTML
    progress: gr.HTML
    result: ResultPanel
    history: history.HistoryPanel
    sweep: sweep.SweepPanel
    steps: session.StepButtons
    again: gr.Timer             # ticks once where a page is loaded anew that showed something before


def build(studio: Studio) -> None:
    """Draw the tab and connect its handlers."""
    visit = gr.State(None)
    has = studio.editor().capabilities
    strip = example_strip.build()
    with gr.Row(equal_height=False, elem_id="edit"):
        with gr.Column(scale=5, min_width=320):
            photo = build_photo()
            below_photo = gr.HTML(elem_id="seen")
            marks = region.build(photo)
            instruction = build_instruction()
            below_instruction = words.build()
            with gr.Row(elem_classes="go"):
                run = gr.Button(t("run"), variant="primary", size="lg", elem_id="run", elem_classes=AFTER_UPLOAD, scale=3)
                stop = gr.Button(t("stop"), size="lg", elem_id="stop", scale=1, min_width=90)
            with gr.Row(elem_classes="steps"):
                steps = session.StepButtons.build()
                copy_link = link.build_button()
            texts = build_texts(has)
            with gr.Accordion(t("more"), open=False, elem_id="more"):
                settings = build_settings(has, bool(studio.settings.judge))
                reuse = gr.Button(t("reuse"), size="sm", elem_id="reuse")
        with gr.Column(scale=7, min_width=320):
            model, beside = models.build_choice(list(studio.models))
            status = gr.HTML(elem_id="status")
            progress = gr.HTML(elem_id="progress")
            look = gr.HTML(empty_viewer("en"), elem_id="look")
            scores = build_scores(has)
            result = ResultPanel.build(look)
            with gr.Accordion(t("models_about"), open=False, elem_id="models") as about:
                cards = gr.HTML(elem_id="model-cards")
    form = Form(photo=photo, instruction=instruction, mask=marks.mask, put_back=marks.put_back, model=model, **texts, **settings, **scores)
    with gr.Tabs(elem_id="edit-tools"):
        with gr.Tab(t("tab_history"), elem_id="tab-history"):
            history_panel = history.HistoryPanel()
        with gr.Tab(t("tab_sweep"), elem_id="tab-sweep"):
            sweep_panel = sweep.SweepPanel(has, studio.models)
        with gr.Tab(t("tab_pair"), elem_id="tab-pair") as pair_tab:
            pair_panel = pair.PairPanel(list(studio.models))
        with gr.Tab(t("tab_judge"), elem_id="tab-judge") as judge_tab:
            judge_panel = judge.JudgePanel()
        with gr.Tab(t("tab_recipe"), elem_id="tab-recipe"):
            recipe_panel = recipe.RecipePanel()
        with gr.Tab(t("tab_programs"), elem_id="tab-programs"):
            programs.build(studio)
    again = gr.Timer(0.1, active=False)
    tab = EditTab(visit, form, strip, below_photo, marks.tools, below_instruction, status, progress, result, history_panel, sweep_panel,
                  steps, again)

    page = this_page()
    place = gr.Textbox(visible=False)            # the tab's name, which `assets/first/tab.js` has
    page.load(on_load(studio, tab), [visit, place], inputs_kwargs={**form.memory, **sweep_panel.axes},
              outputs=[visit, status, result.look, strip, marks.tools, below_instruction, history_panel.shots, progress, again,
                       *form.controls, *sweep_panel.controls, sweep_panel.forecast],
              js="async (visit, place, ...rest) => [visit, await window.mreTab.ready, ...rest]", **QUIET)
    form_and_result = [form.photo, *form.controls, *sweep_panel.controls, *result.shown, *steps.both]
    back = again.tick(session.on_back(studio, tab), visit,
                      [again, *form_and_result, *history_panel.choices, sweep_panel.grid, sweep_panel.downloads],
                      inputs_kwargs={**form.memory, **sweep_panel.axes}, **QUIET)
    back.then(session.on_again(studio, tab), visit, [progress, *result.shown], **QUEUED).then(
        history_panel.redraw, visit, history_panel.choices, **QUIET)
    about.expand(on_about(studio), None, cards, **QUIET)
    page.unload(on_close(studio, page))
    ticks = gr.Timer(1.0)
    gr.on([ticks.tick, form.model.change], on_tick(studio, tab, ticks), form.model,
          [status, ticks, form.effects, form.steps, form.guidance_scale, form.image_guidance_scale], trigger_mode="always_last", **QUIET)
    chosen = connect_form(studio, tab, form)

    wishes = [*form.scores, form.no_wish]
    live_inputs = [visit, form.photo, form.model, form.at_once]
    live_shown = [visit, progress, *result.shown, *history_panel.choices, *steps.both]
    gr.on([run.click, form.instruction.submit], on_run(studio, tab),
          [visit, form.photo, form.model, form.previews, form.random_seed, form.best, form.at_once],
          [visit, progress, *result.shown, form.seed, below_photo, below_instruction], inputs_kwargs=form.settings,
          **QUEUED).then(history_panel.redraw, visit, history_panel.choices, **QUIET).then(
        on_live(studio, tab), live_inputs, live_shown, inputs_kwargs=form.settings, **QUIET)           # of scores that moved meanwhile
    gr.on([box.change for box in wishes], on_live(studio, tab), live_inputs, live_shown, inputs_kwargs=form.settings,
          trigger_mode="always_last", **QUIET)
    gr.on([box.change for box in wishes], on_newer, visit, None, trigger_mode="multiple", **QUIET,
          inputs_kwargs={**dict(zip(PERSPECTIVES, form.scores, strict=True)), "no_wish": form.no_wish})
    others = [box.change for box in form.memory.values() if box not in wishes]
    gr.on(others, session.on_change(steps), visit, steps.both, inputs_kwargs=form.memory, trigger_mode="always_last", **QUIET)
    for button, by in ((steps.undo, -1), (steps.redo, 1)):
        button.click(session.on_step(studio, tab, by), visit, form_and_result, inputs_kwargs={**sweep_panel.axes}, **QUIET)
    gr.on([stop.click, sweep_panel.stop.click], on_stop, visit, None, **QUIET)
    result.as_input.click(on_use_as_input(studio), visit, form.photo, **QUIET)
    reused = reuse.click(on_reuse(studio, tab), visit, [*form.controls, *sweep_panel.controls], inputs_kwargs={**sweep_panel.axes}, **QUIET)

    restored = history_panel.shots.pick(on_history(studio, tab), [visit, form.photo],
                                        [*result.shown, form.photo, *form.controls, *sweep_panel.controls],
                                        inputs_kwargs={**sweep_panel.axes}, **QUIET)
    history_panel.compare.click(history.on_compare(studio), [visit, history_panel.first, history_panel.second], result.look, **QUIET)
    sweep_panel.grid.pick(on_show(result, sweep.picked), visit, result.shown, **QUIET)
    beside.click(None, None, None, js="() => window.mreOpen('tab-pair')", **QUIET)
    pair_panel.stop.click(on_stop, visit, None, **QUIET)
    gr.on([pair_tab.select, pair_panel.first.input, pair_panel.second.input], on_pair(studio, form),
          [form.model, pair_panel.first, pair_panel.second], [form.rewards, form.no_rewards, form.reward_texts], **QUIET)
    pair.connect(studio, pair_panel, form, visit).then(history_panel.redraw, visit, history_panel.choices, **QUIET)
    judge_tab.select(judge.on_open(studio), visit, judge_panel.choice, **QUIET)
    judge_panel.choice.input(judge.on_choose(studio), [visit, judge_panel.choice], visit, **QUIET)
    judge_panel.one.click(judge.on_one(studio), visit, judge_panel.answer, **QUEUED)
    judge_panel.sweep.click(judge.on_sweep(studio), visit, [judge_panel.answer, judge_panel.plot], **QUEUED)
    copied = gr.Textbox(visible=False)           # the query of a link, on its way to the clipboard
    copy_link.click(link.on_copy(studio, settings_of), form.model, [copied, progress], inputs_kwargs=form.settings, **QUIET).then(
        None, copied, None, js=link.COPY)
    dropped = recipe_panel.file.change(
        recipe.on_drop(studio, form, sweep_panel, recipe_panel.answer, progress), [recipe_panel.file, form.photo, form.model],
        [*form.controls, *sweep_panel.controls, recipe_panel.answer, progress], inputs_kwargs={**sweep_panel.axes}, **QUIET)
    sweep.connect(studio, sweep_panel, form, visit, [chosen, reused, dropped, restored])
    arrived = gr.Button(visible="hidden", elem_id="file-arrived")            # pressed by `assets/drop.js`
    arrived.click(None, None, [form.photo, form.mask], js="() => window.mreDrop.photo()", **QUIET)
    recipe_arrived = gr.Button(visible="hidden", elem_id="recipe-arrived")
    recipe_arrived.click(None, None, recipe_panel.file, js="() => window.mreDrop.recipe()", **QUIET)


def connect_form(studio: Studio, tab: EditTab, form: Form) -> Any:
    """What follows from a change of the form: lines below photo and instruction, the controls of another model, ready-made texts.
    Returns the event of another model."""
    gr.on([form.photo.change, form.model.change], seen.on_photo(studio), [form.photo, form.model], tab.seen, trigger_mode="always_last",
          **QUIET)
    form.photo.clear(seen.clear, None, tab.seen, **QUIET)
    gr.on([form.instruction.change, form.model.change, form.photo.change], words.on_type(studio),
          [form.instruction, form.model, form.photo], tab.words, trigger_mode="always_last", **QUIET)
    chosen = form.model.input(on_model(studio, tab), form.model, [*form.controls, *tab.sweep.controls], inputs_kwargs={**tab.sweep.axes},
                              **QUIET)
    boxes = [box.input for box in form.settings.values() if box is not form.instruction]
    gr.on([form.photo.change, form.instruction.change, form.model.input, *boxes], None, tab.progress, tab.progress, js=FORGET_TROUBLE,
          **QUIET)                               # by the visitor: what a model's change sets forgets nothing
    tab.words.pick(words.on_pick, None, form.instruction, **QUIET)
    tab.examples.pick(example_strip.on_pick(studio), None, [form.photo, form.instruction, form.mask], **QUIET).success(
        None, None, None, js="() => { document.querySelector('#run').click(); }", **QUIET)
    for chip, text in zip(form.chips, form.texts, strict=True):
        chip.pick(words.on_pick, None, text, **QUIET)
    return chosen


def add_routes(app: FastAPI, studio: Studio) -> None:
    """Visitors' pictures and those of the examples."""
    pictures.add_routes(app, studio)
    views.add_routes(app, studio)
    example_strip.add_routes(app, studio)


def on_load(studio: Studio, tab: EditTab) -> Callable:
    """The tab's visit, or a new one, and everything that depends on the visitor's language."""
    def load(request: gr.Request, visit: EditVisit | None, place: str | None, **known: Any) -> dict[Any, Any]:
        language = language_of(request)
        visit = enter(studio, request, place)
        axes = {name: known.pop(name) for name in tab.sweep.axes}
        model, asked = known["model"], link.asked_by(request)
        is_followed = bool(asked) and asked != visit.link            # a link that the tab comes by; it stays in the address afterwards
        is_back = visit.steps.now is not None and not is_followed
        visit.loaded = known if is_back else None
        if not is_back:
            visit.steps.record(known, None)
            visit.link = asked
        studio.warm(after=OPENED_SECONDS)
        return {tab.visit: visit, tab.status: status_html(studio, model, language), tab.result.look: empty_viewer(language),
                tab.history.shots: history.shots_html(visit, language), tab.form.model: model, tab.again: gr.Timer(active=is_back),
                tab.examples: example_strip.strip_html(language, studio.editor()),
                tab.region: region.tools_html(language), tab.words: words.words_html(studio.editor(model), "", language),
                tab.sweep.forecast: "", **(link.fill_from(studio, tab, asked, language, model, axes) if is_followed else {})}
    return load


def on_about(studio: Studio) -> Callable:
    """What each model can do, once it is looked at: some have to be asked, which takes seconds."""
    def told(request: gr.Request) -> str:
        return models.models_html(studio, language_of(request))
    return told


def on_close(studio: Studio, page: Page) -> Callable:
    def close(request: gr.Request) -> None:
        leave(studio, request.session_hash or "")
        page.forget_session(request.session_hash)
    return close


def on_tick(studio: Studio, tab: EditTab, ticks: gr.Timer) -> Callable:
    """How the model is; once it is ready, its own numbers too."""
    def tick(request: gr.Request, model: str) -> dict[Any, Any]:
        editor = studio.editor(model)
        done = editor.status in ("ready", "failed")
        language, ready = language_of(request), editor.status == "ready"
        known = {**hints(tab.form, editor.info), tab.form.effects: effects_html(editor.info.effects, language)} if ready else {}
        return {tab.status: status_html(studio, model, language), ticks: gr.Timer(active=not done), **known}
    return tick


def on_model(studio: Studio, tab: EditTab) -> Callable:
    """Another model was chosen: the form and the sweep offer what it can use."""
    def follow(model: str, **axes: str) -> dict[Any, Any]:
        editor = studio.editor(model)
        has = editor.capabilities
        return tab.form.follow(has, editor.info if editor.status == "ready" else None) | tab.sweep.follow(has, axes)
    return follow


def on_pair(studio: Studio, form: Form) -> Callable:
    """Two models side by side: the scores are there when one of them reads any."""
    def beside(*models: str) -> dict[Any, Any]:
        return form.show_rewards(*(studio.editor(name).capabilities for name in models))
    return beside


def on_run(studio: Studio, tab: EditTab) -> Callable:
    """Run, and show what comes. What is missing is said where it is missing, too."""
    def run(request: gr.Request, visit: EditVisit | None, photo: str | None, model: str, previews: bool, random_seed: bool,
            best: bool, at_once: bool, **fields: Any) -> Iterator[dict[Any, Any]]:
        language = language_of(request)
        visit = visit_of(studio, visit, request)
        missing = {}
        if not photo:
            missing[tab.seen] = note(say("need_photo", language), "bad")
        if not (fields["instruction"] or "").strip():
            missing[tab.words] = note(say("need_instruction", language), "bad")
        if missing:
            yield {tab.visit: visit, tab.progress: "".join(missing.values()), **missing}
            return
        try:
            settings = settings_of(**fields)
            if random_seed:
                settings = replace(settings, seed=new_seed())
            made = (partial(run_best, JUDGING) if best and studio.editor(model).capabilities.seed
                    else partial(run_edit, newest_scores=at_once))
            refused = visit.busy.locked() and not visit.following               # one at a time
            job = Job(made(studio, visit, language, photo, model, settings, previews=previews))
            visit.job = visit.job if refused else job
            for progress, entry in job.follow():
                edited = {} if entry is None else {**tab.result.show(visit, entry, language), tab.form.seed: entry.recipe.seed}
                yield {tab.visit: visit, tab.progress: progress, **edited}
        except Exception as error:               # shown in one line; the log has the rest
            yield {tab.visit: visit, tab.progress: note(studio.trouble(error), "bad")}
    return run


def on_live(studio: Studio, tab: EditTab) -> Callable:
    """A score moved: the edit that is shown is made again with it, where that is quick. One is made at a time; when it is shown, the
    newest value is asked for."""
    def live(request: gr.Request, visit: EditVisit | None, photo: str | None, model: str, at_once: bool, **fields: Any) -> dict[Any, Any]:
        if visit is not None:
            visit.steps.record({"photo": photo, "model": model, **fields}, visit.shown)
        nothing = {tab.progress: gr.skip(), **tab.steps.follow(visit)}
        shown = visit.shown if visit else None
        if not at_once or visit is None or shown is None or not photo or (shown.source, shown.model) != (photo, model):
            return nothing
        try:
            settings = settings_of(**fields)
            if not follows(settings, shown.asked):
                return nothing
            if visit.seconds(model, photo) > LIVE_SECONDS:
                return nothing if visit.busy.locked() else nothing | {tab.progress: note(say("not_at_once", language_of(request)), "plain")}
            entry = run_live(studio, visit, photo, model, settings)
            if visit.shown is not entry:         # a run that waited for it has its own to show
                return nothing
        except EditStopped:
            return nothing
        except Exception as error:               # shown in one line; the log has the rest
            return {tab.progress: note(studio.trouble(error), "bad")}
        language = language_of(request)
        return {tab.progress: note(done_text(entry, entry.seconds, language)), **tab.result.show(visit, entry, language),
                **tab.history.redraw(visit, request), **tab.steps.follow(visit)}
    return live


def on_newer(visit: EditVisit | None, no_wish: list[str] | None = None, **scores: float) -> None:
    """A score moved on while an edit waits for its turn, or its model is loaded: it will be made with the newest value. The page asks
    `on_live` for one at a time, and so would have to wait for the old one first."""
    waiting = visit and visit.newest
    if visit is None or not waiting:
        return
    with suppress(MreError):                     # said by the run that asks for it
        wishes = [None if name in (no_wish or ()) else scores[name] for name in PERSPECTIVES]
        visit.newest = replace(waiting, reward=Reward.of(wishes, waiting.reward.texts))


def follows(settings: EditSettings, shown: EditSettings) -> bool:
    """Whether these settings are those of the edit that is shown, with other scores."""
    return settings.reward != shown.reward and replace(settings, reward=shown.reward) == shown


def on_stop(visit: EditVisit | None) -> None:
    """Stop the visitor's own run; the next denoising step does not begin. The run itself says so: its news alone come in order."""
    if visit is not None and visit.busy.locked():
        visit.stop.set()


def on_reuse(studio: Studio, tab: EditTab) -> Callable:
    """The settings of the last edit into the form."""
    def reuse(request: gr.Request, visit: EditVisit | None, **axes: str) -> dict[Any, Any]:
        if visit is None or not visit.entries:
            return {tab.form.seed: gr.skip()}
        last = visit.entries[-1]
        editor = studio.editor(last.model)
        mask = region.as_file(studio, last.recipe.mask, request)
        return (tab.form.fill(EditSettings.from_recipe(last.recipe), last.model, editor.info, mask)
                | tab.sweep.follow(editor.capabilities, axes))
    return reuse


def on_history(studio: Studio, tab: EditTab) -> Callable:
    """An edit of the history is shown again, and its photo, words, scores and settings are in the form."""
    def restore(request: gr.Request, visit: EditVisit | None, photo: str | None, event: gr.EventData, **axes: str) -> dict[Any, Any]:
        entry = history.picked(visit, event)
        original = visit.shelf.get(entry.photo.token) if visit and entry else None
        if visit is None or entry is None or original is None or visit.shelf.get(entry.picture.token) is None:
            return {tab.result.look: gr.skip()}
        editor = studio.editor(entry.model)
        updates = tab.form.fill(entry.asked, entry.model, editor.info, region.as_file(studio, entry.asked.mask, request))
        if entry.source != photo:
            if studio.uploads.at(entry.source) is None:                      # the upload is gone, the photo is not
                entry = visit.moved(entry, keep_as_input(studio, original.file.read_bytes(), original.name, request))
            updates[tab.form.photo] = entry.source
        return updates | tab.sweep.follow(editor.capabilities, axes) | tab.result.show(visit, entry, language_of(request))
    return restore


def status_html(studio: Studio, model: str | None, language: str) -> str:
    """Which model is chosen, how it is, and what it can edit."""
    editor = studio.editor(model)
    state = editor.status
    ready = state == "ready"
    name = editor.info.title if ready else model or studio.models[0]
    known = [limits_of(editor.info, language), say("own_mask", language) if editor.capabilities.mask else ""] if ready else []
    limits = f'<p class="small muted">{html.escape(" ".join(filter(None, known)))}</p>' if ready else ""
    failed = f'<p class="notice bad">{html.escape(studio.trouble(MreError(editor.failure)))}</p>' if editor.failure else ""
    return (f'<div class="model-line"><span class="dot {state}" aria-hidden="true"></span><b>{html.escape(name)}</b> '
            f'<span class="muted small">{say(state, language)}</span></div>{limits}{failed}')
