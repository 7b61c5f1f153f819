"""Synthetic scenes: triplets of all seven edit types with known true rewards, and an oracle that scores any picture as an edit of one.

`triplets.draw_triplet` draws one, `oracle.score` scores an edit of it.
"""
