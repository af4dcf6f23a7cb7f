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
- blue jet: a flash with ultraviolet, followed by a glow at 337 nm alone for tens of milliseconds (Neubert et al. 2021,
  Nature 589:371).
- correlated: 337 and 777.4 nm together, as strokes and in-cloud pulses.
- channel: 777.4 nm with hardly any 337 nm.
- other: none of these, as light in ultraviolet alone, or a photometer is missing.
"""

LONGEST_HIT = 6
"""Samples of the longest hit."""

_TRACE = 0.1  # share of the other wavelength's light up to which one is a trace
_FAST, _SHORT = 80, 500  # samples of rise, and of width
_JET_ULTRAVIOLET = 0.03  # of the peak at 337 nm
_JET_GLOW = 0.03  # likewise


@dataclass(frozen=True)
class Signs:
    """What tells the kind of a pulse that is not known as a particle hit. Light is in counts per sample.

    Attributes:
        lit: whether it is found at 337 nm, in ultraviolet, and at 777.4 nm.
        peak: its peaks at these.
        least: the least light that each may have at half of the peak and more, over what is before and after.
        most: the most that each may have.
        rise: samples from 10 to 90 % of the peak.
        width: samples of 50 % and more.
        glow: light at 337 nm in the tens of milliseconds after it, beyond that at 777.4 nm; 0 unless significant.
    """

    lit: tuple[bool, bool, bool]
    peak: tuple[float, float, float]
    least: tuple[float, float, float]
    most: tuple[float, float, float]
    rise: int
    width: int
    glow: float


def kind_of(signs: Signs) -> str:
    """Return the kind of a pulse, one of :data:`KINDS`. NaN, of a missing photometer, speaks for none."""
    blue, ultraviolet, oxygen = signs.lit
    if sum(signs.lit) == 1 and signs.width <= LONGEST_HIT:
        return PARTICLE
    has_flash = blue and ultraviolet and signs.peak[1] >= _JET_ULTRAVIOLET * signs.peak[0]
    if has_flash and signs.glow >= _JET_GLOW * signs.peak[0]:
        return BLUE_JET
    if blue and signs.least[2] < _TRACE * signs.most[0] and not (oxygen and signs.peak[2] > _TRACE * signs.peak[0]):
        is_elve_like = ultraviolet and signs.peak[1] > signs.peak[0]
        is_short = signs.rise <= _FAST and signs.width <= _SHORT
        return CORONA if is_short and not is_elve_like else OTHER
    if oxygen and signs.least[0] < _TRACE * signs.most[2] and not (blue and signs.peak[0] > _TRACE * signs.peak[2]):
        return CHANNEL
    return CORRELATED if blue and oxygen else OTHER
