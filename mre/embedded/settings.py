"""What only a training of the small editor sets, and the presets that train it. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mre.errors import SettingsError
from mre.settings import Settings, setting

FRESH = "embedded"          # init_from: an untrained small editor, built from the config
GENERIC = "embedded-generic"        # and one with the generic head
SMART, PLAIN = "embedded-smart", "embedded-plain"       # a small SmartEdit, and a plain editor of its size
READERS = ("vision_tower", "projector", "language_model", "connector")
STEPS = 1                   # more add nothing but mottle: the network predicts the picture itself
SETTINGS = {"default_steps": STEPS, "default_guidance_scale": 1.0, "default_image_guidance_scale": 1.0, "size_rule": "fit"}


@dataclass(frozen=True)
class EmbeddedSettings(Settings):
    """Settings of the small editor: the width of a fresh one, and how its loss knows where a picture is changed."""

    width: tuple[int, ...] = setting((), "channels of the U-Net's levels of a fresh embedded model; empty = its own default", low=1)
    mask_weight: float = setting(0.0, "weight of what differs between original and edited image against the whole picture; 0 in the paper",
                                 low=0)
    outside_weight: float = setting(0.0, "added to the weight of each pixel that does not differ, where a plain mean gives 1; 0 in the "
                                         "paper", low=0)
    mask_loss_weight: float = setting(0.0, "weight of the loss of the change mask that the embedded model also predicts", low=0)

    @property
    def reads_masks(self) -> bool:
        """Whether the loss needs to know where original and edited image differ."""
        return bool(self.mask_weight or self.outside_weight or self.mask_loss_weight)

    def check(self) -> None:
        """Masks are made of pictures, which a cache of latents does not keep."""
        if self.reads_masks and getattr(self, "cache_latents", ""):
            raise SettingsError("cache_latents keeps no pictures, which mask_weight, outside_weight and mask_loss_weight need")


_SMALL = {
    # Why each: research on the embedded model. At its size the text matters only near pure noise, and the change mask grounds it.
    "init_from": FRESH, "data": "scenes", "resolution": 128, "flip": False,
    "train_text_encoder": True, "text_encoder_rate": 1.5,
    "learning_rate": 2e-4, "adam_beta2": 0.99, "warmup_steps": 120, "schedule": "cosine",
    "batch_size": 12, "accumulation": 1, "max_steps": 20_000, "ema_decay": 0.98, "ema_every": 8,
    "edit_type_weights": (1.6, 1.8, 1.8, 2.2, 1.1, 1.4, 2),         # more of what is learned last: single things, and fine styles
    "clean_share": 0.25,            # by chance one triplet of thirty is flawless: too few to learn what 5/5/5 looks like
    "condition_dropout": 0.04, "image_dropout": False, "reward_text_dropout": 0.5,
    "timestep_terminal": 0.45, "timestep_high": 0.35, "snr_cap": 2.0, "mask_weight": 2.0, "mask_loss_weight": 0.3,
    "outside_weight": 4.0,          # more, and triplets whose surroundings are spoiled (all of it changed) weigh too little to be learned
    "plain_attention": True, "mixed_precision": "bf16", "half": True, "validation_scored": 35,
}
_NO_REWARD = {"use_score": False, "use_text": False, "use_attention": False, "use_addition": False}
_GENERIC = {**_SMALL, "init_from": GENERIC, "objective": "energy", "width": (64, 96, 128), "batch_size": 32, "learning_rate": 1e-3,
            "timestep_terminal": 1.0, "timestep_high": 0.0, "snr_cap": 0.0, "mask_weight": 0.0, "outside_weight": 0.0,
            "edit_type_weights": (1.6, 1.3, 1.5, 1.8, 0.9, 0.9, 1.2), "text_encoder_rate": 1.0, "plain_wording": True,
            "unanswerable_share": 0.06, "condition_dropout": 0.0}
# Spoiled triplets come after flawless ones. Where all layers learn from them alike, what the start could is lost before the layers of the
# condition tell the two apart.
_SPOILED = {**_GENERIC, "parent_rate": 0.1, "clean_share": 0.4, "mask_weight": 2.0, "train_text_encoder": False, "warmup_steps": 40,
            "init_from": "runs/tiny-lab-start/pipeline"}
_LOOKING = {**_GENERIC, "init_from": SMART, "data": "looking", "resolution": 64, "objective": "noise", "width": (),
            "train_readers": READERS, "learning_rate": 5e-4, "edit_type_weights": (), "plain_wording": False, "unanswerable_share": 0.0,
            "batch_size": 16, "mask_weight": 2.0, "outside_weight": 4.0, "mask_loss_weight": 1.0, "mixed_precision": "no"}
PRESETS: dict[str, dict[str, Any]] = {
    "tiny-start": {**_SMALL, **_NO_REWARD, "clean_share": 1.0, "learning_rate": 4e-4, "schedule": "constant", "ema": False,
                   "local_sgd_steps": 8, "half": False, "out": "runs/tiny-start"},
    "tiny": {**_SMALL, "out": "runs/tiny"},
    "tiny-baseline": {**_SMALL, **_NO_REWARD, "out": "runs/tiny-baseline"},
    # The generic head. Its text encoder has learned to name what is asked before (`mre.embedded.train_words`): else colours and places,
    # which move few pixels, are learned last. So are single things where nothing weighs their windows.
    "tiny-lab-start": {**_GENERIC, "objective": "norms", "mask_weight": 2.0, "clean_share": 1.0, "ema": False, "half": False,
                       "local_sgd_steps": 8, "init_from": "runs/tiny-lab-words/pipeline", "train_text_encoder": False,
                       "out": "runs/tiny-lab-start"},
    "tiny-lab": {**_SPOILED, "perspective_dropout": 0.15, "out": "runs/tiny-lab"},
    "tiny-lab-baseline": {**_SPOILED, **_NO_REWARD, "out": "runs/tiny-lab-baseline"},
    # Scenes whose instructions need looking: first true edits alone, then triplets with faults and their rewards.
    "tiny-smart-start": {**_LOOKING, **_NO_REWARD, "clean_share": 1.0, "learning_rate": 1e-3, "ema": False, "half": False,
                         "out": "runs/tiny-smart-start"},
    "tiny-smart": {**_LOOKING, "init_from": "runs/tiny-smart-start/pipeline", "out": "runs/tiny-smart"},
}
