"""Gather what several reviewers say of the same frames, whatever names they have for them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from asim_cvae.archive.labels import Place, Review
from asim_cvae.archive.layout import has_known_suffix, preference
from asim_cvae.archive.matching import observation_keys
from asim_cvae.archive.reviews import read_reviews
from asim_cvae.base.errors import InputError, printable

Value = TypeVar("Value")


@dataclass(frozen=True)
class Raters:
    """What reviewers say; all of them have one name for the files of an observation.

    Attributes:
        reviews: what each says, by name; those without a class for any frame are left out.
        problems: a line for each row or line that was left out.
    """

    reviews: Mapping[str, Review]
    problems: Sequence[str]

    def places(self) -> list[Place]:
        """Frames of which any reviewer says something, by file and number."""
        return sorted({place for review in self.reviews.values() for place in (*review.labels, *review.kinds)})


def read_raters(tables: Iterable[Path]) -> Raters:
    """Read the labels of reviewers.

    Args:
        tables: label tables, journals and folders of journals. One that names no reviewer is of one, who has its name.

    Raises:
        InputError: a table cannot be read, two hold labels of one reviewer, or there are fewer than two reviewers.
    """
    reviews: dict[str, Review] = {}
    source: dict[str, Path] = {}
    problems: list[str] = []
    for table in tables:
        read = read_reviews(table)
        problems += read.problems
        for reviewer, review in read.reviewers.items():
            name = reviewer or printable(table.stem, 64)
            if not review.labels:
                continue
            if name in reviews:
                raise InputError(
                    f"tables: {source[name]} and {table} both hold labels of {name}; name reviewers differently, or "
                    "put the journals of one into one folder"
                )
            reviews[name], source[name] = review, table
    if len(reviews) < 2:
        who = ", ".join(reviews) or "nobody"
        raise InputError(f"tables: hold labels of {who} alone; agreement is of two reviewers or more")
    return Raters(_under_one_name(reviews), problems)


def _under_one_name(reviews: Mapping[str, Review]) -> dict[str, Review]:
    """Reviews with one name for all files of an observation: of the names that they have, that to be used first."""
    names = {file for review in reviews.values() for file, _ in (*review.labels, *review.kinds)}
    key = observation_keys(names)
    best_last = sorted(names, key=lambda name: (not has_known_suffix(name), preference(name)), reverse=True)
    first = {key[name]: name for name in best_last}
    used = {name: first[key[name]] for name in names}

    def renamed(values: dict[Place, Value]) -> dict[Place, Value]:
        """Of two values for one frame, under two names, the earlier one is kept."""
        return {(used[file], frame): value for (file, frame), value in reversed(values.items())}

    return {
        reviewer: Review(renamed(review.labels), renamed(review.chosen), renamed(review.kinds))
        for reviewer, review in reviews.items()
    }
