"""Runs on several processes: they learn what one does, and stop and resume together."""

import dataclasses
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mre.models.zoo import load_pipeline
from mre.training.checkpoints import checkpoints as whole_checkpoints
from mre.training.config import TrainConfig
from tests.conftest import ROOT, trained
from tests.processes import Program, run_program
from tests.training.conftest import config_of, log_of, same, weights
from tests.training.launch import meeting

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}         # so that two processes on two cores do not get in each other's way


@pytest.fixture(scope="module")
def ways(tree, editor, tmp_path_factory) -> dict[str, TrainConfig]:
    """Runs of one process with a batch of four, and of two processes with a batch of two each: gradients averaged, parameters averaged, and
    with weights spread by FSDP2, in two parts of which the second resumes."""
    folder = tmp_path_factory.mktemp("ways")
    two = dataclasses.replace(config_of(tree, editor, folder / "two"), max_steps=3)
    runs = {"one": dataclasses.replace(two, batch_size=4, out=folder / "one"), "two": two,
            "apart": dataclasses.replace(two, local_sgd_steps=2, out=folder / "apart", ema=False),
            "spread": dataclasses.replace(two, out=folder / "spread", validation_every=100, validation_samples=1)}
    for name, config in runs.items():
        (folder / f"{name}.yaml").write_text(config.as_yaml(), encoding="utf-8")
    trained(runs["one"])
    run_program("-m", "tests.training.launch", "--nproc_per_node=2", *meeting(), "-m", "tests.training.both_ways",
                *(folder / f"{name}.yaml" for name in ("two", "apart", "spread")), ROOT / "docs" / "accelerate" / "fsdp2.yaml",
                env=ENVIRONMENT)
    return runs


@pytest.mark.parametrize("way", ["two", "spread"])
def test_two_processes_learn_what_one_does_with_twice_the_batch(ways, way):
    """Also where weights are spread, in a run that was resumed for its last step."""
    one, two = ways["one"], ways[way]
    rows = list(zip(log_of(one.out), log_of(two.out), strict=True))
    assert len(rows) == 3
    for alone, together in rows:
        assert alone["samples"] == together["samples"]
        assert float(together["loss"]) == pytest.approx(float(alone["loss"]), rel=1e-5)
        assert float(together["grad_norm"]) == pytest.approx(float(alone["grad_norm"]), rel=1e-4)
    began = load_pipeline(one.init_from).unet.state_dict()
    for file in ("model", "ema"):
        ours, theirs = (load_file(whole_checkpoints(Path(run.out))[-1] / f"{file}.safetensors") for run in (one, two))
        for name, value in ours.items():
            assert (value - theirs[name]).abs().max() < 2e-4, name          # a first Adam step of 1e-3 is nearly the gradient's sign
        moved = torch.cat([(value - began[name.removeprefix("unet.")]).flatten() for name, value in ours.items()])
        apart = torch.cat([(value - theirs[name]).flatten() for name, value in ours.items()])
        assert apart.norm() < 0.01 * moved.norm(), file


def test_two_processes_that_average_parameters_learn_otherwise(ways):
    assert [row["samples"] for row in log_of(ways["apart"].out)] == ["8", "16", "24"]
    assert not same(weights(ways["apart"].out), weights(ways["two"].out))


def test_a_run_with_spread_weights_leaves_a_sheet_and_a_whole_editor_with_the_moving_average(ways):
    out = Path(ways["spread"].out)
    assert (out / "samples" / "step-000003.png").exists()
    average = load_file(whole_checkpoints(out)[-1] / "ema.safetensors")
    assert same({f"unet.{name}": value for name, value in load_pipeline(str(out / "pipeline")).unet.state_dict().items()}, average)


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
