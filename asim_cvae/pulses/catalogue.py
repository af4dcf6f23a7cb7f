"""Catalogue the pulses of a whole observation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asim_cvae.instrument.observation import Observation
from asim_cvae.instrument.photometers import COUNTER_LIMIT, DEAD_TIME, SAMPLE_PERIOD_US, SAMPLING_RATE
from asim_cvae.pulses.background import estimate_background
from asim_cvae.pulses.columns import NAMES, Table, make_table
from asim_cvae.pulses.hits import find_hits, hit_features, without_hits
from asim_cvae.pulses.kinds import PARTICLE, Signs, kind_of
from asim_cvae.pulses.matching import Lit, match
from asim_cvae.pulses.measurement import Feature, forced_peak, half_time, light_over_flanks, measure, parts, valleys
from asim_cvae.pulses.scan import Sums
from asim_cvae.pulses.separation import find_maxima

_MS = 1000 / SAMPLING_RATE
_SATURATED = 0.4  # share of a sample that a counter is dead from which its light is not known well
_GLOW_FROM, _GLOW_TO = 500, 5000  # samples after the peak of a blue jet in which its body glows
_GLOW_PART = 500  # samples in which it has to outshine 777.4 nm
_GLOW_SIGMA = 3.0
_SURE = 2.0  # deviations between the least and the most light that a pulse may have


class Marks:
    """Marks of T samples that are looked up often.

    Args:
        mask: (T,) which samples are marked.
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.mask = mask
        self._before = np.concatenate([[0], np.cumsum(mask, dtype=np.int32)])

    def any(self, first: int, last: int) -> bool:
        """Tell whether any sample is marked from the ``first`` to that before the ``last``."""
        return bool(self._before[min(last, self.mask.size)] > self._before[max(first, 0)])


@dataclass(frozen=True)
class Curve:
    """What is known of one photometer's T samples.

    Attributes:
        known: where there is a sample, and not a gap.
        recorded: (T,) recorded counts, 0 in gaps.
        background: (T,) background rate in recorded counts.
        excess: (T,) light over the background in counts without dead time, 0 in gaps.
        features: what stands out.
    """

    known: Marks
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
    return make_table(_columns(pulses, curves, observation))


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
    return Curve(Marks(is_known), np.where(is_known, counts, 0.0), background, excess, features)


def _without_dead_time(counts: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    light: NDArray[np.float64] = counts / (1 - DEAD_TIME[number] * counts)
    return light


def _brightest(lit: Lit) -> Feature:
    """Return the feature with the highest peak."""
    return max(lit.values(), key=lambda feature: feature.peak)


def _columns(pulses: Sequence[Lit], curves: Sequence[Curve], observation: Observation) -> dict[str, ArrayLike]:
    """Return the columns of the catalogue."""
    mains = [_brightest(lit) for lit in pulses]
    q = observation.flux_per_count
    measured = [_peaks_and_counts(lit, main, curves) for lit, main in zip(pulses, mains, strict=True)]
    peaks, counts = np.array(measured).reshape(-1, 2, len(curves)).swapaxes(0, 1)
    fluence = counts * q * SAMPLE_PERIOD_US * 1e-6
    times = np.array([(*main.rise, main.top, *main.fall, main.width) for main in mains], np.int64).reshape(-1, 8)
    onset, _, risen, top, end, _, falling, width = times.T
    background = np.stack([curve.background[top] for curve in curves], axis=1)
    limits = _limits(curves)
    return {
        "pulse": np.arange(len(pulses)),
        "onset_utc": observation.start + (onset * SAMPLE_PERIOD_US).astype("m8[us]"),
        "onset_ms": onset * _MS,
        "peak_ms": top * _MS,
        "rise_ms": (risen - onset) * _MS,
        "decay_ms": (end - falling) * _MS,
        "width_ms": width * _MS,
        "delay_ms": [_delay(lit, curves) for lit in pulses],
        "photometers": ["+".join(NAMES[i] for i in sorted(lit)) for lit in pulses],
        **_of_photometers("peak_counts", peaks),
        **_of_photometers("peak_flux", peaks * q),
        **_of_photometers("fluence", fluence),
        "ratio_337_777": fluence[:, 0] / np.where(fluence[:, 2] > 0, fluence[:, 2], np.nan),
        **_of_photometers("background", np.where(np.isnan(peaks), np.nan, background)),
        "significance": [_significance(lit, curves) for lit in pulses],
        "kind": [
            PARTICLE if main.is_hit else kind_of(_signs(lit, main, curves, peak))
            for lit, main, peak in zip(pulses, mains, peaks.tolist(), strict=True)
        ],
        "flags": ["+".join(_flags(lit, limits)) for lit in pulses],
    }


def _of_photometers(name: str, values: NDArray[np.float64]) -> dict[str, ArrayLike]:
    """Return a column for each photometer, from values (n, 3)."""
    return {f"{name}_{short}": of_one for short, of_one in zip(NAMES, values.T, strict=True)}


def _peaks_and_counts(lit: Lit, main: Feature, curves: Sequence[Curve]) -> tuple[list[float], list[float]]:
    """Return the peaks of a pulse in the photometers and the counts in its light, NaN where one is missing."""
    peaks, counts = [], []
    for i, curve in enumerate(curves):
        one = lit.get(i, main)
        is_missing = not curve.known.any(one.first, one.last)
        peaks.append(np.nan if is_missing else one.peak if i in lit else forced_peak(curve.excess, main))
        counts.append(np.nan if is_missing else float(curve.excess[one.first : one.last].sum()))
    return peaks, counts


def _signs(lit: Lit, main: Feature, curves: Sequence[Curve], peak: Sequence[float]) -> Signs:
    """Return what tells the kind of light with these peaks in the photometers, NaN where one is missing."""
    over = [
        (np.nan, np.nan) if np.isnan(one) else light_over_flanks(curve.excess, curve.background, main)
        for one, curve in zip(peak, curves, strict=True)
    ]
    return Signs(
        lit=(0 in lit, 1 in lit, 2 in lit),
        peak=_three(peak),
        least=_three([light - _SURE * error for light, error in over]),
        most=_three([light + _SURE * error for light, error in over]),
        rise=main.rise[2] - main.rise[0],
        width=main.width,
        glow=_glow(curves, main.top) if 0 in lit and 1 in lit else 0.0,
    )


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    blue, ultraviolet, oxygen = values
    return blue, ultraviolet, oxygen


def _delay(lit: Lit, curves: Sequence[Curve]) -> float:
    if not (0 in lit and 2 in lit):
        return np.nan
    return (half_time(curves[2].excess, lit[2]) - half_time(curves[0].excess, lit[0])) * _MS


def _significance(lit: Lit, curves: Sequence[Curve]) -> float:
    """Return the root of the sum of s^2 / r over photometers and the parts of a pulse."""
    squares = 0.0
    for i, feature in lit.items():
        own, total = (
            np.add.reduceat(values[: feature.last], parts(feature)) for values in (curves[i].excess, curves[i].recorded)
        )
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


def _limits(curves: Sequence[Curve]) -> dict[str, Marks]:
    """Mark the samples that limit the values of pulses beside them, by flag."""
    known = np.array([curve.known.mask for curve in curves]).sum(axis=0)
    most = np.minimum(COUNTER_LIMIT, _SATURATED / DEAD_TIME)
    saturated = [curve.recorded >= limit for curve, limit in zip(curves, most, strict=True)]
    return {
        "gap": Marks(known == 0),
        "missing": Marks((known > 0) & (known < len(curves))),
        "saturated": Marks(np.logical_or.reduce(saturated)),
    }


def _flags(lit: Lit, limits: Mapping[str, Marks]) -> list[str]:
    """Return what limits the values of a pulse."""
    samples = limits["gap"].mask.size
    first = min(feature.first for feature in lit.values())
    last = max(feature.last for feature in lit.values())
    beside = {flag: marks.any(first - 1, last + 1) for flag, marks in limits.items()}
    found = {
        "gap": beside["gap"],
        "end": first <= 0 or last >= samples,
        "missing": beside["missing"],
        "saturated": beside["saturated"],
        "blend": any(feature.is_blend for feature in lit.values()),
    }
    return [flag for flag, is_set in found.items() if is_set]
