"""The Study tab, and the annotators' own pages that it shows."""
