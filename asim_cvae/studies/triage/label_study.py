"""Measure what labels bring that are suggested or drawn by chance, and write the section of the report on it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from asim_cvae.simulator.archive import Simulation
from asim_cvae.studies.triage.label_page import FIGURE, draw_labels, label_lines
from asim_cvae.studies.triage.label_scores import Curves, OfLabels, measure_orders, score
from asim_cvae.studies.triage.label_sets import make_held_out, make_pool
from asim_cvae.studies.triage.report import Section, draw, plain
from asim_cvae.triaging.origin import Judge


def study_labels(
    judges: Mapping[str, Judge],
    archives: Sequence[Simulation],
    pool: int,
    held_out: int,
    sizes: Sequence[int],
    seeds: Sequence[int],
) -> Section:
    """Fit heads to labelled frames of archives, by their truth, and return the section on it.

    Args:
        judges: models with heads and reference, by the names of their weights.
        archives: the archives.
        pool: number of observations of each whose frames can be labelled.
        held_out: number of further observations by which heads are scored.
        sizes: numbers of labelled frames, ascending.
        seeds: of the suggestions, and of chance.
    """
    unfitted: list[OfLabels] = []
    curves: list[Curves] = []
    for judge in judges.values():
        assert judge.heads is not None
        for archive in archives:
            whole = replace(archive, labelled=pool + held_out)
            frames = make_pool(judge, whole, range(pool))
            others = make_held_out(judge.heads, whole, range(pool, pool + held_out))
            unfitted.append(score(judge.heads, others))
            curves += [measure_orders(judge.heads, frames, others, sizes, seed) for seed in seeds]
    numbers = {
        "sizes": list(sizes),
        "unfitted": [asdict(one) for one in unfitted],
        "fitted": [{name: [asdict(one) for one in each] for name, each in one.items()} for one in curves],
    }
    lines = label_lines(unfitted, curves, sizes)
    return Section("labels", plain(numbers), lines, draw({FIGURE: draw_labels(unfitted, curves, sizes)}))
