"""Tell callbacks about the run that they belong to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from asim_cvae.callbacks.signals import StopSignal
from asim_cvae.scoring.clusters import ClusteringProtocol


@dataclass(frozen=True)
class Run:
    """All that callbacks know of a run.

    Attributes:
        folder: the run folder.
        seed: seed of the initial weights and of all random numbers.
        info: experiment, seed and restarts of the run.
        settings: settings by name, by which TensorBoard sorts scores.
        protocol: settings of the clustering.
        figures: number of frames to draw if there are no labelled clusters; None draws no figures at all.
        stop: the signal, if any, that asked the training to end.
    """

    folder: Path
    seed: int
    info: Mapping[str, Any]
    settings: Mapping[str, Any]
    protocol: ClusteringProtocol
    figures: int | None
    stop: StopSignal


class RunCallback(pl.Callback):
    """A callback that has its run in ``run`` before training begins."""

    run: Run
