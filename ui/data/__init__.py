"""The Data tab: triplets, as training sees them."""
