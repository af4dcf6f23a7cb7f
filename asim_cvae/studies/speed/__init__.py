"""Measure how fast the program is, as ratios to references that run beside it."""
