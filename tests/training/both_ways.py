"""For each of several processes: train with averaged gradients, then with averaged parameters, then with weights that are spread over the
processes by a config of accelerate's, in two parts of which the second resumes; all must end with the same weights. Data that differ are
refused by all.

  -m tests.training.both_ways TOGETHER.yaml APART.yaml SPREAD.yaml ACCELERATE.yaml
"""

import os
import sys
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.state import AcceleratorState
from accelerate.utils.launch import prepare_multi_gpu_env

from mre.errors import DataError
from mre.training.config import TrainConfig
from mre.training.loop import Run

together, apart, spread = (TrainConfig.from_flags(["--config", path]) for path in sys.argv[1:4])
for config in (together, apart):
    run = Run(config)
    run.train()
    ours = torch.cat([parameter.detach().flatten() for parameter in run.parameters])
    mean = ours.clone()
    dist.all_reduce(mean)
    assert torch.equal(mean / dist.get_world_size(), ours), config.out

args, *_ = _validate_launch_command(launch_command_parser().parse_args(["--config_file", sys.argv[4], "train.py"]))
rank = dist.get_rank()
with pytest.raises(DataError, match=r"^process 1 has other triplets to train on \(23\) than process 0 \(24\): "):
    run.peers.refuse_other_triplets(24 - rank, str(rank))

os.environ["ACCELERATE_USE_CPU"] = "true"
os.environ |= {name: value for name, value in prepare_multi_gpu_env(args).items() if name.startswith(("FSDP_", "ACCELERATE_"))}
for steps in (spread.max_steps - 1, spread.max_steps):
    AcceleratorState._reset_state()
    run = Run(replace(spread, max_steps=steps))
    held = sum(parameter.to_local().numel() for parameter in run.parameters)
    assert 0.4 < held / sum(parameter.numel() for parameter in run.parameters) < 0.6, "each holds about half"
    run.train()
dist.destroy_process_group()
