"""The class of a frame by a rule on the pulses put into it, before noise."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asim_cvae.classes import NOISE
from asim_cvae.simulator.flashes import Pulse

DETECTION = 5.0
"""Excess counts over their Poisson uncertainty from which a pulse can be seen in a photometer."""

HIGH_ACTIVITY = 6
"""Visible pulses from which a frame's activity is high."""

STRAY_HITS = 3
"""Particle hits up to which a frame without light is noise."""


def visible(pulse: Pulse, background: NDArray[np.float64], first: int, samples: int) -> NDArray[np.bool_]:
    """In which photometers, (3,), a pulse stands out in samples ``first`` to ``first + samples``."""
    seen = []
    for peak, shape, level in zip(pulse.peak, pulse.shapes, background, strict=True):
        start = max(first - pulse.onset, 0)
        part = peak * shape[start : max(first + samples - pulse.onset, 0)]
        bright = part[part > 0.1 * peak]
        excess = bright.sum()
        seen.append(bool(excess > DETECTION * np.sqrt(level * bright.size + excess) and excess > 3))
    return np.array(seen)


def frame_class(pulses: Sequence[Pulse], background: NDArray[np.float64], first: int, samples: int) -> str:
    """Class of a frame: N without visible light, else by how many pulses are seen, and seen in 337 and 777.4 nm."""
    seen = [(pulse, visible(pulse, background, first, samples)) for pulse in pulses]
    seen = [(pulse, where) for pulse, where in seen if where.any()]
    if all(pulse.is_hit for pulse, _ in seen) and len(seen) <= STRAY_HITS:
        return NOISE
    correlated = sum(bool(where[0] and where[2]) for _, where in seen)
    correlation = "HC" if 2 * correlated >= len(seen) else "LC"
    return correlation + ("HA" if len(seen) >= HIGH_ACTIVITY else "LA")
