"""Anything that edits."""
