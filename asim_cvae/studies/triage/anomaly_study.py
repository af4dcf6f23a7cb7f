"""Measure anomaly scores on simulated frames, and write the section of the report on them."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from asim_cvae.base.progress import track
from asim_cvae.inference import Model
from asim_cvae.simulator.archive import Simulation
from asim_cvae.simulator.frames import frames_of
from asim_cvae.studies.triage.anomaly_figures import anomaly_figures
from asim_cvae.studies.triage.anomaly_page import anomaly_lines
from asim_cvae.studies.triage.anomaly_scores import (
    ScoreResults,
    measure_brightness,
    measure_chance,
    measure_recall,
)
from asim_cvae.studies.triage.dark import DARK, FRAMES, DarkFrames, dark_frames
from asim_cvae.studies.triage.judged import Judged
from asim_cvae.studies.triage.report import Section, draw, plain
from asim_cvae.triaging.origin import Judge


def study_scores(
    judges: Mapping[str, Judge],
    judged: Mapping[str, tuple[Judged, Judged]],
    natural: Simulation,
    dark: Mapping[str, int],
    drawn: int,
) -> Section:
    """Measure the scores of models and return the section on them.

    Args:
        judges: models with heads and reference, by the names of their weights.
        judged: what each tells of natural frames, and of frames of observations that hold rare kinds.
        natural: the archive of natural frames, of whose drift and seed frames without light are made.
        dark: number of frames without light, by the names of ``DARK``.
        drawn: number of observations whose reconstructions counts are drawn from.
    """
    results = {
        name: ScoreResults(
            {kind: measure_chance(_model(judge), _dark(natural, kind, count)) for kind, count in dark.items()},
            measure_brightness(_model(judge), _flux(natural, drawn), np.random.default_rng(natural.seed)),
            measure_recall(*judged[name]),
        )
        for name, judge in judges.items()
    }
    numbers = plain({name: asdict(one) for name, one in results.items()})
    figures = anomaly_figures(list(results.values()), next(iter(judged.values()))[0])
    return Section("scores", numbers, anomaly_lines(list(results.values()), natural), draw(figures))


def _model(judge: Judge) -> Model:
    return Model(judge.model, judge.heads)


def _dark(natural: Simulation, kind: str, frames: int) -> Iterator[DarkFrames]:
    for number in track(range(-(-frames // FRAMES)), f"frames without light, {kind}", "observation"):
        yield dark_frames(natural.seed, number, natural.drift, DARK[kind])


def _flux(natural: Simulation, observations: int) -> Iterator[NDArray[np.float32]]:
    for number in track(range(min(observations, natural.files)), "counts that fit", "observation"):
        frames = frames_of(natural, number)
        if len(frames):
            yield frames.flux
