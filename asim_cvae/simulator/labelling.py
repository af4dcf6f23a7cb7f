"""Find the peaks of noise-free light, and label simulated frames by a rule on them."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from asim_cvae.frames.slicing import slice_frames
from asim_cvae.instrument.classes import NOISE

_MIN_PROMINENCE = 0.2  # counts per sample; lower peaks in a frame are never detectable


@dataclass(frozen=True)
class Peaks:
    """The n peaks of the noise-free light in some frames, ordered by photometer, then by frame, then by position.

    They are peaks of the light over the background, so that a background that drifts has none.

    Attributes:
        frames: number of frames.
        photometer: (n,) index of the photometer.
        frame: (n,) frame number.
        position: (n,) sample of the peak, from the frame's start.
        width: (n,) width at half of the prominence (height over the higher saddle), in samples, at least 1.
        counts: (n,) prominence times width.
        significance: (n,) counts in units of the Poisson standard deviation of all light within the width, taken to be
            as bright as at the peak: prominence times the root of width / light at the peak.
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
        """Sum ``values`` (n,) over the peaks of each frame; returns (frames,)."""
        return np.bincount(self.frame, values, self.frames)

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the indices (m,) and (m,) of all pairs of a 337 nm peak and a 777.4 nm peak in the same frame."""
        blue, oxygen = (np.flatnonzero(self.photometer == photometer) for photometer in (0, 2))
        # Peaks are ordered by frame: the partners of each blue peak are consecutive, from first to last - 1.
        first, last = (np.searchsorted(self.frame[oxygen], self.frame[blue], side) for side in ("left", "right"))
        partners = last - first
        pairs_before = np.cumsum(partners) - partners
        return np.repeat(blue, partners), oxygen[np.arange(partners.sum()) + np.repeat(first - pairs_before, partners)]


_FINITE = np.finfo(np.float64).max


def frame_peaks(light: NDArray[np.float64], background: NDArray[np.float64]) -> Peaks:
    """Find the peaks in each whole frame of an observation.

    Args:
        light: (3, T) noise-free light in expected counts per sample.
        background: (3, T) background rate; the light is taken to fall to it at both ends of a frame, so that a pulse
            cut by the end has its peak there.
    """
    return find_light_peaks(slice_frames(light), slice_frames(background), _MIN_PROMINENCE)


def find_light_peaks(light: NDArray[np.float64], background: NDArray[np.float64], min_prominence: float) -> Peaks:
    """Find the peaks in frames of any length.

    Args:
        light: (frames, 3, T) noise-free light in expected counts per sample.
        background: (frames, 3, T) background rate.
        min_prominence: smallest prominence of a peak, in counts per sample.
    """
    by_photometer = enumerate(zip(light.swapaxes(0, 1), background.swapaxes(0, 1), strict=True))
    columns = [_peaks(lit, dark, photometer, min_prominence) for photometer, (lit, dark) in by_photometer]
    return Peaks(len(light), *map(np.concatenate, zip(*columns, strict=True)))


def _peaks(
    light: NDArray[np.float64], background: NDArray[np.float64], photometer: int, min_prominence: float
) -> tuple[NDArray[Any], ...]:
    """Return the columns of :class:`Peaks` for one photometer's light and background, (frames, T) each."""
    # All frames are searched in one call. A sample of infinite height between them separates their prominences.
    padded = np.full((len(light), light.shape[1] + 3), np.inf)
    padded[:, 1:-2] = light - background
    padded[:, [0, -2]] = 0.0
    index, properties = find_peaks(
        padded.ravel(), height=(None, _FINITE), prominence=min_prominence, width=0, rel_height=0.5
    )
    frame, position = np.divmod(index, padded.shape[1])
    position -= 1
    prominence, width = properties["prominences"], np.maximum(properties["widths"], 1.0)
    significance = prominence * np.sqrt(width / light[frame, position])
    return np.full(index.size, photometer), frame, position, width, prominence * width, significance


@dataclass(frozen=True)
class Measures:
    """Quantities that a :class:`LabelRule` compares with its thresholds.

    Attributes:
        detectable: (frames,) number of detectable peaks in all photometers.
        spikes: (frames,) number of spikes among them.
        pairs: (frames,) number of correlated pairs among them.
        correlated_share: (frames,) share of the detectable peaks' counts that is in correlated ones.
    """

    detectable: NDArray[np.float64]
    spikes: NDArray[np.float64]
    pairs: NDArray[np.float64]
    correlated_share: NDArray[np.float64]


@dataclass(frozen=True)
class LabelRule:
    """Rule that derives a frame's label from the peaks of its noise-free light.

    A peak is *detectable* if its significance is at least ``detection`` and its counts at least ``least_counts``. A
    detectable peak no wider than ``spike_samples`` is a *spike*. A peak in 337 nm and one in 777.4 nm are *correlated*
    if their distance is at most ``coincidence`` samples or the mean of their widths, whichever is larger, and the
    fainter has at least ``pair_ratio`` of the brighter's counts. The trace of 777.4 nm in a blue discharge is therefore
    not a correlation.

    The label is:

    - N (noise) if all detectable peaks are spikes, and no more than ``stray_spikes`` of them.
    - HC (high correlation) if correlated peaks hold at least ``correlated_share`` of the counts of all detectable
      peaks, otherwise LC.
    - HA (high activity) if there are at least ``high_activity`` detectable peaks, a correlated pair counting as one,
      otherwise LA.

    A frame is *ambiguous* if its label changes when one of the four thresholds detection, stray_spikes,
    correlated_share and high_activity is multiplied or divided by ``1 - margin``.
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
        """Measure each frame's quantities that the thresholds apply to."""
        detectable = peaks[(peaks.significance >= self.detection) & (peaks.counts >= self.least_counts)]
        correlated = self._correlated(detectable)
        counts = detectable.sums(detectable.counts)
        blue, oxygen = (detectable.sums(correlated & (detectable.photometer == photometer)) for photometer in (0, 2))
        return Measures(
            detectable=detectable.sums(np.ones(detectable.frame.size)),
            spikes=detectable.sums(detectable.width <= self.spike_samples),
            pairs=np.minimum(blue, oxygen),
            correlated_share=detectable.sums(correlated * detectable.counts) / np.where(counts, counts, 1.0),
        )

    def _correlated(self, peaks: Peaks) -> NDArray[np.bool_]:
        """Return whether each peak (n,) is correlated with a peak of the other photometer."""
        blue, oxygen = peaks.pairs()
        distance = np.abs(peaks.position[blue] - peaks.position[oxygen])
        coincident = distance <= np.maximum(self.coincidence, (peaks.width[blue] + peaks.width[oxygen]) / 2)
        fainter = np.minimum(peaks.counts[blue], peaks.counts[oxygen])
        brighter = np.maximum(peaks.counts[blue], peaks.counts[oxygen])
        chosen = coincident & (fainter >= self.pair_ratio * brighter)
        correlated = np.zeros(peaks.frame.size, dtype=bool)
        correlated[blue[chosen]] = correlated[oxygen[chosen]] = True
        return correlated

    def label_light(
        self, light: NDArray[np.float64], background: NDArray[np.float64]
    ) -> tuple[NDArray[np.str_], NDArray[np.bool_]]:
        """Label the whole frames of an observation's light, see :func:`frame_peaks` and :meth:`label_frames`."""
        return self.label_frames(frame_peaks(light, background))

    def label_frames(self, peaks: Peaks) -> tuple[NDArray[np.str_], NDArray[np.bool_]]:
        """Return the label of each frame, (frames,), and whether it is ambiguous, (frames,)."""
        measures = self.measure(peaks)
        label = self._labels(measures)
        # The other thresholds apply to the same measures; only detection changes which peaks are measured.
        neighbours = [rule._labels(rule.measure(peaks)) for rule in _neighbours(self, "detection")] + [
            rule._labels(measures)
            for threshold in ("stray_spikes", "correlated_share", "high_activity")
            for rule in _neighbours(self, threshold)
        ]
        return label, (np.array(neighbours) != label).any(axis=0)

    def _labels(self, measures: Measures) -> NDArray[np.str_]:
        noise = (measures.detectable == measures.spikes) & (measures.spikes <= self.stray_spikes)
        correlation = np.where(measures.correlated_share >= self.correlated_share, "HC", "LC")
        activity = np.where(measures.detectable - measures.pairs >= self.high_activity, "HA", "LA")
        return np.where(noise, NOISE, np.strings.add(correlation, activity))


@cache
def _neighbours(rule: LabelRule, threshold: str) -> tuple[LabelRule, LabelRule]:
    """Return the rules with a threshold lowered and raised by the margin, within which a label is ambiguous."""
    lower, higher = (
        replace(rule, **{threshold: factor * getattr(rule, threshold)})
        for factor in (1 - rule.margin, 1 / (1 - rule.margin))
    )
    return lower, higher
