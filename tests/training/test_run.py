"""Runs of the trainer: clipping, resuming, being cut, full disks, what a run leaves, other ways to the same numbers."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mre.errors import DataError, MreError, SettingsError
from mre.models.zoo import load_pipeline
from mre.rewards import Reward
from mre.training import checkpoints, loop
from mre.training.checkpoints import checkpoints as whole_checkpoints
from mre.training.config import TrainConfig
from mre.training.draws import Draws
from mre.training.examples import batches
from tests import tiny_models
from tests.conftest import trained
from tests.processes import Program
from tests.training.conftest import config_of, log_of, same, state_of, weights

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}         # so that two processes on two cores do not get in each other's way


# ------------------------------------------------------------------------------------------------------------------ clipping

def test_clipping_clips(config, train, monkeypatch):
    """With plain gradient descent at rate 1, the step that weights take is the gradient: no longer than it may be."""
    monkeypatch.setattr(loop, "build_optimizer", lambda learner, config: torch.optim.SGD(
        [{"params": list(learner.unet.parameters()), "rate": 1.0}], lr=1.0))
    taken = {}
    for limit in (0.01, 1e9):
        run = train(config, out=f"{config.out}-{limit}", max_grad_norm=limit, max_steps=1, ema=False, schedule="constant")
        began = load_pipeline(config.init_from).unet.state_dict()
        moved = torch.cat([(value - began[name]).flatten() for name, value in run.pipeline.unet.state_dict().items()])
        taken[limit] = moved.double().norm().item(), float(log_of(run.out)[0]["grad_norm"])
    assert taken[0.01][0] == pytest.approx(0.01, rel=1e-3)
    assert taken[1e9][0] == pytest.approx(taken[1e9][1], rel=1e-3)
    assert taken[0.01][1] == pytest.approx(taken[1e9][1], rel=1e-6)         # the norm in the log is that before clipping
    assert taken[1e9][1] > 0.1


# ------------------------------------------------------------------------------------------------------------------ resuming

@pytest.fixture(scope="module")
def whole(tree, editor, tmp_path_factory) -> str:
    """Folder of a run that nothing cut."""
    return trained(config_of(tree, editor, tmp_path_factory.mktemp("whole") / "run")).config.out


def test_a_run_that_was_cut_within_a_checkpoint_goes_on_to_the_same_losses(config, train, whole, monkeypatch):
    saved = loop.save_tensors

    def cut(tensors, path):
        if "step-000004" in str(path) and path.name == "optimizer.safetensors":
            raise KeyboardInterrupt                                         # as late as it can come
        saved(tensors, path)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_tensors", cut)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    assert [path.name for path in whole_checkpoints(Path(config.out))] == ["step-000002"]
    asked, state_dict = [], torch.nn.Module.state_dict
    monkeypatch.setattr(torch.nn.Module, "state_dict", lambda *of, **more: (asked.append(of[0]), state_dict(*of, **more))[1])
    run = train(config)
    assert len(asked) < 20 * len([*run.learner.modules()]), "all tensors are asked for a few times, not once for each of them"
    assert log_of(config.out) == log_of(whole)
    assert same(weights(config.out), weights(whole))
    assert not list((Path(config.out) / "checkpoints").glob(".*"))          # nothing half-written stays


def test_asked_to_stop_it_saves_the_step_it_is_in_and_goes_on_from_there(config, train, whole, monkeypatch):
    step = loop.Run._one_step

    def one_step(run, loader):
        if run.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return step(run, loader)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Run, "_one_step", one_step)
        with pytest.raises(KeyboardInterrupt):
            train(config, checkpoint_every=100)
    assert [path.name for path in whole_checkpoints(Path(config.out))] == ["step-000003"]
    train(config, checkpoint_every=100)
    assert log_of(config.out) == log_of(whole)
    assert same(weights(config.out), weights(whole))


def test_a_killed_program_goes_on_with_the_same_settings_to_the_same_losses(config, train, whole, tmp_path):
    (tmp_path / "run.yaml").write_text(config.as_yaml(), encoding="utf-8")
    with Program("train.py", "--config", tmp_path / "run.yaml", env=ENVIRONMENT) as program:
        deadline = time.monotonic() + 120
        while not whole_checkpoints(Path(config.out)) and program.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    there = whole_checkpoints(Path(config.out))
    assert there
    for path in there:                                                      # every one that is there is whole
        assert {file.name for file in path.iterdir()} == {"config.yaml", "state.json", "model.safetensors", "optimizer.safetensors",
                                                          "ema.safetensors"}
        load_file(path / "optimizer.safetensors")
    train(config)
    losses = [[float(row[name]) for row in log_of(out) for name in ("loss", "grad_norm")] for out in (config.out, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)                  # another number of threads than here


def test_other_settings_than_the_run_began_with_are_refused_by_name(config, train):
    train(config, max_steps=2)
    for name, value in (("learning_rate", 1e-5), ("batch_size", 3), ("seed", 9)):
        with pytest.raises(SettingsError, match=f"^{name} is"):
            train(config, **{name: value})
    train(config, max_steps=3, log_every=2, checkpoint_limit=1)             # these may change
    assert [path.name for path in whole_checkpoints(Path(config.out))] == ["step-000003"]


# ------------------------------------------------------------------------------------------------------------- what it leaves

def test_what_went_wrong_is_never_saved_however_seldom_the_log_is_written(config, train):
    with pytest.raises(MreError, match="is not a number after step"):
        train(config, learning_rate=1e30, log_every=6, checkpoint_every=1, checkpoint_limit=0)
    for path in whole_checkpoints(Path(config.out)):
        assert all(tensor.isfinite().all() for tensor in load_file(path / "model.safetensors").values()), path.name


def test_only_the_newest_checkpoints_are_kept(config, train):
    train(config, checkpoint_every=1, checkpoint_limit=2)
    assert [path.name for path in whole_checkpoints(Path(config.out))] == ["step-000005", "step-000006"]


@pytest.mark.parametrize("file", ["model.safetensors", "state.json"])
def test_a_full_disk_is_one_clear_line_and_leaves_earlier_checkpoints_alone(config, train, monkeypatch, file):
    flush = checkpoints._flush

    def full(path):
        if "step-000004" in str(path) and path.name == file:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_flush", full)
        with pytest.raises(MreError, match="step-000004 could not be written: No space left on device") as caught:
            train(config)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (Path(config.out) / "checkpoints").iterdir()] == ["step-000002"]
    train(config)                                                           # with room again, it goes on
    assert state_of(whole_checkpoints(Path(config.out))[-1])["step"] == 6


def test_the_finished_editor_holds_the_moving_average_and_loads_by_its_folder(config, train):
    run = train(config, half=True)
    folder = Path(config.out) / "pipeline"
    average = load_file(whole_checkpoints(Path(config.out))[-1] / "ema.safetensors")
    stored = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    assert same({f"unet.{name}": value for name, value in stored.items()}, {name: value.half() for name, value in average.items()})
    assert run.pipeline.unet.dtype == torch.float32                         # what was trained is as it was
    editor = load_pipeline(str(folder))
    assert editor("make it blue", Image.new("RGB", (16, 16), "red"), reward=Reward.best(), num_inference_steps=1).images[0].size == (16, 16)
    assert TrainConfig(**TrainConfig.read_yaml(folder / "training.yaml")) == run.config


def test_a_sheet_of_samples_shows_each_reward_beside_original_and_data(config, train):
    train(config, max_steps=2, validation_every=2, validation_samples=3)
    sheet = Image.open(Path(config.out) / "samples" / "step-000002.png")
    assert sheet.size == (5 * 16, 3 * (16 + 14))
    assert list((Path(config.out) / "tensorboard").iterdir())
    assert not (Path(config.out) / "validation.csv").exists()


# ----------------------------------------------------------------------------------------------------------- the same numbers

def test_an_editor_trained_with_perspectives_dropped_knows_no_wish(config, train):
    run = train(config, perspective_dropout=0.5, max_steps=1)
    made = load_pipeline(str(Path(run.config.out) / "pipeline"))
    assert made.knows_no_wish
    picture = Image.fromarray(np.zeros((16, 16, 3), np.uint8))
    assert made("red", picture, reward=Reward(5, None, 5), num_inference_steps=1, output_type="np").images.shape == (1, 16, 16, 3)


def test_of_a_dropped_perspective_the_text_is_not_read_either(config, train):
    """Batches in which every perspective is dropped by chance are read alike, whatever scores and texts stand there."""
    run = train(config, perspective_dropout=1.0, max_steps=1)
    draws, batch = Draws.of(run.config, range(2), run.latent_shape), next(batches(run.triplets, run.config, 0, 0, 1))
    others = dataclasses.replace(batch, rewards=(Reward(0, 1, 2, ("a tint", "b", "c")), Reward.best()))
    one, other = (run.learner.conditions(each, draws) for each in (batch, others))
    assert not one["reward_wished"].any()
    assert torch.equal(one["reward_text"], other["reward_text"])
    assert torch.equal(one["reward_text"][0], one["reward_text"][1])


@pytest.mark.parametrize("perspective_dropout", [0.0, 0.5])
def test_cached_latents_and_texts_give_the_same_losses(config, train, tmp_path, monkeypatch, perspective_dropout):
    config = dataclasses.replace(config, perspective_dropout=perspective_dropout)
    plain = train(config, flip=False, max_steps=3, out=f"{config.out}-plain")
    train(config, flip=False, max_steps=3, cache_latents=tmp_path / "cache")
    for row, other in zip(log_of(config.out), log_of(plain.out), strict=True):
        assert float(row["loss"]) == pytest.approx(float(other["loss"]), rel=1e-5)
        assert float(row["grad_norm"]) == pytest.approx(float(other["grad_norm"]), rel=1e-4)
    monkeypatch.setattr("mre.training.cached_examples.encode_pictures", None)         # a second run encodes nothing again
    train(config, flip=False, max_steps=3, cache_latents=tmp_path / "cache", out=f"{config.out}-again")
    assert log_of(f"{config.out}-again") == log_of(config.out)
    with pytest.raises(SettingsError, match="was made for other resolution"):
        train(config, flip=False, cache_latents=tmp_path / "cache", resolution=32, out=f"{config.out}-other")


def test_encoders_whose_answers_are_cached_lie_in_a_file_while_the_run_trains_and_are_in_the_finished_editor(config, train, tmp_path):
    run = train(config, flip=False, max_steps=1, cache_latents=tmp_path / "cache", validation_every=1, validation_samples=1)
    assert (Path(config.out) / "samples" / "step-000001.png").exists()
    regions = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    mapped = [tuple(int(end, 16) for end in words[0].split("-")) for words in regions if words[-1].startswith(str(tmp_path / "cache"))]
    for model, learns in ((run.pipeline.vae, False), (run.pipeline.text_encoder, False), (run.pipeline.unet, True)):
        for name, weight in model.named_parameters():
            assert any(start <= weight.data_ptr() < end for start, end in mapped) != learns, name
    began, made = (load_pipeline(str(folder)) for folder in (config.init_from, Path(config.out) / "pipeline"))
    assert same(began.vae.state_dict(), made.vae.state_dict())
    assert same(began.text_encoder.state_dict(), made.text_encoder.state_dict())


def test_worker_processes_change_nothing(config, train):
    a, b = (train(config, num_workers=workers, max_steps=2, out=f"{config.out}-{workers}") for workers in (0, 2))
    assert log_of(a.out) == log_of(b.out)


@pytest.mark.parametrize("changes", [{"variant": "paper", "init_from": ""}, {"reward_dropout": 0.5, "reward_text_dropout": 0.5},
                                     {"gradient_checkpointing": True, "plain_attention": True}, {"train_text_encoder": True}])
def test_other_ways_to_train_run_and_change_what_they_train(config, train, tmp_path, changes):
    if "init_from" in changes:
        tiny_models.pipeline(tiny_models.reward_unet(variant="paper", reward_dropout=0.0)).save_pretrained(tmp_path / "paper")
        changes |= {"init_from": tmp_path / "paper", "reward_init": "zero"}
    run = train(config, max_steps=2, **changes)
    began = load_pipeline(run.config.init_from)
    assert not same(began.unet.state_dict(), run.pipeline.unet.state_dict())
    assert same(began.text_encoder.state_dict(), run.pipeline.text_encoder.state_dict()) != run.config.train_text_encoder
    assert same(began.vae.state_dict(), run.pipeline.vae.state_dict())


# -------------------------------------------------------------------------------------------------------------------- stages

def test_stage_two_starts_exactly_where_stage_one_ended(config, train, tree):
    """Stage 1 knows no rewards and needs no reward file; the new layers of stage 2 begin without effect."""
    off = {"use_score": False, "use_text": False, "use_attention": False, "use_addition": False}
    plain = Path(f"{config.out}-plain")
    tiny_models.pipeline(tiny_models.plain_unet()).save_pretrained(plain)
    first = train(config, out=f"{config.out}-1", init_from=plain, rewards="", reward_init="zero", max_steps=2, **off)
    assert not any(name.startswith("reward_") for name, _ in first.pipeline.unet.named_parameters())
    second = train(config, init_from=Path(first.config.out) / "pipeline", reward_init="zero", max_steps=2)
    assert {name.split(".")[0] for name, _ in second.pipeline.unet.named_parameters() if name.startswith("reward_")} \
        == {"reward_condition", "reward_encoder"}
    editors = [load_pipeline(str(Path(run.config.out) / "pipeline")) for run in (first, second)]
    assert [one.conditioned for one in editors] == [False, True]
    editors[1] = loop.starting_pipeline(second.config)                      # as it was before stage 2 trained it
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8))
    edits = [editor("x", picture, reward=Reward(0, 0, 0), num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[0]
             for editor in editors]
    assert np.abs(np.asarray(edits[0], dtype=int) - np.asarray(edits[1], dtype=int)).max() <= 1


def test_data_that_are_not_whole_stop_the_run_in_one_line(config, train, tree, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(tree, broken)
    (broken / "shard-00/0000003/3_1.png").unlink()
    with pytest.raises(DataError, match=r"shard-00/0000003: 3_1.jpg \(edited\) is missing"):
        train(config, data_dir=broken)
    (broken / "shard-00/0000003/3_1.png").write_bytes(b"\x89PNG")
    for workers in (0, 1):
        with pytest.raises(MreError, match=r"3_1.png") as caught:
            train(config, data_dir=broken, max_steps=20, num_workers=workers, out=f"{config.out}-{workers}")
        assert "\n" not in str(caught.value)
    rewards = json.loads((tree / "rewards.json").read_text())
    (tmp_path / "more.json").write_text(json.dumps(rewards | {"shard-00/0000099": rewards["shard-00/0000000"]}))
    with pytest.raises(DataError, match="shard-00/0000099: no such triplet folder"):
        train(config, rewards=tmp_path / "more.json")
    for number in (0, 1):
        shutil.copy(tree / f"shard-00/0000000/0_{number}.png", broken / f"shard-00/0000000/77_{number}.png")
    (broken / "shard-00/0000003/3_1.png").write_bytes((tree / "shard-00/0000003/3_1.png").read_bytes())
    with pytest.raises(DataError, match="shard-00/0000000: holds several seed pairs"):
        train(config, data_dir=broken)
    train(config, data_dir=broken, several_pairs="first", max_steps=1)
    with pytest.raises(SettingsError, match="resolution must be a multiple of 2"):
        train(config, resolution=17, out=f"{config.out}-17")
