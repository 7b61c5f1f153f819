"""What an instruction encoder has read is kept: another reward, seed, number of steps or guidance asks it for nothing."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from mre.models.instruction import EditCondition, InstructionEncoder
from mre.models.smartedit.instruction import as_pictures, condition_key

MOST_KEPT = 1000            # conditions: 560 kB each of the released models in float32, in the memory of the CPU


class KeptConditions:
    """An instruction encoder that asks another one only for what it has not been asked for before. May be used by many threads."""

    reads_images = True

    def __init__(self, encoder: InstructionEncoder | None, template: int, most: int = MOST_KEPT, greedy: bool = False) -> None:
        """
        encoder  that of `template`; None for one that is not in memory: then only what has been put here can be had
        greedy   whether it decodes the answer
        """
        self.encoder, self.template, self.most, self.greedy = encoder, template, most, greedy
        self._kept: OrderedDict[str, tuple[Tensor, Tensor]] = OrderedDict()         # key -> (T, D), (C, g, g)
        self._null: Tensor | None = None                                            # (1, T, D)
        self._lock = threading.Lock()

    def encode(self, instructions: Sequence[str], images: Any = None) -> EditCondition:
        """B instructions and their B pictures, in the order asked for. Raises what the encoder raises; RuntimeError without one."""
        pictures = as_pictures(images)
        keys = [self.key(text, picture) for text, picture in zip(instructions, pictures, strict=True)]
        with self._lock:
            missing = {key: row for row, key in enumerate(keys) if key not in self._kept}
            if missing or self._null is None:
                if self.encoder is None:
                    raise RuntimeError("the model that reads instructions is not in memory, and this one was not read before")
                rows = list(missing.values()) or [0]
                made = self.encoder.encode([instructions[row] for row in rows], [pictures[row] for row in rows])
                self._put([keys[row] for row in rows], made)
            found = [self._kept[key] for key in keys]
            for key in keys:
                self._kept.move_to_end(key)
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)
            assert self._null is not None, "put with the first of them"
            return EditCondition(torch.stack([one[0] for one in found]), self._null, torch.stack([one[1] for one in found]))

    def key(self, instruction: str, image: Any = None) -> str:
        """The encoder's, whether it is in memory or not."""
        return condition_key(instruction, image, self.template, self.greedy)

    def put(self, keys: Iterable[str], condition: EditCondition) -> None:
        """Keep B conditions that were made before, under their keys."""
        with self._lock:
            self._put(list(keys), condition)

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._kept.clear()

    def _put(self, keys: Sequence[str], condition: EditCondition) -> None:
        assert condition.residual is not None, "an encoder that looks at the picture makes one"
        context, residual, self._null = (part.detach().cpu() for part in (condition.context, condition.residual, condition.null_context))
        for key, states, map_ in zip(keys, context, residual, strict=True):
            self._kept[key] = states.clone(), map_.clone()                  # not a view that holds the whole batch

    def __len__(self) -> int:
        return len(self._kept)
