"""The five classes of a frame, after Joergensen 2021."""

NOISE = "N"

CLASSES = ("HCHA", "HCLA", "LCHA", "LCLA", NOISE)
"""High or low correlation (HC, LC) between the photometers, high or low activity (HA, LA): how many small peaks."""

CLASS_NAMES = {
    "HCHA": "high correlation, high activity",
    "HCLA": "high correlation, low activity",
    "LCHA": "low correlation, high activity",
    "LCLA": "low correlation, low activity",
    NOISE: "noise",
}
