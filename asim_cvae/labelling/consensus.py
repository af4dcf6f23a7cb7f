"""Write what most reviewers say of each frame, and the frames about which they differ."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from asim_cvae.archive.labels import CHOSEN, COLUMNS, EVENT_KINDS, Place, chosen_for_all
from asim_cvae.archive.sheets import harmless
from asim_cvae.base.files import atomic_write
from asim_cvae.instrument.classes import KINDS
from asim_cvae.labelling.raters import Raters

PAGE = "page.html"
"""Name of the page in the folder of a triage."""


@dataclass(frozen=True)
class Agreed:
    """What most reviewers say of a frame.

    Attributes:
        place: the frame.
        labels: the class that each reviewer gave, '' for none, in the order of the reviewers.
        label: the class that more than half of those gave who gave one; '' if there is none.
        kinds: the kinds of events that more than half of those named who said anything of kinds.
        chosen: how the frame was chosen to be labelled.
    """

    place: Place
    labels: Sequence[str]
    label: str
    kinds: Sequence[str]
    chosen: str

    @property
    def is_disputed(self) -> bool:
        """Whether reviewers gave different classes."""
        return len({*self.labels} - {""}) > 1


def find_consensus(raters: Raters) -> list[Agreed]:
    """What most reviewers say of each frame, in the order of files and frames."""
    reviews = list(raters.reviews.values())
    found = []
    for place in raters.places():
        labels = [review.labels.get(place, "") for review in reviews]
        given = [label for label in labels if label]
        said = [review.kinds[place] for review in reviews if place in review.kinds]
        kinds = [kind for kind in KINDS if 2 * sum(kind in each for each in said) > len(said)]
        ways = [review.chosen.get(place, "") for review in reviews if place in review.labels]
        chosen = chosen_for_all(ways) if given else ""
        found.append(Agreed(place, labels, _majority(given), kinds, chosen))
    return found


def write_consensus(path: Path, agreed: Iterable[Agreed]) -> None:
    """Write a label table of the classes and kinds that most reviewers gave; frames without a majority are left out."""
    rows = (
        (*one.place, one.label, "+".join(one.kinds), one.chosen, len(one.labels) - one.labels.count(""))
        for one in agreed
        if one.label or (one.kinds and not one.is_disputed)
    )
    _write(path, [*COLUMNS, EVENT_KINDS, CHOSEN, "Labelled By"], rows)


def write_disputed(path: Path, agreed: Iterable[Agreed], reviewers: Iterable[str], triage: Path | None) -> None:
    """Write the frames about which reviewers differ, with the class that each gave.

    Args:
        path: of the table.
        agreed: all frames.
        reviewers: their names.
        triage: folder of a triage, into whose page links lead; None for no links.
    """
    page = None if triage is None else (triage / PAGE).resolve().as_uri()
    rows = (
        (*one.place, *one.labels, one.label, *([] if page is None else [f"{page}#{_fragment(one.place)}"]))
        for one in agreed
        if one.is_disputed
    )
    _write(path, [*COLUMNS[:2], *reviewers, "Consensus", *([] if page is None else ["Link"])], rows)


def _majority(labels: Sequence[str]) -> str:
    ((label, votes),) = Counter(labels).most_common(1) or [("", 0)]
    return label if 2 * votes > len(labels) else ""


def _fragment(place: Place) -> str:
    file, frame = place
    return f"file={quote(file, safe='')}&frame={frame}"


def _write(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with atomic_write(path) as partial, partial.open("w", encoding="utf-8-sig", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([harmless(cell) for cell in row] for row in (head, *rows))
