"""python -m mre COMMAND: finds the command's module, hands it its flags, and turns errors into one line."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from types import ModuleType

from mre.errors import MreError
from mre.version import __version__

COMMANDS = {
    "edit": "edit pictures with an instruction and a reward",
    "scenes": "draw triplets with oracle rewards",
    "shards": "write triplets as tar shards (WebDataset)",
    "judge": "score one edit",
    "rewards": "make RewardEdit data from triplets",
    "train-judge": "train a judge from ratings, reward data or scenes",
    "score": "score everything in a manifest with a judge",
    "serve-rewards": "serve a judge's scores to training frameworks",
    "bench": "edit, judge and tabulate a benchmark",
    "bench judges": "measure judges by public sets of what people chose",
    "bench loop": "ratings to judge to data to editor, measured at laboratory size",
    "study": "create, run and export human-evaluation studies",
    "compare": "compare a judge's scores with people's",
    "convert": "write released SmartEdit files anew as safetensors",
}


def module_of(command: str) -> ModuleType:
    """The module of a command."""
    return import_module(f"mre.commands.{command.replace('-', '_').replace(' ', '_')}")


def main(argv: list[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0 only on success, 1 for a fault in what was given, 130 when stopped."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="python -m mre",
        description="MRE Studio: reward-conditioned, instruction-based image editing.",
        epilog="commands:\n" + "\n".join(f"  {name:<14} {text}" for name, text in COMMANDS.items())
               + "\n\n`python -m mre COMMAND --help` shows a command's flags and an example.",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"MRE Studio {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of: " + ", ".join(COMMANDS))
    parser.add_argument("flags", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    if not argv:
        parser.print_help()
        return 2
    words = 2 if " ".join(argv[:2]) in COMMANDS else 1            # `bench judges` is a command of its own
    chosen = parser.parse_args([" ".join(argv[:words])])
    module = module_of(chosen.command)
    command = argparse.ArgumentParser(prog=f"python -m mre {chosen.command}", description=module.__doc__,
                                      formatter_class=argparse.RawDescriptionHelpFormatter)
    module.add_arguments(command)
    args = command.parse_args(argv[words:])
    try:
        return module.run(args) or 0
    except MreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:                 # `... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again to resume", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
