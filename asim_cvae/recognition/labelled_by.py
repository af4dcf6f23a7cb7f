"""Where labelled frames come from."""

from dataclasses import dataclass
from typing import Literal

from asim_cvae.base.documents import Count, Name


@dataclass(frozen=True)
class LabelledBy:
    """Frames from which heads learnt.

    Attributes:
        kind: 'simulated' or 'mmia'.
        name: name of the archive.
        version: of the simulator, '' for real data.
        frames: number of frames.
        observations: number of observations.
    """

    kind: Literal["simulated", "mmia"]
    name: Name
    version: Name
    frames: Count
    observations: Count
