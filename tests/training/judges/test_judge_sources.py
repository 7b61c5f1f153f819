"""What judges learn from, in the forms in which it lies on disk; and the command from data to a judge that scores."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from mre.__main__ import main
from mre.errors import DataError
from mre.judge.kinds import make_judge
from mre.judge.trained import TrainedJudge
from mre.judge.verdicts import Ask, score_one
from mre.study import studies
from mre.study.design import StudyDesign
from mre.study.export import export_file
from mre.study.simulate import Crowd, simulate
from mre.study.store import Store
from mre.training.judges.groups import GroupList, LabelledEdit, LabelledGroup, Preference, share_of
from mre.training.judges.making import check_ratings
from mre.training.judges.preferences import WHOLE, preference_groups
from mre.training.judges.scenes import SceneGroups
from mre.training.judges.sources import open_groups, weighted
from mre.training.judges.studies import export_groups, study_groups
from mre.training.judges.study_judge import judge_against_people
from tests.judge.tiny_judges import write_judge
from tests.study.conftest import draw_edits

SIZES = ["size=32", "widths=8,8,8,8", "blocks=1,1", "word_buckets=60", "word_width=8", "queries=2", "features=16", "hidden=8"]


@pytest.fixture(scope="module")
def formats(shared):
    return shared / "bench_formats"


def preferred(group: LabelledGroup):
    return group.preferences[0].preferred


def test_pairs_in_editrewards_form_are_a_vote_on_the_whole_where_there_is_one_score(formats):
    path = formats / "genai_bench" / "input" / "valid_set2_full.json"
    rows, found = json.loads(path.read_text()), preference_groups(path)
    assert len(found) == len(rows)
    for number, row in enumerate(rows):
        sign = np.sign(row["model1_dim1_score"] - row["model2_dim1_score"])
        assert preferred(found.group(number)) == (None, None, None, sign)
    group = found.group(0)
    assert group.edits[1].edited == path.parent / rows[0]["path2"]
    assert group.source == str(path.parent / rows[0]["path_src"])


def test_pairs_with_scores_per_dimension_are_preferences_per_perspective(tmp_path):
    row = {"prompt": "p", "path_src": "s.png", "path1": "a.png", "path2": "b.png", "model1_dim1_score": 4, "model2_dim1_score": 2,
           "model1_dim2_score": 1, "model2_dim2_score": 3}
    nan = float("nan")
    more = [{"model2_dim2_score": 1}, {"model1_dim2_score": nan}, {"model1_dim1_score": nan}]
    (tmp_path / "train.json").write_text(json.dumps([row, *(row | changes for changes in more)]))
    found = preference_groups(tmp_path / "train.json")
    assert preferred(found.group(0)) == (1.0, None, -1.0, 0.0)          # a tie of the whole is not split into two pairs
    assert preferred(found.group(1)) == (1.0, None, 0.0, 1.0)
    assert preferred(found.group(2)) == preferred(found.group(3)) == (None, None, None, 1.0)        # NaN is no tie, and no score


def test_votes_of_genai_bench_and_pairs_of_editscore_are_read_from_parquet(formats):
    genai = preference_groups(formats / "genai_bench" / "input" / "image_edition" / "test_v1-00000-of-00001.parquet")
    assert {preferred(genai.group(number))[WHOLE] for number in range(len(genai))} == {1.0, 0.0, -1.0}
    assert preferred(genai.group(0)) == (None, None, None, -1.0)          # its first vote is "rightvote"
    scored = preference_groups(formats / "editscore" / "input" / "EditReward-Bench" / "train-00000-of-00001.parquet")
    said = {preferred(scored.group(number)) for number in range(len(scored))}
    assert said == {(1.0, None, None, None), (None, 1.0, None, None), (None, None, None, 1.0)}


def test_files_that_are_no_pairs_are_refused_in_one_line(tmp_path, formats):
    (tmp_path / "pairs.json").write_text('[{"prompt": "p"}]')
    for path, words in ((tmp_path / "pairs.json", "pair 1: must have prompt, path_src"),
                        (formats / "gedit_bench" / "input" / "data" / "train-00000-of-00001.parquet", "neither GenAI-Bench")):
        with pytest.raises(DataError, match=words) as caught:
            preference_groups(path)
        assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def rated(tmp_path_factory):
    """A store with a simulated study of six items and two methods, and the edits that it is of."""
    folder = tmp_path_factory.mktemp("rated")
    edits = draw_edits(folder / "edits", items=4)
    store = Store.open(folder / "data")
    studies.create_from_edits(store, "s", [edits], StudyDesign(per_pair=2, repeats=0, checks=0))
    simulate(store, "s", Crowd(annotators=2))
    yield store, edits, folder
    store.close()


def test_a_study_and_its_export_teach_the_same(rated):
    store, edits, folder = rated
    from_store = study_groups(store, "s-simulated")
    export_file(store, "s-simulated", folder / "s.csv", simulated=True)
    from_file = export_groups(folder / "s.csv", [edits])
    assert len(from_store) == len(from_file) == 8           # four items, each scored by two people
    for number in range(len(from_store)):
        one, other = from_store.group(number), from_file.group(number)
        for a, b in zip(one.edits, other.edits, strict=True):
            assert (a.scores, a.method, a.item, a.edit_type) == (b.scores, b.method, b.item, b.edit_type)
            assert np.array_equal(np.asarray(a.edited()), np.asarray(Image.open(b.edited).convert("RGB")))
            assert np.array_equal(np.asarray(a.original()), np.asarray(Image.open(b.original).convert("RGB")))
        assert one.edits[0].annotator == one.edits[1].annotator != ""
    assert len({from_store.group(number).source for number in range(8)}) == 4
    assert [from_file.source_of(number) for number in range(8)] == [from_store.source_of(number) for number in range(8)]


def test_one_photo_under_two_names_is_one_original_so_that_none_is_both_trained_on_and_held_out(tmp_path):
    photo = Image.effect_noise((16, 16), 40).convert("RGB")
    for name in ("a.png", "b.png", "edited.png"):
        photo.save(tmp_path / name)
    (tmp_path / "edits.csv").write_text("item,method,original,edited\n1,m,a.png,edited.png\n2,m,b.png,edited.png\n")
    rows = "".join(f"{item},darker,p,{item},0,m,{name},3,1\n" for item in (1, 2) for name in ("following", "preserving", "quality"))
    (tmp_path / "export.csv").write_text("item,instruction,annotator,screen,shown_as,method,perspective,score,revision\n" + rows)
    scored = {name: {"score": 3, "text": ""} for name in ("following", "preserving", "quality")}
    rewards = [{"id": name, "instruction": "darker", "original": name, "edited": "edited.png", **scored} for name in ("a.png", "b.png")]
    (tmp_path / "rewards.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rewards))
    for found in (export_groups(tmp_path / "export.csv", [tmp_path]), open_groups(str(tmp_path / "rewards.jsonl"))):
        assert len(found) == 2
        assert found.source_of(0) == found.source_of(1)


def test_of_an_export_with_revisions_the_last_counts_also_where_it_takes_the_scores_back(rated, tmp_path):
    """In whatever order a spreadsheet has left the rows; and a score beyond the scale is refused with its row."""
    store, edits, _ = rated
    export_file(store, "s-simulated", tmp_path / "s.csv", simulated=True)
    head, *rows = list(csv.reader((tmp_path / "s.csv").open()))
    def revised(row, score):
        return [{"revision": "7", "score": score}.get(name, cell) for name, cell in zip(head, row, strict=True)]
    whose, screen = head.index("annotator"), head.index("screen")
    first = [row for row in rows if (row[whose], row[screen]) == (rows[0][whose], rows[0][screen])]
    others = [row for row in rows if row not in first]
    for scores, left in (("", 7), ("3", 8)):
        for order in (1, -1):
            with (tmp_path / "s.csv").open("w", newline="") as file:
                csv.writer(file).writerows([head, *[*rows, *(revised(row, scores) for row in first)][::order]])
            found = export_groups(tmp_path / "s.csv", [edits])
            assert len(found) == left
            given = [edit.scores for number in range(left) for edit in found.group(number).edits]
            assert given.count((3.0, 3.0, 3.0)) >= (2 if scores else 0)
            assert len(given) == len(others) // 3 + (2 if scores else 0)
    with (tmp_path / "s.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head, revised(first[0], "7")])
    with pytest.raises(DataError, match=r"s\.csv: row 2: score must be a number between 0 and 5, got '7'"):
        export_groups(tmp_path / "s.csv", [edits])


def test_a_judge_is_compared_on_held_out_pictures_alone_of_a_study_that_it_learnt_however_much_that_weighed(rated, tmp_path):
    store, judge = rated[0], TrainedJudge(write_judge(tmp_path / "mine"))
    places = sorted(share_of(source, "held out") for source in {group.source for group in study_groups(store, "s-simulated")._groups})
    for data, screens, learnt in (("study:s-simulated@3", 4, True), ("study:s-simulated", 4, True), ("study:s", 8, False)):
        judge.facts = dataclasses.replace(judge.facts, trained={"data": [data], "settings": {"held_out": sum(places[1:3]) / 2}})
        assert judge_against_people(store, "s-simulated", judge)[1:] == (screens, learnt)


def test_studies_without_ratings_or_pictures_are_refused(rated, tmp_path):
    store, edits, _ = rated
    studies.create_from_edits(store, "empty", [edits], StudyDesign())
    with pytest.raises(DataError, match="study:empty has no ratings yet"):
        study_groups(store, "empty")
    export_file(store, "s-simulated", tmp_path / "s.csv", simulated=True)
    with pytest.raises(DataError, match=r"no table of edits has .* name its folder with --edits"):
        export_groups(tmp_path / "s.csv", [])


def test_scenes_teach_several_edits_of_one_original_and_others_the_next_time_round():
    source = SceneGroups(5, seed=3, size=32)
    first, again, later = source.group(2), source.group(2), source.group(2, round=1)
    assert len(first.edits) == 4
    assert [edit.scores for edit in first.edits] == [edit.scores for edit in again.edits]
    assert all(np.array_equal(a.edited, b.edited) for a, b in zip(first.edits, again.edits, strict=True))
    assert any(not np.array_equal(a.edited, b.edited) for a, b in zip(first.edits, later.edits, strict=True))
    assert source.held_out(4, 0).group(0).source.startswith("heldout-")


def test_what_data_may_be_called_and_how_much_it_weighs(tmp_path):
    assert weighted("scenes:5?seed=1@2.5") == ("scenes:5?seed=1", 2.5)
    assert weighted("study:photos") == ("study:photos", 1.0)
    for text, words in (("none.csv", "there is no such file"), ("scenes:x", "must look like"), ("scenes:5?colour=1", "not colour"),
                        ("study:s", "no store of studies")):
        with pytest.raises(DataError, match=words):
            open_groups(text)
    with pytest.raises(DataError, match="above 0"):
        weighted("scenes:5@0")


def command(*words):
    return main(["train-judge", *map(str, words)])


def test_the_command_makes_a_judge_of_a_study_and_of_scenes_that_scores_any_edit(rated, tmp_path, capsys):
    _, _, folder = rated
    out = tmp_path / "mine"
    flags = ["--network", *SIZES, "--steps", 4, "--validate-every", 2, "--groups", 3, "--most-held-out", 6, "--held-out", 0.4]
    assert command("study:s-simulated@2", "scenes:20?size=32", "--out", out, "--data", folder / "data", *flags) == 0
    said = capsys.readouterr().out
    assert "following" in said
    assert "within one deviation" in said
    for name in ("judge.json", "model.safetensors", "report.md", "report.csv", "predictions.csv", "calibration.svg", "worst.png"):
        assert (out / name).stat().st_size > 0, name
    facts = json.loads((out / "judge.json").read_text())
    assert facts["trained"]["steps"] == 4
    assert facts["trained"]["annotators"] == 2
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)) for _ in range(2)]
    verdicts = score_one(make_judge(str(out)), Ask("one", "make it red", *pictures), "reward")
    assert not verdicts.errors
    assert command("scenes:20?size=32", "--out", out, "--report-only", "--most-held-out", 6) == 0


def test_what_cannot_be_trained_is_said_in_one_line_and_nothing_is_written(tmp_path, capsys):
    for words, said in ((["scenes:0", "--out", tmp_path / "a"], "must be between 1"),
                        (["scenes:5", "--out", tmp_path / "a", "--network", "size"], "must look like size=64"),
                        (["scenes:5", "--out", tmp_path / "a", "--network", "size=big"], "no tiny judge has these sizes"),
                        (["scenes:5", "--out", tmp_path / "a", "--network", "depth=3"], "no tiny judge has these sizes"),
                        (["scenes:5", "--out", tmp_path / "a", "--perspectives", "beauty"], "perspectives must be some of"),
                        (["scenes:5", "--out", tmp_path / "a", "--steps", "0"], "steps must be at least 1"),
                        (["scenes:5", "--out", tmp_path / "a", "--init-from", tmp_path], "it has no judge.json"),
                        (["study:none", "--out", tmp_path / "a", "--data", tmp_path / "data"], "none")):
        assert command(*words) == 1
        error = capsys.readouterr().err.strip()
        assert error.startswith("error: ")
        assert "\n" not in error
        assert said in error
    assert not (tmp_path / "a").exists()


def test_ratings_that_are_all_the_same_teach_nothing_and_are_refused(tmp_path):
    source = GroupList("study:flat", [LabelledGroup(f"{n}", (LabelledEdit("e", f"{n}.png", "b.png", (3.0, 3.0, 3.0), annotator="a"),
                                                             LabelledEdit("e", f"{n}.png", "c.png", (3.0, 3.0, 3.0), annotator="b")))
                                      for n in range(4)])
    with pytest.raises(DataError, match="study:flat: every score is 3: there is nothing to tell good edits from bad ones by"):
        check_ratings(source)
    voted = GroupList("pairs", [LabelledGroup("s", source.group(0).edits, (Preference(0, 1, (None, None, None, 1.0)),))])
    check_ratings(voted)                        # equal scores beside votes that differ say something
    with pytest.raises(DataError, match="one annotator's; at least 2"):
        check_ratings(GroupList("one", [LabelledGroup("s", source.group(0).edits[:1])]), fewest_annotators=2)
