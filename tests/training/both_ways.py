"""For each of several processes: train with averaged gradients, then with averaged parameters; all must end with the same weights."""

import sys

import torch
import torch.distributed as dist

from mre.training.config import TrainConfig
from mre.training.loop import Run

for path in sys.argv[1:]:
    run = Run(TrainConfig.from_flags(["--config", path]))
    run.train()
    ours = torch.cat([parameter.detach().flatten() for parameter in run.parameters])
    mean = ours.clone()
    dist.all_reduce(mean)
    assert torch.equal(mean / dist.get_world_size(), ours), path
dist.destroy_process_group()
