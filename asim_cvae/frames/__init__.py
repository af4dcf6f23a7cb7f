"""Frames of 5000 samples: slicing, scaling, splitting, and the store."""
