"""Training of the editor, both stages and every size: see `config` for what can be set, `loop` for the order of things.

Importing this is cheap; torch comes with `train`.
"""

import errno

from mre.errors import MreError
from mre.training.config import PRESETS, TrainConfig

__all__ = ["PRESETS", "TrainConfig", "train"]


def train(config: TrainConfig):
    """Train, or go on training, as `config` says. Returns the folder of the finished pipeline."""
    from mre.models.quiet import quiet_libraries

    with quiet_libraries():
        from mre.training.loop import Run

        try:
            return Run(config).train()
        except OSError as error:            # a log or a sheet; what has to be whole says more itself
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            raise MreError(f"{error.filename or config.out} could not be written: {error.strerror}") from error
