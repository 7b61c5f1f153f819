"""The training loop: start or resume, step, average, log, show, save."""

from __future__ import annotations

import errno
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from accelerate import Accelerator, DistributedDataParallelKwargs
from diffusers.training_utils import EMAModel
from torch import Tensor
from tqdm.auto import tqdm

from mre.compiling import compiling
from mre.errors import MreError, SettingsError
from mre.files import read_json
from mre.training.cached_examples import CachedExamples
from mre.training.checkpoints import (
    FOLDER,
    checkpoints,
    load_into,
    load_tensors,
    remove_beyond,
    save_tensors,
    write_whole,
)
from mre.training.config import FRESH, TrainConfig, differing
from mre.training.draws import Draws, stream
from mre.training.encoding import Learner
from mre.training.examples import ExampleSource, batches
from mre.training.logs import RunLog
from mre.training.memory import keep_freed_memory
from mre.training.objectives import open_objective
from mre.training.optimizer import (
    build_optimizer,
    load_optimizer_tensors,
    optimized,
    optimized_by,
    optimizer_tensors,
    set_learning_rate,
)
from mre.training.parked import ParkedModels
from mre.training.peers import Peers
from mre.training.sharding import WholeNetwork, as_spread, gathered, shard_of, spread_like, spreads_weights, whole
from mre.training.start import (
    check_machine,
    check_size,
    computes_bf16,
    frozen_models,
    latent_shape,
    open_examples,
    prepare_models,
    save_editor,
    starting_pipeline,
)
from mre.training.stopping import StopRequest
from mre.training.stored_examples import StoredExamples
from mre.training.validation import oracle_scores, sample_sheet

PIPELINE = "pipeline"           # folder of the finished editor, inside the run's
START = "start"                 # folder of a fresh model as it was before training
SAMPLES = "samples"             # folder of validation sheets
PARKED = "encoders"             # folder of frozen models in a cache
CPU = torch.device("cpu")
BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps, {elapsed}{postfix}"


class Run:
    """One process's part of a training run."""

    def __init__(self, config: TrainConfig, examples: ExampleSource | None = None) -> None:
        """`examples`: what is trained on, where it is not what the config names."""
        self.config = config
        self.out = Path(config.out)
        check_machine(config, torch.accelerator.current_accelerator(check_available=True) or CPU)
        once = DistributedDataParallelKwargs(gradient_as_bucket_view=True)  # gradients lie where they are exchanged, not in both places
        self.accelerator = Accelerator(mixed_precision=config.mixed_precision, gradient_accumulation_steps=config.accumulation,
                                       kwargs_handlers=[once],
                                       cpu=not torch.accelerator.is_available())        # lets processes on CPUs find each other too
        self.spread = spreads_weights(self.accelerator, config)              # each process holds a part of every weight
        self.device = self.accelerator.device
        if self.device.type == "cpu":
            keep_freed_memory()
        self.world, self.rank = self.accelerator.num_processes, self.accelerator.process_index
        self.main = self.accelerator.is_main_process
        self.local = config.local_sgd_steps > 0 and self.world > 1          # parameters are averaged, not gradients
        self.step, self.samples, self.seconds, self.agreed_seconds = 0, 0, 0.0, 0.0
        self.peers = Peers(self.world, self.main)
        previous = self.peers.of_main(self._checkpoint_to_resume)            # others may not see its disk
        self.triplets = examples or open_examples(config)
        if examples is None:
            self.peers.refuse_other_triplets(*self.triplets.identity())
        check_size(config, self.device, self.world if self.spread else 1)
        torch.manual_seed(config.seed)                                      # new layers start alike in every process
        begun = self.out / START
        self.pipeline: Any = starting_pipeline(config, begun if previous and begun.exists() else None)
        if config.init_from in FRESH and self.main and not previous:
            write_whole(begun, self.pipeline.save_pretrained)
        self.latent_shape = latent_shape(self.pipeline, config)
        if config.train_readers:
            self.pipeline.load_readers()                                    # before it is settled what is trained
        prepare_models(self.pipeline, config, self.device)
        self.objective = open_objective(config.objective, self.pipeline.scheduler, config)
        self.pipeline.scheduler = self.objective.sampler(self.pipeline.scheduler)
        if not config.cache_latents:
            self.pipeline.load_readers()
        instructions, reward_texts = self.pipeline.instruction_encoder, self.pipeline.reward_text_encoder
        self.parked: ParkedModels | None = None
        if config.cache_latents:
            self.triplets = cached = self._cached()
            instructions, reward_texts = cached.instructions, cached.reward_texts
            self.parked = self._parked(cached)
        self.learner = Learner(self.pipeline, instructions, reward_texts, self.objective, config)
        self.whole = WholeNetwork(self.accelerator, self.pipeline.unet) if self.spread else None
        self.optimizer = build_optimizer(self.learner, config)
        if self.local:
            self.module, self.optimizer = self.learner, self.accelerator.prepare(self.optimizer)
        else:
            self.module, self.optimizer = self.accelerator.prepare(self.learner, self.optimizer)
        named = [(name, parameter) for name, parameter in self.learner.named_parameters() if parameter.requires_grad]
        self.names, self.parameters = [name for name, _ in named], [parameter for _, parameter in named]
        # spread weights are averaged where they lie, others by the first process
        self.ema = EMAModel(self._held(), decay=config.ema_decay, foreach=True) if config.ema and (self.main or self.spread) else None
        if previous:
            self._load(previous)

    def train(self) -> Path:
        """The run from top to bottom, or what is left of it. Returns the folder of the finished pipeline. Raises MreError where a file
        cannot be written, and KeyboardInterrupt after a stop was asked for and a checkpoint was saved."""
        try:
            with compiling("compile"):
                return self._train()
        except OSError as error:            # a log or a sheet; what has to be whole says more itself
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            raise MreError(f"{error.filename or self.out} could not be written: {error.strerror}") from error

    def _train(self) -> Path:
        config, finished = self.config, self._finished()
        # cut between a checkpoint and its sheet
        to_show = self.step > 0 and self._shows_samples(finished) and not self.peers.of_main(self._sheet().exists)
        log = RunLog(self.out, config, self.objective.names, self.step, validated=not to_show) if self.main else None
        loader = batches(self.triplets, config, self.samples, self.rank, self.world)
        self.learner.train()
        if self.device.type == "cpu" and config.mixed_precision == "bf16" and not computes_bf16(self.device):
            self._say("mixed_precision bf16: this processor has no units for it, which is slower than mixed_precision no")
        started = time.monotonic() - self.seconds
        window: list[dict[str, Tensor]] = []
        bar = tqdm(total=config.max_steps, initial=self.step, disable=not self.main, unit="step", dynamic_ncols=True, bar_format=BAR)
        if to_show and (self.main or self.spread):
            self._show_samples(log)
        with bar, StopRequest() as stop:
            while not finished:
                rate = set_learning_rate(self.optimizer, config, self.step, self._progress())
                window.append(self._one_step(loader))
                self.step += 1
                self.samples += config.batch_size * config.accumulation * self.world
                self.seconds = time.monotonic() - started
                self._synchronise()
                bar.update()
                finished, stopped = self._finished(), self._agreed_to_stop(stop)
                logs, saves = self._due(config.log_every) or finished, self._due(config.checkpoint_every) or finished or stopped
                values = self._means(window) if logs or saves else {}           # looked at before what went wrong could be saved
                if logs:
                    window = []
                    if log is not None:
                        log.write(self.step, self.samples, self.seconds, {**values, "learning_rate": rate * config.learning_rate})
                        bar.set_postfix_str(f"loss {values['loss']:.4f}, {self.samples / self.seconds:.1f} triplets/s, {self._time_left()}")
                if saves:
                    self._save()
                if stopped:
                    raise KeyboardInterrupt
                if self._shows_samples(finished) and (self.main or self.spread):
                    self._show_samples(log)
                if config.pipeline_every and self._due(config.pipeline_every) and not finished:
                    self._save_pipeline()
        return self._save_pipeline()

    def _cached(self) -> CachedExamples:
        """The triplets as latents and text states on disk, made by all processes together where they are not there yet."""
        assert isinstance(self.triplets, StoredExamples), "the config refuses a cache of others"
        cache = CachedExamples(self.triplets, self.pipeline, self.config)
        self.peers.of_main(cache.claim)
        if self.accelerator.is_local_main_process and not self.main:
            cache.claim()                                   # a folder of this machine's own, where the disk is not the first one's
        self.accelerator.wait_for_everyone()
        if cache.needs_readers:
            self.pipeline.load_readers()
        cache.make(self.rank, self.world)
        self.accelerator.wait_for_everyone()                # what other machines have made is there now, where the disk is common
        cache.make(self.accelerator.local_process_index, int(os.environ.get("LOCAL_WORLD_SIZE") or self.world))
        self.accelerator.wait_for_everyone()
        if cache.looks:
            self.pipeline.drop_readers()                    # training and samples go on with what they have read
            cache.show(cast(Any, self.pipeline.instruction_encoder))
        return cache

    def _parked(self, cache: CachedExamples) -> ParkedModels:
        """The encoders whose answers are cached, which nothing reads from until there is something to look at or to save. The cache is made
        for them alone, and so may hold their file."""
        encoders = {name: model for name, model in frozen_models(self.pipeline, self.config).items() if name in ("vae", "text_encoder")}
        parked = ParkedModels(encoders, cache.folder / PARKED)
        self.peers.of_main(parked.write)
        if self.accelerator.is_local_main_process:
            parked.write()                                  # where the disk is not the first one's
        self.accelerator.wait_for_everyone()
        parked.park()
        return parked

    def _one_step(self, loader: Iterator) -> dict[str, Tensor]:
        """One optimizer step: forward and backward of `accumulation` batches, clip, update. Returns losses and gradient norm, unread."""
        config, total = self.config, {}
        for part in range(config.accumulation):
            triplets = next(loader)
            draws = Draws.of(config, triplets.samples, self.latent_shape, self.objective.num_timesteps, self.device)
            torch.manual_seed(stream(config.seed, self.samples, part, self.rank).initial_seed())       # dropout inside the network
            with self.accelerator.accumulate(self.module):
                with self.accelerator.autocast():
                    losses = self.module(triplets, draws)
                self.accelerator.backward(losses["loss"])
                if config.max_grad_norm and self.accelerator.sync_gradients:
                    total["grad_norm"] = whole(cast(Tensor, self.accelerator.clip_grad_norm_(self.parameters, config.max_grad_norm)))
                self.optimizer.step()
                self.optimizer.zero_grad()
            for name, value in losses.items():
                total[name] = total.get(name, 0) + value.detach() / config.accumulation
        return total

    def _held(self) -> list[Any]:
        """What this process holds of each parameter."""
        return [shard_of(parameter) for parameter in self.parameters]

    # What processes agree on

    def _synchronise(self) -> None:
        """Average what processes learned apart, agree on the time, and update the moving average."""
        together = self._together()
        if self.local and together:
            average(self.parameters, self.world)
        if self.world > 1 and together and self.config.max_minutes:
            seconds = torch.tensor([self.seconds], device=self.device, dtype=torch.float64)
            dist.broadcast(seconds, 0)
            self.agreed_seconds = seconds.item()
        elif self.world == 1:
            self.agreed_seconds = self.seconds
        if self.ema and together and (self.local or self.step % self.config.ema_every == 0):
            self.ema.step(self._held())

    def _agreed_to_stop(self, stop: StopRequest) -> bool:
        """Whether any process was asked to stop; the same answer in all of them, at a step after which all have the same weights."""
        return self._together() and self.peers.any(stop.asked)

    def _together(self) -> bool:
        """Whether the processes exchange something at this step; those that average parameters do so now and then."""
        return not self.local or self.step % self.config.local_sgd_steps == 0

    def _progress(self) -> float:
        """Share of the run that is done, by steps or by minutes, whichever is further: the same in all processes."""
        minutes = self.agreed_seconds / 60 / self.config.max_minutes if self.config.max_minutes else 0.0
        return max(self.step / self.config.max_steps, minutes)

    def _means(self, window: list[dict[str, Tensor]]) -> dict[str, float]:
        """Means over some steps, and over processes where these step together. Raises MreError when training has gone wrong."""
        means = torch.stack([torch.stack([losses[name] for losses in window]).float().mean() for name in window[0]])
        if self.world > 1 and not self.local:
            dist.all_reduce(means)
            means /= self.world
        values = dict(zip(window[0], means.tolist(), strict=True))
        looked_at = ("loss",) if self.accelerator.scaler else ("loss", "grad_norm")         # a scaler leaves out steps that overflow
        if lost := [name for name in looked_at if not math.isfinite(values.get(name, 0.0))]:
            raise MreError(f"the {lost[0].replace('grad_norm', 'gradient')} is not a number after step {self.step}; the last checkpoint in "
                           f"{self.out / FOLDER} is from before. A lower learning_rate or another mixed_precision may help")
        return values

    # Checkpoints

    def _save(self) -> None:
        """A checkpoint of this step. All processes come here, with what they hold; one writes."""
        if self.local:
            moments = [value for entry in self.optimizer.state.values() for name, value in entry.items() if name != "step"]
            average(self.parameters, self.world)
            average(moments, self.world)
        files = {"model": self._learned(), "optimizer": optimizer_tensors(self.optimizer)}
        if self.ema:
            files["ema"] = dict(zip(self.names, as_spread(self.ema.shadow_params, self.parameters), strict=True))
        files = {file: gathered(tensors, self.main) for file, tensors in files.items()}
        if self.main:
            write_whole(self.out / FOLDER / f"step-{self.step:06d}", lambda folder: self._write(folder, files))
            remove_beyond(self.out, self.config.checkpoint_limit)
        self.accelerator.wait_for_everyone()

    def _write(self, folder: Path, files: dict[str, dict[str, Tensor]]) -> None:
        (folder / "config.yaml").write_text(self.config.as_yaml(), encoding="utf-8")
        scaler = self.accelerator.scaler
        state = {"step": self.step, "samples": self.samples, "seconds": self.seconds, "scaler": scaler.state_dict() if scaler else {},
                 "ema_updates": self.ema.optimization_step if self.ema else 0}
        (folder / "state.json").write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
        for name, tensors in files.items():
            save_tensors(tensors, folder / f"{name}.safetensors")

    def _learned(self) -> dict[str, Tensor]:
        """What a checkpoint keeps: all tensors of what is trained; beside adapters, only those that change."""
        state = self.learner.state_dict()
        return {name: state[name] for name in self.names} if self.config.lora_rank else state

    def _untouched(self) -> dict[str, Tensor]:
        """What a checkpoint does not keep, since training changes none of it."""
        learned = self._learned()
        return {name: tensor for name, tensor in self.learner.state_dict().items() if name not in learned}

    def _checkpoint_to_resume(self) -> Path | None:
        """The newest checkpoint. Raises SettingsError for settings other than the run began with."""
        there = checkpoints(self.out)
        if there:
            refuse_other_settings(self.config, there[-1])
        return there[-1] if there else None

    def _load(self, folder: Path) -> None:
        """The state of a checkpoint, read by the first process and handed to the others."""
        state = self.peers.of_main(lambda: read_json(folder / "state.json"))
        now, parameters = self.learner.state_dict(), optimized(self.optimizer)
        weights = self.peers.tensors_of_main(folder / "model.safetensors", lambda name, tensor: spread_like(tensor, now.get(name)))
        moments = self.peers.tensors_of_main(folder / "optimizer.safetensors",
                                             lambda name, tensor: spread_like(tensor, parameters[optimized_by(name)]))
        self.step, self.samples, self.seconds = state["step"], state["samples"], state["seconds"]
        self.agreed_seconds = self.seconds
        load_into(self.learner, {**self._untouched(), **weights}, folder / "model.safetensors")
        load_optimizer_tensors(self.optimizer, moments)
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if self.ema:
            file, like = folder / "ema.safetensors", dict(zip(self.names, self.parameters, strict=True))
            tensors = load_tensors(file) if not self.spread else self.peers.tensors_of_main(
                file, lambda name, tensor: shard_of(spread_like(tensor, like.get(name))))
            self.ema.shadow_params = [tensors[name].to(self.device) for name in self.names]
            self.ema.optimization_step = state["ema_updates"]
        self._say(f"going on from {folder}")

    # What a run leaves behind

    @contextmanager
    def _averaged_weights(self, device: torch.device) -> Iterator[None]:
        """Inside, the models hold the moving average, in evaluation mode, and what was parked is on the device. Where weights are spread,
        all processes come here, and the first holds them whole."""
        self.learner.eval()
        if self.ema:
            self.ema.store(self._held())
            self.ema.copy_to(self._held())
        try:
            with (self.parked.at_hand(device) if self.parked else nullcontext(),
                  self.whole.in_place_of(self.pipeline, device, self.main) if self.whole else nullcontext()):
                yield
        finally:
            if self.ema:
                self.ema.restore(self._held())
            self.learner.train()

    def _shows_samples(self, finished: bool) -> bool:
        every = self.config.validation_every
        return every > 0 and (self._due(every) or finished)

    def _sheet(self) -> Path:
        return self.out / SAMPLES / f"step-{self.step:06d}.png"

    def _show_samples(self, log: RunLog | None) -> None:
        with self._averaged_weights(self.device):
            if log is None:
                return
            sheet = sample_sheet(self.pipeline, self.triplets, self.config)
            scores = oracle_scores(self.pipeline, self.config) if self.config.scored_scenes else {}
        if scores:
            log.write_scores(self.step, self.samples, self.seconds, scores)
        log.picture(self.step, sheet)
        path = self._sheet()                    # last, since it tells a run that goes on that all of this is done
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path)

    def _save_pipeline(self) -> Path:
        """The editor as a pipeline folder with the averaged weights, which any of the programs loads."""
        folder = self.out / PIPELINE
        if self.main or self.spread:
            with self._averaged_weights(CPU):
                if self.main:
                    write_whole(folder, lambda path: save_editor(self.pipeline, path, self.config))
            self._say(f"saved {folder}")
        self.accelerator.wait_for_everyone()
        return folder

    # Small things

    def _due(self, every: int) -> bool:
        return self.step % every == 0

    def _finished(self) -> bool:
        minutes = self.config.max_minutes
        return self.step >= self.config.max_steps or (minutes > 0 and self.agreed_seconds >= 60 * minutes)

    def _time_left(self) -> str:
        """Minutes left, at the present pace."""
        share = max(self._progress(), 1e-9)
        return f"{self.seconds / 60 * (1 / share - 1):.0f} min left"

    def _say(self, line: str) -> None:
        if self.main:
            tqdm.write(line)


@torch.no_grad()
def average(tensors: Sequence[Tensor], world: int) -> None:
    """Replace each tensor by its mean over all processes, in one exchange."""
    flat = torch.cat([tensor.reshape(-1).float() for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, mean in zip(tensors, flat.div_(world).split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def refuse_other_settings(config: TrainConfig, checkpoint: Path) -> None:
    """Raises SettingsError, naming the first field, when a run would be resumed with other settings than it began with."""
    began = TrainConfig(**TrainConfig.read_yaml(checkpoint / "config.yaml", skip_unknown=True))
    for name in differing(config, began):
        raise SettingsError(f"{name} is {getattr(config, name)!r}, but the run in {config.out} began with {getattr(began, name)!r}; "
                            "resume with that, or give another out")
