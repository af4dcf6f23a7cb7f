"""Results of reading a file: an observation, or a rejection with its reason."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from asim_cvae.base.errors import printable
from asim_cvae.instrument.photometers import flux_to_counts


@dataclass(frozen=True)
class Observation:
    """The light curves that MMIA recorded after one trigger, in time order: T samples in R readout rows.

    Attributes:
        flux: (3, T) in uW/m^2, NaN in gaps.
        flux_per_count: (3,) q of each photometer in uW/m^2 per count.
        q_fitted: (3,) whether q was fitted to the flux; otherwise it is the nominal one, as for Level 0.
        start: UTC time of the first sample, to the microsecond.
        observation_id: MMIA's number of the observation, 0 if unknown.
        source: name of the file.
        simulator: name and version of the program that simulated the file; '' for a measured one.
        level: 1 for a file of flux, 0 for one of photon counts.
        row_sample: (R,) number of each row's first sample.
        row_start: (R,) UTC start of each row, to the microsecond; NaT where the file has none.
        latitude: (R,) below the station, in degrees; NaN where the file has none, as in the next two.
        longitude: (R,) below the station, in degrees.
        altitude: (R,) of the station, in km.
        mxgs_trigger: (R,) whether the gamma-ray instrument MXGS triggered: 1, 0, or -1 where the file does not say.
        photometer_trigger: (R, 3) whether each photometer triggered, likewise.
        priority: (R,) MMIA's priority of the row, -1 where the file has none.
        notes: what is odd about the file, which was taken all the same; a line each.
    """

    flux: NDArray[np.float32]
    flux_per_count: NDArray[np.float64]
    q_fitted: NDArray[np.bool_]
    start: np.datetime64
    observation_id: int
    source: str
    simulator: str
    level: int
    row_sample: NDArray[np.int64]
    row_start: NDArray[np.datetime64]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    altitude: NDArray[np.float64]
    mxgs_trigger: NDArray[np.int8]
    photometer_trigger: NDArray[np.int8]
    priority: NDArray[np.int16]
    notes: tuple[str, ...] = ()

    @cached_property
    def counts(self) -> NDArray[np.float32]:
        """Photon counts (3, T), NaN in gaps: what the flux gives, rounded, which for Level 0 are the file's own."""
        counts: NDArray[np.float32] = np.rint(flux_to_counts(self.flux, self.flux_per_count))
        return counts


class RejectedFileError(Exception):
    """A file from which no observation can be read.

    Attributes:
        file: name or path of the file.
        reason: why it is rejected, in one line.
        transient: whether the machine is to blame (no permission, no memory) and a later try may succeed.
    """

    def __init__(self, file: str, reason: str, transient: bool = False) -> None:
        self.file = printable(file)
        self.reason = printable(" ".join(reason.split()))
        self.transient = transient
        super().__init__(f"{self.file}: {self.reason}")

    def __reduce__(self) -> tuple[type, tuple[str, str, bool]]:
        return type(self), (self.file, self.reason, self.transient)
