"""python train.py, or accelerate launch train.py: flags -> TrainConfig -> mre.training."""

from __future__ import annotations

import sys

from mre.errors import MreError
from mre.training import TrainConfig, train


def main(argv: list[str] | None = None) -> int:
    """Train as the flags say. Returns the exit code: 0 only when the finished pipeline is saved."""
    try:
        train(TrainConfig.from_flags(argv))
    except MreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again to resume", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
