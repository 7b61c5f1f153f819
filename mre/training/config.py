"""Settings of a training run: one frozen dataclass per group, put together as TrainConfig, from which the command line and the YAML file
are derived. No torch here."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import Field, asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from mre.errors import SettingsError
from mre.families import families, fresh_models, settings_groups, training_presets
from mre.rewards import EDIT_TYPES, PERSPECTIVES
from mre.scoring.keep import KEEP_FORMS, Keep
from mre.settings import Settings, checked, setting, shown
from mre.training.objectives import OBJECTIVES

SYNTHETIC = ("scenes", "looking")       # data that are drawn on the fly
FRESH = tuple(fresh_models())           # what init_from may be beside a folder or a name: an untrained model of a family


@dataclass(frozen=True)
class RunSettings(Settings):
    """How long a run is, and how it runs."""

    out: str = setting("runs/train", "folder of the run: checkpoints, logs, samples and the finished pipeline")
    seed: int = setting(0, "with the number of a sample, decides its data, noise, timestep and dropout", low=0)
    max_steps: int = setting(10_000, "optimizer steps; 10 000 in the released command", low=1, resume=True)
    max_minutes: float = setting(0.0, "stop cleanly after this many minutes of training; 0 = no limit", low=0, resume=True)
    mixed_precision: str = setting("no", "numbers of forward and backward passes; fp16 in the released command, on a GPU",
                                   choices=("no", "fp16", "bf16"))
    gradient_checkpointing: bool = setting(False, "trade time for memory; always on in the released code")
    plain_attention: bool = setting(False, "attention as plain matrix products: faster to train on a CPU")
    channels_last: bool = setting(False, "memory layout of convolutions")
    compile: bool = setting(False, "compile the network by torch.compile, on a GPU: minutes at the start, for faster steps", resume=True)
    local_sgd_steps: int = setting(0, "many processes: average parameters each so many steps; 0 = average gradients at every step", low=0)


@dataclass(frozen=True)
class ModelSettings(Settings):
    """What is trained: where it starts, and what its reward condition is made of."""

    init_from: str = setting(FRESH[0] if FRESH else "insp2p", ", ".join([
        "what to start from: a name, folder or hub id of an editor, a Stable Diffusion folder",
        *(f"or '{name}' for {about}" for name, about in fresh_models().items())]))
    variant: str = setting("released", "form of the reward condition", choices=("released", "paper"))
    use_score: bool = setting(True, "condition on the three scores (Table 4)")
    use_text: bool = setting(True, "condition on the reward text (Table 4)")
    use_attention: bool = setting(True, "reward encoder after the input convolution (Table 5)")
    use_addition: bool = setting(True, "reward added to every block (Table 5)")
    perspectives: tuple[str, ...] = setting(PERSPECTIVES, "perspectives that the condition sees (Table 10)", choices=PERSPECTIVES)
    reward_init: str = setting("zero", "how new reward layers start: without effect, or at random as in the released code",
                               choices=("zero", "released"))
    lora_rank: int = setting(0, "train low-rank adapters (LoRA) of this rank on the network's attention, and new reward layers, in place "
                                "of the whole network; 0 = the whole", low=0)
    lora_layers: tuple[str, ...] = setting((), "how names of the layers that adapters are put on end, such as attn.to_q; empty = all of "
                                               "attention")

    def check(self) -> None:
        """Adapters need something to adapt."""
        if self.lora_layers and not self.lora_rank:
            raise SettingsError("lora_layers says what adapters are put on; it needs lora_rank")
        if self.lora_rank and self.init_from in FRESH:
            raise SettingsError(f"lora_rank adapts a trained model; init_from {self.init_from} is an untrained one")

    @property
    def conditioned(self) -> bool:
        """Whether the model sees rewards at all. All switches off is plain InstructPix2Pix: stage 1, and the baseline."""
        return (self.use_score or self.use_text) and (self.use_attention or self.use_addition)


@dataclass(frozen=True)
class DataSettings(Settings):
    """Where triplets and rewards come from, and how they are looked at."""

    data: str = setting("scenes", "where triplets come from: synthetic scenes, those whose instructions need looking, or an "
                                  "InstructPix2Pix tree, Parquet or tar files",
                        choices=("scenes", "looking", "pix2pix"))
    data_dir: str = setting("", "the InstructPix2Pix tree, or the folder of Parquet or tar files")
    rewards: str = setting("", "RewardEdit file (released JSON, or our JSONL) that scores the triplets of data_dir")
    row_map: str = setting("", "JSON object (or CSV: key, row) that says which Parquet row, FILE.parquet#ROW, each key of rewards is")
    scores: tuple[str, ...] = setting((), "files that `python -m mre score` wrote of the triplets of data_dir, read by keep, weight and "
                                          "recondition; only triplets with scores are trained on")
    keep: str = setting("", f"which of the scored triplets are trained on: {KEEP_FORMS}; empty = all. top:N ranks by the lowest score less "
                            "its deviation, p is the probability that all perspectives are above keep_above")
    keep_above: float = setting(3.0, "the score that all perspectives should be above, for keep p>P and weight", low=0, high=5)
    weight: bool = setting(False, "weigh each triplet's loss by the probability that all perspectives are above keep_above, mean 1")
    recondition: bool = setting(False, "take scores and texts of the judge as the reward, in place of rewards")
    recondition_doubt: float = setting(1.0, "recondition: where a score's deviation is larger, the triplet is trained on without a reward",
                                       low=0)
    several_pairs: str = setting("refuse", "a reward whose folder holds several seed pairs: refuse, or take the first",
                                 choices=("refuse", "first"))
    photos: str = setting("", "folder of photographs behind synthetic scenes")
    resolution: int = setting(256, "pixels: shorter side, then a random square crop of it", low=8)
    flip: bool = setting(True, "mirror half of the triplets, swapping left and right in the instruction (not for synthetic scenes)")
    clean_share: float = setting(0.0, "share of synthetic triplets left unspoiled, with reward 5/5/5", low=0, high=1)
    unanswerable_share: float = setting(0.0, "share of synthetic triplets whose request has no answer but the untouched picture", low=0,
                                        high=1)
    plain_wording: bool = setting(False, "ask for the edits of synthetic scenes in the plainest words, as a reader in front of the network "
                                         "words them")
    edit_type_weights: tuple[float, ...] = setting((), f"how often each of {', '.join(EDIT_TYPES)} is drawn; empty = equally", low=0)
    cache_latents: str = setting("", "folder for latents and text states, encoded once; frozen encoders only")
    num_workers: int = setting(0, "processes that prepare data, per training process", low=0, resume=True)

    def check(self) -> None:
        """Files and folders that need each other."""
        if self.edit_type_weights and (len(self.edit_type_weights) != len(EDIT_TYPES) or not sum(self.edit_type_weights)):
            raise SettingsError(f"edit_type_weights must be {len(EDIT_TYPES)} numbers, not all 0, got {self.edit_type_weights}")
        if self.data == "pix2pix" and not self.data_dir:
            raise SettingsError("data_dir must name the triplet folder when data is pix2pix")
        if self.row_map and not self.rewards:
            raise SettingsError("row_map says which Parquet rows the keys of rewards are; it needs rewards")
        if self.data != "scenes" and (self.plain_wording or self.unanswerable_share):
            name = "plain_wording" if self.plain_wording else "unanswerable_share"
            raise SettingsError(f"{name} is of data scenes, got data {self.data}")
        self._check_scores()

    def _check_scores(self) -> None:
        used = [name for name in ("keep", "weight", "recondition") if getattr(self, name)]
        if self.keep:
            Keep.parse(self.keep)
        if used and not self.scores:
            raise SettingsError(f"{used[0]} needs scores, files that `python -m mre score` wrote")
        if self.scores and not used:
            raise SettingsError("scores are read by keep, weight and recondition; give one of them")
        if self.scores and self.data != "pix2pix":
            raise SettingsError("scores are of stored triplets; set data to pix2pix and name data_dir")
        if self.recondition and self.rewards:
            raise SettingsError("recondition takes the judge's scores as rewards; leave out rewards")


@dataclass(frozen=True)
class ObjectiveSettings(Settings):
    """What is minimised: the objective, its noise levels and weights, and which conditions are dropped."""

    objective: str = setting("noise", "what is learned: " + "; ".join(f"{name} = {one.about}" for name, one in OBJECTIVES.items()),
                             choices=tuple(OBJECTIVES))
    condition_dropout: float = setting(0.05, "d of the released command: text dropped for p < 2d, image for d <= p < 3d", low=0, high=1 / 3)
    image_dropout: bool = setting(True, "whether that dropout also zeroes the original image")
    reward_dropout: float = setting(0.0, "share of samples trained without any reward; 0 in the paper", low=0, high=1)
    perspective_dropout: float = setting(0.0, "share of samples in which a perspective is trained without a wish, each by itself; 0 in "
                                              "the paper", low=0, high=1)
    reward_text_dropout: float = setting(0.0, "share of samples whose reward text becomes None, whatever their scores; 0 in the paper",
                                         low=0, high=1)
    timestep_terminal: float = setting(0.0, "share of samples at the very last timestep; 0 in the paper", low=0, high=1)
    timestep_high: float = setting(0.0, "share of samples in the noisiest fifth of the timesteps; 0 in the paper", low=0, high=1)
    snr_cap: float = setting(0.0, "weigh the loss by min(SNR + 1, cap), where the sample is predicted; 0 = plain mean, as in the paper",
                             low=0)

    def check(self) -> None:
        """Shares of one whole."""
        if self.perspective_dropout and not getattr(self, "use_score", True):
            raise SettingsError("perspective_dropout drops scores; it needs use_score")
        if self.timestep_terminal + self.timestep_high > 1:
            raise SettingsError("timestep_terminal and timestep_high are shares of one whole; "
                                f"together they are {self.timestep_terminal + self.timestep_high}")


@dataclass(frozen=True)
class OptimisationSettings(Settings):
    """How it is minimised."""

    batch_size: int = setting(4, "triplets per process and step; 4 in the released command", low=1)
    accumulation: int = setting(4, "batches per optimizer step; 4 in the released command", low=1)
    optimizer: str = setting("adamw", "AdamW, or AdamW with its moments in 8 bits, in a quarter of their memory, by the package "
                                      "bitsandbytes", choices=("adamw", "adamw-8bit"))
    learning_rate: float = setting(5e-5, "peak learning rate; 5e-5 in the released command", low=0)
    warmup_steps: int = setting(0, "optimizer steps of linear warm-up", low=0)
    schedule: str = setting("constant", "after warm-up: constant, or constant and then a cosine to zero", choices=("constant", "cosine"))
    cosine_from: float = setting(0.5, "share of the run (of steps or minutes, whichever is further) where the cosine begins",
                                 low=0, high=1)
    train_text_encoder: bool = setting(False, "train the text encoder too (that of a fresh model starts empty)")
    train_readers: tuple[str, ...] = setting((), "of a SmartEdit model, what reads picture and instruction is trained too: some of "
                                                 "vision_tower, projector, language_model, connector")
    text_encoder_rate: float = setting(1.0, "its learning rate as a multiple of learning_rate", low=0)
    parent_rate: float = setting(1.0, "learning rate of all but the layers of the reward condition, as a multiple of learning_rate: below "
                                      "1, a model that edits already keeps what it can", low=0)
    adam_beta1: float = setting(0.9, "of AdamW", low=0, high=1)
    adam_beta2: float = setting(0.999, "of AdamW", low=0, high=1)
    adam_epsilon: float = setting(1e-8, "of AdamW", low=0)
    weight_decay: float = setting(1e-2, "of AdamW", low=0)
    decay_all: bool = setting(False, "let weight decay act on norms and biases too, as the released code does")
    max_grad_norm: float = setting(1.0, "gradients are clipped to this norm; the released code means to, but does not; 0 = never", low=0)
    ema: bool = setting(True, "keep a moving average of the weights, which is what is saved at the end")
    ema_decay: float = setting(0.9999, "largest decay of the moving average", low=0, high=1)
    ema_every: int = setting(1, "optimizer steps between its updates; with local_sgd_steps it is updated at each averaging", low=1)


@dataclass(frozen=True)
class OutputSettings(Settings):
    """What a run writes, and when."""

    log_every: int = setting(10, "steps between log lines", low=1, resume=True)
    checkpoint_every: int = setting(500, "steps between checkpoints", low=1, resume=True)
    checkpoint_limit: int = setting(3, "checkpoints kept, newest first; 0 = all", low=0, resume=True)
    pipeline_every: int = setting(0, "steps between refreshed pipeline folders; 0 = only at the end", low=0, resume=True)
    validation_every: int = setting(500, "steps between sheets of edited samples; 0 = none", low=0, resume=True)
    validation_samples: int = setting(7, "held-out samples on a sheet", low=1, resume=True)
    validation_scored: int = setting(0, "held-out synthetic scenes that the oracle scores with each sheet, into validation.csv; of other "
                                        "data it scores none", low=0, resume=True)
    half: bool = setting(False, "save the finished pipeline in half precision", resume=True)


GROUPS: dict[str, type[Settings]] = {
    "run": RunSettings, "model": ModelSettings, "data": DataSettings, "objective": ObjectiveSettings, "optimisation": OptimisationSettings,
    "output": OutputSettings, **settings_groups()}


@dataclass(frozen=True)
class TrainConfig(*GROUPS.values()):
    """One training run: the fields of all groups. Defaults are those of the paper (section 6.1) and of its released training command
    unless noted.

    Raises SettingsError, naming the field, for a value that cannot be used.
    """

    def __post_init__(self) -> None:
        checked(self)
        for group in GROUPS.values():
            group.check(self)
        if self.data == "pix2pix" and self.conditioned and not self.rewards and not self.recondition:
            raise SettingsError("rewards must name a RewardEdit file when a model is trained with rewards on data_dir")
        if self.optimizer != "adamw" and self.local_sgd_steps:
            raise SettingsError(f"local_sgd_steps averages moments, which optimizer {self.optimizer} keeps in 8 bits; take adamw")
        if self.recondition and not self.conditioned:
            raise SettingsError("recondition gives rewards to a model that reads none: all of use_score, use_text, use_attention and "
                                "use_addition are off")
        learning = [name for name in ("train_text_encoder", "train_readers") if getattr(self, name)]
        if self.cache_latents and (learning or self.data in SYNTHETIC):
            raise SettingsError("cache_latents needs frozen encoders and stored triplets; it cannot be used with "
                                + (learning[0] if learning else f"data {self.data}"))

    @property
    def scored_scenes(self) -> int:
        """Held-out scenes that the oracle scores at each validation: none where there is no validation, or no synthetic scene."""
        return self.validation_scored if self.validation_every and self.data in SYNTHETIC else 0

    def as_yaml(self) -> str:
        """The settings as a YAML file that `--config` reads, with what each is for."""
        lines = []
        for one in config_fields():
            value = getattr(self, one.name)
            text = yaml.safe_dump(list(value) if isinstance(value, tuple) else value, default_flow_style=True, width=10_000)
            lines.append(f"{one.name}: {text.removesuffix('...' + chr(10)).strip()}".ljust(40) + f"  # {one.metadata['help']}")
        return "\n".join(lines) + "\n"

    @classmethod
    def read_yaml(cls, path: str | Path, skip_unknown: bool = False) -> dict[str, Any]:
        """The settings that a YAML file gives. Raises SettingsError naming the file and the field.

        skip_unknown: leave out fields that do not exist, as a file of another version of this program may have
        """
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SettingsError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from error
        if content is None:
            return {}
        if not isinstance(content, dict):
            raise SettingsError(f"{path}: must be a list of `field: value` lines")
        known = {one.name for one in fields(cls)}
        if skip_unknown:
            return {name: value for name, value in content.items() if name in known}
        for name in content:
            if name not in known:
                close = difflib.get_close_matches(str(name), known, n=1)
                raise SettingsError(f"{path}: there is no field {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
        return content

    @classmethod
    def from_flags(cls, argv: Sequence[str] | None = None) -> TrainConfig:
        """The config that a command line asks for: a preset, then a YAML file, then single flags, later ones winning."""
        given = vars(flag_parser().parse_args(argv))
        preset, path = given.pop("preset", None), given.pop("config", None)
        values = dict(PRESETS[preset]) if preset else {}
        if path:
            values |= cls.read_yaml(path)
        try:
            return cls(**(values | given))
        except SettingsError as error:
            raise SettingsError(f"{path}: {error}" if path and str(error).split()[0] not in given else str(error)) from error


NO_REWARD = {"use_score": False, "use_text": False, "use_attention": False, "use_addition": False}
_FULL_SIZE = {"data": "pix2pix", "mixed_precision": "fp16", "gradient_checkpointing": True, "num_workers": 4}
# Adapters on an editor with a transformer; its licence is Apache-2.0. 512 pixels is the size of InstructPix2Pix's pictures.
_TRANSFORMER = {"data": "pix2pix", "objective": "flow", "variant": "paper", "resolution": 512, "mixed_precision": "bf16",
                "gradient_checkpointing": True, "num_workers": 4, "batch_size": 1, "accumulation": 16, "learning_rate": 1e-4,
                "lora_rank": 64, "perspective_dropout": 0.1, "reward_dropout": 0.05}
PRESETS: dict[str, dict[str, Any]] = {
    **training_presets(),
    "insp2p": {**_FULL_SIZE, **NO_REWARD, "init_from": "stable-diffusion-v1-5/stable-diffusion-v1-5", "out": "runs/insp2p"},
    "reward-insp2p": {**_FULL_SIZE, "init_from": "runs/insp2p/pipeline", "out": "runs/reward-insp2p"},
    "reward-klein": {**_TRANSFORMER, "init_from": "black-forest-labs/FLUX.2-klein-base-4B", "out": "runs/reward-klein"},
    "reward-qwen-edit": {**_TRANSFORMER, "init_from": "Qwen/Qwen-Image-Edit-2511", "out": "runs/reward-qwen-edit"},
}


def config_fields() -> Iterator[Field]:
    """Every field of TrainConfig, group after group."""
    for group in GROUPS.values():
        yield from fields(group)        # type: ignore[arg-type]


def flag_parser() -> argparse.ArgumentParser:
    """The flags of train.py: one for each field of TrainConfig, in its groups, a preset and a file."""
    examples = [*(family.training_example for family in families() if family.training_example),
                "accelerate launch --num_processes 8 train.py --preset reward-insp2p --data-dir clip-filtered --rewards RewardEdit.json"]
    parser = argparse.ArgumentParser(
        prog="train.py", description="Train or fine-tune an editor. The same command again goes on where the last one stopped.",
        epilog="example:\n  " + "\n  ".join(examples),
        formatter_class=argparse.RawDescriptionHelpFormatter, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    parser.add_argument("--preset", choices=PRESETS, help="settings to begin with")
    parser.add_argument("--config", metavar="FILE.yaml", help="settings from a file, such as the one beside a checkpoint")
    for title, group in GROUPS.items():
        hints, section = get_type_hints(group), parser.add_argument_group(title)
        for one in fields(group):       # type: ignore[arg-type]
            extra: dict[str, Any] = {"nargs": "?", "const": "true"} if hints[one.name] is bool else {}
            kind = {bool: "true|false"}.get(hints[one.name], one.name.split("_")[-1].upper())
            section.add_argument("--" + one.name.replace("_", "-"), dest=one.name, metavar="|".join(one.metadata["choices"] or ()) or kind,
                                 help=f"{one.metadata['help']} ({shown(one)})".replace("%", "%%"), **extra)
    return parser


def differing(new: TrainConfig, old: TrainConfig) -> list[str]:
    """Fields in which a resumed run may not differ from the run it goes on with, but does."""
    ours, theirs = asdict(new), asdict(old)
    return [one.name for one in config_fields()
            if not one.metadata["resume"] and one.name != "out" and ours[one.name] != theirs[one.name]]
