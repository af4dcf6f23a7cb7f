"""Table 1 of Joergensen 2021 as a csv file: a row an experiment, with the class and MDCC of each of its clusters."""

import csv
from dataclasses import dataclass
from pathlib import Path

from asim_cvae.base.errors import InputError

PUBLISHED_TABLE = "thesis_table1.csv"
"""Its name in a folder of what the thesis published."""

CLUSTERS = 5


@dataclass(frozen=True)
class PublishedCluster:
    """Most frequent class, its share in whole percent, and the mean distance of the members to their centre."""

    label: str
    certainty: int
    mdcc: float


@dataclass(frozen=True)
class PublishedRow:
    """One experiment: its name, that of its weights, its epochs and clusters."""

    experiment: str
    weights: str
    epochs: int
    clusters: tuple[PublishedCluster, ...]

    @property
    def noise_certainty(self) -> float | None:
        """Share of noise in the purest noise cluster."""
        return max((c.certainty / 100 for c in self.clusters if c.label == "N"), default=None)


def read_published(path: Path) -> list[PublishedRow]:
    """Read the table.

    Raises:
        InputError: it cannot be read, or is another table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return [_row(row) for row in csv.DictReader(stream)]
    except (OSError, KeyError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not the published Table 1 ({error!r})") from error


def _row(row: dict[str, str]) -> PublishedRow:
    clusters = []
    for number in range(CLUSTERS):
        label, certainty = row[f"cluster{number}"].split()
        clusters.append(PublishedCluster(label, int(certainty), float(row[f"mdcc{number}"])))
    return PublishedRow(row["experiment"], row["weights"], int(row["max_epochs"]), tuple(clusters))
