"""Measure the boundary issue on models, find its cause in the thesis's weights, and write a page."""

import logging
from collections.abc import Sequence
from pathlib import Path

from asim_cvae.base.errors import InputError
from asim_cvae.base.progress import track
from asim_cvae.inference import load
from asim_cvae.simulator.archive import Simulation
from asim_cvae.studies.boundary.errors import measure_errors, simulate_lit
from asim_cvae.studies.boundary.estimators import ESTIMATORS
from asim_cvae.studies.boundary.report import write_report
from asim_cvae.studies.boundary.thesis import try_weights
from asim_cvae.studies.realism.thesis_weights import WEIGHTS

log = logging.getLogger(__name__)


def study_boundary(
    out: Path, weights: Sequence[Path], reference: Path | None, simulations: Sequence[Simulation]
) -> Path:
    """Write the page into ``out``, and return its path.

    Args:
        out: folder of the page, its figure and its numbers.
        weights: models to measure.
        reference: folder of the thesis's weights; None: that part is left out.
        simulations: archives whose labelled observations are simulated in memory.

    Raises:
        InputError: weights cannot be loaded, there are none, or no frame is background.
    """
    frames = simulate_lit(simulations)
    if not frames.is_noise.any():
        raise InputError("none of the simulated frames is background; give more observations (labelled=)")
    models = [(str(path), load(path)) for path in weights]
    errors = {name: measure_errors(model, frames) for name, model in track(models, "measuring", "model")}
    plain = {name: measure_errors(estimator, frames) for name, estimator in ESTIMATORS.items()}
    thesis = None if reference is None else try_weights(reference / WEIGHTS, frames)
    if reference is not None and thesis is None:
        log.warning("%s: holds no weights of the thesis's network, which are left out", reference / WEIGHTS)
    if not errors and thesis is None:
        raise InputError("nothing to measure; give weights=[RUN], or reference=FOLDER with the thesis's weights")
    return write_report(out, errors, plain, thesis, [simulation.seed for simulation in simulations])
