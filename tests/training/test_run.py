"""Runs of the trainer: the released implementation's numbers, resuming, being cut, full disks, several processes."""

import csv
import dataclasses
import errno
import functools
import json
import os
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator, DistributedType
from diffusers import DDPMScheduler
from PIL import Image
from safetensors.torch import load_file

from mre.errors import DataError, MreError, SettingsError
from mre.models.instruction import EditCondition
from mre.models.released import released_name
from mre.models.zoo import load_pipeline
from mre.rewards import Reward
from mre.training import checkpoints, loop
from mre.training.checkpoints import checkpoints as whole_checkpoints
from mre.training.config import TrainConfig
from mre.training.draws import Draws
from mre.training.encoding import Latents
from mre.training.examples import TrainingExample, batches
from mre.training.scene_examples import held_out_scene
from mre.training.validation import oracle_scores
from tests import tiny_models
from tests.golden import Golden
from tests.processes import Program, run_program
from tests.training.conftest import log_of, state_of
from tests.training.launch import meeting

# ------------------------------------------------------------------------------------------------- the released implementation

STEPS = 2
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}         # so that two processes on two cores do not get in each other's way


class GoldenBatch:
    """The reference's training batch, as a source of triplets, an instruction encoder and a reader of reward texts."""

    def __init__(self, golden: Golden) -> None:
        self.tensors = {name.removeprefix("train/"): value for name, value in load_file(golden.folder / "train_case.safetensors").items()}

    def row(self, sample: int) -> int:
        return sample % 4

    def example(self, row: int) -> TrainingExample:
        edited = self.tensors["latents"][row]
        latents = Latents(self.tensors["original_image_latents"][row], edited, torch.zeros_like(edited))
        return TrainingExample("", Reward(*self.tensors["reward_scores"][row].tolist()), latents=latents)

    def encode(self, read, images=None) -> EditCondition | dict[str, torch.Tensor]:
        if isinstance(read[0], Reward):
            return {"reward_text": self.tensors["negative_embeds"]}
        return EditCondition(self.tensors["encoder_hidden_states"], self.tensors["null_hidden_states"])

    def draws(self) -> Draws:
        noise, ones = self.tensors["noise"], torch.ones(4)
        return Draws(self.tensors["timesteps"], self.tensors["random_p"], ones, ones, noise, torch.zeros_like(noise))


@pytest.fixture(params=["float32_no_clipping", "float32_clip_norm_1"])
def golden_run(request, shared, monkeypatch, train, tmp_path):
    """Two steps of the whole trainer on the reference's batch and weights; and what the reference says of them."""
    golden = Golden(shared / "parity")
    said = golden.numbers["train"][request.param]
    batch = GoldenBatch(golden)
    unet = golden.unet
    for module in unet.modules():                       # the reference's dropout inside was set to 0
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = 0.0
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    vae = torch.nn.Module()
    vae.dtype, vae.config = torch.float32, SimpleNamespace(scaling_factor=1.0, latent_channels=4)
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    pipeline = SimpleNamespace(unet=unet, vae=vae, text_encoder=torch.nn.Module(), tokenizer=None, scheduler=scheduler, vae_scale_factor=8,
                               instruction_encoder=batch, reward_text_encoder=batch, trainable_parts=lambda *_: {"unet": unet},
                               components={"unet": unet, "vae": vae}, load_readers=lambda: None)
    monkeypatch.setattr(loop, "starting_pipeline", lambda *args: pipeline)
    monkeypatch.setattr(loop, "open_examples", lambda config: batch)
    monkeypatch.setattr(loop.Draws, "of", classmethod(lambda *args: batch.draws()))
    monkeypatch.setattr(loop, "save_editor", lambda pipeline, folder, config: None)
    norms: dict[str, float] = {}

    def note(parameter, name):
        norms.setdefault(name, parameter.grad.double().norm().item())       # of the first step

    for name, parameter in unet.named_parameters():
        parameter.register_post_accumulate_grad_hook(functools.partial(note, name=released_name(name)))
    before = {released_name(name): value.detach().clone() for name, value in unet.named_parameters()}
    config = TrainConfig(out=tmp_path / "run", init_from="given", data="pix2pix", data_dir="given", rewards="given", resolution=64,
                         max_steps=STEPS, batch_size=4, accumulation=1, decay_all=True,
                         max_grad_norm=1.0 if "clip_norm_1" in request.param else 1e9,
                         log_every=1, checkpoint_every=1, checkpoint_limit=0, validation_every=0)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)        # float32 sums hang on their number, and Adam's first step on the sign of the tiniest gradients
    try:
        train(config)
    finally:
        torch.set_num_threads(threads)
    return SimpleNamespace(said=said, out=config.out, norms=norms, before=before, tensors=batch.tensors)


def test_loss_gradients_weights_and_average_are_those_of_the_released_code(golden_run):
    said, rows = golden_run.said, log_of(golden_run.out)
    assert [float(row["loss"]) for row in rows] == pytest.approx(said["losses"][:STEPS], rel=1e-5)
    assert [float(row["grad_norm"]) for row in rows] == pytest.approx(said["total_grad_norm"][:STEPS], rel=1e-4)
    for name, norm in said["grad_norms"].items():               # one of them is a ten-thousandth of the whole: float32 rounds it coarser
        assert golden_run.norms[name] == pytest.approx(norm, rel=1e-4, abs=2e-7), name
    first = whole_checkpoints(Path(golden_run.out))[0]
    after, average = ({released_name(name.removeprefix("unet.")): value for name, value in load_file(first / file).items()}
                      for file in ("model.safetensors", "ema.safetensors"))
    for name, expected in said["after_step_1"].items():
        value = after[name].double()
        # Adam's first step is nearly the gradient's sign, so float32 noise in the tiniest of a million gradients moves their sum by 1e-3
        close = 2e-3 if value.numel() > 900_000 else 1e-3
        assert value.sum().item() == pytest.approx(expected["sum"], abs=close), name
        assert value.abs().sum().item() == pytest.approx(expected["abs_sum"], abs=1e-3), name
        assert (value - golden_run.before[name].double()).norm().item() == pytest.approx(expected["delta_l2"], rel=5e-3), name
        assert average[name].double().sum().item() == pytest.approx(expected["ema_sum"], abs=close), name
    torch.testing.assert_close(after["conv_out.weight"], golden_run.tensors["out.conv_out.weight.after_1"], atol=2e-5, rtol=0)
    assert state_of(first)["ema_updates"] == 1


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

def weights(run_or_folder) -> dict[str, torch.Tensor]:
    return load_file(whole_checkpoints(Path(run_or_folder))[-1] / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.fixture
def whole(config, train) -> str:
    """Folder of a run that nothing cut."""
    return train(config, out=f"{config.out}-whole").config.out


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
    train(config)
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


@pytest.fixture
def drawn(tmp_path):
    """A short run on synthetic scenes."""
    return TrainConfig(out=tmp_path / "run", resolution=64, width=(32, 48, 64), batch_size=1, accumulation=1, max_steps=2, learning_rate=0,
                       train_text_encoder=True, validation_every=1, validation_samples=1, validation_scored=1, checkpoint_every=2)


def scored_steps(config):
    with (Path(config.out) / "validation.csv").open(newline="") as file:
        return [row["step"] for row in csv.DictReader(file)]


def test_each_validation_writes_one_line_of_scores_however_often_the_run_was_cut(drawn, train):
    train(drawn)
    assert scored_steps(drawn) == ["1", "2"]
    (Path(drawn.out) / "samples" / "step-000002.png").unlink()                      # as a run that was cut after its checkpoint left it
    lines = (Path(drawn.out) / "validation.csv").read_text().splitlines(keepends=True)
    (Path(drawn.out) / "validation.csv").write_text("".join(lines[:2]))
    train(drawn, max_steps=3)
    assert scored_steps(drawn) == ["1", "2", "3"]
    shutil.rmtree(Path(drawn.out) / "checkpoints" / "step-000003")                  # or before that checkpoint was whole
    train(drawn, max_steps=3)
    assert scored_steps(drawn) == ["1", "2", "3"]
    (Path(drawn.out) / "samples" / "step-000003.png").unlink()                      # or between the line and the sheet
    train(drawn, max_steps=3)
    assert scored_steps(drawn) == ["1", "2", "3"]


def test_a_line_of_scores_is_written_before_the_sheet_that_says_it_is_done(drawn, train):
    Path(drawn.out).mkdir(parents=True)
    (Path(drawn.out) / "samples").write_text("in the way of the folder")
    with pytest.raises(FileExistsError):
        train(drawn)
    assert scored_steps(drawn) == ["1"]


def test_the_scores_are_the_oracles_of_the_models_own_edits_at_the_best_reward(drawn):
    asked = []

    def editor(instruction, picture, reward, generator):
        """Does edits in turn as they should be, not at all, and as something else."""
        scene = held_out_scene(drawn, len(asked))
        assert (instruction, reward) == (scene.instruction, Reward.best())
        assert np.array_equal(np.asarray(picture), scene.original)
        asked.append(scene)
        return SimpleNamespace(images=[Image.fromarray((scene.target, scene.original, scene.wrong)[len(asked) % 3 - 1])])

    editor.device, editor.set_progress_bar_config = "cpu", lambda **_: None
    scores = oracle_scores(editor, dataclasses.replace(drawn, validation_scored=6))
    assert len(asked) == 6
    assert scores["following"] == pytest.approx((5 + 0 + 1) / 3, abs=0.2)
    assert scores["preserving"] > 4.5
    assert scores["quality"] > 4.5


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


def test_two_processes_learn_what_one_does_with_twice_the_batch(config, train, tmp_path):
    one = train(config, batch_size=4, max_steps=3)
    two = dataclasses.replace(config, batch_size=2, max_steps=3, out=tmp_path / "two")
    (tmp_path / "two.yaml").write_text(two.as_yaml(), encoding="utf-8")
    apart = dataclasses.replace(two, local_sgd_steps=2, out=tmp_path / "apart", ema=False)
    (tmp_path / "apart.yaml").write_text(apart.as_yaml(), encoding="utf-8")
    run_program("-m", "tests.training.launch", "--nproc_per_node=2", *meeting(), "-m", "tests.training.both_ways",
                tmp_path / "two.yaml", tmp_path / "apart.yaml", env=ENVIRONMENT)
    assert [row["samples"] for row in log_of(apart.out)] == ["8", "16", "24"]
    assert not same(weights(apart.out), weights(two.out))
    rows = list(zip(log_of(one.out), log_of(two.out), strict=True))
    assert len(rows) == 3
    for alone, together in rows:
        assert alone["samples"] == together["samples"]
        assert float(together["loss"]) == pytest.approx(float(alone["loss"]), rel=1e-5)
        assert float(together["grad_norm"]) == pytest.approx(float(alone["grad_norm"]), rel=1e-4)
    ours, theirs = weights(one.out), weights(two.out)
    began = load_pipeline(config.init_from).unet.state_dict()
    for name, value in ours.items():
        assert (value - theirs[name]).abs().max() < 2e-4, name              # a first Adam step of 1e-3 is nearly the gradient's sign
    moved = torch.cat([(value - began[name.removeprefix("unet.")]).flatten() for name, value in ours.items()])
    apart = torch.cat([(value - theirs[name]).flatten() for name, value in ours.items()])
    assert apart.norm() < 0.01 * moved.norm()


class Launched:
    """One run on two machines of one process each; both are this machine, with a disk of their own each."""

    def __init__(self, config: TrainConfig, folder: Path) -> None:
        self.out = Path(config.out)
        self.out.mkdir(parents=True, exist_ok=True)
        for leftover in self.out.glob("*-[01]"):
            if leftover.is_file():
                leftover.unlink()
        (folder / "run.yaml").write_text(config.as_yaml(), encoding="utf-8")
        self.before = len(self.rows())
        flags = ["--nnodes=2", "--nproc_per_node=1", *meeting()]
        self.launchers = [Program("-m", "tests.training.launch", *flags, "-m", "tests.training.own_disks", folder / "run.yaml",
                                  env=ENVIRONMENT, both=True) for _ in range(2)]

    def rows(self) -> list[dict[str, str]]:
        log = self.out / "disk-0"
        return log_of(log) if (log / "log.csv").exists() else []

    def wait_for_steps(self, count: int) -> None:
        deadline = time.monotonic() + 120
        while len(self.rows()) < self.before + count:
            assert all(one.poll() is None for one in self.launchers), [one.communicate(timeout=60)[0] for one in self.launchers]
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stopped_at(self) -> int:
        """The step that both ended at, when all has ended."""
        output = [one.communicate(timeout=120)[0] for one in self.launchers]
        first, second = (int((self.out / f"step-{rank}").read_text()) for rank in (0, 1))
        assert first == second, output
        return first


def test_two_processes_that_are_asked_to_stop_save_the_step_they_are_in_and_resume_it_without_a_common_disk(config, train, tmp_path):
    """Ctrl-C reaches every launcher; a scheduler may stop one process alone. Each machine makes the whole cache of latents."""
    cut = dataclasses.replace(config, max_steps=100_000, checkpoint_every=100_000, schedule="constant", out=tmp_path / "cut")
    first = Launched(cut, tmp_path)
    first.wait_for_steps(3)
    for launcher in first.launchers:
        launcher.send_signal(signal.SIGINT)
    at = first.stopped_at()
    assert [path.name for path in whole_checkpoints(first.out / "disk-0")] == [f"step-{at:06d}"]
    assert not whole_checkpoints(first.out / "disk-1")
    caches = [sorted(path.relative_to(disk) for path in disk.rglob("*.safetensors"))
              for disk in (first.out / "disk-0" / "cache", first.out / "disk-1" / "cache")]
    assert caches[0] == caches[1] != []
    second = Launched(cut, tmp_path)
    second.wait_for_steps(2)
    os.kill(int((second.out / "pid-1").read_text()), signal.SIGTERM)
    later = second.stopped_at()
    assert [path.name for path in whole_checkpoints(second.out / "disk-0")] == [f"step-{at:06d}", f"step-{later:06d}"]
    whole = train(dataclasses.replace(cut, batch_size=4, max_steps=later, checkpoint_every=later, out=tmp_path / "whole",
                                      cache_latents=first.out / "disk-0" / "cache"))
    rows = list(zip(log_of(whole.out), second.rows(), strict=True))
    assert len(rows) == later > at >= 3
    for alone, together in rows:
        assert together["step"] == alone["step"]
        assert float(together["loss"]) == pytest.approx(float(alone["loss"]), rel=1e-3)     # float32 sums in another order, step after step


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


@pytest.mark.parametrize("kind", ["FSDP", "DEEPSPEED"])
def test_a_config_of_accelerate_that_shards_is_refused_in_one_line_before_anything_is_read(kind, config, train, monkeypatch):
    monkeypatch.setattr(Accelerator, "distributed_type", DistributedType(kind))
    with pytest.raises(SettingsError, match=f"^accelerate's config asks for {kind}, which shards the parameters"):
        train(config, data_dir="/nowhere", data="pix2pix")
    assert not Path(config.out).exists()


def test_fp16_without_a_gpu_is_refused(config, train):
    if not torch.accelerator.is_available():
        with pytest.raises(SettingsError, match="mixed_precision fp16 needs a GPU"):
            train(config, mixed_precision="fp16")
