"""The five classes of a frame, as defined by Joergensen 2021."""

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
