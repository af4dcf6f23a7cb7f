"""The true pulses of simulated observations, and which of them a detector finds."""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from asim_cvae.instrument.photometers import PHOTOMETERS, READOUT_SAMPLES
from asim_cvae.simulator.observation import SimulatedObservation
from asim_cvae.simulator.pulse_truth import PARTICLE, PULSE_COLUMNS, pulse_rows
from asim_cvae.simulator.pulses import SAMPLES_PER_MS

FAIR = 7.0
"""Significance and separation from which a true pulse has to be found."""

_LIGHT_TOLERANCE, _HIT_TOLERANCE = 5.0, 4.0  # samples
_SEEN = 2.0  # significance from which a pulse disturbs another
_TIMES = ("onset_ms", "rise_ms", "decay_ms", "width_ms", "delay_ms")


@dataclass(frozen=True)
class TruePulses:
    """The n true pulses of one observation, as :data:`~asim_cvae.simulator.pulse_truth.PULSE_COLUMNS` define them.

    Attributes:
        kind: (n,) kind of event.
        onset: (n,) in samples, as the next four; negative if it begins before the observation.
        rise: (n,) to 90 % of the peak.
        decay: (n,) from 90 to 10 %.
        width: (n,) at 50 %.
        delay: (n,) of 777.4 nm, NaN unless both are lit.
        peak: (n, 3) counts per sample.
        fluence: (n, 3) in uJ/m^2.
        significance: (n,) in standard deviations.
        separation: (n,) likewise.
        is_recorded: (n,) whether its peak is in no gap.
        samples: length of the observation.
    """

    kind: NDArray[np.str_]
    onset: NDArray[np.float64]
    rise: NDArray[np.float64]
    decay: NDArray[np.float64]
    width: NDArray[np.float64]
    delay: NDArray[np.float64]
    peak: NDArray[np.float64]
    fluence: NDArray[np.float64]
    significance: NDArray[np.float64]
    separation: NDArray[np.float64]
    is_recorded: NDArray[np.bool_]
    samples: int

    @classmethod
    def of(cls, observation: SimulatedObservation) -> "TruePulses":
        """Return the truth of a simulated observation."""
        rows = np.array([row[1:] for row in pulse_rows("", observation)]).reshape(-1, len(PULSE_COLUMNS) - 1)
        columns = dict(zip(PULSE_COLUMNS[1:], rows.T, strict=True))
        numbers = {name: np.array([float(cell or "nan") for cell in columns[name]]) for name in PULSE_COLUMNS[2:]}
        onset, rise, decay, width, delay = (numbers[name] * SAMPLES_PER_MS for name in _TIMES)
        samples = observation.scene.samples
        place = np.clip(onset + rise, 0, samples - 1).astype(int)
        peak, fluence = (
            np.column_stack([numbers[f"{name}_{photometer.name}"] for photometer in PHOTOMETERS])
            for name in ("peak_counts", "fluence_uj_m2")
        )
        return cls(
            *(columns["kind"], onset, rise, decay, width, delay, peak, fluence),
            *(numbers["significance"], numbers["separation"]),
            ~observation.missing[place // READOUT_SAMPLES],
            samples,
        )

    @property
    def is_hit(self) -> NDArray[np.bool_]:
        """Whether each is a particle hit, (n,)."""
        return np.asarray(self.kind == PARTICLE)

    @property
    def is_fair(self) -> NDArray[np.bool_]:
        """Whether each has to be found, (n,)."""
        return self.is_recorded & (self.significance >= FAIR) & (self.separation >= FAIR)

    @property
    def peak_sample(self) -> NDArray[np.float64]:
        """Sample of each peak within the observation, (n,)."""
        return np.clip(self.onset + self.rise, 0, self.samples - 1)

    @property
    def tolerance(self) -> NDArray[np.float64]:
        """How far from its peak each may be found, in samples, (n,)."""
        return np.where(self.is_hit, _HIT_TOLERANCE, np.maximum(self.width, _LIGHT_TOLERANCE))

    @cached_property
    def is_isolated(self) -> NDArray[np.bool_]:
        """Whether no other pulse that is seen lights a part of the time of each, (n,)."""
        begin, end = self.onset - self.rise, self.onset + self.rise + 3 * self.decay
        overlaps = (begin[:, None] < end) & (end[:, None] > begin) & (self.significance >= _SEEN)
        np.fill_diagonal(overlaps, False)
        return ~overlaps.any(axis=1) & (begin >= 0) & (end < self.samples)

    def shifted(self, samples: float) -> "TruePulses":
        """Return the same pulses, later by a number of samples; those that leave the end come in at the beginning."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return TruePulses(**{**columns, "onset": (self.onset + samples) % self.samples})


@dataclass(frozen=True)
class Detections:
    """What a detector finds in one observation, m of them.

    Attributes:
        sample: (m,) of the peak.
        lit: (m, 3) whether it is found in each photometer.
        is_hit: (m,) whether it is taken for a particle hit; None: the detector does not tell.
    """

    sample: NDArray[np.float64]
    lit: NDArray[np.bool_]
    is_hit: NDArray[np.bool_] | None = None


def match(truth: TruePulses, found: Detections) -> NDArray[np.int64]:
    """Return the number of the true pulse that each detection (m,) shows, -1 for none.

    A detection may show a pulse if its peak is within the width of the pulse from its peak, or 5 samples, in a
    photometer that the pulse lights; particle hits within 4 samples. Clouds shift the peaks of the photometers by parts
    of their width. Pulses that have to be found are matched first, and the nearest first.
    """
    distance = np.abs(truth.peak_sample[:, None] - found.sample) / truth.tolerance[:, None]
    shares = (truth.peak > 0).astype(float) @ found.lit.T.astype(float) > 0
    pulses, detections = np.nonzero((distance <= 1) & shares)
    order = np.lexsort((distance[pulses, detections], ~truth.is_fair[pulses]))
    shown = np.full(found.sample.size, -1)
    taken = np.zeros(truth.kind.size, dtype=bool)
    for pulse, detection in zip(pulses[order].tolist(), detections[order].tolist(), strict=True):
        if shown[detection] < 0 and not taken[pulse]:
            shown[detection], taken[pulse] = pulse, True
    return shown
