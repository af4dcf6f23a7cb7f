"""Compute hand-made statistics and features of a frame's photon counts."""

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
"""Photon counts of one photometer (T,) or of all (3, T)."""

Light = NDArray[np.float64]
"""Counts that are not integers (smoothed, summed, or expected): (T,), (3, T), or one value per photometer (3,)."""

_LAGS = (1, 10, 100)  # samples
_QUANTILES = (0.9, 0.99, 0.999)
_LOCAL = 100  # samples of the local median, above which spikes stand out
_SPIKE_SAMPLES = 6  # longest spike
_DETECTION = 5.0  # standard deviations from which a peak is detectable
_SMOOTH = 30  # samples: longer than spikes, shorter than pulses
_SCALES = (3, 12, 48, 192)  # samples over which counts are summed to find peaks
_RULE_SCALES, _RULE_DETECTIONS = (3, 9, 27), (4.0, 5.0, 7.0)  # smoothing in samples, and values of LabelRule.detection
_MIN_COUNTS = 6.0  # counts of the smallest peak
_MIN_DISTANCE = 40  # samples: peaks that are closer count as one
_BLOCK = 50  # samples: the background rate is the mean of the lower half of block means
_MIN_BACKGROUND = 0.02  # counts per sample


def frame_statistics(counts: Counts) -> dict[str, float]:
    """Compute statistics of a frame's counts (3, T), by name; NaN if one has no value (the width of absent spikes)."""
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
    """Find spikes: runs of at most 6 samples above the local median by five standard deviations."""
    level = np.repeat(np.median(counts.reshape(-1, _LOCAL), axis=1), _LOCAL)
    high = counts > level + _DETECTION * np.sqrt(level + 0.5)  # + 0.5: a median of 0 has no deviation
    edges = np.flatnonzero(np.diff(np.concatenate([[0], high.astype(np.int8), [0]])))
    first, last = edges[::2], edges[1::2]
    short = last - first <= _SPIKE_SAMPLES
    runs = list(zip(first[short], last[short], strict=True))
    yield "spikes", len(runs)
    yield "median spike height (counts)", np.median([counts[a:b].max() for a, b in runs]) if runs else np.nan
    yield "mean spike width (samples)", np.mean([b - a for a, b in runs]) if runs else np.nan


def _tallest_pulse(counts: Counts) -> Iterator[tuple[str, float]]:
    """Measure rise and decay time, 10 % to 90 % of the peak, of the tallest pulse after smoothing over 0.3 ms."""
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
    """Return the time in ms between the first values below ``high`` and below ``low``; NaN if none is below ``low``."""
    below_high, below_low = falling < high, falling < low
    if not below_low.any():
        return np.nan
    return (int(below_low.argmax()) - int(below_high.argmax())) / SAMPLES_PER_MS


def detection_features(counts: Counts) -> list[float]:
    """Compute features of a frame's counts (3, T): detectable peaks on several time scales, coincidence of the bands.

    Peaks are found in counts summed over a time scale. Coincidence is that of 337 and 777.4 nm.
    """
    return list(_peak_features(*_light_and_background(counts)))


def rule_features(counts: Counts, rule: LabelRule) -> list[float]:
    """Compute what a labelling rule measures, on a frame's counts (3, T) smoothed over several time scales."""
    return list(_rule_features(*_light_and_background(counts), rule))


def _light_and_background(counts: Counts) -> tuple[Light, Light]:
    """Return the counts as floats (3, T), and an estimate of the background rates (3,)."""
    light = counts.astype(np.float64)
    means = np.sort(light.reshape(3, -1, _BLOCK).mean(axis=2), axis=1)
    background = np.maximum(means[:, : means.shape[1] // 2].mean(axis=1), _MIN_BACKGROUND)
    return light, background


def _rule_features(light: Light, background: Light, rule: LabelRule) -> Iterator[float]:
    for scale in _RULE_SCALES:
        smooth = np.maximum(uniform_filter1d(light, scale, axis=1), _MIN_BACKGROUND)
        peaks = frame_peaks(smooth, np.broadcast_to(background[:, None], smooth.shape))
        for detection in _RULE_DETECTIONS:
            yield from np.concatenate(astuple(replace(rule, detection=detection).measure(peaks)))


def _peak_features(light: Light, background: Light) -> Iterator[float]:
    all_scales: list[list[NDArray[np.int64]]] = [[], [], []]
    for scale in _SCALES:
        # Zeros beyond the ends of the frame, so that a pulse cut by an end has a peak there.
        total = uniform_filter1d(light, scale, axis=1, mode="constant") * scale
        peaks = [_peaks(row, level * scale) for row, level in zip(total, background, strict=True)]
        for positions, new in zip(all_scales, peaks, strict=True):
            positions.append(new)
        yield from map(len, peaks)
        yield from _coincidence(total - scale * background[:, None], background * scale, peaks, scale)
    blue, ultraviolet, oxygen = map(np.concatenate, all_scales)
    # Distinct peaks of 337 nm, of 777.4 nm and of all bands together.
    for merged in (blue, oxygen, np.concatenate([blue, ultraviolet, oxygen])):
        yield float(1 + (np.diff(np.sort(merged)) > _MIN_DISTANCE).sum()) if merged.size else 0.0


def _peaks(total: Light, level: float) -> NDArray[np.int64]:
    """Return the positions of the detectable peaks in sums of counts (T,) above the background ``level``."""
    height = max(_MIN_COUNTS, _DETECTION * np.sqrt(level))
    position, properties = find_peaks(total, height=level + height, prominence=_MIN_COUNTS)
    detectable: NDArray[np.int64] = position[properties["prominences"] > 0.9 * _DETECTION * np.sqrt(total[position])]
    return detectable


def _coincidence(excess: Light, level: Light, peaks: list[NDArray[np.int64]], scale: int) -> Iterator[float]:
    """Compute how far the light of 337 and 777.4 nm coincides.

    Yields the numbers of peaks near one of the other band, 337 and 777.4 nm; their share of all peaks' counts; the
    share of detectable light that is near some of the other band; the detectable light in counts, 337 and 777.4 nm; the
    overlap of the two normalised light curves; and their correlation coefficient.

    Args:
        excess: (3, T) sums of counts above background.
        level: (3,) background in the same sums.
        peaks: positions of the peaks of each photometer.
        scale: samples summed.
    """
    reach = max(scale, _MIN_DISTANCE // 2)
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
