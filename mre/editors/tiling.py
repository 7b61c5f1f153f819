"""Large pictures through an autoencoder in the memory that is free: one picture of a batch after the other, and one too large in tiles.

Slices are exact but for the last bits of a batch. Tiles overlap by a quarter and are blended, and each has norms of its own, so that the
picture is another one by a little: a recipe tells of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mre.machine import free_memory

if TYPE_CHECKING:
    from mre.imaging import Size

HELD_AT_ONCE = 4        # values for each pixel and channel of the decoder's widest layer: what goes in, norm, activation, what comes out
SHARE = 0.8             # of the free memory: the rest is for whatever else goes on


def most_pixels(vae: Any, device: str) -> int | None:
    """How many pixels, of all pictures together, an autoencoder decodes at once in the memory that is free on a device. None where that
    cannot be told, or where it takes no tiles."""
    channels = getattr(getattr(vae, "config", None), "block_out_channels", None) or ()
    if len(channels) < 2 or not hasattr(vae, "enable_tiling") or (free := free_memory(device)) is None:
        return None
    return int(SHARE * free / (HELD_AT_ONCE * channels[1] * vae.dtype.itemsize))       # the second level's channels meet all pixels


def is_tiled(size: Size, most: int | None) -> bool:
    """Whether a picture of this size goes through in tiles."""
    return most is not None and size[0] * size[1] > most


def share_out(vae: Any, pictures: int, size: Size, most: int | None) -> None:
    """Have the autoencoder take the pictures of its next calls one by one, or in tiles, where they are too large for less."""
    if most is None:
        return
    (vae.enable_slicing if pictures * size[0] * size[1] > most else vae.disable_slicing)()
    (vae.enable_tiling if is_tiled(size, most) else vae.disable_tiling)()
