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
from ui.research.judge import EMBEDDED, JudgeHandlers
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
    yield JudgeHandlers(studio)
    studio.store.close()


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Trainings of a few steps."""
    few = dataclasses.replace(study_judge.SETTINGS, steps=3, groups=2, validate_every=3)
    monkeypatch.setattr(study_judge, "train_from_study", functools.partial(study_judge.train_from_study, settings=few))


def ended(handlers, job_id):
    while not handlers.jobs.get(job_id).ended:
        time.sleep(0.02)
    return handlers.look(job_id, Asked())


def test_one_click_makes_a_judge_that_the_list_offers_and_every_command_takes(handlers):
    job, said, _, cancel = handlers.train("rated-simulated", Asked())
    assert "rated-simulated" in said
    assert cancel["interactive"]
    with pytest.raises(gr.Error, match="being trained already"):
        handlers.train("rated-simulated", Asked())
    gone, told, _, cancel, judges = ended(handlers, job)
    assert gone is None
    assert not cancel["interactive"]
    assert "rated-simulated-judge is trained" in told
    assert judges == gr.update(choices=[EMBEDDED, "rated-simulated-judge"], value="rated-simulated-judge")
    folder = handlers.studio.judges.folder / "rated-simulated-judge"
    assert make_judge(str(folder)).name == "rated-simulated-judge"
    assert {path.name for path in folder.iterdir()} >= {"judge.json", "model.safetensors", "report.md"}
    assert not (folder / "training").exists()
    html, following = handlers.compare("rated-simulated", "rated-simulated-judge", Asked())
    held = study_judge.split(study_judge.study_groups(handlers.studio.store, "rated-simulated"), 0.2, 99, 0)[1]
    assert f"on {len(held)} rated screens" in html
    assert "only originals that it never saw" in html
    assert handlers.follow("rated-simulated", "rated-simulated-judge", following, Asked())[0] == gr.skip()     # nothing new since


def test_the_judge_that_ships_stands_beside_all_that_people_scored_and_follows_new_ratings(handlers):
    html, following = handlers.compare("rated-simulated", EMBEDDED, Asked())
    assert "on 32 rated screens" in html                                    # sixteen pairs, two annotators
    for head in ("Rank correlation", "Within one deviation", "Right with ties"):
        assert head in html
    older = (*following[:2], following[2] - 1)
    assert handlers.follow("rated-simulated", EMBEDDED, older, Asked())[0] == html
    assert handlers.follow("lonely-simulated", EMBEDDED, older, Asked())[0] == gr.skip()        # another study is looked at


def test_a_cancelled_training_leaves_nothing(handlers, monkeypatch):
    before = sorted(handlers.studio.judges.folder.iterdir()) if handlers.studio.judges.folder.exists() else []

    def endless(network, sources, config, out, names, on_step):
        (out / "training").mkdir(parents=True)
        while True:
            on_step(1)
            time.sleep(0.01)
    monkeypatch.setattr(study_judge, "train_network", endless)
    job = handlers.train("rated-simulated", Asked())[0]
    handlers.cancel(job, Asked())
    assert "cancelled" in ended(handlers, job)[1]
    assert (sorted(handlers.studio.judges.folder.iterdir()) if handlers.studio.judges.folder.exists() else []) == before


def test_studies_that_teach_nothing_are_refused_in_one_line(handlers):
    for name, words in (("rated", "no ratings yet"), ("lonely-simulated", "one annotator")):
        job = handlers.train(name, Asked())[0]
        assert words in ended(handlers, job)[1]
    with pytest.raises(gr.Error, match="Choose a study"):
        handlers.train(None, Asked())


def test_no_folder_but_those_of_the_list_is_opened(handlers):
    for name in ("../data", "/etc", "none"):
        with pytest.raises(gr.Error, match="there is no judge"):
            handlers.compare("rated-simulated", name, Asked())


def test_a_study_of_too_few_originals_says_how_many_it_needs(handlers, tmp_path):
    store = handlers.studio.store
    edits = draw_edits(tmp_path / "few", 3, size=(16, 16))
    studies.create_from_edits(store, "small", [edits], StudyDesign(per_pair=2, repeats=0, checks=0))
    simulate(store, "small", Crowd(annotators=2, careless=0))
    with pytest.raises(DataError, match=r"too few original pictures .* about 20"):
        study_judge.train_from_study(store, "small-simulated", tmp_path / "out")
    assert not (tmp_path / "out").exists()
