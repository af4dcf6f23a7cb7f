"""Hand-made statistics of the photon counts of a frame."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter, uniform_filter1d
from scipy.signal import find_peaks

from asim_cvae.instrument import PHOTOMETERS
from asim_cvae.simulator.pulses import SAMPLES_PER_MS

Counts = NDArray[np.int64]
"""(T,) or (3, T)."""

_LAGS = (1, 10, 100)
_QUANTILES = (0.9, 0.99, 0.999)
_LOCAL = 101  # samples of the median that spikes stand out from
_SPIKE_SAMPLES = 6
_DETECTION = 5.0  # standard deviations
_SMOOTH = 30  # samples: pulses are slower than spikes
_SCALES = (3, 12, 48, 192)  # samples


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
    level = median_filter(counts.astype(np.float64), _LOCAL)
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
    """What peak finding on four time scales says of a frame (3, T): numbers of peaks and what 337 and 777.4 nm share."""
    light = counts.astype(np.float64)
    quiet = np.sort(light[:, : light.shape[1] // 50 * 50].reshape(3, -1, 50).mean(axis=2), axis=1)
    background = np.maximum(quiet[:, : quiet.shape[1] // 4].mean(axis=1), 0.02)
    features: list[float] = []
    everywhere = []
    for scale in _SCALES:
        total = uniform_filter1d(light, scale, axis=1) * scale
        found = [_peaks(row, level * scale) for row, level in zip(total, background, strict=True)]
        everywhere += found
        features += [*map(len, found), *_shared(total - scale * background[:, None], background * scale, found, scale)]
    merged = np.sort(np.concatenate(everywhere))
    return [*features, float(1 + (np.diff(merged) > 40).sum()) if merged.size else 0.0]


def _peaks(total: NDArray[np.float64], level: float) -> NDArray[np.int64]:
    least = max(6.0, _DETECTION * np.sqrt(level))
    position, found = find_peaks(total, height=level + least, prominence=6.0)
    return position[found["prominences"] > 0.9 * _DETECTION * np.sqrt(total[position])]


def _shared(
    excess: NDArray[np.float64], level: NDArray[np.float64], peaks: list[NDArray[np.int64]], scale: int
) -> list[float]:
    """Coincident peaks, the share of their counts, and the share of detectable light that the other photometer sees."""
    reach = max(scale, 20)
    blue, oxygen = peaks[0], peaks[2]
    near = np.abs(blue[:, None] - oxygen) <= reach
    heights = excess[0][blue], excess[2][oxygen]
    paired = heights[0][near.any(axis=1)].sum() + heights[1][near.any(axis=0)].sum()
    lit = [row * (row > _DETECTION * np.sqrt(floor + 1)) for row, floor in zip(excess, level, strict=True)]
    around = [uniform_filter1d((row > 0).astype(np.float64), 2 * reach + 1) > 0 for row in lit]
    both = lit[0][around[2]].sum() + lit[2][around[0]].sum()
    return [
        float(min(near.any(axis=1).sum(), near.any(axis=0).sum())),
        float(paired / (heights[0].sum() + heights[1].sum() + 1)),
        float(both / (lit[0].sum() + lit[2].sum() + 1)),
        float(lit[0].sum() / scale),
        float(lit[2].sum() / scale),
        float(np.minimum(lit[0] / (lit[0].sum() + 1), lit[2] / (lit[2].sum() + 1)).sum()),
    ]
