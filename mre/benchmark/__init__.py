"""Benchmarks: edits by any models on the same items, judged, in tables with intervals. Edits first, then the judge, then the tables."""
