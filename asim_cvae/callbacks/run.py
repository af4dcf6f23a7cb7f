"""The run that a callback belongs to, as far as callbacks may know it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from asim_cvae.callbacks.signals import StopSignal
from asim_cvae.scoring.clusters import ClusteringProtocol


@dataclass(frozen=True)
class Run:
    """A training as its callbacks see it.

    Args:
        folder: the run folder.
        seed: of the initial weights and of all that is drawn.
        info: what is known of the run: experiment, seed, restarts.
        settings: the run's settings by name, to sort scores by.
        protocol: how the run is scored.
        figures: frames to draw where there are no labelled clusters; None draws no figures at all.
        stop: says whether a signal asked the training to end.
    """

    folder: Path
    seed: int
    info: Mapping[str, Any]
    settings: Mapping[str, Any]
    protocol: ClusteringProtocol
    figures: int | None
    stop: StopSignal


class RunCallback(pl.Callback):
    """A callback that is told its run before the training begins."""

    run: Run
