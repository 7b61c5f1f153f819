"""Judges with weights of their own: networks that give a Gaussian per perspective. The only part of `judge` that needs torch."""
