"""Train as the config says, each process on a disk of its own, as machines without a common one: only the first sees what was saved.
Notes the step that each ends at."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch.distributed as dist

from mre.training.config import TrainConfig
from mre.training.loop import Run

config = TrainConfig.from_flags(["--config", sys.argv[1]])
rank = int(os.environ["RANK"])
disk = Path(config.out) / f"disk-{rank}"
run = Run(replace(config, out=disk, cache_latents=disk / "cache"))
Path(config.out, f"pid-{rank}").write_text(str(os.getpid()))
try:
    run.train()
except KeyboardInterrupt:
    sys.exit(130)
finally:
    Path(config.out, f"step-{rank}").write_text(str(run.step))
dist.destroy_process_group()
