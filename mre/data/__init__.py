"""Loaders of triplets and benchmarks, and synthetic scenes whose true scores are known."""
