"""Tell the kinds of pulses by rule. Elves and sprites are not told: their light alone does not set them apart."""

from dataclasses import dataclass

PARTICLE, CORONA, BLUE_JET, CORRELATED, CHANNEL, OTHER = (
    *("particle", "corona", "blue jet", "correlated", "channel", "other"),
)
KINDS = (PARTICLE, CORONA, BLUE_JET, CORRELATED, CHANNEL, OTHER)
"""Kinds that rules tell.

- particle: the hit of a particle, 1 to 6 samples of one photometer.
- corona: a blue corona discharge, fast light at 337 nm with hardly any at 777.4 nm (Soler et al. 2020, JGR Atmospheres
  125, e2020JD032708).
- blue jet: such light with ultraviolet that begins within some 10 us, and a glow at 337 nm that follows for tens of
  milliseconds (Neubert et al. 2021, Nature 589:371), or that glow.
- correlated: 337 and 777.4 nm together, as strokes and in-cloud pulses.
- channel: 777.4 nm alone.
- other: none of these, as light in ultraviolet alone.
"""

_TRACE = 0.1  # share of the other wavelength's counts up to which one is a trace
_FAST = 50  # samples of rise
_JET_RISE = 8  # samples
_JET_ULTRAVIOLET = 0.08  # of the peak at 337 nm
_JET_GLOW = 0.03  # of the peak
_GLOW_WIDTH = 3000  # samples
LONGEST_HIT = 6
"""Samples of the longest hit."""


@dataclass(frozen=True)
class Signs:
    """What tells the kind of a pulse.

    Attributes:
        is_hit: whether it is a few samples of one photometer that stand out.
        lit: whether it is found at 337 nm, in ultraviolet, and at 777.4 nm.
        counts: its counts in each photometer, NaN where that is missing.
        peak: its peaks in counts per sample, likewise.
        rise: samples from 10 to 90 % of the peak.
        width: samples of 50 % and more.
        glow: light at 337 nm in the tens of milliseconds after it, in counts per sample, if it is significant, else 0.
    """

    is_hit: bool
    lit: tuple[bool, bool, bool]
    counts: tuple[float, float, float]
    peak: tuple[float, float, float]
    rise: int
    width: int
    glow: float


def kind_of(signs: Signs) -> str:
    """Return the kind of a pulse, one of :data:`KINDS`."""
    blue, ultraviolet, oxygen = signs.lit
    if signs.is_hit or (sum(signs.lit) == 1 and signs.width <= LONGEST_HIT):
        return PARTICLE
    if blue and signs.counts[2] < _TRACE * signs.counts[0]:
        has_flash = ultraviolet and signs.peak[1] >= _JET_ULTRAVIOLET * signs.peak[0] and signs.rise <= _JET_RISE
        if (has_flash and signs.glow > _JET_GLOW * signs.peak[0]) or signs.width >= _GLOW_WIDTH:
            return BLUE_JET
        is_elve = signs.peak[1] > signs.peak[0]
        return CORONA if signs.rise <= _FAST and not is_elve else OTHER
    if oxygen and signs.counts[0] < _TRACE * signs.counts[2]:
        return CHANNEL
    return CORRELATED if blue and oxygen else OTHER
