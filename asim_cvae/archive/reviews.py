"""Read the labels of one or more reviewers: of a label table, of a journal, or of a folder of journals."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from asim_cvae.archive.journal import SUFFIX, Entry, JournalError, read_journal
from asim_cvae.archive.labels import LabelTable, LabelTableError, Place, Review, Reviews, agreed, read_reviewers


def is_label_table(path: Path) -> bool:
    """Tell whether there is something at ``path`` that may hold labels: a file, or a folder of journals."""
    return path.is_file() or bool(_journals(path))


def read_agreed(path: Path) -> LabelTable:
    """Read the labels of reviewers who differ about no frame; each frame counts once.

    Raises:
        LabelTableError: the labels cannot be read, or reviewers differ about a frame.
    """
    return agreed(path, read_reviews(path))


def read_reviews(path: Path) -> Reviews:
    """Read what each reviewer says: by its suffix a journal, a folder of journals, else a label table.

    Of what a reviewer says of a frame in several journals of a folder, the latest counts.

    Raises:
        LabelTableError: the labels cannot be read.
    """
    journals = _journals(path)
    if not journals:
        return read_reviewers(path)
    try:
        read = [read_journal(journal) for journal in journals]
    except JournalError as error:
        raise LabelTableError(str(error)) from error
    except OSError as error:
        raise LabelTableError(f"{path}: cannot be read ({error.strerror})") from error
    latest: dict[str, dict[Place, Entry]] = {}
    for journal in read:
        for reviewer, entries in journal.reviewers.items():
            said = latest.setdefault(reviewer, {})
            for place, entry in entries.items():
                said[place] = max(entry, said.get(place, entry), key=_time)
    standing = {reviewer: [e for e in said.values() if not e.withdraws] for reviewer, said in latest.items()}
    files = frozenset(entry.file for entries in standing.values() for entry in entries)
    problems = tuple(problem for journal in read for problem in journal.problems)
    return Reviews({reviewer: _review(entries) for reviewer, entries in standing.items()}, files, problems)


def _journals(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(path.glob(f"*{SUFFIX}"))
    return [path] if path.suffix == SUFFIX and path.is_file() else []


def _review(entries: Iterable[Entry]) -> Review:
    review = Review()
    for entry in entries:
        review.kinds[entry.place] = entry.kinds
        if entry.classification is not None:
            review.labels[entry.place] = entry.classification
            review.chosen[entry.place] = entry.chosen
    return review


def _time(entry: Entry) -> datetime:
    return datetime.fromisoformat(entry.time)
