"""Compares simulated frames with real ones and with published results, and writes the report."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from asim_cvae.scoring.published import PUBLISHED_TABLE
from asim_cvae.simulator.archive import SIMULATOR, Simulation
from asim_cvae.simulator.frames import SimulatedFrames, simulated_frames
from asim_cvae.studies.realism.forest import separability
from asim_cvae.studies.realism.plots import certainties_figure, frames_figure, physics_figure, ranks_figure
from asim_cvae.studies.realism.real_frames import REAL_FRAMES, compare_frames, read_real_frames
from asim_cvae.studies.realism.report import Report
from asim_cvae.studies.realism.thesis_weights import WEIGHTS, compare_weights, missing_weights

_WEIGHTS_TITLE = "The thesis's weights on simulated frames"

log = logging.getLogger(__name__)


def study_realism(out: Path, reference: Path | None, simulation: Simulation, seeds: Sequence[int]) -> Path:
    """Write the report into ``out`` and return its page; parts that need what ``reference`` lacks are left out.

    Args:
        out: folder of the report.
        reference: folder of real frames, the thesis's weights and its Table 1.
        simulation: the archive, but for its seed.
        seeds: of labelled frames; the first also of those without labels.
    """
    first, *others = seeds
    labelled = simulation.labelled
    frames = simulated_frames(replace(simulation, seed=first), range(simulation.files))
    samples = {first: frames.only(frames.observation < labelled)}
    samples |= {seed: simulated_frames(replace(simulation, seed=seed), range(labelled)) for seed in others}
    report = Report(out, SIMULATOR, seeds)
    report.add_physics(physics_figure())
    _add_real_frames(report, reference, frames)
    _add_weights(report, reference, samples)
    report.add_forest(separability(frames, simulation.rule))
    return report.write()


def _add_real_frames(report: Report, reference: Path | None, simulated: SimulatedFrames) -> None:
    if reference is None or not (reference / REAL_FRAMES).is_file():
        report.add_skipped("Real frames among simulated ones", _lack(reference, REAL_FRAMES))
        return
    real = read_real_frames(reference / REAL_FRAMES)
    comparisons = compare_frames(real, simulated)
    report.add_frames(
        comparisons, frames_figure(real, simulated), ranks_figure([c for c in comparisons if c.has_value])
    )


def _add_weights(report: Report, reference: Path | None, samples: dict[int, SimulatedFrames]) -> None:
    if reference is None or not (reference / PUBLISHED_TABLE).is_file() or not (reference / WEIGHTS).is_dir():
        report.add_skipped(_WEIGHTS_TITLE, _lack(reference, f"{PUBLISHED_TABLE} and {WEIGHTS}"))
        return
    missing = missing_weights(reference)
    agreements = compare_weights(reference, samples)
    if not agreements:
        report.add_skipped(_WEIGHTS_TITLE, _lack(reference, f"weights of {PUBLISHED_TABLE}"))
        return
    report.add_weights(agreements, missing, certainties_figure(agreements))


def _lack(reference: Path | None, what: str) -> str:
    reason = f"{reference} holds no {what}" if reference else "no reference (or ASIM_CVAE_REFERENCE) is given"
    log.warning("left out a comparison: %s", reason)
    return reason
