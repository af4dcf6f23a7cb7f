"""Light curves and reconstructions of an observation, packed for the page, which unpacks them in ``web/curves.js``."""

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument.observation import Observation
from asim_cvae.instrument.photometers import DEAD_TIME

BIN = 5
"""Samples of a bin of a reconstruction."""

STEPS = 64
"""Steps of an octave in which rates are kept: one is 1.1 %."""

LOWEST = 12
"""Rates of 2^-12 counts a sample and less are kept as 0."""


class Packed(NamedTuple):
    """An observation's light curves."""

    head: dict[str, Any]
    """What is needed to unpack them: number of samples, bytes of a count, gaps, flux per count and dead time."""
    counts: bytes
    """Deflated photon counts (3, T), 0 in gaps."""


def pack_counts(observation: Observation) -> Packed:
    """Pack the counts of an observation: a byte each, or two where one is too small."""
    counts = observation.counts
    missing = np.isnan(counts)
    filled = np.where(missing, 0, counts)
    kind = np.dtype("u1" if filled.max(initial=0) < 256 else "<u2")
    head = {
        "samples": counts.shape[1],
        "bytes": kind.itemsize,
        "gaps": [_runs(row) for row in missing],
        "flux_per_count": [float(f"{q:.6g}") for q in observation.flux_per_count],
        "dead_time": DEAD_TIME.tolist(),
    }
    return Packed(head, zlib.compress(filled.astype(kind).tobytes()))


def _runs(mask: NDArray[np.bool_]) -> list[list[int]]:
    """Return where a mask holds, as runs [first, end)."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return edges.reshape(-1, 2).tolist()


def pack_rates(rates: NDArray[np.floating]) -> bytes:
    """Pack reconstructed rates (K, 3, 5000) of frames, in counts a sample, as (K, 3, 1000) differences of codes.

    A code is ``64 (log2(rate) + 12)``, rounded, of the mean of 5 samples.
    """
    means = rates.reshape(*rates.shape[:2], FRAME_SAMPLES // BIN, BIN).mean(-1)
    codes = np.rint(STEPS * (np.log2(np.maximum(means, 2.0**-LOWEST)) + LOWEST)).astype(np.int32)
    steps = np.diff(codes, axis=-1, prepend=0)
    return zlib.compress(steps.astype("<i2").tobytes())


def whole_frames(observation: Observation, numbers: Sequence[int]) -> NDArray[np.float32]:
    """Return the flux (K, 3, 5000) of frames that are given by their numbers."""
    return np.stack([observation.flux[:, n * FRAME_SAMPLES : (n + 1) * FRAME_SAMPLES] for n in numbers])
