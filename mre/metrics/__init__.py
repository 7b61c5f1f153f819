"""Figures of edits that need no judge: CLIP-I, CLIP-T and FID (`clip`), and preserving as it is measured (`preserving`)."""

from mre.metrics.clip import ClipFeatures, frechet_distance, similarities

__all__ = ["ClipFeatures", "frechet_distance", "similarities"]
