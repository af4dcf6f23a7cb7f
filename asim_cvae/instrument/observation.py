"""Results of reading a file: an observation, or a rejection with its reason."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Observation:
    """The light curves that MMIA recorded after one trigger, in time order, and what is known of its R readout rows.

    Attributes:
        flux: (3, T) in uW/m^2, NaN in gaps.
        counts: (3, T) photon counts, NaN in gaps: a Level 0 file's own, else rounded from flux.
        flux_per_count: (3,) q of each photometer in uW/m^2 per count, fitted once; nominal where none fits.
        q_fitted: (3,) whether q was fitted.
        start: UTC time of the first sample, to the microsecond.
        observation_id: MMIA's number of the observation, 0 if unknown.
        source: name of the file.
        simulator: name and version of the program that simulated the file; '' for a measured one.
        level: processing level of the file: 0 for counts, 1 for flux.
        row_sample: (R,) first sample of each row.
        row_start: (R,) UTC time of each row's first sample; NaT where the file has none.
        latitude: (R,) of the ISS in degrees; NaN where the file has none, as longitude and altitude.
        longitude: (R,) of the ISS in degrees.
        altitude: (R,) of the ISS in km.
        mxgs_trigger: (R,) whether the gamma-ray instrument triggered, 0 or 1; -1 where the file does not say.
        photometer_trigger: (R, 3) whether each photometer triggered, likewise.
        priority: (R,) MMIA's priority of the row; -1 where the file has none.
        notes: what was odd about a file that was taken all the same.
    """

    flux: NDArray[np.float32]
    counts: NDArray[np.float32]
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


class RejectedFileError(Exception):
    """A file from which no observation can be read.

    Attributes:
        file: name or path of the file.
        reason: why it is rejected, in one line.
        transient: whether the machine is to blame (no permission, no memory) and a later try may succeed.
    """

    def __init__(self, file: str, reason: str, transient: bool = False) -> None:
        self.file = _printable(file)
        self.reason = _printable(" ".join(reason.split()))
        self.transient = transient
        super().__init__(f"{self.file}: {self.reason}")

    def __reduce__(self) -> tuple[type, tuple[str, str, bool]]:
        return type(self), (self.file, self.reason, self.transient)


def _printable(text: str) -> str:
    """Escape the characters of ``text`` that cannot be printed or encoded, as those of a damaged file name."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)
