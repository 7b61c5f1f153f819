"""Multi-reward as condition for instruction-based image editing: the shared core of the studio.

Importing `mre` is cheap. The classes that diffusers stores by name in a saved pipeline are found here on first use.
"""

from importlib import import_module

from mre.rewards import EDIT_TYPES, PERSPECTIVES, Reward

__version__ = "0.2.0"

_LAZY = {
    "RewardEditPipeline": "mre.pipeline",
    "RewardUNet2DConditionModel": "mre.models.unet",
    "GatedRewardUNet": "mre.embedded.gated",
    "PatchAutoencoder": "mre.embedded.patch_autoencoder",
}
__all__ = ["EDIT_TYPES", "PERSPECTIVES", "Reward", "__version__", *_LAZY]


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'mre' has no attribute {name!r}")
