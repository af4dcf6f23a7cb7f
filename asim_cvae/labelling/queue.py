"""Make a queue of the frames of a triage to label next: a label table whose classes are still to be filled in."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from asim_cvae.archive import labels
from asim_cvae.archive.matching import match_files
from asim_cvae.archive.reviews import read_reviews
from asim_cvae.base.errors import InputError
from asim_cvae.labelling.suggesting import ANOMALY, COLUMNS, MARGIN, Suggestion
from asim_cvae.pulses.columns import Column
from asim_cvae.triaging.columns import FRAMES
from asim_cvae.triaging.gathering import files_that_count, write_csv
from asim_cvae.triaging.ledger import Ledger

_FILE, _FRAME, _CLASS = labels.COLUMNS

QUEUE = (
    Column(_FILE, "U", "", "name of the file"),
    Column(_FRAME, "i4", "", "number of the frame"),
    Column(_CLASS, "U", "", "empty: the class of the frame, to be filled in"),
    Column("Chosen", "U", "", "how the frame was chosen: margin, anomaly or random"),
    Column("Start UTC", "M8[us]", "UTC", "time of its first sample"),
    Column("Model Class", "U", "", "likeliest class by the heads"),
    Column("Model Probability", "f4", "", "calibrated probability of that class"),
    Column("Why", "U", "", "why the frame was chosen"),
)
"""Columns of a queue."""

_READ = (*COLUMNS, "time_utc", "class", "probability", "why")


def read_frames(ledger: Ledger, columns: Collection[str] = _READ) -> pa.Table:
    """Read the frames of all observations of a triage, as far as a queue needs to know them.

    Raises:
        InputError: there are none, or a batch is damaged.
    """
    tables = list(files_that_count(ledger).tables("frames", [column for column in FRAMES if column.name in columns]))
    if not tables:
        raise InputError(f"{ledger.folder}: holds no observations; python -m asim_cvae.triage out=FOLDER writes them")
    return pa.concat_tables(tables)


def _of_files(frames: pa.Table, files: Collection[str]) -> pa.Table:
    return frames.filter(pc.is_in(frames["file"], pa.array(files, pa.string())))


def labelled_frames(table: Path, files: Collection[str]) -> set[tuple[str, int]]:
    """Return the files and numbers of the frames that have a label, by the names that the triage has for them.

    The labels may be those of a label table, a journal or a folder of journals, also where reviewers differ.

    Raises:
        LabelTableError: the labels cannot be read.
    """
    read = read_reviews(table)
    found = match_files(sorted(read.files), files).files
    places = {place for review in read.reviewers.values() for place in review.labels}
    return {(found[name], frame) for name, frame in places if name in found}


def write_queue(path: Path, frames: pa.Table, suggestions: Sequence[Suggestion]) -> None:
    """Write suggested frames, in their order, as a label table with ``QUEUE``, whose classes are empty."""
    known = _of_files(frames, sorted({one.file for one in suggestions})).drop_columns(["description"]).to_pylist()
    rows = {(row["file"], row["frame"]): row for row in known}
    write_csv(path, QUEUE, (_row(one, rows[one.file, one.frame]) for one in suggestions))


def _row(one: Suggestion, frame: dict[str, object]) -> dict[str, object]:
    why = {
        MARGIN: f"the two likeliest classes differ by {frame['margin'] or 0:.3f} in probability",
        ANOMALY: frame["why"],
        labels.RANDOM: "chance drew its observation, of which all frames are to be labelled",
    }
    cells = (one.file, one.frame, "", one.chosen, frame["time_utc"], frame["class"], frame["probability"])
    return dict(zip((column.name for column in QUEUE), (*cells, why[one.chosen]), strict=True))


def tell(suggestions: Sequence[Suggestion]) -> str:
    """Say in a line what was suggested."""
    ways = Counter(one.chosen for one in suggestions)
    observations = len({one.file for one in suggestions})
    return f"{len(suggestions)} frames of {observations} observations: " + ", ".join(
        f"{ways[way]} {way}" for way in labels.WAYS if ways[way]
    )
