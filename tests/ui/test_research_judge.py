"""The Research tab's judge: one click trains one, it is in the list at once, it stands beside the people, and it can be cancelled."""

import dataclasses
import functools
import time

import gradio as gr
import pytest

from mre.errors import DataError
from mre.judge.kinds import make_judge
from mre.study import studies
from mre.study.design import StudyDesign
from mre.study.simulate import Crowd, simulate
from mre.training.judges import study_judge
from tests.study.conftest import draw_edits
from ui.research.judge import EMBEDDED, JudgeHandlers, JudgePanel
from ui.studio import Studio, StudioSettings


class Asked:
    """What Gradio hands to a handler."""

    headers = {"accept-language": "en"}
    request = None


@pytest.fixture(scope="module")
def handlers(tmp_path_factory):
    """A studio with a study that two annotators have scored, and one that a single annotator has."""
    folder = tmp_path_factory.mktemp("judge")
    studio = Studio(StudioSettings(data=folder / "data"))
    edits = draw_edits(folder / "edits", 16, size=(16, 16))
    for name, people in (("rated", 2), ("lonely", 1)):
        studies.create_from_edits(studio.store, name, [edits], StudyDesign(per_pair=people, repeats=0, checks=0))
        simulate(studio.store, name, Crowd(annotators=people, careless=0))
    with gr.Blocks():
        panel = JudgePanel()
    yield JudgeHandlers(studio, panel)
    studio.store.close()


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Trainings of a few steps."""
    few = dataclasses.replace(study_judge.SETTINGS, steps=3, groups=2, validate_every=3)
    monkeypatch.setattr(study_judge, "train_from_study", functools.partial(study_judge.train_from_study, settings=few))


def begun(handlers, name):
    return handlers.train(Asked(), name=name)[handlers.panel.job]


def ended(handlers, job_id):
    """What the panel shows at the end."""
    while not handlers.jobs.get(job_id).ended:
        time.sleep(0.02)
    return handlers.look(Asked(), job_id=job_id)


def test_one_click_makes_a_judge_that_the_list_offers_and_every_command_takes(handlers):
    panel = handlers.panel
    shown = handlers.train(Asked(), name="rated-simulated")
    assert "rated-simulated" in shown[panel.said]
    assert shown[panel.cancel]["interactive"]
    with pytest.raises(gr.Error, match="being trained already"):
        handlers.train(Asked(), name="rated-simulated")
    over = ended(handlers, shown[panel.job])
    assert over[panel.job] is None
    assert not over[panel.cancel]["interactive"]
    assert "rated-simulated-judge is trained" in over[panel.said]
    assert over[panel.judge] == gr.update(choices=[EMBEDDED, "rated-simulated-judge"], value="rated-simulated-judge")
    folder = handlers.studio.judges.folder / "rated-simulated-judge"
    assert make_judge(str(folder)).name == "rated-simulated-judge"
    assert {path.name for path in folder.iterdir()} >= {"judge.json", "model.safetensors", "report.md"}
    assert not (folder / "training").exists()
    choice = {"name": "rated-simulated", "judge": "rated-simulated-judge"}
    compared = handlers.compare(Asked(), **choice)
    held = study_judge.split(study_judge.study_groups(handlers.studio.store, "rated-simulated"), 0.2, 99, 0)[1]
    assert f"on {len(held)} rated screens" in compared[panel.against]
    assert "only originals that it never saw" in compared[panel.against]
    assert handlers.follow(Asked(), **choice, following=compared[panel.following]) == gr.skip()     # nothing new since


def test_the_judge_that_ships_stands_beside_all_that_people_scored_and_follows_new_ratings(handlers):
    panel, choice = handlers.panel, {"name": "rated-simulated", "judge": EMBEDDED}
    compared = handlers.compare(Asked(), **choice)
    html, following = compared[panel.against], compared[panel.following]
    assert "on 32 rated screens" in html                                    # sixteen pairs, two annotators
    for head in ("Rank correlation", "Within one deviation", "Right with ties"):
        assert head in html
    older = dataclasses.replace(following, ratings=following.ratings - 1)
    assert handlers.follow(Asked(), **choice, following=older)[panel.against] == html
    assert handlers.follow(Asked(), name="lonely-simulated", judge=EMBEDDED, following=older) == gr.skip()      # another study is looked at


def test_a_cancelled_training_leaves_nothing(handlers, monkeypatch):
    before = sorted(handlers.studio.judges.folder.iterdir()) if handlers.studio.judges.folder.exists() else []

    def endless(network, sources, config, out, names, on_step):
        (out / "training").mkdir(parents=True)
        while True:
            on_step(1)
            time.sleep(0.01)
    monkeypatch.setattr(study_judge, "train_network", endless)
    job = begun(handlers, "rated-simulated")
    handlers.cancel(job_id=job)
    assert "cancelled" in ended(handlers, job)[handlers.panel.said]
    assert (sorted(handlers.studio.judges.folder.iterdir()) if handlers.studio.judges.folder.exists() else []) == before


def test_studies_that_teach_nothing_are_refused_in_one_line(handlers):
    for name, words in (("rated", "no ratings yet"), ("lonely-simulated", "one annotator")):
        assert words in ended(handlers, begun(handlers, name))[handlers.panel.said]
    with pytest.raises(gr.Error, match="Choose a study"):
        handlers.train(Asked(), name=None)


def test_no_folder_but_those_of_the_list_is_opened(handlers):
    for name in ("../data", "/etc", "none"):
        with pytest.raises(gr.Error, match="there is no judge"):
            handlers.compare(Asked(), name="rated-simulated", judge=name)


def test_a_study_of_too_few_originals_says_how_many_it_needs(handlers, tmp_path):
    store = handlers.studio.store
    edits = draw_edits(tmp_path / "few", 3, size=(16, 16))
    studies.create_from_edits(store, "small", [edits], StudyDesign(per_pair=2, repeats=0, checks=0))
    simulate(store, "small", Crowd(annotators=2, careless=0))
    with pytest.raises(DataError, match=r"too few original pictures .* about 20"):
        study_judge.train_from_study(store, "small-simulated", tmp_path / "out")
    assert not (tmp_path / "out").exists()
