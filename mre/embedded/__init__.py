"""The editor that ships: a small network trained on synthetic scenes, and everything that exists only for it.

Without this folder and its weights in `mre/assets` the program works with all other editors.
"""

from mre.families import Family

FAMILY = Family(parts={"unet": {"GatedRewardUNet": "mre.embedded.gated"}, "vae": {"PatchAutoencoder": "mre.embedded.patch_autoencoder"}})
