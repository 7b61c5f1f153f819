"""python train.py, or accelerate launch train.py: flags -> TrainConfig -> mre.training."""

from __future__ import annotations

import sys

from mre.errors import MreError
from mre.models.quiet import quiet_libraries
from mre.training.config import TrainConfig


def main(argv: list[str] | None = None) -> int:
    """Train as the flags say. Returns the exit code: 0 only when the finished pipeline is saved."""
    try:
        config = TrainConfig.from_flags(argv)
        with quiet_libraries():
            from mre.training.loop import Run  # loads torch

            Run(config).train()
    except MreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again to resume", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
