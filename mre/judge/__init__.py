"""Judges: whatever scores an edit from the three perspectives."""
