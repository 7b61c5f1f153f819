"""EditReward's released reward models as judges: two heads, each with its mean, read from a folder or from the hub.

What the network says is no score of 0 to 5: its means have no fixed scale. They become scores by a map that was fitted on labels and lies
beside the weights, `scale.json`; the deviation of such a score is how far off the map was on labels held out. The network's own
logarithm of a deviation is reported in `raw` and enters no score: its training pulls it down whatever it sees.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mre.errors import DataError, JudgeError
from mre.files import read_json, write_whole
from mre.judge.local import ACCEPTED_FROM, NO_NUMBER, LocalJudge, Numbers
from mre.judge.verdicts import Verdict

if TYPE_CHECKING:
    from PIL import Image

PREFIX = "editreward:"
SCALE = "scale.json"
BASES = {"TIGER-Lab/EditReward-Qwen2.5-VL-7B": "Qwen/Qwen2.5-VL-7B-Instruct",
         "TIGER-Lab/EditReward-MiMo-VL-7B-SFT-2508": "XiaomiMiMo/MiMo-VL-7B-SFT-2508"}
HEADS = ("following", "quality")
LEAST_LABELS = 20           # of a head, to fit a line to
WEIGHTS = ("*.safetensors", "*.pth", "*.json", "tokenizer/*")
TOKENIZERS = ("tokenizer_config.json", "tokenizer/tokenizer_config.json")
BASE_FILES = ("*.json", "*.txt", "*.jinja")


def find_weights(name: str) -> tuple[Path, Path]:
    """(Folder of the release, folder of its base model), of WEIGHTS or WEIGHTS+BASE, each a folder or a hub id.

    Without a base it is the folder itself where that has a config, or the model that a known release was made from.
    """
    name, _, base = name.removeprefix(PREFIX).partition("+")
    folder = _folder(name, WEIGHTS)
    if base:
        return folder, _folder(base, BASE_FILES)
    if (folder / "config.json").is_file() and any((folder / place).is_file() for place in TOKENIZERS):
        return folder, folder
    if name in BASES:
        return folder, _folder(BASES[name], BASE_FILES)
    raise JudgeError(f"{PREFIX}{name} has no config and tokenizer of its base model; name it too: "
                     f"{PREFIX}{name}+Qwen/Qwen2.5-VL-7B-Instruct")


def _folder(name: str, patterns: Sequence[str]) -> Path:
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return folder
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise JudgeError(f"{PREFIX}{name}: there is no such folder, and it is no hub id")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except Exception as error:              # what the hub's library and those below it raise has no common class
        raise JudgeError(f"{PREFIX}{name} is not on this machine and cannot be had from the hub ({type(error).__name__})") from error


class EditRewardJudge(LocalJudge):
    """Scores following and quality by the two heads; it has none for preserving, which its prompt on following is partly about.

    `raw` of each verdict names what the network said: mean and log_deviation of the head, and of the released mean of both.
    """

    perspectives = HEADS
    batch = 8

    def __init__(self, name: str) -> None:
        """name: `editreward:WEIGHTS` or `editreward:WEIGHTS+BASE`. Raises JudgeError where they cannot be found."""
        self.weights, self.base = find_weights(name)
        self.scale = read_scale(self.weights)
        super().__init__(name, f"editreward-{_digest(self.weights)}")

    def load(self) -> Any:
        """Raises JudgeError for weights that are not EditReward's."""
        from mre.judge.reward_models.editreward import load_editreward
        return load_editreward(self.weights, self.base)

    def seen(self, picture: Image.Image, item: str) -> Image.Image:
        from mre.judge.reward_models.editreward import resized
        return resized(picture, item)

    def numbers(self, originals: list, editeds: list, instructions: list[str]) -> list[Numbers]:
        """(Mean, log deviation) of each head."""
        return [[(mean, log_deviation) for mean, log_deviation in edit] for edit in self.network(originals, editeds, instructions).tolist()]

    def verdicts(self, numbers: Numbers, seconds: float) -> Iterator[Verdict]:
        return (self._verdict(number, numbers, seconds) for number in range(len(HEADS)))

    def _verdict(self, number: int, numbers: Numbers, seconds: float) -> Verdict:
        name = HEADS[number]
        mean, log_deviation = numbers[number]
        said = {"mean": mean, "log_deviation": log_deviation, "fused_mean": sum(head[0] for head in numbers) / len(numbers)}
        raw = json.dumps({key: round(value, 5) for key, value in said.items()})
        if not all(map(math.isfinite, said.values())):
            return Verdict(name, None, raw=raw, judge_version=self.version, error=NO_NUMBER)
        if name not in self.scale:
            return Verdict(name, None, raw=raw, judge_version=self.version, error=f"its mean of {mean:.3f} is on no known scale: fit one "
                           f"with `train-judge DATA --fit-scale {self.name}`")
        slope, intercept, deviation = self.scale[name]
        score = round(min(max(intercept + slope * mean, 0.0), 5.0), 4)
        return Verdict(name, score, score >= ACCEPTED_FROM, deviation=deviation, raw=raw, judge_version=self.version, seconds=seconds,
                       cost_usd=0.0)


# -- the map to scores ----------------------------------------------------------------------------------------------------------------

def read_scale(folder: Path) -> dict[str, tuple[float, float, float]]:
    """Head -> (slope, intercept, deviation) of the map that was fitted; empty where none was. Raises JudgeError for one that is none."""
    path = folder / SCALE
    if not path.is_file():
        return {}
    try:
        read = read_json(path)
        scale = {name: (float(row["slope"]), float(row["intercept"]), float(row["deviation"]))
                 for name, row in read.items() if name in HEADS}
    except (DataError, KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise JudgeError(f"{path}: must give each head a slope, an intercept and a deviation ({error})") from error
    if not all(math.isfinite(value) for row in scale.values() for value in row) or any(row[2] < 0 for row in scale.values()):
        raise JudgeError(f"{path}: holds a number that cannot be")
    return scale


def fit_scale(means: Sequence[Sequence[float]], scores: Sequence[Sequence[float | None]],
              held_out: Sequence[bool]) -> dict[str, dict[str, float]]:
    """The line through (mean, score) of each head, by least squares, and its error (root of the mean square) on what was held out. A mean
    that is no number counts for nothing.

    Raises JudgeError for too few labels, means that are all the same, or a line that falls.
    """
    import numpy as np

    made = {}
    held = np.asarray(held_out, dtype=bool)
    for number, name in enumerate(HEADS):
        x = np.array([row[number] for row in means], dtype=float)
        y = np.array([math.nan if row[number] is None else row[number] for row in scores], dtype=float)
        known = ~np.isnan(y) & np.isfinite(x)
        fits, tests = known & ~held, known & held
        if fits.sum() < LEAST_LABELS or tests.sum() < LEAST_LABELS:
            raise JudgeError(f"{name}: {int(fits.sum())} labels to fit and {int(tests.sum())} held out; {LEAST_LABELS} of each are needed")
        if np.ptp(x[fits]) == 0 or np.ptp(y[fits]) == 0:
            raise JudgeError(f"{name}: all {'means' if np.ptp(x[fits]) == 0 else 'labels'} are the same; no line can be fitted")
        slope, intercept = np.polyfit(x[fits], y[fits], 1)
        if slope <= 0:
            raise JudgeError(f"{name}: higher means go with lower labels; such a map would turn the judge around")
        error = np.clip(intercept + slope * x[tests], 0, 5) - y[tests]
        made[name] = {"slope": float(slope), "intercept": float(intercept), "deviation": float(np.sqrt(np.square(error).mean())),
                      "fitted_on": int(fits.sum()), "held_out": int(tests.sum())}
    return made


def write_scale(folder: Path, scale: dict[str, dict[str, float]]) -> Path:
    """Store a fitted map beside the weights."""
    write_whole(folder / SCALE, json.dumps(scale, indent=1) + "\n")
    return folder / SCALE


def _digest(folder: Path) -> str:
    """What tells these weights from others: sizes and samples of the files, which are too large to be read for it, and the map."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("model.safetensors"), *folder.glob("model.pth"), *folder.glob(SCALE)]):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            for part in range(64):
                file.seek(size * part // 64)
                digest.update(file.read(4096))
    return digest.hexdigest()[:12]
