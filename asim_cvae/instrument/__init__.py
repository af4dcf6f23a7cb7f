"""MMIA: its photometers, the classes of a frame, an observation."""
