"""The Research tab: studies are made, watched, exported and put up for annotators here."""
