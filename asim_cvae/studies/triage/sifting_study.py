"""Measure how well noise is removed and rare kinds are found, and write the section of the report on it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from asim_cvae.recognition.calibration import Reliability
from asim_cvae.recognition.heads import TrainedHeads
from asim_cvae.simulator.archive import Simulation
from asim_cvae.studies.accuracy.study import AFTER
from asim_cvae.studies.triage.judged import Judged
from asim_cvae.studies.triage.report import Section, draw, plain
from asim_cvae.studies.triage.sifting_figures import sifting_figures
from asim_cvae.studies.triage.sifting_page import sifting_lines
from asim_cvae.studies.triage.sifting_scores import (
    OfRank,
    OfSet,
    SiftingResults,
    by_clusters,
    by_peaks,
    by_saved,
    by_score,
    joined,
    measure_promises,
    measure_ranks,
    noisiest_cluster,
)
from asim_cvae.studies.triage.sifting_sets import LabelledSet, labelled_sets, read_thesis, summed
from asim_cvae.triaging.origin import Judge

RANKED = {"probability of the kind": "", "interest": "interest"}
"""Scores by which observations are ranked, by what they are called; '' is the kind's probability."""


def study_sifting(
    judges: Mapping[str, Judge],
    judged: Mapping[str, tuple[Judged, Judged]],
    archives: Mapping[str, Simulation],
    seeds: Mapping[str, Sequence[int]],
    draws: int,
    reference: Path | None,
) -> Section:
    """Measure heads and baselines and return the section on them.

    Args:
        judges: models with heads, by the names of their weights.
        judged: what each model tells of natural frames, and of frames of observations that hold rare kinds.
        archives: labelled ones, 'evaluation' and 'shifted'.
        seeds: of both, which choose nothing; and 'choosing', of evaluation archives by which thresholds are chosen.
        draws: number of times that observations with a rare kind are put in.
        reference: folder of the thesis's weights; None leaves them out.
    """
    heads = {name: judge.heads for name, judge in judges.items() if judge.heads is not None}
    thesis = read_thesis(reference)
    chosen_on = joined(list(labelled_sets(archives["evaluation"], seeds["choosing"], heads, thesis).values()))
    sets = {
        f"{name} {seed}": one
        for name, archive in archives.items()
        for seed, one in labelled_sets(archive, seeds[name], heads, thesis, True).items()
    }
    results = {
        name: SiftingResults(
            {key: _measured(chosen_on, one, each, name) for key, one in sets.items()},
            _reliabilities(sets, list(archives), name),
            _ranks(judged[name], judges[name].rare, draws),
        )
        for name, each in heads.items()
    }
    every = list(results.values())
    numbers = plain({name: asdict(one) for name, one in results.items()})
    return Section(
        "sifting",
        numbers,
        sifting_lines(every, seeds["choosing"], next(iter(judges.values())).rare),
        draw(sifting_figures(every)),
    )


def _measured(chosen_on: LabelledSet, scored: LabelledSet, heads: TrainedHeads, name: str) -> OfSet:
    return OfSet(
        saved=by_saved(heads, name, scored),
        heads=by_score((chosen_on.noise(name), chosen_on.is_event), (scored.noise(name), scored.is_event)),
        peaks=by_peaks(chosen_on, scored),
        thesis=by_clusters(chosen_on, scored),
        noisiest=noisiest_cluster(chosen_on, scored),
        promises=measure_promises(heads, name, scored),
        noise_frames=int((~scored.is_event).sum()),
        event_frames=int(scored.is_event.sum()),
    )


def _reliabilities(sets: Mapping[str, LabelledSet], archives: Sequence[str], name: str) -> dict[str, Reliability]:
    """Return the reliability of heads on the sets of each archive together, as they are and once they were fitted."""
    found = {}
    for archive in archives:
        own = [one for key, one in sets.items() if key.startswith(archive)]
        found[archive] = summed([one.reliability(name) for one in own])
        fitted = [one.fitted[name] for one in own if one.fitted]
        if fitted:
            found[f"{archive}, {AFTER}"] = summed(fitted)
    return found


def _ranks(judged: tuple[Judged, Judged], rare_kinds: Sequence[str], draws: int) -> dict[str, dict[str, OfRank]]:
    natural, rare = (frames.by_observation() for frames in judged)
    return measure_ranks(natural, rare, RANKED, rare_kinds, draws, np.random.default_rng(0))
