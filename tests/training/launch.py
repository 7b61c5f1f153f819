"""`torchrun`, flag for flag, but that its workers are forked from the launcher: each would import torch and diffusers anew.

  -m tests.training.launch TORCHRUN_FLAGS -m MODULE ARGUMENTS
"""

import runpy
import socket
import sys

from torch.distributed.launcher.api import elastic_launch
from torch.distributed.run import config_from_args, parse_args


def meeting() -> list[str]:
    """Flags that let the launchers of one run find each other."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return ["--rdzv_backend=c10d", f"--rdzv_endpoint=127.0.0.1:{taken.getsockname()[1]}"]


def work(module: str, arguments: list[str]) -> None:
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    flags = parse_args(sys.argv[1:])
    config, _command, _arguments = config_from_args(flags)
    config.start_method = "fork"
    elastic_launch(config, work)(flags.training_script, flags.training_script_args)
