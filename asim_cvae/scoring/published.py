"""Read Table 1 of Joergensen 2021 from a CSV file: one row per experiment, with class and MDCC of each cluster."""

import csv
from dataclasses import dataclass
from pathlib import Path

from asim_cvae.base.errors import InputError

PUBLISHED_TABLE = "thesis_table1.csv"
"""File name of the table in the reference folder, which holds data published with the thesis."""

CLUSTERS = 5
"""Clusters per experiment."""


@dataclass(frozen=True)
class PublishedCluster:
    """One published cluster.

    Attributes:
        label: most frequent class of its members.
        certainty: share of that class in whole percent.
        mdcc: mean Euclidean distance of the members to the cluster's centre.
    """

    label: str
    certainty: int
    mdcc: float


@dataclass(frozen=True)
class PublishedRow:
    """One experiment of the table.

    Attributes:
        experiment: its name.
        weights: file name of its weights, without suffix.
        epochs: training epochs.
        clusters: its clusters.
    """

    experiment: str
    weights: str
    epochs: int
    clusters: tuple[PublishedCluster, ...]

    @property
    def noise_certainty(self) -> float | None:
        """Highest certainty of the clusters labelled noise, as a share; None if there are none."""
        return max((c.certainty / 100 for c in self.clusters if c.label == "N"), default=None)


BEST_PUBLISHED = PublishedRow(
    "relu_lr2e-4",
    "Epoch800_LatentSpace50_MaxPooling_WU400_NoDropout_BNBeforeLin_LearningR_2em4",
    800,
    tuple(
        PublishedCluster(*cluster)
        for cluster in (("N", 87, 9.29), ("N", 52, 13.04), ("HCLA", 27, 9.56), ("LCLA", 34, 10.78), ("HCLA", 34, 7.90))
    ),
)
"""The thesis's best experiment, quoted from its Table 1: that whose noise cluster is the purest."""


def read_published(path: Path) -> list[PublishedRow]:
    """Read the published table.

    Raises:
        InputError: the file cannot be read, or is another table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return [_row(row) for row in csv.DictReader(stream)]
    except (OSError, KeyError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: not the published Table 1 ({error!r}); give reference=FOLDER one that holds it"
        ) from error


def _row(row: dict[str, str]) -> PublishedRow:
    clusters = []
    for number in range(CLUSTERS):
        label, certainty = row[f"cluster{number}"].split()
        clusters.append(PublishedCluster(label, int(certainty), float(row[f"mdcc{number}"])))
    return PublishedRow(row["experiment"], row["weights"], int(row["max_epochs"]), tuple(clusters))
