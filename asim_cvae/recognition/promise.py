"""Promise what share of the event observations is kept where frames are dropped as noise.

The unit is the observation, as the frames of one are alike. An *event observation* is one with an event in any of its
frames, and it is *lost* where any of these is dropped. Of labelled event observations it is known at which threshold
each is lost: below the largest probability of noise among its event frames. How many are lost of others is bounded by
the limit of Clopper and Pearson (1934). Thresholds are tested in a fixed order, from the one that keeps all towards
those that drop more, and the first that fails ends it (fixed-sequence testing in Learn then Test, Angelopoulos et al.
2021, arXiv:2110.01052), so that choosing among them costs no confidence.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from msgspec import Meta
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

from asim_cvae.base.documents import Count, Share
from asim_cvae.base.errors import InputError, SettingError
from asim_cvae.recognition.labelled_by import LabelledBy

ORBIT_S = 5574
"""Time in which the ISS goes round the Earth, 92.9 min, in seconds."""

MOST_UNITS = 10_000
"""Most event observations that evidence holds."""


@dataclass(frozen=True)
class Evidence:
    """What labelled observations tell of the event observations that a threshold of noise loses.

    Attributes:
        source: the labelled observations.
        event_observations: number of the event observations among them.
        worst: (n,) largest probability of noise among the event frames of each of those that count as a unit, one an
            orbit; ascending.
    """

    source: LabelledBy
    event_observations: Count
    worst: Annotated[tuple[Share, ...], Meta(min_length=1, max_length=MOST_UNITS)]

    def __post_init__(self) -> None:
        if list(self.worst) != sorted(self.worst):
            raise InputError("worst: its values have to be ascending")
        if not len(self.worst) <= self.event_observations <= self.source.observations:
            raise InputError("event_observations: fewer than the units, or more than the labelled observations")

    def threshold(self, keep_recall: float, confidence: float) -> float:
        """Return the lowest probability of noise above which frames can be dropped under a promise.

        The promise: of event observations drawn as the labelled ones were, at least the share ``keep_recall`` loses
        none of its event frames. A draw of labelled observations makes a promise that is broken with probability
        1 - ``confidence`` at most.

        Raises:
            SettingError: the observations are too few; the message names the strongest promise that they support.
        """
        for name, value in (("keep_recall", keep_recall), ("confidence", confidence)):
            if not 0 < value < 1:
                raise SettingError(f"{name}={value}: has to be a number above 0 and below 1")
        units = len(self.worst)
        passed = int((largest_share(np.arange(units), units, confidence) <= 1 - keep_recall).sum())
        if not passed:
            fewest = math.ceil(math.log(1 - confidence) / math.log(keep_recall))
            raise SettingError(
                f"keep_recall={keep_recall:g}: {self.words(confidence)}; ask for no more, or give more labels to "
                f"python -m asim_cvae.calibrate: {keep_recall:g} takes {fewest:,} observations"
            )
        return self.worst[units - passed]

    def strongest(self, confidence: float) -> float:
        """Return the largest ``keep_recall`` that can be promised with this confidence: that of losing none."""
        return 1 - float(largest_share(0, len(self.worst), confidence))

    def words(self, confidence: float) -> str:
        """Say which promise the observations support, rounded down."""
        units, strongest = len(self.worst), self.strongest(confidence)
        decimals = max(2, math.ceil(-math.log10(1 - strongest)))
        supported = math.floor(strongest * 10**decimals) / 10**decimals
        who = f"{units:,} observation{'s support' if units > 1 else ' supports'}"
        told = f"{who} {supported:g} at {100 * confidence:g} % confidence"
        return f"{told} (simulated frames: a promise for simulated frames alone)" if self.is_simulated else told

    @property
    def is_simulated(self) -> bool:
        """Whether the promise is one for simulated frames alone."""
        return self.source.kind == "simulated"


def largest_share(lost: ArrayLike, units: int, confidence: float) -> NDArray[np.float64]:
    """Return the one-sided upper limit of Clopper and Pearson (1934) of the share that is lost.

    Args:
        lost: number of units that are lost, below ``units``; of any shape.
        units: number of all.
        confidence: of the limit.
    """
    lost = np.asarray(lost)
    share: NDArray[np.float64] = beta.ppf(confidence, lost + 1, units - lost)
    return share


def make_evidence(
    noise: NDArray[np.float64],
    is_event: NDArray[np.bool_],
    observation: NDArray[np.int64],
    time: NDArray[np.datetime64],
    source: LabelledBy,
) -> Evidence | None:
    """Gather evidence from labelled frames, sorted by observation, then time; None where none is an event.

    All frames of each observation have to be among them, and the observations a random sample.

    Args:
        noise: (N,) probability of noise, by heads that were not fitted to the frame's observation.
        is_event: (N,) whether the frame is labelled as an event.
        observation: (N,) numbers that tell observations apart.
        time: (N,) UTC time of the frame, NaT where it is not known.
        source: where the frames come from.
    """
    numbers, first, place = np.unique(observation[is_event], return_index=True, return_inverse=True)
    if not len(numbers):
        return None
    worst = np.zeros(len(numbers))
    np.maximum.at(worst, place, noise[is_event])
    units = one_an_orbit(time[is_event][first])
    return Evidence(source, len(numbers), tuple(np.sort(worst[units]).tolist()))


def one_an_orbit(start: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Return which observations count as a unit: one of each orbit, as storms last longer than one observation.

    An orbit is a whole multiple of 92.9 min since 1970, to the next one. Of the observations of an orbit a permutation
    with a fixed seed chooses, which knows nothing of what was told of them; of more than ``MOST_UNITS`` orbits as well.
    So the promise is one for an event observation of an orbit, whichever. An observation without a time counts alone.

    Args:
        start: (n,) UTC times, NaT where they are not known.
    """
    is_known = ~np.isnat(start)
    orbit = -1 - np.arange(len(start))
    orbit[is_known] = start[is_known].astype("datetime64[s]").astype(np.int64) // ORBIT_S
    order = np.random.default_rng(0).permutation(len(start))
    _, first = np.unique(orbit[order], return_index=True)
    chosen: NDArray[np.int64] = order[np.sort(first)[:MOST_UNITS]]
    return chosen
