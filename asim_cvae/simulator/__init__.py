"""Simulate an MMIA archive: the light of lightning and what accompanies it, the photometers, and the files."""
