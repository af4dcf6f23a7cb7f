"""What tells noise from events in labelled frames: heads, a count of peaks, and the thesis's best weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from asim_cvae.instrument.classes import CLASSES, NOISE
from asim_cvae.model.module import CVAEModule
from asim_cvae.recognition.calibration import Reliability, reliability
from asim_cvae.recognition.heads import TrainedHeads
from asim_cvae.runs.thesis import load_thesis_weights
from asim_cvae.scoring.evaluation import describe_frames
from asim_cvae.scoring.published import BEST_PUBLISHED
from asim_cvae.simulator.archive import Simulation
from asim_cvae.simulator.frames import SimulatedFrames
from asim_cvae.studies.accuracy.measures import class_indices, refitted
from asim_cvae.studies.accuracy.sets import simulate_labelled
from asim_cvae.studies.accuracy.study import REFITTED_TO
from asim_cvae.studies.realism.thesis_weights import PROTOCOL, WEIGHTS, thesis_batches
from asim_cvae.studies.triage.pulse_baselines import THRESHOLD

Array = NDArray[np.float64]

_NOISE = CLASSES.index(NOISE)


@dataclass(frozen=True)
class LabelledSet:
    """What is told of the N labelled frames of an archive.

    Attributes:
        label: (N,) indices of the true classes.
        observation: (N,) numbers of the observations.
        classes: by weights, (N, 5) probabilities of the classes.
        fitted: by weights, the reliability of heads that were fitted to ``REFITTED_TO`` observations of the archive, on
            the others; {} where there are too few.
        peaks: (N,) number of peaks above 1.75 uW/m^2 in the three photometers.
        latents: (N, 50) latents of the thesis's best weights, as its protocol clusters them; None without.
    """

    label: NDArray[np.int64]
    observation: NDArray[np.int64]
    classes: Mapping[str, Array]
    fitted: Mapping[str, Reliability]
    peaks: NDArray[np.int64]
    latents: NDArray[np.float32] | None

    @property
    def is_event(self) -> NDArray[np.bool_]:
        """Whether each frame holds an event, (N,)."""
        return np.asarray(self.label != _NOISE)

    def noise(self, weights: str) -> Array:
        """Return the probability of noise by the heads of these weights, (N,)."""
        return self.classes[weights][:, _NOISE]

    def reliability(self, weights: str) -> Reliability:
        """Return the reliability of the heads of these weights."""
        return reliability(self.classes[weights], self.label)


def read_thesis(reference: Path | None) -> CVAEModule | None:
    """Read the thesis's best weights from the reference folder; None without them."""
    path = None if reference is None else reference / WEIGHTS / f"{BEST_PUBLISHED.weights}.pth"
    return load_thesis_weights(path) if path is not None and path.is_file() else None


def labelled_sets(
    simulation: Simulation,
    seeds: Sequence[int],
    heads: Mapping[str, TrainedHeads],
    thesis: CVAEModule | None,
    is_fitted: bool = False,
) -> dict[int, LabelledSet]:
    """Simulate the labelled observations of an archive for each seed, and tell noise in them.

    Args:
        simulation: the archive.
        seeds: its seeds.
        heads: by the names of their weights.
        thesis: the thesis's network; None leaves it out.
        is_fitted: whether heads are fitted to a part of the observations as well.
    """
    sets = {}
    for seed in seeds:  # one archive at a time is held in memory
        (frames,) = simulate_labelled(simulation, [seed]).values()
        sets[seed] = _told(frames, heads, thesis, is_fitted)
    return sets


def _told(
    frames: SimulatedFrames, heads: Mapping[str, TrainedHeads], thesis: CVAEModule | None, is_fitted: bool
) -> LabelledSet:
    enough = is_fitted and len(np.unique(frames.observation)) >= 2 * REFITTED_TO
    return LabelledSet(
        label=class_indices(frames),
        observation=frames.observation,
        classes={name: each.recognize(frames.flux).classes for name, each in heads.items()},
        fitted={name: _reliability_after(each, frames) for name, each in heads.items()} if enough else {},
        peaks=np.array([count_peaks(flux) for flux in frames.flux]),
        latents=None if thesis is None else describe_frames(thesis, thesis_batches(frames), PROTOCOL),
    )


def _reliability_after(heads: TrainedHeads, frames: SimulatedFrames) -> Reliability:
    """Return the reliability of fitted heads on the observations that they were not fitted to."""
    pairs = refitted(heads, frames, REFITTED_TO)
    told = [reliability(fitted.recognize(others.flux).classes, class_indices(others)) for fitted, others in pairs]
    return summed(told)


def summed(parts: Sequence[Reliability]) -> Reliability:
    """Return the reliability of all frames together."""
    return Reliability(*np.sum(parts, axis=0))


def count_peaks(flux: NDArray[np.float32]) -> int:
    """Count the peaks above 1.75 uW/m^2 in a frame of flux (3, 5000)."""
    return sum(len(find_peaks(curve, height=THRESHOLD)[0]) for curve in flux)
