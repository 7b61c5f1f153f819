"""Training of the editor, both stages and every size: see `config` for what can be set, `loop` for the order of things.

Importing this is cheap; torch comes with `train`.
"""

from mre.training.config import PRESETS, TrainConfig

__all__ = ["PRESETS", "TrainConfig", "train"]


def train(config: TrainConfig):
    """Train, or go on training, as `config` says. Returns the folder of the finished pipeline."""
    from mre.models.quiet import quiet_libraries

    with quiet_libraries():
        from mre.training.loop import Run

        return Run(config).train()
