"""The label of each frame by a rule on its light before noise."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from asim_cvae.frames.slicing import FRAME_SAMPLES, slice_frames
from asim_cvae.instrument.classes import NOISE

_LOWEST = 0.2  # counts: lower rises are never detectable


@dataclass(frozen=True)
class Peaks:
    """Peaks of the noise-free light in a number of ``frames``, (n,) each, in order of photometer and frame.

    ``photometer`` and ``frame`` from 0; ``position`` in samples from a frame's start; ``width`` at half of the
    prominence, in samples; ``counts`` prominence times width; ``significance`` counts over the Poisson deviation of all
    light within the width.
    """

    frames: int
    photometer: NDArray[np.int64]
    frame: NDArray[np.int64]
    position: NDArray[np.int64]
    width: NDArray[np.float64]
    counts: NDArray[np.float64]
    significance: NDArray[np.float64]

    def __getitem__(self, chosen: NDArray[np.bool_]) -> "Peaks":
        return Peaks(
            self.frames,
            self.photometer[chosen],
            self.frame[chosen],
            self.position[chosen],
            self.width[chosen],
            self.counts[chosen],
            self.significance[chosen],
        )

    def sums(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sums over the peaks of each frame, (frames,), of ``values`` (n,)."""
        return np.bincount(self.frame, values, self.frames)

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices of each peak in 337 nm and of each in 777.4 nm that is in the same frame, all pairs of them."""
        blue, oxygen = (np.flatnonzero(self.photometer == photometer) for photometer in (0, 2))
        first, last = (np.searchsorted(self.frame[oxygen], self.frame[blue], side) for side in ("left", "right"))
        partners = last - first
        before = np.cumsum(partners) - partners
        return np.repeat(blue, partners), oxygen[np.arange(partners.sum()) + np.repeat(first - before, partners)]


_FINITE = np.finfo(np.float64).max


def frame_peaks(light: NDArray[np.float64], background: NDArray[np.float64]) -> Peaks:
    """Peaks in each whole frame of noise-free ``light`` (3, T).

    ``background`` (3,) is what is beyond a frame's ends.
    """
    frames = slice_frames(light)
    found = [_peaks(frames[:, photometer], photometer, level) for photometer, level in enumerate(background)]
    return Peaks(len(frames), *map(np.concatenate, zip(*found, strict=True)))


def _peaks(frames: NDArray[np.float64], photometer: int, level: float) -> tuple[NDArray[Any], ...]:
    """All columns of :class:`Peaks` for one photometer's light in frames (frames, samples)."""
    framed = np.full((len(frames), FRAME_SAMPLES + 3), np.inf)  # walls, beyond which no prominence is measured
    framed[:, 1:-2] = frames
    framed[:, [0, -2]] = level  # what leaks in over an end is a peak there
    found, measured = find_peaks(framed.ravel(), height=(None, _FINITE), prominence=_LOWEST, width=0, rel_height=0.5)
    frame, position = np.divmod(found, framed.shape[1])
    prominence, width = measured["prominences"], np.maximum(measured["widths"], 1.0)
    significance = prominence * np.sqrt(width / measured["peak_heights"])
    return np.full(found.size, photometer), frame, position - 1, width, prominence * width, significance


@dataclass(frozen=True)
class Measures:
    """Of each frame, (frames,) each: numbers of detectable peaks in all photometers, of spikes and of correlated pairs
    among them, and the share of their counts that is in correlated ones.
    """

    detectable: NDArray[np.float64]
    spikes: NDArray[np.float64]
    pairs: NDArray[np.float64]
    correlated_share: NDArray[np.float64]


@dataclass(frozen=True)
class LabelRule:
    """How a frame's label follows from the peaks of its noise-free light.

    A peak is *detectable* from a significance of ``detection`` and ``least_counts`` counts on, and a *spike* up to a
    width of ``spike_samples``. A peak in 337 and one in 777.4 nm are *correlated* if they are no farther apart than the
    mean of their widths, or ``coincidence`` samples, and the fainter has ``pair_ratio`` of the brighter's counts: what
    little of a blue discharge is in 777.4 nm makes no correlation.

    - N: nothing is detectable but up to ``stray_spikes`` spikes.
    - HC if correlated peaks hold at least ``correlated_share`` of the counts of all detectable peaks, else LC.
    - HA from ``high_activity`` detectable peaks on, a correlated pair counted once, else LA.

    A frame is *ambiguous* if its label changes when one of detection, stray_spikes, correlated_share and high_activity
    falls by ``margin`` of itself or rises as much in ratio.
    """

    detection: float
    least_counts: float
    spike_samples: float
    coincidence: float
    pair_ratio: float
    stray_spikes: float
    correlated_share: float
    high_activity: float
    margin: float

    def measure(self, peaks: Peaks) -> Measures:
        """What the rule looks at in each frame."""
        seen = peaks[(peaks.significance >= self.detection) & (peaks.counts >= self.least_counts)]
        correlated = self._correlated(seen)
        counts = seen.sums(seen.counts)
        return Measures(
            detectable=seen.sums(np.ones(seen.frame.size)),
            spikes=seen.sums(seen.width <= self.spike_samples),
            pairs=np.minimum(*(seen.sums(correlated & (seen.photometer == photometer)) for photometer in (0, 2))),
            correlated_share=seen.sums(correlated * seen.counts) / np.where(counts, counts, 1.0),
        )

    def _correlated(self, peaks: Peaks) -> NDArray[np.bool_]:
        """Which peaks have a partner in the other photometer."""
        blue, oxygen = peaks.pairs()
        apart = np.abs(peaks.position[blue] - peaks.position[oxygen])
        near = apart <= np.maximum(self.coincidence, (peaks.width[blue] + peaks.width[oxygen]) / 2)
        fainter, brighter = (of(peaks.counts[blue], peaks.counts[oxygen]) for of in (np.minimum, np.maximum))
        near &= fainter >= self.pair_ratio * brighter
        correlated = np.zeros(peaks.frame.size, dtype=bool)
        correlated[blue[near]] = correlated[oxygen[near]] = True
        return correlated

    def label_frames(self, peaks: Peaks) -> tuple[NDArray[np.str_], NDArray[np.bool_]]:
        """Label of each frame with these ``peaks``, and whether it is ambiguous."""
        found = self.measure(peaks)
        label = self._labels(found)
        neighbours = [rule._labels(rule.measure(peaks)) for rule in _neighbours(self, "detection")] + [
            rule._labels(found)
            for threshold in ("stray_spikes", "correlated_share", "high_activity")
            for rule in _neighbours(self, threshold)
        ]
        return label, (np.array(neighbours) != label).any(axis=0)

    def _labels(self, found: Measures) -> NDArray[np.str_]:
        noise = (found.detectable == found.spikes) & (found.spikes <= self.stray_spikes)
        correlation = np.where(found.correlated_share >= self.correlated_share, "HC", "LC")
        activity = np.where(found.detectable - found.pairs >= self.high_activity, "HA", "LA")
        return np.where(noise, NOISE, np.strings.add(correlation, activity))


@cache
def _neighbours(rule: LabelRule, threshold: str) -> tuple[LabelRule, LabelRule]:
    lower, higher = (
        replace(rule, **{threshold: factor * getattr(rule, threshold)})
        for factor in (1 - rule.margin, 1 / (1 - rule.margin))
    )
    return lower, higher
