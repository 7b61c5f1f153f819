"""Synthetic scenes: triplets of all seven edit types with known true rewards, and an oracle that scores any picture as an edit of one."""

from mre.data.scenes.triplets import SceneTriplet, draw_triplet
from mre.data.scenes.vocabulary import example_instructions, look_instructions, nouns, unknown_words, vocabulary

__all__ = ["SceneTriplet", "draw_triplet", "example_instructions", "look_instructions", "nouns", "unknown_words", "vocabulary"]
