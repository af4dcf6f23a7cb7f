"""Write what was measured of sifting as Markdown."""

from collections.abc import Callable, Sequence

import numpy as np

from asim_cvae.base.markdown import markdown_table
from asim_cvae.instrument.classes import KINDS
from asim_cvae.recognition.calibration import Reliability
from asim_cvae.studies.triage.report import mean_and_spread
from asim_cvae.studies.triage.sifting_scores import (
    CONFIDENCE,
    KEEP,
    ONE_IN,
    PROMISES,
    OfMethod,
    OfSet,
    Removed,
    SiftingResults,
)

_METHODS: dict[str, Callable[[OfSet], OfMethod | None]] = {
    "heads": lambda one: one.heads,
    "peaks above 1.75 uW/m2": lambda one: one.peaks,
    "the thesis's clusters": lambda one: one.thesis,
}


def sifting_lines(results: Sequence[SiftingResults], choosing: Sequence[int], aside: Sequence[str]) -> list[str]:
    """Return the lines of the section on several models.

    Args:
        results: what was measured of each.
        choosing: seeds of the archives on which thresholds were chosen.
        aside: kinds of which natural observations were left aside where others were ranked.
    """
    has_thesis = all(one.thesis is not None for one in results[0].sets.values())
    return [
        "## How good the sifting is (simulated)",
        "",
        f"Mean and, of several trainings, deviation of {len(results)}. No choice was made on these archives.",
        "",
        f"### Noise frames removed where {100 * KEEP:g} % of the event frames are kept",
        "",
        "The threshold is that saved with the heads, or was chosen on evaluation archives of the seeds",
        f"{', '.join(map(str, choosing))}; how many events it keeps stands beside. `own`: chosen on the set itself, an",
        "upper limit.",
        *([] if has_thesis else ["", "The thesis's weights are left out: no `reference` holds them."]),
        "",
        *_noise(results),
        "",
        "![Noise removed, simulated](simulated_sifting_noise.png)",
        "",
        "### Promises",
        "",
        "Event observations that lose an event frame, and noise frames removed, where heads promise at",
        f"{100 * CONFIDENCE:g} % confidence that such a share of the event observations loses none.",
        "",
        *_promises(results),
        "",
        f"### Rare kinds, one in {ONE_IN} observations",
        "",
        "Observations with an event of a kind are drawn and put into natural ones. Of these, those that hold the kind",
        f"are left aside, and those of a kind that makes interesting ({', '.join(aside)}). Average precision by the",
        "largest value of an observation's frames, mean and deviation of the draws, and the ranks of the drawn ones:",
        "median, and the range that holds 80 %.",
        "",
        *_ranks(results),
        "",
        "### Probabilities of classes",
        "",
        "Expected calibration error of the likeliest class, all seeds of an archive together.",
        "",
        *_calibration(results),
        "",
        "![Reliability of the classes' probabilities, simulated](simulated_sifting_reliability.png)",
    ]


def _noise(results: Sequence[SiftingResults]) -> list[str]:
    head = ["archive", "noise frames", "method", "threshold", "removed", "events kept", "removed, own"]
    rows = []
    for name, first in results[0].sets.items():
        each = [one.sets[name] for one in results]
        start = [name, str(first.noise_frames)]
        rows.append([*start, "heads", "saved", *_removed([one.saved for one in each]), "-"])
        for method, of in _METHODS.items():
            found = [one for one in map(of, each) if one is not None]
            if found:
                own = mean_and_spread([one.itself.noise for one in found])
                rows.append([*start, method, "chosen", *_removed([one.chosen for one in found]), own])
        noisiest = [one.noisiest for one in each if one.noisiest is not None]
        if noisiest:
            rows.append([*start, "the thesis's clusters", "the noisiest one", *_removed(noisiest), "-"])
    return markdown_table(head, rows)


def _removed(each: Sequence[Removed]) -> list[str]:
    return [mean_and_spread([one.noise for one in each]), mean_and_spread([one.events for one in each])]


def _promises(results: Sequence[SiftingResults]) -> list[str]:
    head = ["archive", *(cell for share in PROMISES for cell in (f"{share:g} promised: lost", "noise removed"))]
    rows = []
    for name in results[0].sets:
        row = [name]
        for share in PROMISES:
            each = [found for one in results if (found := one.sets[name].promises.get(f"{share:g}"))]
            lost = ", ".join(f"{one.lost} of {one.observations}" for one in each)
            row += [lost or "not supported", mean_and_spread([one.noise for one in each])]
        rows.append(row)
    return markdown_table(head, rows)


def _ranks(results: Sequence[SiftingResults]) -> list[str]:
    head = ["kind", "by", "put in", "of", "among", "average precision", "median rank", "80 % of ranks"]
    rows = []
    for kind in KINDS:
        for name in results[0].ranks:
            each = [one.ranks[name][kind] for one in results if kind in one.ranks[name]]
            if each:
                ranks = np.concatenate([one.ranks for one in each])
                low, middle, high = np.quantile(ranks, (0.1, 0.5, 0.9))
                first, precision = each[0], np.concatenate([one.precision for one in each])
                counts = map(str, (first.put_in, first.available, first.among))
                rows.append(
                    [kind, name, *counts, mean_and_spread(precision.tolist()), f"{middle:g}", f"{low:g} to {high:g}"]
                )
    return markdown_table(head, rows)


def _calibration(results: Sequence[SiftingResults]) -> list[str]:
    names = results[0].reliability
    rows = [
        [name, f"{_frames(one):,}", mean_and_spread([each.reliability[name].error for each in results])]
        for name, one in names.items()
    ]
    return markdown_table(["archive", "frames", "expected calibration error"], rows)


def _frames(one: Reliability) -> int:
    return int(one.frames.sum())
