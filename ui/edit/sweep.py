"""Sweeps on the page: a grid of edits from the same start noise, cells shown as they are made, a sheet and a CSV to take away."""

from __future__ import annotations

import html
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from mre.editors.capabilities import Capabilities, can_vary
from mre.editors.device_queue import BusyError
from mre.errors import EditStopped, MreError
from mre.imaging import reduced
from mre.rewards import PERSPECTIVES
from mre.sweep import AXES, Axis, Sweep, contact_sheet, to_csv
from ui.chips import PICK
from ui.edit.form import Form, settings_of
from ui.edit.region import for_photo
from ui.edit.run import FULLEST, OPENED, READING, Made, WorkInBackground, kept_photo, opened, shelve
from ui.edit.visit import EditVisit, Entry, SweepCells, visit_of
from ui.events import AFTER_UPLOAD, QUEUED, QUIET
from ui.notices import bar, note
from ui.pictures import address
from ui.texts import add_texts, language_of, say, t

if TYPE_CHECKING:
    from mre.editors.editor import Editor, EditResult, Step
    from mre.editors.settings import EditSettings
    from ui.studio import Studio

NONE = "none"
SHEET_SIDE = 256
TEXTS = {
    "tab_sweep": ("Sweep", "参数扫描"),
    "sweep_about": ("A grid of settings for one photo and instruction; every cell starts from the same noise.",
                    "同一张照片和指令，在一组参数上生成网格，每格使用相同的初始噪声。"),
    "axis_x": ("Columns", "列"), "axis_y": ("Rows", "行"), "axis_z": ("Layers", "层"), "axis_values": ("Values", "取值"),
    "axis_none": ("none", "无"), "axis_scores": ("all three scores", "三个分数"), "axis_following": ("following", "遵循指令"),
    "axis_preserving": ("preserving", "保持原貌"), "axis_quality": ("quality", "图像质量"), "axis_reward_text": ("reward text", "奖励文本"),
    "axis_seed": ("seed", "种子"), "axis_steps": ("steps", "步数"), "axis_guidance_scale": ("instruction guidance", "指令引导"),
    "axis_image_guidance_scale": ("photo guidance", "照片引导"), "axis_model": ("model", "模型"),
    "sweep_035": ("0 / 3 / 5 (Table 6)", "0 / 3 / 5（表 6）"), "sweep_27": ("Each slider 0, 3, 5", "每个滑块取 0、3、5"),
    "sweep_seeds": ("Four seeds", "四个种子"), "sweep_run": ("Run sweep", "运行扫描"),
    "sweep_forecast": ("{cells} cells, {steps} steps", "{cells} 格，{steps} 步"),
    "sweep_forecast_one": ("1 cell", "1 格"),
    "sweep_time": (", about {seconds:.0f} s", "，约 {seconds:.0f} 秒"), "sweep_time_unknown": (", no time estimate before the first edit",
                                                                                   "，首次编辑前无法估计时间"),
    "sweep_cell": ("Cell {cell} of {total}", "第 {cell} 格，共 {total} 格"),
    "sweep_done": ("{cells} cells in {seconds:.1f} s", "{cells} 格，用时 {seconds:.1f} 秒"),
    "sweep_done_one": ("1 cell in {seconds:.1f} s", "1 格，用时 {seconds:.1f} 秒"),
    "sweep_stopped": ("Stopped; {cells} of {total} cells are kept.", "已停止；保留 {cells}/{total} 格。"),
    "sweep_sheet": ("Contact sheet (PNG)", "总览图（PNG）"), "sweep_csv": ("Table (CSV)", "表格（CSV）"),
    "sweep_open": ("Show {label} in the viewer", "在查看器中显示 {label}"),
}
add_texts(TEXTS)


AT_FIRST = {"axis_x": "scores", "axis_y": NONE, "axis_z": NONE}      # axes of a page just opened
READY = {NONE: "", **dict.fromkeys(("scores", *PERSPECTIVES), "0, 3, 5"), "reward_text": "None; None; None", "seed": "1, 2, 3, 4",
         "steps": "5, 10, 20", "guidance_scale": "1, 4, 8", "image_guidance_scale": "1, 1.5, 2"}        # values to begin with
QUICK = {"sweep_035": [("scores", "0, 3, 5")],
         "sweep_27": [("following", "0, 3, 5"), ("preserving", "0, 3, 5"), ("quality", "0, 3, 5")]}


def _axes_offered(has: Capabilities, key: str) -> list[tuple[Any, str]]:
    """Axes along which something changes, for the model that is chosen; all but the first may be none."""
    none = [] if key == next(iter(AT_FIRST)) else [(t("axis_none"), NONE)]
    return [*none, *((t(f"axis_{name}"), name) for name in AXES if can_vary(name, has))]


def _offered(wanted: str, choices: list[tuple[Any, str]]) -> str:
    """The axis wanted where it is offered, else the first that is."""
    return wanted if wanted in [value for _, value in choices] else choices[0][1]


def _quick_shown(has: Capabilities) -> dict[str, bool]:
    return {key: can_vary("seed" if key == "sweep_seeds" else "scores", has) for key in (*QUICK, "sweep_seeds")}


class SweepPanel:
    """The sweep's components, with what the first model can use."""

    def __init__(self, has: Capabilities, models: Sequence[str]) -> None:
        self.ready = READY | {"model": " | ".join(models)}
        self.axes: dict[str, gr.Dropdown] = {}
        self.values: dict[str, gr.Textbox] = {}
        gr.Markdown(t("sweep_about"), elem_classes="muted small")
        with gr.Row():
            self.quick = {key: gr.Button(t(key), size="sm", elem_id=key.replace("_", "-"), min_width=120, visible=shown)
                          for key, shown in _quick_shown(has).items()}
        with gr.Row():
            for key, wanted in AT_FIRST.items():
                with gr.Column(min_width=220):
                    choices = _axes_offered(has, key)
                    element = key.replace("_", "-")
                    self.axes[key] = gr.Dropdown(choices, value=_offered(wanted, choices), label=t(key), filterable=False, elem_id=element)
                    self.values[f"{key}_values"] = gr.Textbox(self.ready[_offered(wanted, choices)], label=t("axis_values"),
                                                              elem_id=f"{element}-values", max_lines=4)
                    self.axes[key].input(None, self.axes[key], self.values[f"{key}_values"],             # at once: typing may be next
                                         js=f"(axis) => ({json.dumps(self.ready)})[axis] ?? ''", **QUIET)
        self.forecast = gr.HTML(elem_id="sweep-forecast")
        with gr.Row():
            self.run = gr.Button(t("sweep_run"), variant="primary", elem_id="sweep-run", elem_classes=AFTER_UPLOAD, scale=3)
            self.stop = gr.Button(t("stop"), elem_id="sweep-stop", scale=1, min_width=90)
        self.progress = gr.HTML(elem_id="sweep-progress")
        self.grid = gr.HTML(elem_id="sweep-grid", js_on_load=PICK)
        self.downloads = gr.HTML(elem_id="sweep-downloads")

    @property
    def fields(self) -> dict[str, Any]:
        """Axes and their values, by the names that `axes_of` knows them under."""
        return {**self.axes, **self.values}

    @property
    def controls(self) -> list[Any]:
        """Everything that `follow` may change."""
        return [*self.fields.values(), *self.quick.values()]

    def follow(self, has: Capabilities, chosen: Mapping[str, str]) -> dict[Any, Any]:
        """Updates for another model, which can use these: axes that change nothing are not offered. `chosen` are the axes that are set."""
        updates: dict[Any, Any] = {self.quick[key]: gr.update(visible=shown) for key, shown in _quick_shown(has).items()}
        for key, axis in self.axes.items():
            choices = _axes_offered(has, key)
            updates[axis] = gr.update(choices=choices, value=_offered(chosen[key], choices))
            if updates[axis]["value"] != chosen[key]:
                updates[self.values[f"{key}_values"]] = self.ready[updates[axis]["value"]]
        return updates

    def fill(self, grid: Sequence[tuple[str, str]]) -> dict[Any, Any]:
        """Updates that set the first axes to these, and the others to none."""
        rest = [(NONE, "")] * (len(self.axes) - len(grid))
        return {component: value for (key, axis), (name, text) in zip(self.axes.items(), [*grid, *rest], strict=True)
                for component, value in ((axis, name), (self.values[f"{key}_values"], text))}

    def redraw(self, visit: EditVisit, language: str) -> dict[Any, Any]:
        """Updates that show the visit's last sweep, for a page that was loaded anew."""
        made = visit.sweep
        return {} if made is None else {self.grid: grid_html(visit, made, language), self.downloads: downloads_html(visit, made, language)}


def axes_of(choice: Mapping[str, str]) -> list[Axis]:
    """The axes that the panel asks for, by the values of `SweepPanel.fields`. Raises MreError."""
    return [Axis.parse(choice[key], choice[f"{key}_values"]) for key in AT_FIRST if choice[key] != NONE]


def plan(studio: Studio, model: str, settings: EditSettings, choice: Mapping[str, str]) -> Sweep:
    """The grid that the panel asks for. Raises MreError."""
    return Sweep.plan(settings, model, axes_of(choice), {name: editor.capabilities for name, editor in studio.editors.items()})


def on_forecast(studio: Studio) -> Callable:
    """Cells, steps and time of the grid before it is made."""
    def forecast(request: gr.Request, model: str, **fields: Any) -> str:
        language = language_of(request)
        try:
            form: dict[str, Any] = {**_of_the_form(fields), "instruction": fields["instruction"] or "-", "mask": None}
            sweep = plan(studio, model, settings_of(**form), fields)
        except MreError as error:
            return note(studio.trouble(error), "bad")
        return note(forecast_text(studio, sweep, language), "plain")
    return forecast


def forecast_text(studio: Studio, sweep: Sweep, language: str) -> str:
    editors = studio.editors
    cells = len(sweep.cells)
    counts = [_steps_of(editors[cell.model], cell.settings) for cell in sweep.cells]
    steps = sum(count or 0 for count in counts)
    text = say("sweep_forecast" if cells > 1 else "sweep_forecast_one", language, cells=cells, steps=steps or "?")
    seconds = 0.0
    for cell, count in zip(sweep.cells, counts, strict=True):
        pace = editors[cell.model].pace
        if pace is None or count is None:
            return text + say("sweep_time_unknown", language)
        seconds += pace * count
    return text + say("sweep_time", language, seconds=max(seconds, 1))


def _steps_of(editor: Editor, settings: EditSettings) -> int | None:
    """Of an edit, where that is known without loading anything."""
    return settings.steps if settings.steps or editor.default_steps is None else settings.resolved(editor.info).steps


def _of_the_form(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are the form's, not the panel's."""
    return {name: value for name, value in fields.items() if not name.startswith("axis_")}


def on_quick(panel: SweepPanel, key: str) -> Callable:
    """Fill the axes with a ready-made grid."""
    def fill(seed: float | None) -> dict[Any, Any]:
        first = int(seed or 0)
        return panel.fill(QUICK.get(key) or [("seed", ", ".join(str(first + number) for number in range(4)))])
    return fill


def on_run(studio: Studio, panel: SweepPanel, state: gr.State) -> Callable:
    def run(request: gr.Request, visit: EditVisit | None, photo: str | None, model: str, **fields: Any) -> Iterator[dict[Any, Any]]:
        language = language_of(request)
        visit = visit_of(studio, visit, request)
        try:
            sweep = plan(studio, model, settings_of(**_of_the_form(fields)), fields)
            for shown in run_sweep(studio, visit, language, photo, sweep):
                yield {state: visit, **{getattr(panel, name): text for name, text in shown.items()}}
        except Exception as error:               # shown in one line with an id; the log has the rest
            yield {state: visit, panel.progress: note(studio.trouble(error), "bad")}
    return run


def run_sweep(studio: Studio, visit: EditVisit, language: str, photo_path: str | None, sweep: Sweep) -> Iterator[dict[str, str]]:
    """Make the grid. Yields what is new of progress, grid and downloads, as HTML, a cell at a time."""
    if not visit.begin():
        raise BusyError(say("run_busy", language))
    try:
        yield {"progress": bar(say("run_reading", language), READING)}
        photo = opened(visit, photo_path)
        assert photo_path is not None, OPENED
        if mask := for_photo(sweep.cells[0].settings, photo).mask:           # one for all cells
            sweep = replace(sweep, cells=tuple(replace(cell, settings=replace(cell.settings, mask=mask)) for cell in sweep.cells))
        made, started = SweepCells(sweep), time.monotonic()
        _forget(visit)
        visit.sweep = made
        kept = kept_photo(visit, photo, photo_path)
        total = len(sweep.cells)
        first = f"{say('sweep_cell', language, cell=1, total=total)} · {forecast_text(studio, sweep, language)}"
        yield {"progress": bar(first, READING / total), "grid": grid_html(visit, made, language), "downloads": ""}

        def work(tell: Callable[..., None], should_stop: Callable[[], bool]) -> int:
            hooks = {"should_stop": should_stop, "on_step": lambda step: tell("step", step), "on_wait": lambda place: tell("wait", place)}
            for cell, result in sweep.run(photo, studio.editors, **hooks):
                tell("cell", (cell, result))
            return total

        failure = None
        try:
            for kind, value in WorkInBackground(work, visit.stop):
                if kind == "wait":
                    yield {"progress": bar(say("run_waiting", language, place=value), None)}
                elif kind == "stopping":
                    yield {"progress": bar(say("run_stopping", language), None)}
                elif kind == "step" and value.index in (0, value.total):
                    yield {"progress": cell_bar(made, value, language)}
                elif kind == "cell":
                    cell, result = value
                    entry = shelve(visit, photo, kept, result, Made(
                        cell.model, cell.settings, photo_path, studio.editor(cell.model).capabilities))
                    made.entries[cell.place] = entry
                    made.rows.append((cell, _without_pictures(result), entry.file_name))
                    made.pictures[cell.place] = reduced(result.image, SHEET_SIDE)
                    yield {"grid": grid_html(visit, made, language)}
        except EditStopped:
            pass                                 # what was made is kept, and said below
        except Exception as error:               # said below, beside the cells that were made before it
            failure = error
        seconds = time.monotonic() - started
        done = len(made.rows)
        key = "sweep_stopped" if done < total else "sweep_done" if total > 1 else "sweep_done_one"
        last = say(key, language, cells=done, total=total, seconds=seconds)
        news = note(last, "plain") if failure is None else note(studio.trouble(failure), "bad") + note(last, "plain")
        yield {"progress": news, "grid": grid_html(visit, made, language), "downloads": downloads_html(visit, made, language)}
    finally:
        visit.busy.release()


def _forget(visit: EditVisit) -> None:
    """The files of the sweep before, unless the history shows them."""
    before, visit.sweep = visit.sweep, None
    if before is not None:
        visit.forget({token for entry in before.entries.values() for token in entry.tokens})


def cell_bar(made: SweepCells, step: Step, language: str) -> str:
    total = len(made.sweep.cells)
    done = len(made.rows) + FULLEST * step.index / step.total           # the way back to the photo's size comes after the steps
    words = say("sweep_cell", language, cell=min(len(made.rows) + 1, total), total=total)
    if made.rows:
        each = sum(result.seconds for _, result, _ in made.rows) / len(made.rows)
        words += " · " + say("run_left", language, seconds=f"{max(total - done, 0) * each:.0f}")
    return bar(words, done / total)


def grid_html(visit: EditVisit, made: SweepCells, language: str) -> str:
    """The grid with the cells made so far, each a button that shows it in the viewer."""
    columns, rows, layers = made.sweep.shape
    labels = [[html.escape(axis.label(value)) for value in axis.values] for axis in made.sweep.axes]
    parts = []
    for z in range(layers):
        layer = ""
        if layers > 1:
            layer = f"<h4>{labels[2][z]}</h4>"
        head = "".join(f"<th scope='col'>{label}</th>" for label in labels[0])
        body = ""
        for y in range(rows):
            label = labels[1][y] if len(labels) > 1 else ""
            body += f"<tr><th scope='row'>{label}</th>" + "".join(_cell(made, (x, y, z), language) for x in range(columns)) + "</tr>"
        table = f"<table class='grid'><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>"
        parts.append(f"<section>{layer}{table}</section>")
    return f"<div class='grids{' layers' if layers > 1 else ''}'>{''.join(parts)}</div>"


def _cell(made: SweepCells, place: tuple[int, int, int], language: str) -> str:
    entry = made.entries.get(place)
    if entry is None:
        return "<td><span class='hole'></span></td>"
    label = ", ".join(axis.label(axis.values[p]) for axis, p in zip(made.sweep.axes, place, strict=False))
    name = html.escape(say("sweep_open", language, label=label), quote=True)
    return (f"<td><button type='button' class='shot' data-pick='{','.join(map(str, place))}' aria-label=\"{name}\" title=\"{name}\">"
            f"<img src='{address(entry.thumb, 'cell.jpg')}' alt=''></button></td>")


def downloads_html(visit: EditVisit, made: SweepCells, language: str) -> str:
    """The contact sheet and the table, for what was made."""
    if not made.rows:
        return ""
    asked = made.rows[0][1].settings
    sheet = contact_sheet(made.sweep, made.pictures, f"{asked.instruction} (seed {asked.seed}, {made.rows[0][0].model})")
    file = io.BytesIO()
    sheet.save(file, "PNG")
    sheet_token = visit.shelf.put(file.getvalue(), "sweep.png", visit.id)
    table_token = visit.shelf.put(to_csv(made.rows).encode(), "sweep.csv", visit.id)
    sheet_link, table_link = address(sheet_token, "sweep.png"), address(table_token, "sweep.csv")
    return (f'<p class="small links"><a id="sweep-sheet" href="{sheet_link}" download="sweep.png">{say("sweep_sheet", language)}</a> · '
            f'<a id="sweep-csv" href="{table_link}" download="sweep.csv">{say("sweep_csv", language)}</a></p>')


def _without_pictures(result: EditResult) -> EditResult:
    nothing = Image.new("RGB", (1, 1))           # a hundred full pictures would fill the memory; their files are on the shelf
    return replace(result, image=nothing, seen=nothing, made=nothing)


def picked(visit: EditVisit | None, event: gr.EventData) -> Entry | None:
    """The entry of the cell that was clicked."""
    try:
        x, y, z = (int(part) for part in str(event.pick).split(","))
    except (ValueError, AttributeError):
        return None
    return visit.sweep.entries.get((x, y, z)) if visit and visit.sweep else None


def connect(studio: Studio, panel: SweepPanel, form: Form, visit: gr.State, other_model: Sequence[Any]) -> None:
    """Everything but what touches the viewer. `other_model` are the events that may have changed the model, and `follow`ed it."""
    fields = {**form.settings, **panel.fields}
    gr.on([*(part.change for part in panel.fields.values()), form.steps.change, panel.run.click], on_forecast(studio), form.model,
          panel.forecast, inputs_kwargs=fields, trigger_mode="always_last", **QUIET)
    for change in other_model:                   # when the axes fit the model: Gradio refuses one that the model before had
        change.then(on_forecast(studio), form.model, panel.forecast, inputs_kwargs=fields, **QUIET)
    outputs = [visit, panel.progress, panel.grid, panel.downloads]
    runs = {"inputs": [visit, form.photo, form.model], "outputs": outputs, "inputs_kwargs": fields, **QUEUED}
    panel.run.click(on_run(studio, panel, visit), **runs)
    for key, button in panel.quick.items():
        filled = button.click(on_quick(panel, key), form.seed, list(panel.fields.values()), **QUIET)
        filled.success(on_run(studio, panel, visit), **runs)
