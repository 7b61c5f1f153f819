"""Frozen models out of the way of training: their weights in a file, mapped into memory, from when all that they give is cached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from mre.training.checkpoints import load_tensors, save_tensors, write_whole

FILE = "tensors.safetensors"


class ParkedModels:
    """Models whose weights take no memory but where something reads them: they are mapped from a file, and the system may let go of what
    it has read of it. `at_hand` brings them back to their device for a while."""

    def __init__(self, models: Mapping[str, nn.Module], folder: Path) -> None:
        """folder: where their file is, or is to be; models of one cache are the same, and so is their file."""
        self.models, self.folder = dict(models), folder

    def write(self) -> None:
        """The file, if it is not there yet, whole or absent. Raises MreError where it cannot be written."""
        if not self.folder.exists():
            write_whole(self.folder, lambda path: save_tensors({name: tensor.data for name, tensor in self._tensors()}, path / FILE))

    def park(self) -> None:
        """Let the weights lie in the file alone, which `write` made."""
        mapped = load_tensors(self.folder / FILE)
        for name, tensor in self._tensors():
            tensor.data = mapped[name]

    @contextmanager
    def at_hand(self, device: torch.device) -> Iterator[None]:
        """Inside, the models are on the device; on a CPU they work from the file."""
        for _, tensor in self._tensors():
            tensor.data = tensor.data.to(device)
        try:
            yield
        finally:
            self.park()

    def _tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Each weight once, also where two layers share it."""
        for name, model in self.models.items():
            yield from model.named_parameters(prefix=name)
