"""Hand-made statistics of the photon counts of a frame."""

from collections.abc import Iterator
from dataclasses import astuple, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

from asim_cvae.instrument.photometers import PHOTOMETERS
from asim_cvae.simulator.labelling import LabelRule, frame_peaks
from asim_cvae.simulator.pulses import SAMPLES_PER_MS

Counts = NDArray[np.int64]
"""(T,) or (3, T)."""

Light = NDArray[np.float64]
"""Likewise, and of each photometer (3,)."""

_LAGS = (1, 10, 100)
_QUANTILES = (0.9, 0.99, 0.999)
_LOCAL = 100  # samples of the median that spikes stand out from
_SPIKE_SAMPLES = 6
_DETECTION = 5.0  # standard deviations
_SMOOTH = 30  # samples: pulses are slower than spikes
_SCALES = (3, 12, 48, 192)  # samples
_RULE_SCALES, _RULE_DETECTIONS = (3, 9, 27), (4.0, 5.0, 7.0)
_LEAST = 6.0  # counts of a peak
_APART = 40  # samples from which peaks are different ones
_BLOCK = 50  # samples: the quieter half of such means is background
_DARKEST = 0.02  # counts


def frame_statistics(counts: Counts) -> dict[str, float]:
    """Statistics of a frame's counts (3, T) by name; NaN where one has no value, as the width of spikes without any."""
    named = {}
    for photometer, row in zip(PHOTOMETERS, counts, strict=True):
        for part in (_levels(row), _correlations(row), _spikes(row), _tallest_pulse(row)):
            named.update({f"{photometer.band}: {name}": float(value) for name, value in part})
    return named


def _levels(counts: Counts) -> Iterator[tuple[str, float]]:
    yield "mean (counts)", counts.mean()
    yield "samples without a photon", (counts == 0).mean()
    for quantile in _QUANTILES:
        yield f"{100 * quantile:g} % level (counts)", np.quantile(counts, quantile)
    yield "highest (counts)", counts.max()
    yield "variance / mean", counts.var() / counts.mean() if counts.any() else np.nan


def _correlations(counts: Counts) -> Iterator[tuple[str, float]]:
    deviation = counts - counts.mean()
    for lag in _LAGS:
        product = (deviation[:-lag] * deviation[lag:]).mean()
        yield f"autocorrelation at {10 * lag} µs", product / counts.var() if counts.any() else np.nan


def _spikes(counts: Counts) -> Iterator[tuple[str, float]]:
    """Runs of at most 6 samples that stand out from the median around them."""
    level = np.repeat(np.median(counts.reshape(-1, _LOCAL), axis=1), _LOCAL)
    high = counts > level + _DETECTION * np.sqrt(level + 0.5)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], high.astype(np.int8), [0]])))
    first, last = edges[::2], edges[1::2]
    short = last - first <= _SPIKE_SAMPLES
    runs = list(zip(first[short], last[short], strict=True))
    yield "spikes", len(runs)
    yield "median spike height (counts)", np.median([counts[a:b].max() for a, b in runs]) if runs else np.nan
    yield "mean spike width (samples)", np.mean([b - a for a, b in runs]) if runs else np.nan


def _tallest_pulse(counts: Counts) -> Iterator[tuple[str, float]]:
    """Of the light smoothed over 0.3 ms, the time from a tenth of its highest peak to nine tenths, and back."""
    smooth = uniform_filter1d(counts.astype(np.float64), _SMOOTH)
    floor = np.median(smooth)
    peak = int(smooth.argmax())
    height = smooth[peak] - floor
    rise = decay = np.nan
    if height > _DETECTION * np.sqrt(max(floor, 0.1) / _SMOOTH) and height > 1:
        before, after = smooth[peak::-1] - floor, smooth[peak:] - floor
        rise, decay = (_time_between(side, 0.9 * height, 0.1 * height) for side in (before, after))
    yield "rise of the tallest pulse (ms)", rise
    yield "decay of the tallest pulse (ms)", decay


def _time_between(falling: NDArray[np.float64], high: float, low: float) -> float:
    below_high, below_low = falling < high, falling < low
    if not below_low.any():
        return np.nan
    return (int(below_low.argmax()) - int(below_high.argmax())) / SAMPLES_PER_MS


def detection_features(counts: Counts) -> list[float]:
    """What can be detected in a frame (3, T) on several time scales: peaks, and what 337 and 777.4 nm share.

    Peaks are found in sums over a scale.
    """
    return list(_peak_features(*_light_and_background(counts)))


def rule_features(counts: Counts, rule: LabelRule) -> list[float]:
    """What a labelling rule would measure in a frame's counts (3, T), smoothed over several scales."""
    return list(_rule_features(*_light_and_background(counts), rule))


def _light_and_background(counts: Counts) -> tuple[Light, Light]:
    light = counts.astype(np.float64)
    quiet = np.sort(light.reshape(3, -1, _BLOCK).mean(axis=2), axis=1)
    background = np.maximum(quiet[:, : quiet.shape[1] // 2].mean(axis=1), _DARKEST)
    return light, background


def _rule_features(light: Light, background: Light, rule: LabelRule) -> Iterator[float]:
    for scale in _RULE_SCALES:
        peaks = frame_peaks(np.maximum(uniform_filter1d(light, scale, axis=1), _DARKEST), background)
        for detection in _RULE_DETECTIONS:
            yield from np.concatenate(astuple(replace(rule, detection=detection).measure(peaks)))


def _peak_features(light: Light, background: Light) -> Iterator[float]:
    everywhere: list[list[NDArray[np.int64]]] = [[], [], []]
    for scale in _SCALES:
        total = uniform_filter1d(light, scale, axis=1, mode="constant") * scale  # what leaks in over an end is a peak
        found = [_peaks(row, level * scale) for row, level in zip(total, background, strict=True)]
        for positions, new in zip(everywhere, found, strict=True):
            positions.append(new)
        yield from map(len, found)
        yield from _shared(total - scale * background[:, None], background * scale, found, scale)
    blue, ultraviolet, oxygen = map(np.concatenate, everywhere)
    for peaks in (blue, oxygen, np.concatenate([blue, ultraviolet, oxygen])):
        yield float(1 + (np.diff(np.sort(peaks)) > _APART).sum()) if peaks.size else 0.0


def _peaks(total: Light, level: float) -> NDArray[np.int64]:
    least = max(_LEAST, _DETECTION * np.sqrt(level))
    position, found = find_peaks(total, height=level + least, prominence=_LEAST)
    clear: NDArray[np.int64] = position[found["prominences"] > 0.9 * _DETECTION * np.sqrt(total[position])]
    return clear


def _shared(excess: Light, level: Light, peaks: list[NDArray[np.int64]], scale: int) -> Iterator[float]:
    """Coincident peaks, their share of the counts, and how much of the detectable light is in both photometers."""
    reach = max(scale, _APART // 2)
    blue, oxygen = peaks[0], peaks[2]
    near = np.abs(blue[:, None] - oxygen) <= reach
    heights = excess[0][blue], excess[2][oxygen]
    paired = heights[0][near.any(axis=1)].sum() + heights[1][near.any(axis=0)].sum()
    lit = [row * (row > _DETECTION * np.sqrt(floor + 1)) for row, floor in zip(excess, level, strict=True)]
    around = [uniform_filter1d((row > 0).astype(np.float64), 2 * reach + 1) > 0 for row in lit]
    both = lit[0][around[2]].sum() + lit[2][around[0]].sum()
    yield from (near.any(axis=1).sum(), near.any(axis=0).sum())
    yield paired / (heights[0].sum() + heights[1].sum() + 1)
    yield both / (lit[0].sum() + lit[2].sum() + 1)
    yield from (lit[0].sum() / scale, lit[2].sum() / scale)
    yield np.minimum(lit[0] / (lit[0].sum() + 1), lit[2] / (lit[2].sum() + 1)).sum()
    yield np.corrcoef(lit[0], lit[2])[0, 1] if lit[0].any() and lit[2].any() else 0.0
