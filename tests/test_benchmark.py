"""Benchmarks: edits that depend on nothing but their item, answers that are never dropped, numbers worked out another way."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mre.__main__ import main
from mre.benchmark.answers import Answer, Scores
from mre.benchmark.edits import Method, ResultsFolder, item_seed, write_edits
from mre.benchmark.items import SceneSet, open_benchmark
from mre.benchmark.report import table_1, table_of_pairs, table_of_stability
from mre.benchmark.runs import editors, plan_runs
from mre.benchmark.scene_tables import defect_kinds, kind_of
from mre.benchmark.scores import write_scores
from mre.benchmark.tables import Cell, Table, interval, mean_cell
from mre.data.magicbrush import read_magicbrush
from mre.data.realedit import parse_line, read_real_edit
from mre.editors import pipeline_info
from mre.errors import DataError, SettingsError
from mre.files import JUDGE_SCORES, latex_escaped, read_table
from mre.models import zoo
from mre.rewards import EDIT_TYPES, PERSPECTIVES, Reward
from tests.conftest import ROOT
from tests.judge.fake_openai import KEY, FakeOpenAI
from tests.processes import run_program
from tests.training.launch import meeting

TINY = "tiny-untrained"


def noise(seed: int, size=(96, 64)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


@pytest.fixture
def real_edit(tmp_path):
    """Two photos, of other sizes, with seven lines each."""
    folder = tmp_path / "real-edit"
    folder.mkdir()
    noise(1).save(folder / "one.png")
    noise(2, (64, 100)).save(folder / "two.jpg")
    lines = [f"{number}. {name.capitalize()}: do this: {name} it" for number, name in enumerate(EDIT_TYPES, 1)]
    (folder / "instruct.json").write_text(json.dumps({"one.png": lines, "two.jpg": lines}))
    return folder


def bench(*flags) -> int:
    return main(["bench", *map(str, flags)])


@pytest.fixture(scope="session")
def untrained():
    return editors()


# -- what is edited

def test_a_colon_inside_an_instruction_does_not_cut_it(real_edit):
    edits = read_real_edit(real_edit)
    assert len(edits) == 14
    assert [edit.edit_type for edit in edits[:7]] == list(EDIT_TYPES)
    assert edits[0].instruction == "do this: local it"


@pytest.mark.parametrize(("line", "number", "expected"), [
    ("Local: make the car red", 1, ("local", "make the car red")),
    ("3) Add: a dog: brown", 3, ("add", "a dog: brown")),
    ("Background change: the sea", 2, ("background", "the sea")),
    ("5. Turn it into: night", 9, ("background", "Turn it into: night")),
    ("make it night", 6, ("global", "make it night"))])
def test_real_edit_lines_say_their_type_by_word_number_or_place(line, number, expected):
    assert parse_line(line, number, 7, "here") == expected


def test_a_line_without_a_type_among_fewer_than_seven_is_refused():
    with pytest.raises(DataError, match=r"photo: line 1: names no edit type"):
        parse_line("make it night", 1, 3, "photo: line 1")


def test_magicbrush_turns_find_their_pictures_and_captions(tmp_path):
    images = tmp_path / "images" / "139306"
    images.mkdir(parents=True)
    for name in ("139306-input.png", "139306-output1.png", "139306-output2.png"):
        noise(3).save(images / name)
    turns = [{"input": "139306-input.png", "mask": "m.png", "output": "139306-output1.png", "instruction": "Put a cat on the seat."},
             {"input": "139306-output1.png", "mask": "m.png", "output": "139306-output2.png", "instruction": "make it red"}]
    (tmp_path / "edit_turns.json").write_text(json.dumps(turns))
    (tmp_path / "global_descriptions.json").write_text(json.dumps({"139306": {"139306-output1.png": "a cat, a seat and a street"}}))
    (tmp_path / "local_descriptions.json").write_text(json.dumps({"139306": {"139306-output1.png": "a cat on a seat"}}))
    first, second = read_magicbrush(tmp_path)
    assert (first.item, first.original.name, first.target.name, first.caption) == (
        "139306-output1", "139306-input.png", "139306-output1.png", "a cat on a seat")
    assert second.original.name == "139306-output1.png"
    assert second.caption is None
    (images / "139306-output2.png").unlink()
    with pytest.raises(DataError, match=r"turn 1: no picture '139306-output2\.png'"):
        read_magicbrush(tmp_path)


def test_scenes_come_equally_from_all_types_and_more_of_them_begin_with_the_same():
    few, more = SceneSet(1, size=64).benchmark(), SceneSet(2, size=64).benchmark()
    assert [item.edit_type for item in few.items] == list(EDIT_TYPES)
    assert [item.item for item in more.items[:7]] == [item.item for item in few.items]
    assert len({item.item for item in more.items}) == 14


# -- edits

def edit_all(folder, benchmark, untrained, **options):
    method = Method(f"{TINY}@5-5-5", TINY, Reward.best(), steps=2)
    results = ResultsFolder(folder, benchmark)
    results.claim([method], lambda model: pipeline_info.describe(model).digest, 0)
    made = write_edits(results, [method], untrained, **options)
    return results, made


def pixels(results) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (results.path / f"{TINY}@5-5-5").glob("*.png")}


def test_an_edit_depends_on_neither_order_nor_what_was_there_nor_how_many_processes_share_the_work(tmp_path, untrained):
    benchmark = SceneSet(1, size=64).benchmark()
    at_once, made = edit_all(tmp_path / "a", benchmark, untrained, batch=3)
    assert made == 7
    shared = tmp_path / "b"
    for rank in (1, 0):
        results, _ = edit_all(shared, benchmark, untrained, batch=3, rank=rank, processes=2)
    results.merge()
    assert pixels(results) == pixels(at_once)
    (shared / f"{TINY}@5-5-5" / f"{benchmark.items[4].item}.png").unlink()
    results, made = edit_all(shared, benchmark, untrained, batch=3)
    assert made == 1
    assert pixels(results) == pixels(at_once)


@pytest.mark.parametrize("what", ["scenes", "photos"])
def test_settings_given_on_the_command_line_reach_the_denoising_loop(tmp_path, real_edit, monkeypatch, what):
    """The released evaluation reads --scale and then uses 1.5 and 7.5 whatever it says."""
    from diffusers import StableDiffusionInstructPix2PixPipeline as Stock

    stock, seen = Stock.__call__, set()

    def watched(self, prompt, image, steps, guidance_scale, image_guidance_scale, **kwargs):
        seen.add((steps, guidance_scale, image_guidance_scale))
        return stock(self, prompt, image, steps, guidance_scale, image_guidance_scale, **kwargs)

    monkeypatch.setattr(Stock, "__call__", watched)
    (real_edit / "one.csv").write_text("item,image,instruction,edit_type\n1,one.png,make it red,global\n")
    benchmark = ["scenes", "--per-type", 1, "--size", 64, "--tables", "scores"] if what == "scenes" else [real_edit / "one.csv"]
    assert bench(*benchmark, "--model", TINY, "--out", tmp_path / "out", "--edits-only", "--steps", 2, "--guidance-scale", 4,
                 "--image-guidance-scale", 3) == 0
    assert seen == {(2, 4.0, 3.0)}


def test_a_guidance_that_no_model_would_read_is_refused(tmp_path, capsys):
    """`tiny` edits without guidance unless it is told otherwise; the image's guidance alone would change nothing and say nothing."""
    scenes = ["scenes", "--per-type", 1, "--size", 64, "--model", TINY, "--out", tmp_path / "out", "--edits-only"]
    assert bench(*scenes, "--image-guidance-scale", 3) == 1
    assert "--image-guidance-scale 3 would change nothing: guidance is off" in capsys.readouterr().err
    assert bench(*scenes, "--guidance-scale", 4, "--image-guidance-scale", 0.5) == 1
    assert "--guidance-scale 4 would change nothing: guidance is off" in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*.png"))


def test_no_vision_encoder_is_loaded_and_half_precision_is_in_force_where_it_is_asked_for():
    """The released evaluation runs a ViT-H whose output nobody reads, and asks for half precision that it does not get."""
    import torch

    pipeline = zoo.load_pipeline(TINY, dtype=torch.bfloat16)
    assert pipeline.image_encoder is None
    assert {part.dtype for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder)} == {torch.bfloat16}


def test_every_item_has_a_seed_of_its_own():
    seeds = [item_seed(0, f"item-{number}") for number in range(1000)] + [item_seed(1, "item-0")]
    assert len(set(seeds)) == 1001
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_photos_are_edited_at_their_own_aspect_and_size(tmp_path, real_edit, untrained):
    results, _ = edit_all(tmp_path / "out", open_benchmark(real_edit), untrained)
    assert Image.open(results.edited(f"{TINY}@5-5-5", "one-1-local")).size == (96, 64)
    assert Image.open(results.edited(f"{TINY}@5-5-5", "two-7-style")).size == (64, 100)


def test_edits_csv_is_what_a_study_reads_and_its_pictures_are_there(tmp_path, untrained):
    results, _ = edit_all(tmp_path / "out", SceneSet(1, size=64).benchmark(), untrained, batch=7)
    results.merge()
    rows = list(csv.DictReader((tmp_path / "out" / "edits.csv").open(newline="")))
    assert list(rows[0]) == ["item", "edit_type", "instruction", "original", "method", "edited", "seed", "model", "seconds"]
    assert len(rows) == 7
    for row in rows:
        assert Image.open(tmp_path / "out" / row["original"]).size == Image.open(tmp_path / "out" / row["edited"]).size
        assert int(row["seed"]) == item_seed(0, row["item"])


def test_a_results_folder_of_another_benchmark_or_of_other_settings_is_refused(tmp_path, untrained):
    benchmark = SceneSet(1, size=64).benchmark()
    edit_all(tmp_path / "out", benchmark, untrained, batch=7)
    with pytest.raises(DataError, match=r"holds another benchmark: seed is 0 there, 1 here"):
        ResultsFolder(tmp_path / "out", SceneSet(1, seed=1, size=64).benchmark())
    with pytest.raises(DataError, match=r"holds another method .*: steps is 2 there, 5 here"):
        ResultsFolder(tmp_path / "out", benchmark).claim([Method(f"{TINY}@5-5-5", TINY, Reward.best(), steps=5)],
                                                         lambda model: pipeline_info.describe(model).digest, 0)


def test_two_folders_of_one_name_are_not_written_into_one_method(tmp_path):
    """The released evaluation appends the results of every model whose folder has the same name to one file."""
    models = [str(tmp_path / name / "checkpoint-100") for name in ("a", "b")]
    with pytest.raises(SettingsError, match=r"two models would be called 'checkpoint-100@5-5-5'"):
        plan_runs(SceneSet(1, size=64).benchmark(), models, [Reward.best()], lambda _: pipeline_info.describe(TINY))


# -- numbers

def answer(item, perspective="following", score=4.0, accepted=True, method="m", repeat=0) -> Answer:
    return Answer(item, method, "judge", "build", repeat, perspective, score, accepted, None, "raw, with \"quotes\"\nand lines", 0.5, 0.001)


class FakeItem:
    def __init__(self, item, group, edit_type="local"):
        self.item, self.group, self.edit_type = item, group, edit_type


def test_failed_answers_are_counted_and_never_dropped_from_one_list_only():
    items = [FakeItem(f"i{number}", f"g{number}") for number in range(4)]
    answers = [answer("i0", score=5.0), answer("i1", score=2.0, accepted=False), answer("i2", score=None, accepted=None)]
    scores = Scores(answers, items)
    mean, accuracy = scores.mean("m", "following"), scores.accuracy("m", "following")
    assert (mean.value, mean.n, mean.missing) == (3.5, 2, 2)
    assert (accuracy.value, accuracy.n, accuracy.missing) == (0.5, 2, 2)


def test_a_table_of_nothing_but_failures_shows_dashes_and_how_many():
    scores = Scores([answer("i0", score=None, accepted=None)], [FakeItem("i0", "g")])
    table = table_1(scores, ["m"])
    assert "| m | - | - | - | - | - | - |" in table.markdown()
    assert "missing 1" in table.markdown()


def test_a_gain_is_over_items_that_both_methods_have():
    items = [FakeItem(f"i{number}", f"g{number}") for number in range(3)]
    answers = [answer("i0", score=5.0), answer("i1", score=3.0), answer("i2", score=0.0)]
    answers += [answer("i0", score=4.0, method="b"), answer("i1", score=1.0, method="b")]
    gain = Scores(answers, items).gain("m", "b", "following")
    assert (gain.value, gain.n, gain.missing) == (1.5, 2, 1)


def test_a_pair_stands_in_a_table_with_what_the_first_gains_on_the_items_that_both_have():
    items = [FakeItem(f"i{number}", f"g{number}") for number in range(3)]
    answers = [answer("i0", score=5.0), answer("i1", score=3.0, accepted=True), answer("i2", score=0.0, accepted=False)]
    answers += [answer("i0", score=4.0, method="b"), answer("i1", score=1.0, accepted=False, method="b")]
    table = table_of_pairs(Scores(answers, items), [("m", "b")])
    assert [row[0] for row in table.rows] == ["b", "m", "m minus b"]
    gained, score = table.rows[2][1:3]
    assert (gained.text().split()[0], gained.n, gained.missing) == ("50.0", 2, 1)
    assert (score.value, table.rows[0][2].value, table.rows[1][2].value) == (1.5, 2.5, pytest.approx(8 / 3))


def test_pairs_are_those_named_or_each_model_that_reads_rewards_with_each_that_does_not(smartedit_converted):
    smart, benchmark = str(smartedit_converted), SceneSet(1, size=64).benchmark()
    def pairs(models, *named):
        return plan_runs(benchmark, models, [Reward.best()], pipeline_info.describe, pairs=named).pairs
    name = smartedit_converted.name
    assert pairs([TINY, smart]) == ((f"{TINY}@5-5-5", name),)
    assert pairs([TINY, smart], (smart, TINY)) == ((name, f"{TINY}@5-5-5"),)
    assert pairs([smart]) == pairs([TINY]) == ()
    with pytest.raises(SettingsError, match="--pair names other, which is none of the models: "):
        pairs([TINY, smart], (TINY, "other"))


def test_smartedit_with_rewards_against_smartedit_is_one_command_from_weights_to_their_table(smartedit_converted, tmp_path, capsys):
    reward = zoo.load_starting_pipeline(str(smartedit_converted), variant="released", use_score=True, use_text=True, use_attention=True,
                                        use_addition=True, perspectives=PERSPECTIVES, reward_init="released")
    reward.save_pretrained(tmp_path / "reward-smart")
    assert bench("scenes", "--model", tmp_path / "reward-smart", smartedit_converted, "--judge", "oracle", "--out", tmp_path / "out",
                 "--per-type", 1, "--steps", 1, "--size", 64, "--tables", "scores", "--cache", tmp_path / "kept.sqlite", "--sheet", 0,
                 "--no-preserving") == 0
    assert "reward-smart@5-5-5 minus smart" in capsys.readouterr().out
    scores = {(row["method"], row["item"], row["perspective"]): float(row["score"])
              for row in csv.DictReader((tmp_path / "out" / "scores.csv").open(newline=""))}
    row = [*csv.DictReader((tmp_path / "out" / "tables" / "pairs.csv").open(newline=""))][2]
    for name in PERSPECTIVES:
        gains = [score - scores["smart", item, name] for (method, item, of), score in scores.items() if (method, of) == (
            "reward-smart@5-5-5", name)]
        assert len(gains) == 7
        assert float(row[f"{name} score"]) == pytest.approx(np.mean(gains), abs=1e-5)
    pictures = [[path.read_bytes() for path in sorted((tmp_path / "out" / name).glob("*.png"))] for name in ("smart", "reward-smart@5-5-5")]
    assert len(pictures[0]) == 7
    assert pictures[0] != pictures[1], "the new layers change the edits"


def test_the_interval_of_independent_values_is_that_of_the_normal_approximation():
    values = np.random.default_rng(0).normal(3, 1, 400)
    low, high = interval(values, [str(number) for number in range(400)])
    assert low == pytest.approx(values.mean() - 1.96 * values.std() / 20, abs=0.02)
    assert high == pytest.approx(values.mean() + 1.96 * values.std() / 20, abs=0.02)


def test_items_that_share_a_photo_are_drawn_together():
    values = np.repeat(np.random.default_rng(0).normal(3, 1, 80), 7)
    groups = [str(number // 7) for number in range(560)]
    clustered, naive = (mean_cell(values, each) for each in (groups, [str(number) for number in range(560)]))
    assert (clustered.high - clustered.low) / (naive.high - naive.low) == pytest.approx(np.sqrt(7), rel=0.15)


def test_stability_counts_flips_item_by_item_where_means_hide_them():
    items = [FakeItem(f"i{number}", f"g{number}") for number in range(4)]
    answers = []
    for repeat in range(2):
        for number in range(4):
            yes = (number + repeat) % 2 == 0
            answers.append(answer(f"i{number}", score=4.0 if yes else 2.0, accepted=yes, repeat=repeat))
    row = table_of_stability(Scores(answers, items), ["m"]).rows[0]
    assert row[:8] == ["m", "following", "0.00", "0.00", "4 of 4 (100.0 %)", "4 of 4 (100.0 %)", "2.000", 8]


def test_tables_say_the_same_in_all_three_forms():
    table = Table("t", "A & B: 50 %", ["method_1", "score"], [["a_b|c", Cell(3.456, 3.4, 3.512, 560, 2)]], ["a note"])
    assert "| a_b\\|c | 3.46 [3.40, 3.51] |" in table.markdown()
    assert "n = 560 answers a cell, missing 2." in table.markdown()
    assert "a\\_b\\textbar{}c & 3.46 [3.40, 3.51] \\\\" in table.latex()
    assert "\\caption{A \\& B: 50 \\%}" in table.latex()
    row = next(csv.DictReader(table.csv().splitlines()))
    assert row == {"method_1": "a_b|c", "score": "3.456", "score low": "3.4", "score high": "3.512", "score n": "560", "score missing": "2"}


def test_latex_text_has_no_live_character_left():
    assert latex_escaped(r"50% of {x}_1 & #2 ~ ^ \ $") == (
        r"50\% of \{x\}\_1 \& \#2 \textasciitilde{} \textasciicircum{} \textbackslash{} \$")


def test_scores_csv_has_the_columns_of_judge_scores_and_reads_back_the_same(tmp_path):
    answers = [answer("i0", score=4.5), answer("i1", score=None, accepted=None)]
    write_scores(answers, tmp_path)
    assert (tmp_path / "scores.csv").read_text().splitlines()[0] == (
        "item,method,judge,judge_version,repeat,perspective,score,accepted,text,raw,seconds,cost_usd")
    assert (tmp_path / "failures.csv").read_text().splitlines()[0] == "item,method,repeat,perspective,error"
    back = [row for _, row in read_table(tmp_path / "scores.csv", needed=JUDGE_SCORES)]
    assert [(row["item"], row["perspective"], row["score"], row["raw"]) for row in back] == [
        ("i0", answers[0].perspective, "4.5", answers[0].raw), ("i1", answers[1].perspective, "", answers[1].raw)]


# -- synthetic scenes

def test_every_text_that_asks_for_a_defect_is_read_back_as_that_defect():
    for perspective, kind, text in defect_kinds():
        assert kind_of(perspective, text) == kind
    assert kind_of("quality", "None") == ""
    assert kind_of("quality", "something else entirely") == "other"


def test_the_oracle_reads_its_own_defects_back_from_spoiled_scenes():
    """Over spoiled scenes: the kind that the oracle's text names is the kind that the scene was spoiled with."""
    from mre.data.scenes import oracle
    from mre.data.scenes.triplets import draw_triplet
    right = asked = 0
    for index in range(20):
        triplet = draw_triplet(5, index, "train", 64)
        found = oracle.score(triplet, triplet.edited)
        for perspective, kind, text, score in zip(PERSPECTIVES, triplet.kinds, found.texts, triplet.reward.scores, strict=True):
            if kind and score <= 3:
                asked += 1
                right += kind_of(perspective, text) == ("weak" if kind == "half" else kind)
    assert asked > 10
    assert right / asked > 0.75


def test_a_plan_edits_each_method_over_the_items_its_tables_need():
    plan = plan_runs(SceneSet(2, size=64).benchmark(), [TINY], [Reward.best(), Reward(0, 0, 0)], pipeline_info.describe,
                     ("scores", "data", "sliders", "texts", "negative"), 1, 1, steps=2)
    count = {}
    for method, items in plan.jobs:
        count[method.name] = max(count.get(method.name, 0), len(items))
    assert count[f"{TINY}@5-5-5"] == count[f"{TINY}@0-0-0"] == count["training-data"] == 14
    assert [count[f"{TINY}@{name}"] for name in ("0-5-5", "5-0-5", "5-5-0")] == [7, 7, 7]
    assert {f"{TINY}@5-5-1@blurred", f"{TINY}@5-1-5@zoomed", f"{TINY}@1-5-5@missing"} < count.keys()
    assert [asked for asked, _ in plan.sweeps[TINY]] == ["0/0/0", "5/5/5"]


def test_bench_scenes_edits_judges_and_prints_every_table_and_keeps_what_the_sliders_do(tmp_path, capsys):
    model = tmp_path / TINY
    zoo.load_pipeline(TINY, "cpu").save_pretrained(model)
    flags = ["scenes", "--model", model, "--write-effects", "--judge", "oracle", "--out", tmp_path / "out", "--per-type", 1,
             "--scores", "5,5,5", "0,0,0", "--tables", "scores", "data", "sliders", "counts", "--probe-per-type", 1,
             "--size", 64, "--cache", tmp_path / "answers.sqlite", "--workers", 1]
    assert bench(*flags) == 0
    printed = capsys.readouterr().out
    assert "Scores on held-out scenes" in printed
    assert "One slider at a time" in printed
    rows = list(csv.DictReader((tmp_path / "out" / "scores.csv").open(newline="")))
    assert len(rows) == 3 * 7 * 6          # perspectives x scenes x (5/5/5, 0/0/0, training data, three sliders)
    spoiled = [float(row["score"]) for row in rows if (row["method"], row["perspective"]) == ("training-data", "quality")]
    table = {row["method"]: row for row in csv.DictReader((tmp_path / "out" / "tables" / "scores.csv").open(newline=""))}
    assert float(table["training-data"]["quality"]) == pytest.approx(np.mean(spoiled), abs=1e-5)
    assert (tmp_path / "out" / "sheets" / "edits.png").exists()
    scores = {(row["method"], row["item"], row["perspective"]): float(row["score"]) for row in rows}
    effects = pipeline_info.describe(str(model)).effects
    assert (effects.judge, effects.scenes) == ("oracle", 7)
    change = np.mean([scores[f"{TINY}@5-0-5", item, "quality"] - scores[f"{TINY}@5-5-5", item, "quality"]
                      for item in {item for method, item, _ in scores if method == f"{TINY}@5-0-5"}])
    assert effects.changes["preserving"]["quality"][0] == pytest.approx(change, abs=6e-4)
    pictures = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/*.png") if path.parent.name != "sheets"}
    assert bench(*flags) == 0
    assert {path: path.stat().st_mtime_ns for path in pictures} == pictures, "a second run edits nothing again"
    assert capsys.readouterr().out == printed


# -- a judge that costs, and one that fails

def test_bench_on_photos_counts_what_a_judge_does_not_answer(tmp_path, real_edit, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeOpenAI(rates={"refusal": 0.6}) as server:
        flags = [real_edit, "--model", TINY, "--judge", "gpt-4o", "--base-url", server.url, "--out", tmp_path / "out", "--steps", 1,
                 "--cache", tmp_path / "answers.sqlite", "--yes", "--repeat", 2, "--picture-size", 64]
        code = bench(*flags)
    printed = capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "out" / "scores.csv").open(newline="")))
    failed = [row for row in rows if not row["score"]]
    assert len(rows) == 14 * 3 * 2
    assert 0 < len(failed) < len(rows)
    assert code == 1
    assert len(list(csv.DictReader((tmp_path / "out" / "failures.csv").open(newline="")))) == len(failed)
    assert all("can't help" in row["raw"] for row in failed)
    following = [float(row["score"]) for row in rows if row["perspective"] == "following" and row["score"]]
    cell = next(csv.DictReader((tmp_path / "out" / "tables" / "table_1.csv").open(newline="")))
    assert float(cell["following score"]) == pytest.approx(np.mean(following), abs=1e-5)
    assert (int(cell["following score n"]), int(cell["following score missing"])) == (len(following), 28 - len(following))
    assert "Stability of the judge over 2 repeats" in printed
    assert "(form of Table 1)" in printed


def test_two_processes_on_a_cpu_share_the_edits(tmp_path):
    launch = ["-m", "tests.training.launch", "--nproc_per_node=2", *meeting(), "-m", "mre", "bench", "scenes"]
    flags = ["--model", TINY, "--edits-only", "--out", str(tmp_path / "out"), "--per-type", "1", "--tables", "scores", "--steps", "1",
             "--size", "64", "--sheet", "0"]
    said = run_program(*launch, *flags, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert said.count("7 edits in") == 1, "two that do not know of each other make everything twice, and both say so"
    assert len(list(csv.DictReader((tmp_path / "out" / "edits.csv").open(newline="")))) == 7


def test_edits_of_photos_without_a_judge_are_on_a_contact_sheet(tmp_path, real_edit):
    assert bench(real_edit, "--model", TINY, "--edits-only", "--out", tmp_path / "out", "--steps", 1, "--sheet", 1) == 0
    assert [path.name for path in (tmp_path / "out" / "sheets").iterdir()] == ["edits.png"]
    with Image.open(tmp_path / "out" / "sheets" / "edits.png") as sheet:
        assert sheet.height > 7 * 144, "a row for each of the seven edit types"


@pytest.mark.parametrize(("flags", "said"), [
    (["nowhere", "--judge", "gpt-4o"], "no such benchmark"),
    (["nowhere"], "the oracle judges synthetic scenes only"),
    (["scenes", "--per-type", 0], "--per-type"),
    (["scenes", "--scores", "5,5"], "scores must be three"),
    (["scenes", "--repeat", 0], "--repeat"),
    (["scenes", "--photos", "nowhere"], "no such"),
    (["scenes", "--model", TINY, TINY], "named twice")])
def test_bad_flags_are_one_clear_line(tmp_path, capsys, monkeypatch, flags, said):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    model = [] if "--model" in flags else ["--model", TINY]
    assert bench(*flags, *model, "--out", tmp_path / "out", "--cache", tmp_path / "answers.sqlite") == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("error: ")
    assert said in error[-1]


def test_help_is_there_without_loading_torch():
    code = ("import sys\nfrom mre.__main__ import main\n"
            "try: main(['bench', '--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules")
    shown = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True).stdout
    assert "example:" in shown
    assert "--per-type" in shown
