"""The editor that ships: a small network trained on synthetic scenes, and everything that exists only for it."""
