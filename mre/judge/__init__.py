"""Judges: anything that scores an edit. `kinds.make_judge` finds one by name, `verdicts` has what they have in common. No torch here."""
