"""The five classes of a frame, as defined by Joergensen 2021, and the kinds of events that a frame may hold."""

NOISE = "N"

CLASSES = ("HCHA", "HCLA", "LCHA", "LCLA", NOISE)
"""High or low correlation between the photometers (HC, LC), many or few small peaks (high or low activity: HA, LA), or
noise (N)."""

CLASS_NAMES = {
    "HCHA": "high correlation, high activity",
    "HCLA": "high correlation, low activity",
    "LCHA": "low correlation, high activity",
    "LCLA": "low correlation, low activity",
    NOISE: "noise",
}

RADIATION = "radiation"

KINDS = ("corona", "blue jet", "elve", "sprite", RADIATION)
"""Kinds of events that a frame may hold, several at once: blue corona discharges, blue jets, elves, sprites, and the
particles over the South Atlantic Anomaly."""
