"""The device of models: a GPU where there is one; on a ZeroGPU Space of Hugging Face one that is lent, for one edit at a time, to a process
that is forked for it.

There the server itself has no GPU and must not ask CUDA for one, else the processes that it forks could not have any. Elsewhere nothing
here does anything, and the package `spaces`, which those Spaces have, is not imported.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from mre.errors import EditStopped, ModelError, MreError, SettingsError

SECONDS = 60                  # that one edit may have the GPU: the more is asked for, the longer a visitor waits and the fewer are allowed
log = logging.getLogger("mre.editors")
_has_gpu = False              # this process is one that was forked


def is_zero_gpu() -> bool:
    """Whether this is a ZeroGPU Space; its environment says so."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def best_device() -> str:
    """A GPU where this process may have one."""
    import torch

    return "cuda" if (_has_gpu or not is_zero_gpu()) and torch.cuda.is_available() else "cpu"


def check_device(name: str) -> None:
    """Raises SettingsError for a device, such as "cuda:1", that torch does not know or that this machine lacks."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise SettingsError(f"--device must be cpu, cuda, cuda:1 or mps, got {name!r}") from None
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if device.type not in there:
        raise SettingsError(f"--device must be cpu, cuda, cuda:1 or mps, got {name!r}")
    if int(name.partition(":")[2] or 0) >= there[device.type]:         # torch keeps an index in 8 bits: "cuda:256" is the first of them
        raise SettingsError(f"--device {name}: this machine has no such device" + (
            f"; it has {there[device.type]} of the kind {device.type}" if there[device.type] else ""))


def begin() -> None:
    """To be called first of all, in the main thread: the package wants to come before torch."""
    if is_zero_gpu():
        import_module("spaces")


def report() -> None:
    """To be called once the editors are made: the Space is not opened before it is told that something wants a GPU. Gradio's own way of
    starting tells it; an application that Gradio is mounted on does not come by there."""
    if is_zero_gpu():
        import_module("spaces.zero").startup()


@dataclass(frozen=True)
class News:
    """What the process with the GPU tells: a step that is done, in the end the result or the error. It is pickled on its way."""

    kind: str                  # step, result, error
    value: Any


class LentGpu:
    """A function in a process that has a GPU.

    `work(tell, should_stop, *given)` tells of its steps as it goes on; what it is given, tells and returns is pickled. The process is
    forked at the first call and kept as long as the Space allows: it sees what was in memory by then. `enter()` is called there before
    each.
    """

    def __init__(self, work: Callable[..., Any], enter: Callable[[], None], name: str) -> None:
        self._work, self._enter, self._name = work, enter, name

        def news(*given: Any) -> Iterator[News]:
            yield from self._news(*given)
        self._lent = import_module("spaces").GPU(duration=SECONDS)(news)

    def __call__(self, on_step: Callable[[Any], None], should_stop: Callable[[], bool], *given: Any) -> Any:
        """What `work` returns. Raises what it raises where that is a MreError, ModelError where no GPU can be had, and EditStopped."""
        following, one = self._lent(*given), None
        try:
            for one in following:
                if one.kind == "step" and should_stop():
                    raise EditStopped("stopped")
                if one.kind == "step":
                    on_step(one.value)
        except MreError:
            raise
        except Exception as error:               # of the package, for people: over the quota, no GPU free
            raise ModelError(f"no GPU for the model {self._name}: {getattr(error, 'message', None) or type(error).__name__}") from error
        finally:
            following.close()
        if one is None or one.kind == "step":
            raise ModelError(f"the GPU was taken back before the model {self._name} had finished")
        if one.kind == "error":
            raise one.value
        return one.value

    def _news(self, *given: Any) -> Iterator[News]:
        """In the process with the GPU."""
        global _has_gpu
        _has_gpu = True
        told: queue.Queue[News] = queue.Queue()
        stop = threading.Event()

        def work() -> None:
            try:
                self._enter()
                told.put(News("result", self._work(lambda step: told.put(News("step", step)), stop.is_set, *given)))
            except MreError as error:
                told.put(News("error", error))
            except Exception as error:           # the other process would know no more than the name of its class
                log.error("the model %s failed", self._name, exc_info=error)
                told.put(News("error", ModelError(f"the model {self._name} failed on this picture")))
        working = threading.Thread(target=work, name="edit with a GPU", daemon=True)
        working.start()
        try:
            while True:
                one = told.get()
                yield one
                if one.kind != "step":
                    return
        finally:
            stop.set()
            working.join()
