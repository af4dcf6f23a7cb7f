"""What a file becomes: an observation, or a rejection that says why."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Observation:
    """The light curves of one trigger, in time order.

    ``flux`` (3, T) is float32 in uW/m^2, NaN in a gap; ``counts`` (3, T) are the photon counts where the file has them,
    float32, NaN in a gap. ``start`` is the UTC time of the first sample in microseconds, ``source`` the file's name and
    ``simulator`` the name and version of the program that made the file up, '' for a real one.
    """

    flux: NDArray[np.float32]
    counts: NDArray[np.float32] | None
    start: np.datetime64
    observation_id: int
    source: str
    simulator: str = ""


class RejectedFileError(Exception):
    """A file that gives no observation; ``file`` says which one and ``reason`` why, in one line.

    ``passing`` is true where the machine was to blame (no permission, no memory), not the file.
    """

    def __init__(self, file: str, reason: str, passing: bool = False) -> None:
        self.file = _printable(file)
        self.reason = _printable(" ".join(reason.split()))
        self.passing = passing
        super().__init__(f"{self.file}: {self.reason}")

    def __reduce__(self) -> tuple[type, tuple[str, str, bool]]:
        return type(self), (self.file, self.reason, self.passing)


def _printable(text: str) -> str:
    """``text`` with what would not print, or not encode, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)
