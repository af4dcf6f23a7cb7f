"""The MMIA instrument: its photometers, the five frame classes, and the light curves of an observation."""
