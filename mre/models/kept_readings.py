"""What the encoders of a pipeline made of its last inputs, for an edit that asks for the same again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from hashlib import blake2b
from typing import Any

from torch import Tensor

MOST = 16           # of instructions, reward texts and photos together


class KeptReadings:
    """The last `MOST` results by what they were made of. A pipeline whose weights change needs a new one."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def of(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` gave for this key before, or gives now. Nobody may write into it."""
        if key not in self._kept:
            self._kept[key] = make()
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def tensor_key(tensor: Tensor) -> tuple[tuple[int, ...], str, bytes]:
    """Shape, number format and digest of a tensor's contents."""
    values = tensor.detach().cpu().float().numpy()
    return tuple(tensor.shape), str(tensor.dtype), blake2b(values.tobytes(), digest_size=16).digest()
