"""CLIP-I, CLIP-T and FID of edits, by a CLIP model that the user names (a folder or hub id).

FID here is the Fréchet distance between the CLIP model's own image features, not Inception's: no Inception network of known weights comes
with this program. It compares methods within one table; it does not compare with published FID numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, cast

import numpy as np
from PIL import Image

from mre.device import best_device
from mre.errors import ModelError

BATCH = 16


class ClipFeatures:
    """Features of pictures and texts by one CLIP model. Raises ModelError when it is not one, or not here."""

    def __init__(self, model: str, device: str | None = None) -> None:
        from mre.models.quiet import quiet_libraries

        with quiet_libraries():
            from transformers import AutoTokenizer, CLIPModel
            from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

            try:
                self._model = cast(Any, CLIPModel.from_pretrained(model)).eval()     # its decorated methods are annotated wrongly
                self._tokenizer = AutoTokenizer.from_pretrained(model)
                self._processor = CLIPImageProcessorPil.from_pretrained(model)
            except (OSError, ValueError, KeyError) as error:
                raise ModelError(f"--clip {model}: not a CLIP model that is here or can be fetched") from error
        self._device = device or best_device()
        self._model.to(self._device)
        self.name = model
        self.size = self._model.config.vision_config.image_size

    def of_images(self, images: Iterable[Image.Image]) -> np.ndarray:
        """(N, D) float64, not normalised. Pictures are read one batch at a time."""
        import torch

        rows = []
        for batch in _batches(images):
            pixels = self._processor(images=[image.convert("RGB") for image in batch], return_tensors="pt")["pixel_values"]
            with torch.inference_mode():
                rows.append(_rows(self._model.get_image_features(pixel_values=pixels.to(self._device))))
        return np.concatenate(rows) if rows else np.empty((0, self._model.config.projection_dim))

    def of_texts(self, texts: Iterable[str]) -> np.ndarray:
        """(N, D) float64, not normalised; a text is cut at what the model reads."""
        import torch

        rows = []
        longest = self._model.config.text_config.max_position_embeddings
        for batch in _batches(texts):
            tokens = self._tokenizer(batch, padding=True, truncation=True, max_length=longest, return_tensors="pt").to(self._device)
            with torch.inference_mode():
                rows.append(_rows(self._model.get_text_features(**{name: tokens[name] for name in ("input_ids", "attention_mask")})))
        return np.concatenate(rows) if rows else np.empty((0, self._model.config.projection_dim))


def similarities(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine of each pair of rows: CLIP-I for two pictures' features, CLIP-T for a picture's and a text's."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / lengths


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of two sets of features, two rows or more in each; else not a number."""
    if min(len(first), len(second)) < 2:
        return float("nan")
    means = first.mean(axis=0) - second.mean(axis=0)
    one, two = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = _square_root(one)                    # the eigenvalues of S1 S2 are those of S1^(1/2) S2 S1^(1/2), which is symmetric
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ two @ root), 0, None)).sum()
    return float(max(0.0, means @ means + np.trace(one) + np.trace(two) - 2 * cross))


def _square_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(np.atleast_2d(matrix))
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def _rows(output) -> np.ndarray:
    features = getattr(output, "pooler_output", output)
    return features.double().cpu().numpy()


def _batches(values: Iterable) -> Iterator[Sequence]:
    values = iter(values)
    while batch := list(islice(values, BATCH)):
        yield batch
