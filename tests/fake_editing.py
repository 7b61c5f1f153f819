"""A pipeline that only tests use, for what has nothing to do with a model: it needs no weights and does something known to a picture."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from mre.editors.device_queue import DeviceQueue
from mre.editors.editor import EditorInfo
from mre.editors.local_editor import EditorOptions
from mre.editors.pipeline_editor import PipelineEditor
from mre.editors.pipeline_info import FULL_SIZE
from mre.embedded.patch_autoencoder import PatchAutoencoder
from mre.embedded.tokenizer import word_tokenizer

INFO = EditorInfo(name="fake", title="Fake editor", native_size=64, size_rule="fit", steps=4, guidance_scale=1.5,
                       image_guidance_scale=1.0, guidable=True, capabilities=FULL_SIZE, limits="It mixes colours.", digest="f" * 64)


class FakePipeline:
    """Darkens by the scores, adds the start noise of its seed, and takes `seconds` a step. `steps_begun` counts all that began."""

    device = torch.device("cpu")

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.steps_begun = 0
        self.running = 0
        self.most_running = 0
        self.vae = PatchAutoencoder(patch_size=8)
        self.scheduler = SimpleNamespace(config={})
        self.tokenizer = word_tokenizer(["make", "it", "blue", "look", "like", "sunset"], 24)

    def set_progress_bar_config(self, **_: object) -> None:
        pass

    def keep_readings(self) -> None:
        """It reads nothing."""

    def __call__(self, prompt, image, reward, negative_reward, num_inference_steps, guidance_scale, image_guidance_scale, generator,
                 callback_on_step_end, guidance_interval=None):
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            noise = torch.randn((1, 192, image.height // 8, image.width // 8), generator=generator)
            for step in range(num_inference_steps):
                self.steps_begun += 1
                time.sleep(self.seconds)
                callback_on_step_end(self, step, torch.tensor(step), {"latents": noise})
            pixels = np.asarray(image, float) * (0.5 + sum(reward.scores) / 30) + noise[0, 0, 0, 0].item() + len(prompt) % 7
            pixels += 0 if guidance_interval is None else sum(guidance_interval)
            return SimpleNamespace(images=[Image.fromarray(pixels.clip(0, 255).astype(np.uint8))])
        finally:
            self.running -= 1


def fake_editor(name: str = "fake", seconds: float = 0.0, queue: DeviceQueue | None = None, **info: Any) -> PipelineEditor:
    """An editor on the fake pipeline; `info` in place of what INFO says."""
    pipeline = FakePipeline(seconds)
    about = replace(INFO, name=name, title=name.capitalize(), **info)
    editor = PipelineEditor(name, EditorOptions(queue), load=lambda *_: pipeline, info=about)
    editor.fake = pipeline
    return editor
