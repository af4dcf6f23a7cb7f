"""Scores, declared once: scores.json, printed tables, Table 1 and dashboards list the fields of these classes."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


def score(heading: str, places: int = 2, in_table1: bool = True) -> Any:
    """Declare a field as a score: a number, or None where there is no value.

    Args:
        heading: its name where people read it.
        places: decimal places that tables show; files hold the exact value.
        in_table1: whether Table 1 has a column of it.
    """
    return field(default=None, metadata={"heading": heading, "places": places, "in_table1": in_table1})


@dataclass(frozen=True)
class Cluster:
    """One cluster of frames: its label, and that label's share of the frames, the certainty.

    A fitted cluster's label is the most frequent class, equal counts joined as HCLA/LCHA; a saved cluster keeps the
    label that it was saved with. The certainty of a joined label is the mean of its classes' shares. ``mdcc`` is the
    mean Euclidean distance of the members to the centre. Where frames have no labels, ``certainty`` is None and
    ``counts`` is empty.
    """

    cluster: int
    label: str | None
    certainty: float | None
    mdcc: float
    size: int
    counts: dict[str, int]


@dataclass(frozen=True)
class NoiseCluster:
    """The cluster labelled N with the highest certainty.

    ``recall`` is the share of all N frames that are in it, None where no frame is N.
    """

    certainty: float | None = score("noise certainty")
    recall: float | None = score("noise recall")


@dataclass(frozen=True)
class ClusterScores:
    """Scores of the clusters of some frames. All but ``clusters`` are None where the frames have no labels.

    ``clusters`` are those that have members. ``noise`` is None where no cluster is labelled N. ``purity`` is the share
    of frames that are of their cluster's class, ``classes_represented`` the number of classes that label a cluster;
    both are None where clusters have no labels. ``ari`` and ``nmi`` are the adjusted Rand index and the normalised
    mutual information of clusters and classes.
    """

    clusters: list[Cluster] = field(default_factory=list)
    noise: NoiseCluster | None = field(default=None, metadata={"scores_of": NoiseCluster})
    purity: float | None = score("purity", in_table1=False)
    classes_represented: int | None = score("classes", places=0, in_table1=False)
    ari: float | None = score("ARI")
    nmi: float | None = score("NMI")


@dataclass(frozen=True)
class Scores(ClusterScores):
    """All scores of a model on some frames: those of the clusters fitted on these frames, and those listed here.

    ``probe_macro_f1`` is what a nearest-neighbour probe makes of the latents. ``active_units`` counts the latents whose
    posterior mean varies over frames; the model is ``dead`` where none does (None: diverged, or fewer than two frames).
    ``log_px`` and ``kl`` are means over frames in nats. ``saved`` scores the clusters that were saved with the model,
    None where it has none.
    """

    probe_macro_f1: float | None = score("probe F1")
    active_units: int | None = score("active units", places=0, in_table1=False)
    dead: bool | None = None
    log_px: float | None = score("log p(x|z)", in_table1=False)
    kl: float | None = score("KL", in_table1=False)
    saved: ClusterScores | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as ``scores.json`` holds them."""
        return asdict(self)


@dataclass(frozen=True)
class ScoreColumn:
    """A declared score as lists and tables show it; ``path`` leads to its value in ``scores.json``."""

    path: tuple[str, ...]
    heading: str
    places: int
    in_table1: bool

    @property
    def name(self) -> str:
        """Its name in flat lists, ``noise_recall`` for ``noise.recall``."""
        return "_".join(self.path)

    def value(self, scores: Mapping[str, Any]) -> float | None:
        """Its value in the content of a ``scores.json``; None, too, where the file is older than the score."""
        found: Any = scores
        for key in self.path:
            found = None if found is None else found.get(key)
        return found  # type: ignore[no-any-return]


def score_columns(kind: type[ClusterScores] | None = None) -> list[ScoreColumn]:
    """Every score that ``kind`` declares, :class:`Scores` where not given, in the order of its fields."""
    return list(_columns(kind or Scores, ()))


def _columns(kind: type[Any], path: tuple[str, ...]) -> Iterator[ScoreColumn]:
    for declared in fields(kind):
        if "heading" in declared.metadata:
            yield ScoreColumn((*path, declared.name), **declared.metadata)
        elif "scores_of" in declared.metadata:
            yield from _columns(declared.metadata["scores_of"], (*path, declared.name))
