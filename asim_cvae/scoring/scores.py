"""Declare each score once, with its range: scores.json, tables and dashboards list the fields of these classes."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal

from msgspec import Meta

from asim_cvae.base.documents import Count, Name, Share

Distance = Annotated[float, Meta(ge=0)]
"""A Euclidean distance."""

Index = Annotated[float, Meta(ge=-1, le=1 + 1e-9)]
"""An index that is 1 at best and 0 by chance."""


def score(heading: str, places: int = 2, in_table1: bool = True) -> Any:
    """Declare a dataclass field as a score: a number, or None if there is no value.

    Args:
        heading: name of the score in tables.
        places: decimal places that tables show; files hold the exact value.
        in_table1: whether Table 1 has a column for the score.
    """
    return field(default=None, metadata={"heading": heading, "places": places, "in_table1": in_table1})


@dataclass(frozen=True)
class Cluster:
    """One cluster of frames.

    Attributes:
        cluster: its number.
        label: most frequent class of a fitted cluster, several joined as HCLA/LCHA if they are equally frequent; a
            saved cluster keeps the label that it was saved with. None if it has no label.
        certainty: share of its frames that are of the label's class, the mean over the classes of a joined label;
            None if the frames or the cluster have no labels.
        mdcc: mean distance to the cluster's centre, Euclidean, over its frames.
        size: number of its frames.
        counts: number of its frames by class; empty if the frames have no labels.
    """

    cluster: Count
    label: Name | None
    certainty: Share | None
    mdcc: Distance
    size: Count
    counts: dict[Name, Count]


@dataclass(frozen=True)
class NoiseCluster:
    """The cluster labelled N with the highest certainty.

    Attributes:
        certainty: share of its frames that are labelled N.
        recall: share of all frames labelled N that are in it; None if no frame is labelled N.
    """

    certainty: Share | None = score("noise certainty")
    recall: Share | None = score("noise recall")


@dataclass(frozen=True)
class ClusterScores:
    """Scores of the clusters of some frames. All but ``clusters`` are None if the frames have no labels.

    Attributes:
        clusters: the clusters that have members.
        noise: the best noise cluster; None if no cluster is labelled N.
        purity: share of the frames whose class is that of their cluster; None if a cluster has no label.
        classes_represented: number of classes that label a cluster; None if a cluster has no label.
        ari: adjusted Rand index of clusters and classes.
        nmi: normalised mutual information of clusters and classes.
    """

    clusters: list[Cluster] = field(default_factory=list)
    noise: NoiseCluster | None = field(default=None, metadata={"scores_of": NoiseCluster})
    purity: Share | None = score("purity", in_table1=False)
    classes_represented: Count | None = score("classes", places=0, in_table1=False)
    ari: Index | None = score("ARI")
    nmi: Share | None = score("NMI")


@dataclass(frozen=True)
class HeadScores:
    """Scores of heads, which tell classes of frames (:mod:`asim_cvae.recognition`); None where no frame is of the kind.

    Attributes:
        macro_f1: mean F1 of the classes among the labels.
        noise_dropped: share of the noise frames that the threshold drops.
        events_kept: share of the event frames that it keeps.
        calibration_error: expected calibration error of the likeliest class, over ten bins.
        trained_on: 'simulated' or 'mmia', the frames from which the heads learnt.
        calibrated_on: the same of the frames to which they were fitted again; None if they were not.
    """

    macro_f1: Share | None = score("heads F1", in_table1=False)
    noise_dropped: Share | None = score("heads noise dropped", places=3, in_table1=False)
    events_kept: Share | None = score("heads events kept", places=3, in_table1=False)
    calibration_error: Share | None = score("heads calibration error", places=3, in_table1=False)
    trained_on: Literal["simulated", "mmia"] = "simulated"
    calibrated_on: Literal["simulated", "mmia"] | None = None


@dataclass(frozen=True)
class Scores(ClusterScores):
    """All scores of a model on some frames. The inherited ones are of the clusters fitted on these frames.

    Attributes:
        probe_macro_f1: macro F1 of a nearest-neighbour probe that predicts classes from latents.
        active_units: number of latents whose posterior mean varies over the frames; None if the model diverged.
        dead: whether no latent varies; None if the model diverged, or if there are fewer than two frames.
        log_px: mean of log p(x|z) over the frames, in nats.
        kl: mean of the KL term over the frames, in nats.
        saved: scores of the clusters that were saved with the model; None if it has none.
        heads: scores of the heads beside the model; None if there are none, or the frames have no labels.
    """

    probe_macro_f1: Share | None = score("probe F1")
    active_units: Count | None = score("active units", places=0, in_table1=False)
    dead: bool | None = None
    log_px: float | None = score("log p(x|z)", in_table1=False)
    kl: float | None = score("KL", in_table1=False)
    saved: ClusterScores | None = None
    heads: HeadScores | None = field(default=None, metadata={"scores_of": HeadScores})

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as plain values, for ``scores.json``."""
        return asdict(self)


@dataclass(frozen=True)
class ScoredData:
    """Where scored frames come from.

    Attributes:
        kind: 'simulated' or 'mmia'.
        name: name of the archive's folder.
        version: the simulator's, '' of measured data.
        digest: tells the scored files, frames and labels from others.
    """

    kind: Literal["simulated", "mmia"]
    name: Name
    version: Name
    digest: Name


@dataclass(frozen=True)
class ScoredProtocol:
    """What every way of clustering has; its other settings are its own.

    Attributes:
        clusters: number of clusters asked for.
        n_init: runs of k-means, of which the best was kept.
        random_state: seed of the clustering.
        latent: what of the posteriors was clustered.
    """

    clusters: Count
    n_init: Annotated[int, Meta(ge=1)]
    random_state: Count
    latent: Literal["mean", "sample"]


@dataclass(frozen=True)
class ScoredWeights:
    """Weights that ``score`` was given: their path, and how their SHA-256 and that of heads beside them begin."""

    path: str
    sha256: Name
    heads: Name | None = None


@dataclass(frozen=True, kw_only=True)
class ScoresFile(Scores):
    """All that a ``scores.json`` may hold, by which it is checked when it is read.

    Attributes:
        experiment: name of the experiment.
        seed: seed of the run; None of weights alone.
        epochs: epochs of the training; None if unknown.
        restarts: restarts from other initial weights.
        frames: number of scored frames.
        device: type of the device that encoded them.
        described_by: by what the network describes a frame.
        data: where the frames come from.
        protocol: settings of the clustering.
        weights: the weights; in scores of ``score`` alone.
    """

    experiment: Name
    seed: Count | None
    epochs: Count | None
    restarts: Count
    frames: Count
    device: Name
    described_by: Name
    data: ScoredData
    protocol: ScoredProtocol
    weights: ScoredWeights | None = None


@dataclass(frozen=True)
class ScoreColumn:
    """A declared score, as lists and tables show it.

    Attributes:
        path: keys that lead to its value in ``scores.json``.
        heading: its name in tables.
        places: decimal places that tables show.
        in_table1: whether Table 1 has a column for it.
    """

    path: tuple[str, ...]
    heading: str
    places: int
    in_table1: bool

    @property
    def name(self) -> str:
        """Name of the score in flat lists, as ``noise_recall`` for ``noise.recall``."""
        return "_".join(self.path)

    def value(self, scores: Mapping[str, Any]) -> float | None:
        """Return the score's value in the content of a ``scores.json``; None if it has no value or is not there.

        Files that were written before a score was declared do not hold it.
        """
        value: Any = scores
        for key in self.path:
            value = None if value is None else value.get(key)
        return value  # type: ignore[no-any-return]


def score_columns(kind: type[ClusterScores] | None = None) -> list[ScoreColumn]:
    """Return all scores that ``kind`` declares, by default :class:`Scores`, in the order of its fields."""
    return list(_columns(kind or Scores, ()))


def _columns(kind: type[Any], path: tuple[str, ...]) -> Iterator[ScoreColumn]:
    for declared in fields(kind):
        if "heading" in declared.metadata:
            yield ScoreColumn((*path, declared.name), **declared.metadata)
        elif "scores_of" in declared.metadata:
            yield from _columns(declared.metadata["scores_of"], (*path, declared.name))
