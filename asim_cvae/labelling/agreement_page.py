"""Write what was measured of the agreement of reviewers: numbers, and a page that says in words what they are."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from asim_cvae.base.files import atomic_write, write_json
from asim_cvae.base.markdown import markdown_table
from asim_cvae.instrument.classes import CLASSES
from asim_cvae.labelling.agreement import COVERAGE, RESAMPLES, Agreement, Estimate
from asim_cvae.labelling.consensus import Agreed

FIGURE = "confusion.png"


def write_agreement(out: Path, agreement: Agreement, agreed: Sequence[Agreed]) -> Path:
    """Write ``agreement.json`` and ``agreement.md`` into a folder, and return the page."""
    write_json(out / "agreement.json", _numbers(agreement, agreed))
    page = out / "agreement.md"
    with atomic_write(page) as partial:
        partial.write_text("\n".join(_lines(agreement, agreed)) + "\n", encoding="utf-8")
    return page


def _numbers(agreement: Agreement, agreed: Sequence[Agreed]) -> dict[str, Any]:
    pairs = [
        {
            "reviewers": [pair.first, pair.second],
            "frames": pair.frames,
            "observations": pair.observations,
            "agreed": _known(pair.agreed),
            "kappa": _plain(pair.kappa),
            "confusion": pair.confusion.tolist(),
        }
        for pair in agreement.pairs
    ]
    return {
        "classes": list(CLASSES),
        "labelled": agreement.labelled,
        "frames": agreement.frames,
        "observations": agreement.observations,
        "coverage": COVERAGE,
        "alpha": _plain(agreement.alpha),
        "pairs": pairs,
        "confusion": agreement.confusion.tolist(),
        **_counts(agreed),
    }


def _counts(agreed: Sequence[Agreed]) -> dict[str, int]:
    return {
        "disputed": sum(one.is_disputed for one in agreed),
        "consensus": sum(bool(one.label) for one in agreed),
        "left_out": sum(one.is_disputed and not one.label for one in agreed),
    }


def _lines(agreement: Agreement, agreed: Sequence[Agreed]) -> list[str]:
    counts = _counts(agreed)
    pairs = (
        [_text(p.first), _text(p.second), str(p.frames), str(p.observations), _share(p.agreed), _told(p.kappa)]
        for p in agreement.pairs
    )
    return [
        "# How far reviewers agree",
        "",
        f"{len(agreement.labelled)} reviewers; two or more of them labelled {agreement.frames} frames of",
        f"{agreement.observations} observations. About {counts['disputed']} frames they differ (`disputed.csv`).",
        "",
        f"**Krippendorff's alpha: {_told(agreement.alpha)}.**",
        "",
        "Alpha tells how far all reviewers agree about the classes of these frames: 1 if always, 0 if no more than by",
        "chance, below 0 if less. Krippendorff (2004) asks for 0.8 or more before labels are relied on, and draws",
        "tentative conclusions from 0.667 on. Cohen's kappa tells the same of two reviewers, on the frames that both",
        f"labelled. In brackets: the interval that holds {100 * COVERAGE:g} % of {RESAMPLES} draws of observations, as",
        "frames of one observation are alike. A dash: not defined, as without frames in common, with labels of one",
        "class alone, or for the interval with one observation.",
        "",
        *markdown_table(["reviewer", "frames labelled"], ([_text(n), str(k)] for n, k in agreement.labelled.items())),
        "",
        *markdown_table(["reviewer", "and", "frames of both", "observations", "same class", "Cohen's kappa"], pairs),
        "",
        "## Which classes are confused",
        "",
        "Where one of two reviewers gave the class on the left, so often the other gave the class above, all pairs",
        "together. The last column: how often that was.",
        "",
        *markdown_table(["", *CLASSES, "labels"], _confused(agreement)),
        "",
        f"![Confusion, pair by pair]({FIGURE})",
        "",
        "## Consensus",
        "",
        f"`consensus.csv` is a label table of {counts['consensus']} frames: each has the class that more than half of",
        "the reviewers gave who labelled it, also where that was one alone, and the kinds of events that more than",
        f"half of them named. {counts['left_out']} frames without such a class are left out. A frame counts as chosen",
        "at random only where it was for all who labelled it.",
    ]


def _confused(agreement: Agreement) -> list[list[str]]:
    return [
        [name, *(_share(count / row.sum()) if row.any() else "-" for count in row), str(row.sum())]
        for name, row in zip(CLASSES, agreement.confusion, strict=True)
    ]


def _told(estimate: Estimate) -> str:
    """A coefficient with its interval."""
    if np.isnan(estimate.value):
        return "-"
    between = "-" if np.isnan(estimate.low) else f"{estimate.low:.2f} to {estimate.high:.2f}"
    return f"{estimate.value:.3f} ({between})"


def _share(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.0f} %"


def _text(name: str) -> str:
    """A name in Markdown that is shown as it is."""
    return re.sub(r"([\\`*_{}\[\]<>()#+\-.!|&~$])", r"\\\1", name)


def _plain(estimate: Estimate) -> dict[str, float | None]:
    return {name: _known(value) for name, value in asdict(estimate).items()}


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
