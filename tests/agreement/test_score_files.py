"""Reading ratings and judge scores: every form of file, every scale, and one clear line for each fault."""

import numpy as np
import pandas as pd
import pytest

from mre.agreement.comparison import Comparison
from mre.agreement.score_files import read_edits, read_human, read_judge
from mre.agreement.sides import Options, sides_of
from mre.errors import DataError

LONG = ("study,item,edit_type,instruction,annotator,screen,shown_as,method,perspective,score,scale_min,scale_max,revision,is_repeat,"
        "is_check,skip_reason,comment,first_shown_at,submitted_at,active_seconds,order_seed,app_version\n")


def long_row(item="a", annotator="r1", screen=1, method="m1", perspective="following", score="3", revision=1, repeat=0, check=0,
             instruction="add a cat") -> str:
    return f"s,{item},add,{instruction},{annotator},{screen},1,{method},{perspective},{score},0,5,{revision},{repeat},{check},,,,,,7,0.1\n"


def human(*rows: str) -> bytes:
    return (LONG + "".join(rows)).encode()


def judge(rows: str, header: str = "item,method,judge,judge_version,repeat,perspective,score,accepted,text,raw,seconds,cost_usd") -> bytes:
    return (header + "\n" + rows).encode()


def scores(ratings, *columns: str) -> list[tuple]:
    return [tuple(row) for row in ratings.frame[list(columns)].astype(object).itertuples(index=False)]


def test_long_export_is_read_with_its_scale():
    read = read_human(human(long_row(score="0"), long_row(annotator="r2", score="5")))
    assert scores(read, "item", "method", "annotator", "perspective", "score") == [("a", "m1", "r1", "following", 0.0),
                                                                                   ("a", "m1", "r2", "following", 1.0)]
    assert (read.notices, read.scale) == ((), "the scores: scale as the file says, 0-5")


def test_wide_form_has_a_column_per_perspective():
    read = read_human(b"item_id,method,annotator,following,quality,scale_max\na,m1,r1,0.5,1,1\n")
    assert scores(read, "perspective", "score") == [("following", 0.5), ("quality", 1.0)]


def test_columns_that_may_be_unknown_perspectives_are_not_passed_over_in_silence():
    read = read_human(b"item,method,annotator,quality,realism\na,m1,r1,1,5\n", ["h.csv"])
    assert read.notices[0].startswith("h.csv row 1: columns that are not read: realism; perspectives as columns are following, preserving")


def test_a_column_per_annotator_is_read_and_empty_is_missing():
    read = read_human(b"item,method,perspective,Ann,Bo\na,m1,quality,0,5\nb,m1,quality,,2\n")
    assert scores(read, "item", "annotator", "native") == [("a", "Ann", 0.0), ("a", "Bo", 5.0), ("b", "Bo", 2.0)]
    assert read.counts["missing"] == 1


def test_imagenhub_files_are_parsed_as_numbers_and_never_evaluated(tmp_path):
    (tmp_path / "rater2.tsv").write_text("uid\tDiffEdit\tMagicBrush\nx.jpg\t[0, 1]\t[0.5, 0.5]\n")
    (tmp_path / "rater1.tsv").write_text("uid\tDiffEdit\tMagicBrush\nx.jpg\t[__import__('os').getcwd(), 1]\t[1, 0]\n")
    read = read_human(tmp_path)
    assert ("x", "MagicBrush", "rater1", "following", 1.0) in scores(read, "item", "method", "annotator", "perspective", "score")
    assert ("x", "DiffEdit", "rater2", "quality", 1.0) in scores(read, "item", "method", "annotator", "perspective", "score")
    assert len(read.frame) == 6
    assert "rater1.tsv row 2: a cell must be two numbers such as [0.5, 1], got \"[__import__" in read.notices[0]


@pytest.mark.parametrize(("values", "low", "high"), [("0,1", 0, 1), ("0,4.5", 0, 5), ("1,7", 1, 7), ("0,7", 0, 10), ("2,9", 0, 10)])
def test_scale_without_a_column_follows_the_stated_rule(values, low, high):
    first, second = values.split(",")
    read = read_judge(f"item,method,judge,perspective,score\na,m,j,quality,{first}\nb,m,j,quality,{second}\n".encode())
    assert read.frame["score"].tolist() == pytest.approx([(float(value) - low) / (high - low) for value in (first, second)])
    assert f"read as {low}-{high}" in read.scale


def test_our_own_judge_scores_are_on_five_points_even_when_all_are_low():
    assert read_judge(judge("a,m,gpt,v1,1,quality,1,yes,None,,1,0.01\n")).frame["score"].tolist() == [0.2]


def test_mixed_scales_are_told_and_each_score_is_read_on_its_own():
    read = read_human(b"item,method,annotator,quality,scale_max\na,m,r1,1,1\nb,m,r1,5,10\n")
    assert read.frame["score"].tolist() == [1.0, 0.5]
    assert read.notices == ("the scores row 3: mixed scales (1 on 0-1, 1 on 0-10); each score is read on its own",)


def test_faulty_rows_are_named_and_the_rest_goes_on():
    read = read_human(human(long_row(), long_row(item="b", score="6"), long_row(item="c", score="three"), long_row(item="", score="1"),
                            long_row(item="d", score="nan")), ["human.csv"])
    assert read.frame["item"].tolist() == ["a"]
    assert read.notices == ("human.csv row 5: item is empty; left out",
                            "human.csv row 4 and 1 more: score must be a number, got 'three'; left out",
                            "human.csv row 3: score 6 is outside 0 to 5; left out")


def test_duplicates_with_different_scores_are_all_set_aside_and_equal_ones_count_once():
    read = read_human(human(long_row(), long_row(score="4"), long_row(item="b"), long_row(item="b")), ["human.csv"])
    assert scores(read, "item", "native") == [("b", 3.0)]
    assert read.notices == (
        "human.csv row 2 and 1 more: a, m1, r1, following occurs more than once, with different scores; all of them left out",
        "human.csv row 5: b, m1, r1, following occurs more than once, with the same score; the first is kept")


def test_the_last_revision_counts_and_checks_and_repeats_do_not():
    read = read_human(human(long_row(score="1"), long_row(score="4", revision=2), long_row(screen=2, repeat=1, score="2"),
                            long_row(item="c", check=1, score="0")))
    assert scores(read, "item", "native") == [("a", 4.0)]
    assert (read.counts["superseded"], read.counts["repeats"], read.counts["checks"]) == (1, 1, 1)


def test_simulated_annotators_are_never_taken_for_people_without_a_word():
    rows = [long_row(annotator=name) for name in ("simulated-001", "drawn-002", "a003")]
    assert read_human(human(*rows), ["human.csv"]).notices == (
        "human.csv: 2 of 3 annotators are simulated (drawn-002 to simulated-001), no people",)
    assert read_human(human(rows[2]), ["human.csv"]).notices == ()


def test_a_file_without_screens_beside_an_export_loses_nothing_and_hides_no_contradiction(tmp_path):
    (tmp_path / "export.csv").write_bytes(human(long_row(annotator="r1"), long_row(annotator="r1", perspective="quality")))
    (tmp_path / "plain.csv").write_text("item,method,annotator,perspective,score,scale_max\n"
                                        "a,m1,bo,following,4,5\na,m1,bo,quality,1,5\nb,m1,bo,quality,1,5\nb,m1,bo,quality,2,5\n")
    read = read_human(tmp_path)
    assert any(note.startswith("plain.csv row 4 and 1 more: b, m1, bo, quality") and "different scores" in note for note in read.notices)
    sides = sides_of(read, read_judge(judge("a,m1,J,v,1,following,3,,,,,\na,m1,J,v,1,quality,3,,,,,\n")), Options(scheme="viescore"))
    bo = sides.human[sides.human["annotator"] == "bo"].set_index("perspective")["score"]
    assert bo.round(6).to_dict() == {"SC": 0.8, "PQ": 0.2, "O": 0.4}


def test_the_first_annotators_of_two_studies_are_two_people(tmp_path):
    for name, score in (("spring", "1"), ("autumn", "5")):
        row = long_row(annotator="a001", score=score).replace("s,", f"{name},", 1)
        (tmp_path / f"{name}.csv").write_bytes(human(row))
    read = read_human(tmp_path)
    assert sorted(scores(read, "annotator", "native")) == [("a001 of autumn", 5.0), ("a001 of spring", 1.0)]
    assert read.notices == ("2 files (autumn.csv, ...): 2 studies; an annotator of one is taken for nobody of another",)
    assert [name for name, in scores(read_human(tmp_path / "spring.csv"), "annotator")] == ["a001"]


def test_an_edit_seen_on_two_screens_by_one_annotator_counts_once_as_the_mean():
    people = read_human(human(*(long_row(item=item, screen=screen, score=score) for item in "ab"
                                for screen, score in ((1, 2), (2, 4)))), ["human.csv"])
    sides = sides_of(people, read_judge(judge("a,m1,g,v,1,following,3,,,,,\nb,m1,g,v,1,following,2,,,,,\n")))
    assert sides.human["score"].tolist() == [3.0, 3.0]
    assert any("2 further scores of an edit by the same annotator" in notice for notice in sides.notices)


def test_cells_made_harmless_for_spreadsheets_are_restored():
    read = read_human(human(long_row(item="'=cmd", instruction="'-make it red")))
    assert scores(read, "item", "instruction") == [("=cmd", "-make it red")]


@pytest.mark.parametrize(("data", "message"), [
    (b"", "human.csv: the file is empty"), (b"\xef\xbb\xbf\n\n", "human.csv: the file is empty"),
    ("item,method".encode("utf-16"), "human.csv row 1: the file is UTF-16; save it as UTF-8"),
    ("item,method".encode("utf-16-le"), "human.csv row 1: the file is UTF-16; save it as UTF-8"),
    (b"item,method\na,caf\xe9\n", "human.csv row 2: not UTF-8 text; save it as UTF-8"),
    (b"item;method;annotator;quality\na;m;r;1\n", 'human.csv row 1: columns are separated by ";", not by ","; save it as a comma-'),
    (b"item\tmethod\tannotator\na\tm\tr\n", 'human.csv row 1: columns are separated by tabs, not by ","; save it as a comma-'),
    (b"item,method,annotator,quality\n", "human.csv: no row below the header"),
    (b"item,method,annotator,quality\na,m,r,1,2\n", "human.csv row 2: 5 columns, the header has 4"),
    (b"name,method,score\na,m,1\n", "human.csv row 1: no column item among name, method, score; expected item, method, annotator, persp"),
    (b"item,method,annotator,quality\na,m,r,x\n", "human.csv: no usable score; first: human.csv row 2: score must be a number, got 'x'"),
])
def test_unusable_files_are_refused_in_one_line(data, message):
    with pytest.raises(DataError) as raised:
        read_human(data, ["human.csv"])
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_versions_of_a_judge_are_judges_of_their_own_but_prompts_per_perspective_are_not():
    rows = "a,m,gpt,{},1,following,3,,,,,\na,m,gpt,{},1,quality,3,,,,,\n"
    assert set(read_judge(judge(rows.format("p1", "p2"))).frame["judge"]) == {"gpt"}
    assert set(read_judge(judge(rows.format("p1", "p1") + rows.format("p2", "p2"))).frame["judge"]) == {"gpt p1", "gpt p2"}


def test_repeats_of_a_judge_are_averaged():
    people = read_human(human(long_row(), long_row(item="b", score="1")))
    sides = sides_of(people, read_judge(judge("a,m1,g,v,1,following,2,,,,,\na,m1,g,v,2,following,5,,,,,\nb,m1,g,v,1,following,1,,,,,\n")))
    assert sides.edits("g", "following")[["item", "judge", "repeats"]].to_numpy().tolist() == [["a", 3.5, 2], ["b", 1.0, 1]]


def two_sides(rows: str = "a,m1,g,v,1,following,2,,,,,\n", **options):
    people = read_human(human(*(long_row(item=item, method=method, perspective=name) for item in "ab" for method in ("m1", "m2")
                                for name in ("following", "preserving"))), ["human.csv"])
    return sides_of(people, read_judge(judge(rows), ["judge.csv"]), Options(**options))


def test_what_lacks_a_side_is_listed_with_counts_and_never_dropped_in_silence():
    edits = (("a", "m1", "following"), ("c", "m1", "following"), ("b", "m3", "following"), ("a", "m1", "sharpness"))
    sides = two_sides("".join(f"{item},{method},g,v,1,{name},2,,,,,\n" for item, method, name in edits))
    listed = {(row.kind, row.name, row.lacks): row.scores for row in sides.missing.itertuples()}
    assert listed[("perspective", "preserving", "judge")] == 4
    assert listed[("perspective", "sharpness", "people")] == 1
    assert listed[("method", "m2", "judge")] == 2
    assert listed[("method", "m3", "people")] == 1
    assert listed[("item", "c", "people")] == 1
    assert listed[("item", "b", "judge")] == 1
    assert ("judge.csv row 5: perspective 'sharpness' is none of following, preserving, quality; people did not score it; left out"
            in sides.notices)
    assert any(notice.startswith("human.csv: 4 scores of preserving have no counterpart from g") for notice in sides.notices)
    assert any(notice.startswith("one annotator (r1)") for notice in sides.notices)
    assert any(notice.startswith("one method (m1)") for notice in sides.notices)


def test_no_common_edit_or_perspective_is_refused_with_an_example():
    with pytest.raises(DataError, match=r"no edit is in both files: human.csv has 4 such as item a by m1, judge.csv has 1 such as item z"):
        two_sides("z,m1,g,v,1,following,2,,,,,\n")
    with pytest.raises(DataError, match=r"no perspective is in both files: human.csv has following, preserving, judge.csv has quality"):
        two_sides("a,m1,g,v,1,quality,2,,,,,\n")
    with pytest.raises(DataError, match=r"no method m9 in the files, which have m1, m2"):
        two_sides(methods=("m9",))
    with pytest.raises(DataError, match=r"no judge h in the files, which have g"):
        two_sides(judges=("h",))


def test_perspectives_of_their_own_are_compared_when_both_sides_have_them():
    given = list(zip("abc", "135", strict=True))
    people = read_human(human(*(long_row(item=item, perspective="sharpness", score=score) for item, score in given)))
    sides = sides_of(people, read_judge(judge("".join(f"{item},m1,g,v,1,Sharpness,{score},,,,,\n" for item, score in given))))
    assert sides.perspectives == ("sharpness",)
    assert Comparison(sides).row("g", "sharpness", "item", "all", "spearman").value == pytest.approx(1)


def test_source_images_are_the_clusters_when_every_item_has_one(tmp_path):
    path = tmp_path / "edits.csv"
    path.write_text("item,edit_type,instruction,original,method,edited\na,add,x,1.png,m1,m1/a.png\nb,style,y,1.png,m1,m1/b.png\n")
    people, scored = read_human(human(long_row(), long_row(item="b"))), read_judge(judge("a,m1,g,v,1,following,2,,,,,\n"))
    assert sides_of(people, scored).cluster == "item"
    sides = sides_of(people, scored, edits=read_edits(path))
    assert (sides.cluster, sides.items["image"].tolist()) == ("source image", ["1.png", "1.png"])
    assert sides.items["edit_type"].tolist() == ["add", "style"]


def test_viescore_takes_minimum_and_root_and_leaves_out_what_is_missing():
    people = read_human(b"item,method,annotator,following,quality,scale_max\na,m,r1,1,0.5,1\na,m,r2,0,1,1\n")
    scored = read_judge(b"item,method,judge,perspective,score,scale_max\n"
                        b"a,m,j,following,8.5,10\na,m,j,preserving,9,10\na,m,j,artifacts,2,10\n")
    sides = sides_of(people, scored, Options(scheme="viescore"))
    found = {name: sides.edits("j", name).iloc[0] for name in sides.perspectives}
    assert {name: row["judge"] for name, row in found.items()} == pytest.approx({"SC": 0.8, "PQ": 0.2, "O": 0.4})     # 8.5 is floored
    assert found["O"]["human"] == pytest.approx(np.sqrt(0.5) / 2)            # the mean of roots, not the root of means


def test_frames_are_read_like_files():
    frame = pd.DataFrame({"item": ["a"], "method": ["m"], "annotator": ["r"], "perspective": ["quality"], "score": [4], "scale_max": [5]})
    assert read_human(frame).frame["score"].tolist() == [0.8]
