"""The Compare tab: how well scores of people and judges agree."""
