"""Runs on several processes: they learn what one does, and stop and resume together."""

import dataclasses
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from mre.models.zoo import load_pipeline
from mre.training.checkpoints import checkpoints as whole_checkpoints
from mre.training.config import TrainConfig
from tests.processes import Program, run_program
from tests.training.conftest import log_of, same, weights
from tests.training.launch import meeting

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}         # so that two processes on two cores do not get in each other's way


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
