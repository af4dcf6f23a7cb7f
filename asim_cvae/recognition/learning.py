"""Learn heads of a simulated archive: simulate, split, train, calibrate, write."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from asim_cvae.base.errors import InputError
from asim_cvae.frames.representation import Representation
from asim_cvae.nn.precision import use_tf32
from asim_cvae.recognition.calibration import (
    Calibration,
    calibrate,
    crossed_probability,
    expected_calibration_error,
)
from asim_cvae.recognition.frames import TrueFrames, true_frames
from asim_cvae.recognition.heads import TrainedHeads, write_heads
from asim_cvae.recognition.labelled_by import LabelledBy
from asim_cvae.recognition.scores import score_classes
from asim_cvae.recognition.training import HeadsModule, fit_heads, forget_training, logits, split
from asim_cvae.simulator.archive import SIMULATOR, Simulation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """How heads are trained.

    Attributes:
        seed: of initial weights, and of the order of frames.
        epochs: number of epochs.
        batch_size: frames a step.
        validation_fraction: share of the observations on which heads are calibrated and not trained.
        split_seed: seed by which these observations are drawn.
        keep: share of the event frames that the threshold of noise keeps among them.
        file_workers: processes that simulate; None for one per core.
        accelerator: kind of device that trains.
    """

    seed: int
    epochs: int
    batch_size: int
    validation_fraction: float
    split_seed: int
    keep: float
    file_workers: int | None
    accelerator: str


def learn_heads(
    simulation: Simulation, representation: Representation, module: Callable[[], HeadsModule], plan: Plan, out: Path
) -> TrainedHeads:
    """Train and calibrate heads, and write them into ``out``; goes on where this was interrupted.

    Args:
        simulation: archive, which is made in memory, whose truth is learnt.
        representation: of the network's input.
        module: makes the heads with initial weights; called once the seed is set.
        plan: how.
        out: folder of the heads.

    Raises:
        InputError: too few frames are simulated to train or to calibrate on.
    """
    frames = true_frames(simulation, representation, plan.file_workers)
    train, validation = split(frames, plan.validation_fraction, plan.split_seed)
    if not validation.natural.any():
        raise InputError(
            "no observation to calibrate on was made as archives are; give more, by simulation.observations or "
            "validation_fraction"
        )
    log.info("heads: %d simulated frames to train on, %d to calibrate on", len(train), len(validation))
    pl.seed_everything(plan.seed, workers=True, verbose=False)
    heads = module()
    out.mkdir(parents=True, exist_ok=True)
    how = {"max_epochs": plan.epochs, "accelerator": plan.accelerator, "devices": 1}
    use_tf32(False)
    network = fit_heads(heads, train, validation, representation, out, plan.seed, plan.batch_size, **how)
    _, classes, kinds = logits(network, validation.values)
    weight = validation.prevalence_weights(frames.natural_shares())
    calibration = calibrate(classes, kinds, validation.label, validation.kinds, weight, plan.keep)
    _tell(calibration, classes, validation)
    trained = TrainedHeads(
        network,
        representation,
        calibration,
        trained_on=_source(simulation, train),
        calibrated_on=None,
        seed=plan.seed,
        epochs=plan.epochs,
    )
    write_heads(out, trained)
    forget_training(out)
    return trained


def _source(simulation: Simulation, frames: TrueFrames) -> LabelledBy:
    name = f"simulated in memory, seed {simulation.seed}"
    return LabelledBy("simulated", name, SIMULATOR, len(frames), len(np.unique(frames.observation)))


def _tell(calibration: Calibration, classes: NDArray[np.float32], validation: TrueFrames) -> None:
    """Log scores of the frames that observations hold naturally."""
    natural = validation.natural
    label, of_natural = validation.label[natural], classes[natural]
    scores = score_classes(calibration.class_probability(of_natural), label, calibration.noise_threshold)
    crossed = crossed_probability(of_natural, label, validation.observation[natural])
    log.info(
        "heads, on %d validation frames (simulated): macro F1 %s, noise dropped %s, events kept %s, temperature %.2f, "
        "calibration error %.3f",
        len(label),
        *(_shown(scores[name]) for name in ("macro_f1", "noise_dropped", "events_kept")),
        calibration.temperature,
        expected_calibration_error(crossed, label),
    )


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
