"""Catalogue the pulses of a whole observation."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from asim_cvae.instrument.observation import Observation
from asim_cvae.instrument.photometers import COUNTER_LIMIT, DEAD_TIME, SAMPLE_PERIOD_US, SAMPLING_RATE
from asim_cvae.pulses.background import estimate_background
from asim_cvae.pulses.columns import NAMES, Table, make_table
from asim_cvae.pulses.hits import find_hits, hit_features, without_hits
from asim_cvae.pulses.kinds import PARTICLE, Signs, kind_of
from asim_cvae.pulses.matching import Lit, match
from asim_cvae.pulses.measurement import Feature, forced_peak, half_time, light_over_flanks, measure, segments, valleys
from asim_cvae.pulses.scan import Sums
from asim_cvae.pulses.separation import find_maxima

_MS = 1000 / SAMPLING_RATE
_SATURATED = 0.4  # share of a sample that a counter is dead from which its light is not known well
_GLOW_FROM, _GLOW_TO = 500, 5000  # samples after the peak of a blue jet in which its body glows
_GLOW_PART = 500  # samples in which it has to outshine 777.4 nm
_GLOW_SIGMA = 3.0
_SURE = 2.0  # deviations between the least and the most light that a pulse may have


@dataclass(frozen=True)
class Curve:
    """What is known of one photometer's T samples.

    Attributes:
        is_known: (T,) whether there is a sample, and not a gap.
        recorded: (T,) recorded counts, 0 in gaps.
        background: (T,) background rate in recorded counts.
        excess: (T,) light over the background in counts without dead time, 0 in gaps.
        features: what stands out.
    """

    is_known: NDArray[np.bool_]
    recorded: NDArray[np.float64]
    background: NDArray[np.float64]
    excess: NDArray[np.float64]
    features: Sequence[Feature]


def find_pulses(observation: Observation) -> Table:
    """Find and measure the pulses of an observation.

    Each photometer is searched in recorded counts, which are Poisson, and measured in counts without dead time,
    ``n / (1 - tau n)``. Particle hits come first; light is searched without them.

    Args:
        observation: the observation, of any length.

    Returns:
        The catalogue with the columns :data:`~asim_cvae.pulses.columns.COLUMNS`, a row a pulse, in order of onset.
    """
    curves = [_curve(number, counts.astype(np.float64)) for number, counts in enumerate(observation.counts)]
    features = [feature for curve in curves for feature in curve.features]
    pulses = match([feature for feature in features if not feature.is_hit])
    pulses += [{feature.photometer: feature} for feature in features if feature.is_hit]
    pulses.sort(key=lambda lit: _brightest(lit).rise[0])
    return make_table([_row(number, lit, curves, observation) for number, lit in enumerate(pulses)])


def _curve(number: int, counts: NDArray[np.float64]) -> Curve:
    background = estimate_background(counts)
    hits = find_hits(counts, background)
    cleaned = without_hits(counts, hits)
    dark = _without_dead_time(background, number)
    excess, cleaned_excess = (
        np.where(np.isfinite(values), _without_dead_time(values, number) - dark, 0.0) for values in (counts, cleaned)
    )
    sums = Sums(cleaned, background)
    maxima = find_maxima(sums)
    between = valleys(sums, maxima)
    features = [
        measure(cleaned_excess, float(background[maximum.centre]), number, maximum, before, after)
        for maximum, (before, after) in zip(maxima, pairwise(between), strict=False)
    ]
    ground = _without_dead_time(hits.base, number) - dark[hits.first]
    is_known = np.isfinite(counts)
    features += hit_features(excess, number, hits, ground)
    return Curve(is_known, np.where(is_known, counts, 0.0), background, excess, features)


def _without_dead_time(counts: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    light: NDArray[np.float64] = counts / (1 - DEAD_TIME[number] * counts)
    return light


def _brightest(lit: Lit) -> Feature:
    """Return the feature with the highest peak."""
    return max(lit.values(), key=lambda feature: feature.peak)


def _row(number: int, lit: Lit, curves: Sequence[Curve], observation: Observation) -> dict[str, object]:
    """Return a row of the catalogue."""
    main = _brightest(lit)
    windows = [lit.get(i, main) for i in range(len(curves))]
    is_missing = [not curve.is_known[one.first : one.last].any() for curve, one in zip(curves, windows, strict=True)]
    peak = [
        np.nan if gone else lit[i].peak if i in lit else forced_peak(curve.excess, main)
        for i, (curve, gone) in enumerate(zip(curves, is_missing, strict=True))
    ]
    counts = [
        np.nan if gone else float(curve.excess[one.first : one.last].sum())
        for curve, one, gone in zip(curves, windows, is_missing, strict=True)
    ]
    q = observation.flux_per_count
    fluence = np.array(counts) * q * SAMPLE_PERIOD_US * 1e-6
    onset_us = main.rise[0] * SAMPLE_PERIOD_US
    return {
        "pulse": number,
        "onset_utc": observation.start + np.timedelta64(onset_us, "us"),
        "onset_ms": main.rise[0] * _MS,
        "peak_ms": main.top * _MS,
        "rise_ms": (main.rise[2] - main.rise[0]) * _MS,
        "decay_ms": (main.fall[0] - main.fall[2]) * _MS,
        "width_ms": main.width * _MS,
        "delay_ms": _delay(lit, curves),
        "photometers": "+".join(NAMES[i] for i in sorted(lit)),
        **{f"peak_counts_{name}": value for name, value in zip(NAMES, peak, strict=True)},
        **{f"peak_flux_{name}": value for name, value in zip(NAMES, np.array(peak) * q, strict=True)},
        **{f"fluence_{name}": value for name, value in zip(NAMES, fluence, strict=True)},
        "ratio_337_777": fluence[0] / fluence[2] if fluence[2] > 0 else np.nan,
        **{f"background_{name}": curve.background[main.top] for name, curve in zip(NAMES, curves, strict=True)},
        "significance": _significance(lit, curves),
        "kind": PARTICLE if main.is_hit else kind_of(_signs(lit, curves, peak)),
        "flags": "+".join(_flags(lit, curves)),
    }


def _signs(lit: Lit, curves: Sequence[Curve], peak: Sequence[float]) -> Signs:
    """Return what tells the kind of light with these peaks in the photometers, NaN where one is missing."""
    main = _brightest(lit)
    over = [light_over_flanks(curve.excess, curve.background, main) for curve in curves]
    light, error = np.where(np.isnan(peak), np.nan, np.array(over).T)
    return Signs(
        lit=(0 in lit, 1 in lit, 2 in lit),
        peak=_three(peak),
        least=_three(light - _SURE * error),
        most=_three(light + _SURE * error),
        rise=main.rise[2] - main.rise[0],
        width=main.width,
        glow=_glow(curves, main.top) if 0 in lit and 1 in lit else 0.0,
    )


def _three(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float, float]:
    blue, ultraviolet, oxygen = (float(value) for value in values)
    return blue, ultraviolet, oxygen


def _delay(lit: Lit, curves: Sequence[Curve]) -> float:
    if not (0 in lit and 2 in lit):
        return np.nan
    return (half_time(curves[2].excess, lit[2]) - half_time(curves[0].excess, lit[0])) * _MS


def _significance(lit: Lit, curves: Sequence[Curve]) -> float:
    """Return the root of the sum of s^2 / r over photometers and the parts of a pulse."""
    squares = 0.0
    for i, feature in lit.items():
        own, total = (segments(values, feature) for values in (curves[i].excess, curves[i].recorded))
        squares += float((np.maximum(own, 0.0) ** 2 / np.maximum(total, 1.0)).sum())
    return float(np.sqrt(squares))


def _glow(curves: Sequence[Curve], top: int) -> float:
    """Return by how much 337 nm outshines 777.4 nm in most parts of the time after a pulse, 0 unless significantly."""
    after = slice(top + _GLOW_FROM, top + _GLOW_TO)
    blue, oxygen = (curves[i].excess[after] for i in (0, 2))
    parts = blue.size // _GLOW_PART
    if not parts:
        return 0.0
    beyond, total = (
        values[: parts * _GLOW_PART].reshape(parts, _GLOW_PART).mean(axis=1)
        for values in (blue - oxygen, blue + oxygen + curves[0].background[after] + curves[2].background[after])
    )
    least = float(np.quantile(beyond, 0.25))
    noise = float(np.sqrt(max(np.median(total), 1 / _GLOW_PART) / _GLOW_PART))
    return least if least > _GLOW_SIGMA * noise else 0.0


def _flags(lit: Lit, curves: Sequence[Curve]) -> list[str]:
    """Return what limits the values of a pulse."""
    samples = curves[0].excess.size
    first = min(feature.first for feature in lit.values())
    last = max(feature.last for feature in lit.values())
    around = slice(max(first - 1, 0), last + 1)
    unknown = np.array([~curve.is_known[around] for curve in curves])
    found = {
        "gap": unknown.all(axis=0).any(),
        "end": first <= 0 or last >= samples,
        "missing": (unknown.any(axis=0) & ~unknown.all(axis=0)).any(),
        "saturated": any(_is_saturated(curve.recorded[around], i) for i, curve in enumerate(curves)),
        "blend": any(feature.is_blend for feature in lit.values()),
    }
    return [flag for flag, is_set in found.items() if is_set]


def _is_saturated(counts: NDArray[np.float64], number: int) -> bool:
    limit = min(COUNTER_LIMIT, _SATURATED / DEAD_TIME[number])
    return bool((counts >= limit).any())
