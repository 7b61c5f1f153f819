"""What sliders do: kept beside the weights, read for these alone, and shown on the page."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import gradio as gr
import pytest

from mre.__main__ import main
from mre.effects import FILE, Effects, read_effects
from mre.errors import DataError
from mre.rewards import PERSPECTIVES
from tests.fake_editing import fake_editor
from ui.edit.tab import on_tick
from ui.studio import Studio, StudioSettings

CHANGES = {slider: {name: (-3.25, -3.5, -3.0) if slider == name else (0.1 * place, None, None) for place, name in enumerate(PERSPECTIVES)}
           for slider in PERSPECTIVES}
EFFECTS = Effects("oracle", 140, "abc", CHANGES)


def test_what_was_measured_of_other_weights_is_not_what_these_do(tmp_path):
    EFFECTS.write(tmp_path)
    found = read_effects(tmp_path, "abc")
    assert [list(found.changes["quality"][name]) for name in PERSPECTIVES] == [[0.0, None, None], [0.1, None, None], [-3.25, -3.5, -3.0]]
    assert read_effects(tmp_path, "abd") is None
    assert read_effects(tmp_path / "elsewhere", "abc") is None


@pytest.mark.parametrize(("change", "reason"), [
    ({"scenes": 0}, "scenes a whole number from 1"), ({"judge": 5}, "must be texts"),
    ({"changes": CHANGES | {"quality": {}}}, "the change of following by quality must be a value with"),
    ({"changes": CHANGES | {"quality": CHANGES["quality"] | {"following": ["<b>", None, None]}}}, "by quality must be numbers from -5"),
    ({"changes": CHANGES | {"quality": CHANGES["quality"] | {"following": [float("nan"), None, None]}}}, "must be numbers from -5"),
    ({"more": 1}, "must hold judge, scenes, weights and changes")])
def test_a_file_that_is_none_is_refused_in_a_line_that_names_what_is_wrong(tmp_path, change, reason):
    told = json.loads(EFFECTS.write(tmp_path).read_text()) | change
    (tmp_path / FILE).write_text(json.dumps(told))
    with pytest.raises(DataError, match=re.escape(reason)):
        read_effects(tmp_path, "abc")


def test_the_page_has_a_table_of_the_loaded_model_to_unfold_and_none_of_another():
    editors = {"measured": fake_editor("measured", effects=EFFECTS), "other": fake_editor("other")}
    for editor in editors.values():
        editor.pipeline()
    studio = Studio(StudioSettings(), editors)
    form = SimpleNamespace(steps="steps", guidance_scale="guidance", image_guidance_scale="image guidance", effects="effects")
    with gr.Blocks():
        tick = on_tick(studio, SimpleNamespace(status="status", form=form), "ticks")
    shown = tick(SimpleNamespace(headers={}), "measured")["effects"]
    rows = re.findall(r"<tr><th scope='row'>([^<]+)</th>(.*?)</tr>", shown)
    assert [name for name, _ in rows] == ["Following", "Preserving", "Quality"]
    assert [re.findall("<b>([^<]+)</b><small>([^<]+)", cells) for _, cells in rows] == [[("−3.25", "−3.50 … −3.00")]] * 3
    assert "140 drawn scenes" in shown
    assert "质量" in tick(SimpleNamespace(headers={"accept-language": "zh"}), "measured")["effects"]
    assert tick(SimpleNamespace(headers={}), "other")["effects"] == ""


@pytest.mark.parametrize(("flags", "reason"), [
    (["scenes", "--model", "tiny-untrained"], "--write-effects: tiny-untrained has no folder of weights on this machine"),
    (["scenes", "--model", "tiny-untrained", "--edits-only"], "--write-effects needs the scenes, their table sliders, and a judge"),
    (["scenes", "--model", "tiny-untrained", "--tables", "scores"], "--write-effects needs the scenes, their table sliders")])
def test_effects_that_cannot_be_kept_are_refused_before_anything_is_edited(tmp_path, capsys, flags, reason):
    assert main(["bench", *flags, "--write-effects", "--per-type", "1", "--size", "64", "--out", str(tmp_path / "out")]) != 0
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
