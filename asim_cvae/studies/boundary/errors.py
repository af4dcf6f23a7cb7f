"""Measure how far reconstructions lie from the rate that was simulated, by place in the frame."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from asim_cvae.base.progress import track
from asim_cvae.instrument.classes import NOISE
from asim_cvae.instrument.photometers import DEAD_TIME, flux_to_counts
from asim_cvae.simulator.archive import Simulation
from asim_cvae.simulator.frames import frames_of
from asim_cvae.simulator.photometer import recorded_light

BIN = 5
"""Samples of a bin, in which rates are compared."""

EDGE = 10
"""Bins of each end of a frame: 50 samples."""

_RESAMPLES = 200
_BATCH = 100  # frames


@dataclass(frozen=True)
class LitFrames:
    """N simulated frames whose expected counts are known.

    Attributes:
        flux: (N, 3, 5000) flux in uW/m^2, with its noise of counting.
        rate: (N, 3, 1000) expected counts of each bin, as recorded.
        flux_per_count: (N, 3) of each photometer, in uW/m^2.
        is_noise: (N,) whether the frame is labelled N.
        observation: (N,) number that tells observations apart.
    """

    flux: NDArray[np.float32]
    rate: NDArray[np.float32]
    flux_per_count: NDArray[np.float64]
    is_noise: NDArray[np.bool_]
    observation: NDArray[np.int64]

    def only(self, chosen: NDArray[np.bool_]) -> "LitFrames":
        """Return some of the frames."""
        return LitFrames(*(getattr(self, field.name)[chosen] for field in fields(self)))


def simulate_lit(simulations: Sequence[Simulation]) -> LitFrames:
    """Simulate the labelled observations of archives in memory."""
    parts: list[tuple[NDArray[Any], ...]] = []
    for simulation in simulations:
        for number in track(range(simulation.labelled), f"simulating, seed {simulation.seed}", "observation"):
            parts.append(_observation(simulation, number, len(parts)))
    return LitFrames(*map(np.concatenate, zip(*parts, strict=True)))


def _observation(simulation: Simulation, number: int, key: int) -> tuple[NDArray[Any], ...]:
    frames = frames_of(simulation, number)
    rate = _binned(recorded_light(frames.light.astype(np.float64), DEAD_TIME[:, None])).astype(np.float32)
    return frames.flux, rate, frames.flux_per_count, frames.label == NOISE, np.full(len(frames), key)


@dataclass(frozen=True)
class Errors:
    """Errors of a model on frames of one kind, |reconstructed - simulated rate| / sqrt(simulated rate) of a bin.

    Attributes:
        profile: (3, 1000) mean over the frames.
        first, inside, last: mean over the first 50 samples, the last 50, and all between, of all photometers.
        ratio: the larger of ``first`` and ``last``, in units of ``inside``.
        spread: standard deviation of ``ratio`` over archives of as many observations, drawn from these with
            replacement.
    """

    profile: NDArray[np.float64]
    first: float
    inside: float
    last: float
    ratio: float
    spread: float


class Reconstructs(Protocol):
    """Anything that reconstructs flux (N, 3, 5000) in uW/m^2, as :class:`asim_cvae.inference.Model` does."""

    def reconstruct(self, flux: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the reconstructed flux, (N, 3, 5000)."""
        ...


def measure_errors(model: Reconstructs, frames: LitFrames) -> dict[str, Errors]:
    """Measure a model on frames: on 'background' (labelled N) and on 'events', where there are any."""
    errors = np.concatenate(
        [_errors(model, frames, slice(at, at + _BATCH)) for at in range(0, len(frames.flux), _BATCH)]
    )
    kinds = {"background": frames.is_noise, "events": ~frames.is_noise}
    return {
        kind: _summary(errors[chosen], frames.observation[chosen]) for kind, chosen in kinds.items() if chosen.any()
    }


def _errors(model: Reconstructs, frames: LitFrames, rows: slice) -> NDArray[np.float64]:
    """Errors (N, 3, 1000) of some rows."""
    reconstructed = zip(model.reconstruct(frames.flux[rows]), frames.flux_per_count[rows], strict=True)
    counts = np.stack([_binned(flux_to_counts(flux.astype(np.float64), q)) for flux, q in reconstructed])
    rate = frames.rate[rows].astype(np.float64)
    errors: NDArray[np.float64] = np.abs(counts - rate) / np.sqrt(rate)
    return errors


def _summary(errors: NDArray[np.float64], observation: NDArray[np.int64]) -> Errors:
    parts = means_at_ends(errors).mean(1).T  # (3, N)
    first, inside, last = parts.mean(1).tolist()
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(observation == key) for key in np.unique(observation)]
    drawn = (np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))]) for _ in range(_RESAMPLES))
    spread = float(np.std([_ratio(*parts[:, chosen].mean(1)) for chosen in drawn]))
    return Errors(errors.mean(0), first, inside, last, _ratio(first, inside, last), spread)


def means_at_ends(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean errors in the first 50 samples, inside, and in the last 50: (..., 1000) -> (..., 3)."""
    cuts = (slice(EDGE), slice(EDGE, -EDGE), slice(-EDGE, None))
    return np.stack([errors[..., cut].mean(-1) for cut in cuts], -1)


def _ratio(first: float, inside: float, last: float) -> float:
    return max(first, last) / inside


def _binned(samples: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    binned: NDArray[np.floating[Any]] = samples.reshape(*samples.shape[:-1], -1, BIN).sum(-1)
    return binned
