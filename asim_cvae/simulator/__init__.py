"""A simulated MMIA archive: physics of the light, an instrument, and the files."""
