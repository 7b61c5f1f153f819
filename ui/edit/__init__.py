"""The Edit tab: the photo and its form, one run, a pair, a sweep, the judge, the history; and the same for programs."""
