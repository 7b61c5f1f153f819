"""What the processes of a run agree on, beside the device's work, whether or not they share a disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from mre.errors import DataError, MreError
from mre.training.checkpoints import load_tensors


class Peers:
    """All processes of a run; of one process alone, everything is what it says itself. Every method is to be called by all of them."""

    def __init__(self, world: int, main: bool) -> None:
        self.main = main
        self._group = cast(dist.ProcessGroup, dist.new_group(backend="gloo")) if world > 1 else None

    def of_main(self, make: Callable[[], Any]) -> Any:
        """What the first process makes, in all of them; raises in all of them the MreError that it meets."""
        if self._group is None:
            return make()
        made = [None]
        if self.main:
            try:
                made = [make()]
            except MreError as error:
                made = [error]
        dist.broadcast_object_list(made, 0, group=self._group)
        if isinstance(made[0], MreError):
            raise made[0]
        return made[0]

    def any(self, asked: bool) -> bool:
        """Whether one of them at least says so."""
        if self._group is None:
            return asked
        one = torch.tensor(float(asked))
        dist.all_reduce(one, dist.ReduceOp.MAX, group=self._group)
        return bool(one)

    def tensors_of_main(self, path: Path, keep: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor) -> dict[str, Tensor]:
        """The tensors of a file on the first process's disk, in all processes; one at a time, so that none is there twice.

        keep: what each process keeps of a tensor with this name. Raises DataError for a file that is not whole.
        """
        tensors: dict[str, Tensor] = {}

        def read() -> dict[str, tuple[torch.Size, torch.dtype]]:
            tensors.update(load_tensors(path))
            return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}

        for name, (shape, dtype) in self.of_main(read).items():
            if self._group is not None:
                dist.broadcast(tensors.setdefault(name, torch.empty(shape, dtype=dtype)), 0, group=self._group)
            tensors[name] = keep(name, tensors[name])
        return tensors

    def refuse_other_triplets(self, count: int, digest: str) -> None:
        """Raises DataError in all of them where one does not train on the same triplets as the first, naming it and how many it has.

        count, digest: see `ExampleSource.identity`
        """
        if self._group is None:
            return
        seen: list[Any] = [None] * dist.get_world_size(self._group)
        dist.all_gather_object(seen, (count, digest), group=self._group)
        for rank, (its_count, other) in enumerate(seen):
            if other != seen[0][1]:
                raise DataError(f"process {rank} has other triplets to train on ({its_count}) than process 0 ({seen[0][0]}): data_dir, "
                                "rewards, scores and photos must hold the same on every machine")
