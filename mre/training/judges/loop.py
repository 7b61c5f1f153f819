"""The training of a judge: one loop for every body and every kind of label. Stops early, resumes, runs on many processes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm.auto import tqdm

from mre.errors import DataError, MreError, SettingsError
from mre.files import read_json
from mre.judge.reward_models.heads import AnnotatorOffsets, label_loss
from mre.judge.reward_models.likelihood import bradley_terry_loss, expected_logistic_loss, logistic_loss
from mre.training.checkpoints import load_tensors, save_tensors, write_whole
from mre.training.judges.batches import WeightedSource, chosen_groups, collate
from mre.training.judges.measure import held_out_groups, predict
from mre.training.optimizer import load_optimizer_tensors, optimizer_tensors

if TYPE_CHECKING:
    from mre.judge.reward_models.heads import Scores
    from mre.training.judges.config import JudgeTraining
    from mre.training.judges.groups import GroupSource, LabelledGroup

CHECKPOINT = "training"         # folder in the judge's, while it is trained
WARMUP, FLAT = 0.05, 1 / 3      # shares of the run
MOST_NORM = 1.0
BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps, {elapsed}{postfix}"
PAIR_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor] | None] = {
    "probit": None, "logistic": logistic_loss, "uncertainty": expected_logistic_loss, "bradley-terry": bradley_terry_loss}


@dataclass
class Progress:
    """Where a training is."""

    step: int = 0
    best: float = math.inf          # the least held-out loss per label
    best_step: int = 0
    looks: int = 0                  # without a better one
    losses: list[tuple[int, float]] | None = None       # (step, held-out loss)


class JudgeRun:
    """One process's part of a judge's training. The network is trained in place and ends as the best of its averages."""

    def __init__(self, network: nn.Module, train: Sequence[WeightedSource], held_out: Sequence[GroupSource], annotators: Sequence[str],
                 config: JudgeTraining, out: Path, data: Sequence[str] = ()) -> None:
        self.network: Any = network
        self.train_sources, self.config, self.out = list(train), config, out
        self.data = list(data)
        self.rank, self.world = _processes()
        if not sum(len(source.groups) for source in train):
            raise DataError("there is nothing to train on: no group is left after holding out")
        self.annotators = {name: number for number, name in enumerate(annotators)}
        device = next(network.parameters()).device
        self.offsets = AnnotatorOffsets(len(annotators), len(self.network.heads.perspectives), config.annotator_prior).to(device)
        self.labels = sum(len(source.groups) for source in train)
        self.trained = nn.ModuleDict({"network": network, "offsets": self.offsets})
        self.parameters = [p for p in self.trained.parameters() if p.requires_grad]
        if self.world > 1:
            for parameter in self.parameters:
                dist.broadcast(parameter.data, 0)
        decayed = [p for p in self.parameters if p.ndim > 1 and p is not self.offsets.offsets]
        kept = {id(p) for p in decayed}
        self.optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": config.weight_decay},
                                            {"params": [p for p in self.parameters if id(p) not in kept], "weight_decay": 0.0}],
                                           lr=config.learning_rate, betas=(0.9, 0.98), fused=device.type in ("cpu", "cuda"))
        self.average = {name: value.detach().clone() for name, value in self._state().items()}
        self.best = {name: value.clone() for name, value in self.average.items()}
        self.progress = Progress(losses=[])
        self.held: list[LabelledGroup] = held_out_groups(held_out, config.most_held_out) if self.rank == 0 else []
        if (self.out / CHECKPOINT).is_dir():
            self._load()

    def train(self, on_step: Callable[[int], object] | None = None) -> Progress:
        """Train until the steps are done or held-out labels grow less likely; the network then holds the best average. `on_step` is told
        each step; what it raises ends the training. Raises MreError when training has gone wrong."""
        config, progress = self.config, self.progress
        stream = chosen_groups(self.train_sources, config.seed, self.rank, self.world, progress.step * config.groups)
        bar = tqdm(total=config.steps, initial=progress.step, unit="step", disable=None if self.rank == 0 else True, bar_format=BAR)
        with bar:
            while progress.step < config.steps and progress.looks < config.patience:
                groups = [self.train_sources[place].groups.group(number, rounds)
                          for place, number, rounds in (next(stream) for _ in range(config.groups))]
                loss = self._step(groups)
                progress.step += 1
                bar.update()
                bar.set_postfix(loss=f"{loss:.3f}", held_out=f"{progress.losses[-1][1]:.3f}" if progress.losses else "-")
                if progress.step % config.validate_every == 0 or progress.step == config.steps:
                    self._look()
                if on_step:
                    on_step(progress.step)
        self._fill(self.best)
        return progress

    def _step(self, groups: list[LabelledGroup]) -> float:
        config = self.config
        self._set_rate()
        self.network.train()
        inputs, labels = collate(self.network, groups, self.annotators)
        labels = type(labels)(*(value.to(self.offsets.offsets.device) for value in labels))
        with torch.autocast(self.offsets.offsets.device.type, torch.bfloat16, enabled=config.mixed_precision == "bf16"):
            scores, taught = self._scores(inputs, groups)
        total, amount = label_loss(scores, labels, self.network.heads.log_half_width.exp(), self.offsets(labels.annotator),
                                   config.pair_share, PAIR_LOSSES[config.pairs])
        loss = total / amount.clamp(min=1e-6) + self.offsets.prior_loss() / max(self.labels, 1) + config.drawn_share * taught
        self.optimizer.zero_grad(set_to_none=False)
        loss.backward()
        if self.world > 1:
            _average_gradients(self.parameters)
        torch.nn.utils.clip_grad_norm_(self.parameters, MOST_NORM)
        self.optimizer.step()
        decay = min(config.ema, (1 + self.progress.step) / (10 + self.progress.step))
        with torch.no_grad():
            for name, value in self._state().items():
                self.average[name].lerp_(value, 1 - decay)
        return loss.item()

    def _scores(self, inputs: dict[str, Tensor], groups: list[LabelledGroup]) -> tuple[Scores, Tensor | float]:
        """Scores, and the loss of what a body can be taught of drawn edits beside them."""
        if hasattr(self.network, "taught"):
            drawn = self.network.drawn([edit.drawn for group in groups for edit in group.edits])
            if drawn is not None:
                return self.network.taught(inputs, drawn)
        return self.network(**inputs), 0.0

    def _set_rate(self) -> None:
        done = self.progress.step / self.config.steps
        share = min(1.0, (self.progress.step + 1) / max(1.0, WARMUP * self.config.steps))
        if done > FLAT:
            share *= 0.5 * (1 + math.cos(math.pi * (done - FLAT) / (1 - FLAT)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * share

    def _state(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.trained.named_parameters() if value.requires_grad}

    def _fill(self, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in self._state().items():
                value.copy_(values[name])

    def _look(self) -> None:
        """The held-out likelihood of the average, and a checkpoint. The main process looks, all hear of it."""
        progress = self.progress
        found = torch.zeros(1, dtype=torch.float64)
        if self.rank == 0:
            now = {name: value.detach().clone() for name, value in self._state().items()}
            self._fill(self.average)
            found[0] = predict(self.network, self.held).loss
            self._fill(now)
        if self.world > 1:
            dist.broadcast(found, 0)
        loss = found.item()
        if not math.isfinite(loss):
            raise MreError(f"the held-out loss is not a number after step {progress.step}, and there is no judge; give another --out and a "
                           "lower --learning-rate")
        assert progress.losses is not None, "filled on construction"
        progress.losses.append((progress.step, loss))
        if loss < progress.best:
            progress.best, progress.best_step, progress.looks = loss, progress.step, 0
            self.best = {name: value.clone() for name, value in self.average.items()}
        else:
            progress.looks += 1
        if self.rank == 0:
            write_whole(self.out / CHECKPOINT, self._save)

    # -- checkpoints

    def _save(self, folder: Path) -> None:
        for name, tensors in (("model", self._state()), ("average", self.average), ("best", self.best),
                              ("optimizer", optimizer_tensors(self.optimizer))):
            save_tensors(tensors, folder / f"{name}.safetensors")
        state = {"progress": asdict(self.progress), "config": asdict(self.config), "data": self.data, "world": self.world,
                 "annotators": list(self.annotators)}
        (folder / "state.json").write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")

    def _load(self) -> None:
        folder = self.out / CHECKPOINT
        state = read_json(folder / "state.json")
        ours = {"config": asdict(self.config), "data": self.data, "world": self.world, "annotators": list(self.annotators)}
        if changed := [name for name in ours if state.get(name) != ours[name]]:
            what = changed[0] if changed != ["config"] else ", ".join(
                name for name, value in ours["config"].items() if state["config"].get(name) != value)
            raise SettingsError(f"{self.out} holds a training with other {what}; give the same, or another --out")
        self._fill(load_tensors(folder / "model.safetensors"))
        for name in ("average", "best"):
            setattr(self, name, load_tensors(folder / f"{name}.safetensors"))
        load_optimizer_tensors(self.optimizer, load_tensors(folder / "optimizer.safetensors"))
        self.progress = Progress(**state["progress"])
        self.progress.losses = [(step, loss) for step, loss in self.progress.losses or ()]


def _processes() -> tuple[int, int]:
    """(Rank, number) of the processes of a launcher such as torchrun or accelerate launch; they find each other here."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("gloo")
    return int(os.environ.get("RANK", "0")), world


def _average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """The mean over the processes, in one message."""
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients]).cpu()
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = flat[start:start + gradient.numel()].view_as(gradient).to(gradient.device)
        start += gradient.numel()
