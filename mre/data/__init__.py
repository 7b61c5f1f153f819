"""Loaders of triplets and benchmarks, and drawn scenes whose true scores are known."""
