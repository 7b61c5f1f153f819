"""Settings of a judge's training. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from mre.errors import SettingsError
from mre.settings import Settings, checked, setting

PAIR_LOSSES = ("probit", "logistic", "uncertainty", "bradley-terry")


@dataclass(frozen=True)
class JudgeTraining(Settings):
    """How a judge is trained. The defaults are those of a small one."""

    steps: int = setting(3000, "optimizer steps", low=1)
    groups: int = setting(12, "groups in a batch: pictures of one original, such as a pair or the four edits of a scene", low=1)
    learning_rate: float = setting(1e-3, "peak, after 5 % of warm-up; falls to 0 along a cosine over the last two thirds", low=0)
    weight_decay: float = setting(0.02, "of weight matrices", low=0)
    ema: float = setting(0.998, "decay of the average of weights that is judged and saved", low=0, high=1)
    pair_share: float = setting(0.3, "how much one preference counts beside one score", low=0)
    drawn_share: float = setting(0.5, "how much the clean edit and the kinds of defects, where scenes are drawn, count beside the scores",
                                 low=0)
    pairs: str = setting("probit", "likelihood of a preference; all but probit are EditReward's, and know no ties", choices=PAIR_LOSSES)
    annotator_prior: float = setting(0.5, "standard deviation of how much annotators differ from each other, in points", low=0.01)
    validate_every: int = setting(250, "steps between two looks at the held-out sources; a checkpoint is written at each", low=1)
    patience: int = setting(6, "stop after so many looks without a better likelihood", low=1)
    held_out: float = setting(0.15, "share of the original pictures that are held out", low=0.01, high=0.9)
    most_held_out: int = setting(400, "the most groups of each source that are held out", low=2)
    mixed_precision: str = setting("no", "numbers of forward and backward passes", choices=("no", "bf16"))
    seed: int = setting(0, "of the first weights and of the order of the data", low=0)

    def __post_init__(self) -> None:
        checked(self)
        self.check()

    def check(self) -> None:
        """A decay of exactly 1 would never move."""
        if self.ema >= 1:
            raise SettingsError(f"ema must be below 1, got {self.ema}")
