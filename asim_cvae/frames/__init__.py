"""Frames of 5000 samples: slicing and scaling them, splitting them into training and validation, storing them."""
