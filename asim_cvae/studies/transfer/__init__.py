"""Measures how well classes learnt on one simulated archive are found in others."""
