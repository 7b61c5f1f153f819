"""Edits of a benchmark: which there are, that they depend on nothing but their item and what was asked, and that none is made twice."""

import csv
import os

import pytest
from PIL import Image

from mre.benchmark.edits import Method, ResultsFolder, item_seed, write_edits
from mre.benchmark.items import SceneSet, open_benchmark
from mre.benchmark.runs import plan_runs
from mre.editors import pipeline_info
from mre.errors import DataError, SettingsError
from mre.models import zoo
from mre.rewards import Reward
from tests.benchmark.conftest import TINY, bench
from tests.processes import run_program
from tests.training.launch import meeting


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


def test_two_folders_of_one_name_are_not_written_into_one_method(tmp_path):
    """The released evaluation appends the results of every model whose folder has the same name to one file."""
    models = [str(tmp_path / name / "checkpoint-100") for name in ("a", "b")]
    with pytest.raises(SettingsError, match=r"two models would be called 'checkpoint-100@5-5-5'"):
        plan_runs(SceneSet(1, size=64).benchmark(), models, [Reward.best()], lambda _: pipeline_info.describe(TINY))


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
