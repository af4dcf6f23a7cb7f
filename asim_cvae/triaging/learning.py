"""Learn what frames usually look like to a model and to heads."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from asim_cvae.base.errors import InputError
from asim_cvae.base.progress import track
from asim_cvae.recognition.heads import TrainedHeads
from asim_cvae.runs.export import MAX_LATENT_VALUES, TrainedModel
from asim_cvae.simulator.archive import SIMULATOR, Simulation
from asim_cvae.simulator.frames import frames_of
from asim_cvae.triaging.measures import measure_frames
from asim_cvae.triaging.reference import OfHeads, OfModel

MOST = 2000
"""Most frames that the reference of a model is learnt from."""


def evenly(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return rows of training frames to learn from: all, or ``MOST`` evenly spaced ones."""
    return rows[np.linspace(0, len(rows) - 1, min(MOST, len(rows))).astype(np.int64)]


def learn_of_model(model: TrainedModel, flux: Iterable[NDArray[np.float32]]) -> OfModel | None:
    """Learn what frames look like to a model; None if it diverged, or describes a frame by more than 256 values.

    Args:
        model: the model, in eval mode.
        flux: batches (n, 3, 5000) of frames that it was trained on, in uW/m^2.
    """
    measured = [measure_frames(model, None, batch) for batch in flux]
    description = np.concatenate([measures.description for measures in measured])
    if not np.isfinite(description).all() or description.shape[1] > MAX_LATENT_VALUES:
        return None
    return OfModel.of(description, np.concatenate([measures.misfit.of_photometers for measures in measured]))


def learn_of_heads(heads: TrainedHeads, simulation: Simulation) -> OfHeads:
    """Learn what frames look like to heads.

    Args:
        heads: the heads.
        simulation: an archive of natural prevalence; its unlabelled observations are simulated in memory.

    Raises:
        InputError: no frame is simulated.
    """
    features, probability, holds = [], [], []
    for number in track(range(simulation.observations), f"simulating, seed {simulation.seed}", "observation"):
        frames = frames_of(simulation, number)
        if len(frames):
            told = heads.recognize(frames.flux)
            features.append(told.features)
            probability.append(told.kinds)
            holds.append(frames.kinds)
    if not features:
        raise InputError("no frame to learn from what is usual; give more of natural.observations")
    source = f"{SIMULATOR}, seed {simulation.seed}"
    return OfHeads.of(np.concatenate(features), np.concatenate(probability), np.concatenate(holds), source)
