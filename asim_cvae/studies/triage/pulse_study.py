"""Measure the catalogue of pulses on simulated observations, and look at real frames."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from asim_cvae.archive.reader import read_observation
from asim_cvae.base.progress import track
from asim_cvae.pulses.catalogue import find_pulses
from asim_cvae.pulses.columns import Table
from asim_cvae.simulator.archive import Simulation
from asim_cvae.simulator.observation import SimulatedObservation
from asim_cvae.studies.triage.observations import as_observation
from asim_cvae.studies.triage.pulse_baselines import smoothed_peaks, threshold_runs
from asim_cvae.studies.triage.pulse_scores import Score, score, score_catalogue
from asim_cvae.studies.triage.quiet import quiet_observation

REAL_FILES = "mmia_level1"
"""Folder of real Level 1 files in the reference folder."""

CATALOGUE, RUNS, SMOOTHED = "catalogue", "threshold of 1.75 uW/m2", "peaks of the smoothed curve"


@dataclass(frozen=True)
class PulseResults:
    """What was measured.

    Attributes:
        scores: of each archive, detector and seed.
        quiet: pulses found in each quiet observation, by seed.
        example: an observation, and its catalogue.
        real: catalogues of real files by name.
    """

    scores: Mapping[str, Mapping[str, Mapping[int, Score]]]
    quiet: Mapping[int, Sequence[int]]
    example: tuple[SimulatedObservation, Table]
    real: Mapping[str, Table]


def study_pulses(
    archives: Mapping[str, Simulation], seeds: Mapping[str, Sequence[int]], quiet: int, reference: Path | None
) -> PulseResults:
    """Measure the catalogue and the baselines.

    Args:
        archives: settings of archives by name.
        seeds: seeds of each.
        quiet: number of quiet observations for each seed of the first archive.
        reference: folder of real files; None leaves them out.
    """
    scores = {name: _scores(name, archive, seeds[name]) for name, archive in archives.items()}
    first = next(iter(archives))
    numbers = {seed: range(quiet) for seed in seeds[first]}
    found = {
        seed: [len(find_pulses(as_observation(quiet_observation(seed, number)))) for number in each]
        for seed, each in track(numbers.items(), "quiet observations", "seed")
    }
    example = _example(replace(archives[first], seed=seeds[first][0]))
    return PulseResults(scores, found, example, _real(reference))


def _scores(name: str, archive: Simulation, seeds: Sequence[int]) -> dict[str, dict[int, Score]]:
    scores: dict[str, dict[int, Score]] = {CATALOGUE: {}, RUNS: {}, SMOOTHED: {}}
    for seed in track(seeds, f"pulses, {name}", "seed"):
        simulated = [one for _, one in _observations(replace(archive, seed=seed))]
        scores[CATALOGUE][seed] = score_catalogue(simulated)
        scores[RUNS][seed] = score(simulated, threshold_runs)
        scores[SMOOTHED][seed] = score(simulated, smoothed_peaks)
    return scores


def _observations(archive: Simulation) -> Iterator[tuple[int, SimulatedObservation]]:
    for number in range(archive.files):
        yield number, archive.observation(number)


def _example(archive: Simulation) -> tuple[SimulatedObservation, Table]:
    """Return the observation with the most kinds of pulses, and of these the one with the fewest pulses."""
    catalogues = ((one, find_pulses(as_observation(one))) for _, one in _observations(archive))
    return max(catalogues, key=lambda each: (len(np.unique(each[1]["kind"])), -len(each[1])))


def _real(reference: Path | None) -> dict[str, Table]:
    """Return the catalogue of each real file, by the number of its observation."""
    if reference is None:
        return {}
    files = sorted((reference / REAL_FILES).glob("*.fits"))
    return {str(each.observation_id): find_pulses(each) for each in map(read_observation, files)}
