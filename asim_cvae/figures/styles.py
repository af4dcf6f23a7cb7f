"""Colours and marks of photometers, classes and clusters, wherever they are drawn.

The colours of classes are from the palette of Okabe and Ito, those of clusters from the palette "muted" of Tol 2021
(SRON/EPS/TN/09-002); both were made for colour-blind readers. No colour or mark stands for two things.
"""

from dataclasses import dataclass

from asim_cvae.instrument.classes import NOISE

PHOTOMETER_COLOURS = ("tab:blue", "tab:purple", "tab:red")
"""Colours of the photometers, in the order of :data:`asim_cvae.instrument.photometers.PHOTOMETERS`."""


@dataclass(frozen=True)
class Style:
    """Colour and marker of a group of frames, as matplotlib names them."""

    colour: str
    marker: str


CLASS_STYLES = {
    "HCHA": Style("#0072B2", "o"),
    "HCLA": Style("#56B4E9", "s"),
    "LCHA": Style("#D55E00", "^"),
    "LCLA": Style("#E69F00", "v"),
    NOISE: Style("#777777", "D"),
}
"""Filled marks: blue where correlation is high, orange where it is low, the darker where activity is high."""

_CLUSTER_COLOURS = ("#882255", "#44AA99", "#117733", "#AA4499", "#999933", "#332288", "#CC6677", "#DDCC77")
_CLUSTER_MARKERS = ("x", "+", "1", "*", "_", "|", "2")  # one fewer than colours, so that pairs repeat after 56


def cluster_style(number: int) -> Style:
    """Return the style of the cluster ``number``; those of the first 56 differ."""
    colour = _CLUSTER_COLOURS[number % len(_CLUSTER_COLOURS)]
    return Style(colour, _CLUSTER_MARKERS[number % len(_CLUSTER_MARKERS)])


def in_degrees(angle: float, signs: str) -> str:
    """Format a latitude or longitude; ``signs`` are the letters of positive and negative ones."""
    angle = (angle + 180) % 360 - 180  # longitudes may count to 360
    return f"{abs(angle):.1f}° {signs[angle < 0]}"
