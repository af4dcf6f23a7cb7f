"""Write what was measured of anomaly scores as Markdown."""

from collections.abc import Iterator, Sequence

import numpy as np

from asim_cvae.base.markdown import markdown_table
from asim_cvae.instrument.classes import KINDS
from asim_cvae.instrument.photometers import PHOTOMETERS
from asim_cvae.simulator.archive import Simulation
from asim_cvae.studies.triage.anomaly_scores import (
    INDEPENDENT,
    LARGEST,
    LEVELS,
    OWN,
    SAME,
    STROKES,
    TOP,
    OfChance,
    ScoreResults,
)
from asim_cvae.studies.triage.dark import SOUTH_ATLANTIC
from asim_cvae.studies.triage.judged import KL, LIKELIHOOD, SCORES
from asim_cvae.studies.triage.report import mean_and_spread

UNUSED = (LIKELIHOOD, KL)
"""Scores that rank nothing, and stand beside the others."""

_SHOWN = (OWN, "interest", "misfit", "unusual", *UNUSED)


def anomaly_lines(results: Sequence[ScoreResults], natural: Simulation) -> list[str]:
    """Return the lines of the section on the scores of several models; ``natural`` is the archive of natural frames."""
    return [
        "## Anomaly scores (simulated)",
        "",
        f"Mean and, of several trainings, deviation of {len(results)}; natural frames have the seed {natural.seed}.",
        "",
        "### Misfit of chance alone",
        "",
        f"Share of frames without light whose misfit lies below p, which may be {LARGEST:g} p at most in frames that",
        "drift and hold particle hits at quiet rates, if any. In brackets: the binomial error of a share of p.",
        "",
        *_chance(results),
        "",
        "![Share of frames without light below p, simulated](simulated_scores_chance.png)",
        "",
        "### Particle hits",
        "",
        "Hits that stand out by 5 standard deviations, and runs of samples that are left out as hits, of which chance",
        "makes some.",
        "",
        *_hits(results),
        "",
        "### Misfit and brightness",
        "",
        "Counts are drawn from the rates that are reconstructed of natural frames, so that they fit. Rank correlation",
        "of their scores with how bright these rates are. That of misfit to the same rate has to be below",
        f"{INDEPENDENT:g}; beside it, what the model makes of the drawn counts.",
        "",
        *_brightness(results),
        "",
        "### What each score finds",
        "",
        f"Share of the frames of a kind that lie above all but {100 * TOP:g} % of the natural frames without the kind.",
        "The last column is of natural frames: rank correlation with the brightest sample.",
        f"`{STROKES}`: frames of the same observations, with their strokes, that hold no kind.",
        "",
        *_recall(results),
        "",
        f"{LIKELIHOOD} and {KL} are not used: they grow with brightness even where counts fit.",
        "",
        "![Scores and brightness, simulated](simulated_scores_brightness.png)",
        "",
        "![What each score finds, simulated](simulated_scores_recall.png)",
    ]


def _chance(results: Sequence[ScoreResults]) -> list[str]:
    head = ["particle hits", "frames", "misfit of", *(f"p = {level:g}" for level in LEVELS), "holds"]
    names = ("all photometers", *(photometer.band for photometer in PHOTOMETERS))
    rows = []
    for kind, first in results[0].chance.items():
        for k, name in enumerate(names):
            shares = np.array([one.chance[kind].shares[k] for one in results])
            cells = [
                f"{mean_and_spread(share, 5)} ({error:.5f})"
                for share, error in zip(shares.T, first.errors, strict=True)
            ]
            holds = "yes" if (shares.mean(0) <= LARGEST * np.array(LEVELS)).all() else "no"
            rows.append([kind, f"{first.frames:,}", name, *cells, "-" if kind == SOUTH_ATLANTIC else holds])
    return markdown_table(head, rows)


def _hits(results: Sequence[ScoreResults]) -> list[str]:
    head = ["particle hits", "a frame", "left out", "runs left out a frame", f"frames below p = {LEVELS[-1]:g}"]
    return markdown_table(
        head, [[kind, *_of_hits([one.chance[kind] for one in results])] for kind in results[0].chance]
    )


def _of_hits(each: Sequence[OfChance]) -> Iterator[str]:
    yield f"{each[0].hits / each[0].frames:.2f}"
    yield mean_and_spread([one.left_out / one.hits if one.hits else None for one in each])
    yield mean_and_spread([one.runs / one.frames for one in each], 2)
    yield mean_and_spread([float(one.shares[0, -1]) for one in each], 4)


def _brightness(results: Sequence[ScoreResults]) -> list[str]:
    first = results[0].brightness
    head = ["rank correlation with", *map(_cell, first.correlation)]
    rows = [
        [
            what,
            *(
                mean_and_spread([one.brightness.correlation[name][what] for one in results])
                for name in first.correlation
            ),
        ]
        for what in first.correlation[SAME]
    ]
    for k, level in enumerate(LEVELS):
        shares = ([one.brightness.below[name][k] for one in results] for name in first.below)
        rows.append(
            [f"share of frames below p = {level:g}", *(mean_and_spread(share, 4) for share in shares), "-", "-"]
        )
    return markdown_table(head, rows)


def _cell(name: str) -> str:
    return name.replace("|", "\\|")  # else it would end the cell


def _recall(results: Sequence[ScoreResults]) -> list[str]:
    kinds, frames = (*KINDS, STROKES), results[0].recall.frames
    head = ["score", *(f"{kind} ({frames[kind]:,})" for kind in kinds), "brightness"]
    rows = []
    for name in _SHOWN:
        each = [one.recall for one in results]
        cells = [mean_and_spread([one.recall[name].get(kind) for one in each]) for kind in kinds]
        brightness = mean_and_spread([one.brightness[name] for one in each], 2) if name in SCORES else "-"
        rows.append([f"{_cell(name)} (not used)" if name in UNUSED else name, *cells, brightness])
    return markdown_table(head, rows)
