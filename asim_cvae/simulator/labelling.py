"""The class of a frame by a rule on its light before noise."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks, peak_widths

from asim_cvae.classes import NOISE

_LOWEST = 0.2  # counts: lower rises are never detectable


@dataclass(frozen=True)
class Peaks:
    """Peaks of one photometer's noise-free light in a frame, (n,) each.

    ``position`` in samples; ``width`` at half of the prominence, in samples; ``counts`` prominence times width;
    ``significance`` counts over the Poisson deviation of all light within the width.
    """

    position: NDArray[np.int64]
    width: NDArray[np.float64]
    counts: NDArray[np.float64]
    significance: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.position)

    def __getitem__(self, chosen: NDArray[np.bool_]) -> "Peaks":
        return Peaks(self.position[chosen], self.width[chosen], self.counts[chosen], self.significance[chosen])


_NO_PEAKS = Peaks(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), np.zeros(0))


def frame_peaks(light: NDArray[np.float64], background: NDArray[np.float64]) -> tuple[Peaks, ...]:
    """Peaks of each photometer in a frame's noise-free light (3, T); ``background`` (3,) is what is beyond its ends."""
    return tuple(_peaks(row, level) for row, level in zip(light, background, strict=True))


def _peaks(light: NDArray[np.float64], level: float) -> Peaks:
    if light.max() < min(level, light.min()) + _LOWEST:
        return _NO_PEAKS
    framed = np.concatenate([[level], light, [level]])  # what leaks in over an end is a peak there
    position, found = find_peaks(framed, prominence=_LOWEST)
    prominence = found["prominences"]
    bases = (prominence, found["left_bases"], found["right_bases"])
    width = np.maximum(peak_widths(framed, position, rel_height=0.5, prominence_data=bases)[0], 1.0)
    return Peaks(position - 1, width, prominence * width, prominence * np.sqrt(width / framed[position]))


@dataclass(frozen=True)
class Measures:
    """Numbers of detectable peaks in all photometers, of spikes and of correlated pairs among them, and the share of
    their counts that is in correlated ones.
    """

    detectable: int
    spikes: int
    pairs: int
    correlated_share: float


@dataclass(frozen=True)
class Rule:
    """How a frame's class follows from the peaks of its noise-free light.

    A peak is *detectable* from a significance of ``detection`` and ``least_counts`` counts on, and a *spike* up to a
    width of ``spike_samples``. A peak in 337 and one in 777.4 nm are *correlated* if they are no farther apart than the
    mean of their widths, or ``coincidence`` samples, and the fainter has ``pair_ratio`` of the brighter's counts: what
    little of a blue discharge is in 777.4 nm makes no correlation.

    - N: nothing is detectable but up to ``stray_spikes`` spikes.
    - HC if correlated peaks hold at least ``correlated_share`` of the counts of all detectable peaks, else LC.
    - HA from ``high_activity`` detectable peaks on, a correlated pair counted once, else LA.

    A frame is *ambiguous* if its class changes when one of detection, stray_spikes, correlated_share and high_activity
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

    def measure(self, peaks: Sequence[Peaks]) -> Measures:
        """What the rule looks at, of ``peaks`` in 337 nm, ultraviolet and 777.4 nm."""
        seen = [p[(p.significance >= self.detection) & (p.counts >= self.least_counts)] for p in peaks]
        if not any(map(len, seen)):
            return Measures(0, 0, 0, 0.0)
        blue, _, oxygen = seen
        near = np.abs(blue.position[:, None] - oxygen.position) <= np.maximum(
            self.coincidence, (blue.width[:, None] + oxygen.width) / 2
        )
        fainter, brighter = (of(blue.counts[:, None], oxygen.counts) for of in (np.minimum, np.maximum))
        near &= fainter >= self.pair_ratio * brighter
        pairs = blue[near.any(axis=1)], oxygen[near.any(axis=0)]
        counts = sum(float(p.counts.sum()) for p in seen)
        return Measures(
            detectable=sum(map(len, seen)),
            spikes=sum(int((p.width <= self.spike_samples).sum()) for p in seen),
            pairs=min(map(len, pairs)),
            correlated_share=sum(float(p.counts.sum()) for p in pairs) / counts if counts else 0.0,
        )

    def frame_class(self, peaks: Sequence[Peaks]) -> str:
        """Class of a frame with these ``peaks`` in 337 nm, ultraviolet and 777.4 nm."""
        return self._class(self.measure(peaks))

    def is_ambiguous(self, peaks: Sequence[Peaks]) -> bool:
        """Whether the frame's class hangs on a threshold."""
        found = self.measure(peaks)
        label = self._class(found)
        return any(self._class(rule.measure(peaks)) != label for rule in _neighbours(self, "detection")) or any(
            rule._class(found) != label
            for threshold in ("stray_spikes", "correlated_share", "high_activity")
            for rule in _neighbours(self, threshold)
        )

    def _class(self, found: Measures) -> str:
        if found.detectable == found.spikes <= self.stray_spikes:
            return NOISE
        correlation = "HC" if found.correlated_share >= self.correlated_share else "LC"
        return correlation + ("HA" if found.detectable - found.pairs >= self.high_activity else "LA")


@cache
def _neighbours(rule: Rule, threshold: str) -> tuple[Rule, Rule]:
    lower, higher = (
        replace(rule, **{threshold: factor * getattr(rule, threshold)})
        for factor in (1 - rule.margin, 1 / (1 - rule.margin))
    )
    return lower, higher
