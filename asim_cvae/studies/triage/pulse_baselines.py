"""Plain ways to find pulses, with which the catalogue is compared."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from asim_cvae.instrument.observation import Observation
from asim_cvae.studies.triage.pulse_truths import Detections

THRESHOLD = 1.75
"""Flux in uW/m^2 from which a sample is lit."""

JOINED = 100
"""Samples, 1 ms, within which lit samples are one pulse."""

SMOOTHING = 5.0
"""Standard deviation of the Gaussian in samples."""

SIGMA = 5.0
"""Prominence of a peak of the smoothed counts, in standard deviations of the background's."""

_LIT = (0, 2)  # photometers whose flux reaches the threshold


def threshold_runs(observation: Observation) -> Detections:
    """Find runs of samples above :data:`THRESHOLD` at 337 or 777.4 nm, joined over :data:`JOINED` samples."""
    flux = np.nan_to_num(observation.flux)[list(_LIT)]
    samples = np.flatnonzero((flux > THRESHOLD).any(axis=0))
    runs = [run for run in np.split(samples, np.flatnonzero(np.diff(samples) > JOINED) + 1) if run.size]
    peaks, lit = [], []
    for run in runs:
        own = flux[:, run[0] : run[-1] + 1]
        peaks.append(run[0] + int(own.max(axis=0).argmax()))
        lit.append((bool((own[0] > THRESHOLD).any()), False, bool((own[1] > THRESHOLD).any())))
    return Detections(np.array(peaks, dtype=np.float64), np.array(lit, dtype=bool).reshape(-1, 3))


def smoothed_peaks(observation: Observation) -> Detections:
    """Find peaks of each photometer's smoothed counts by their prominence; those within 1 ms are one pulse."""
    found = []
    for number, counts in enumerate(np.nan_to_num(observation.counts).astype(np.float64)):
        found += [(peak, number) for peak in _smoothed_peaks(counts).tolist()]
    found.sort()
    places = np.array([place for place, _ in found], dtype=np.int64)
    groups = np.concatenate([[0], np.cumsum(np.diff(places) > JOINED)]) if found else np.zeros(0, np.int64)
    lit = np.zeros((int(groups[-1]) + 1 if found else 0, 3), dtype=bool)
    lit[groups, [number for _, number in found]] = True
    first = np.unique(groups, return_index=True)[1]
    return Detections(places[first].astype(np.float64), lit)


def _smoothed_peaks(counts: NDArray[np.float64]) -> NDArray[np.int64]:
    level = max(float(np.median(counts)), float(np.mean(np.minimum(counts, 3))), 1e-3)
    deviation = np.sqrt(level / (2 * np.sqrt(np.pi) * SMOOTHING))
    peaks, _ = find_peaks(gaussian_filter1d(counts, SMOOTHING), prominence=SIGMA * deviation, height=level)
    return np.asarray(peaks)
