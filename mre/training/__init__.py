"""Training of the editor, both stages and every size: see `config` for what can be set, `loop` for the order of things."""
