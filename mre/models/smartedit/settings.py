"""SmartEdit's models by name, what is said of them, and how Reward-SmartEdit is trained. No torch here."""

from __future__ import annotations

from typing import Any

from mre.families import Known

DEFAULTS: dict[str, Any] = {"native_size": 256, "size_rule": "square", "default_steps": 100, "default_guidance_scale": 7.5,
                            "default_image_guidance_scale": 1.5}          # of SmartEdit's evaluation
LIMITS = ("A language model looks at the photo before it is edited. Made for photographs of any kind, at 256 pixels, squeezed into a "
          "square; its authors find 384 good too, and 512 weak. It needs about {memory} GB of memory. For research only, as LLaMA's first "
          "terms say. It knows no rewards: the sliders have no effect.")
MODELS = {
    "smartedit-7b": Known("SmartEdit 7B", LIMITS.format(memory=18), hub_id="TencentARC/SmartEdit-7B", defaults=DEFAULTS,
                          reads_rewards=False),
    "smartedit-13b": Known("SmartEdit 13B", LIMITS.format(memory=31), hub_id="TencentARC/SmartEdit-13B", defaults=DEFAULTS,
                           reads_rewards=False),
}
PRESETS: dict[str, dict[str, Any]] = {
    # The paper's recipe for Reward-InstructPix2Pix (section 6.1), on SmartEdit. Pictures are not mirrored: what was read of them is kept.
    "reward-smartedit": {"init_from": "smartedit-7b", "data": "pix2pix", "resolution": 256, "flip": False,
                         "cache_latents": "runs/smartedit-cache", "learning_rate": 5e-5, "weight_decay": 1e-2, "warmup_steps": 0,
                         "gradient_checkpointing": True},
}
