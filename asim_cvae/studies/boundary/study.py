"""Measure the boundary issue on models, find its cause in the thesis's weights, and write a page."""

from collections.abc import Sequence
from pathlib import Path

from asim_cvae.base.progress import track
from asim_cvae.inference import load
from asim_cvae.simulator.archive import Simulation
from asim_cvae.studies.boundary.errors import measure_errors, simulate_lit
from asim_cvae.studies.boundary.report import write_report
from asim_cvae.studies.boundary.thesis import try_weights

_WEIGHTS = "thesis_weights"


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
        InputError: weights cannot be loaded.
    """
    frames = simulate_lit(simulations)
    models = [(str(path), load(path)) for path in weights]
    errors = {name: measure_errors(model, frames) for name, model in track(models, "measuring", "model")}
    thesis = None if reference is None else try_weights(reference / _WEIGHTS, frames)
    return write_report(out, errors, thesis, [simulation.seed for simulation in simulations])
