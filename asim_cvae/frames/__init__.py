"""Frames of 5000 samples: slice observations, represent frames for a network, split them into sets, store them."""
