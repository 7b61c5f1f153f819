"""Multi-reward as condition for instruction-based image editing: the shared core of the studio.

Importing `mre` is cheap. The classes that diffusers stores by name in a saved pipeline are found here on first use.
"""

from importlib import import_module
from typing import Any

from mre.rewards import EDIT_TYPES, PERSPECTIVES, Reward
from mre.version import __version__

_LAZY = {
    "RewardEditPipeline": "mre.pipeline",
    "RewardUNet2DConditionModel": "mre.models.unet",
}
__all__ = ["EDIT_TYPES", "PERSPECTIVES", "Reward", "__version__", *_LAZY]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name[:1].isupper():
        from mre.families import find_class

        if found := find_class(name):
            return found
    raise AttributeError(f"module 'mre' has no attribute {name!r}")
