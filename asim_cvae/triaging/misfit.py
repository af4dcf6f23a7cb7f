"""How badly counts fit the rate that a model reconstructs, as a probability of chance."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asim_cvae.triaging.chance import read_chance
from asim_cvae.triaging.excess import Array, Excess, find_excess


class Misfit(NamedTuple):
    """How badly N frames fit their rates."""

    p: Array
    """Probability that chance alone makes any window of the frame stand out as much, (N,)."""
    of_photometers: Array
    """The same of each photometer, (N, 3)."""
    excess: Excess
    """The windows, arrays (N, 3)."""


def misfit(counts: NDArray[np.floating], rate: NDArray[np.floating]) -> Misfit:
    """Compare counts of frames with the rate that was reconstructed from them.

    The scan statistic is that of :func:`~asim_cvae.triaging.excess.find_excess`, its distribution under chance that of
    :class:`~asim_cvae.triaging.chance.Chance`.

    Args:
        counts: (N, 3, T) photon counts.
        rate: (N, 3, T) expected counts per sample.
    """
    shape = counts.shape[:2]
    curves, rates = (values.reshape(-1, values.shape[2]).astype(np.float64) for values in (counts, rate))
    found = find_excess(curves, rates)
    p = read_chance().p_value(found.evidence, rates).reshape(shape)
    excess = Excess(*(values.reshape(shape) for values in found))  # type: ignore[arg-type]
    return Misfit(-np.expm1(shape[1] * np.log1p(-p.min(1))), p, excess)
