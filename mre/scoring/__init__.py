"""Whole manifests scored by a judge: what is scored, the files that scores go into, and what training takes from them."""
