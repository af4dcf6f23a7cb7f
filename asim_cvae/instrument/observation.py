"""Results of reading a file: an observation, or a rejection with its reason."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Observation:
    """The light curves that MMIA recorded after one trigger, in time order.

    Attributes:
        flux: (3, T) in uW/m^2, NaN in gaps.
        counts: (3, T) photon counts, NaN in gaps; None if the file holds no counts.
        start: UTC time of the first sample, to the microsecond.
        observation_id: MMIA's number of the observation, 0 if unknown.
        source: name of the file.
        simulator: name and version of the program that simulated the file; '' for a measured one.
    """

    flux: NDArray[np.float32]
    counts: NDArray[np.float32] | None
    start: np.datetime64
    observation_id: int
    source: str
    simulator: str = ""


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
