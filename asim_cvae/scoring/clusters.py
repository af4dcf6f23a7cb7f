"""Latents and labels -> clusters and their scores (Joergensen 2021, 3.5), and what the latents know beyond them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, f1_score, normalized_mutual_info_score
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from asim_cvae.base.errors import InputError, first_line
from asim_cvae.instrument.classes import CLASSES, NOISE
from asim_cvae.scoring.scores import Cluster, ClusterScores, NoiseCluster

Latents = NDArray[np.floating[Any]]
"""(N, latent_dim)."""

Labels = NDArray[np.str_]
"""(N,) class names."""

LATENTS = ("mean", "sample")
"""What may stand for a frame: its posterior's mean, or one sample of it."""

PROBE_NEIGHBOURS = 10
PROBE_FOLDS = 5

_FLOAT32_MAX = float(np.finfo(np.float32).max)  # distances to larger centres would overflow


@dataclass(frozen=True)
class ClusteringProtocol:
    """How latents are scored: k-means settings, and whether a latent is the posterior's 'mean' or a 'sample' of it."""

    clusters: int = 5
    n_init: int = 10
    random_state: int = 0
    latent: str = "mean"

    def __post_init__(self) -> None:
        if self.latent not in LATENTS:
            raise InputError(f"scoring.latent={self.latent}: a frame's latent is its posterior 'mean' or one 'sample'")


@dataclass(frozen=True)
class Clustering:
    """Clusters of N latents: the cluster of each, (N,), and the centres, (k, latent_dim)."""

    assignment: NDArray[np.int64]
    centres: Latents


@dataclass(frozen=True)
class SavedClusters:
    """Clusters that are part of an exported model, so that a frame is in the same one in every folder.

    ``centres`` is (k, D), float64; ``labels`` has the label of each, None where it was fitted on frames without;
    ``latent`` says whether posterior means or samples were clustered.
    """

    centres: Latents
    labels: tuple[str | None, ...]
    latent: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"latent": self.latent, "centres": self.centres.tolist(), "labels": list(self.labels)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], size: int) -> "SavedClusters":
        """Read back what :meth:`as_dict` gave, of a model that describes a frame by ``size`` values.

        Raises:
            InputError: the values are of another type, shape or number, or not finite.
        """
        try:
            rows, labels, latent = content["centres"], content["labels"], content["latent"]
            are_numbers = all(type(value) in (int, float) for row in rows for value in row)
            centres = np.array(rows, dtype=np.float64)
            names = {name for label in labels if label is not None for name in label.split("/")}
        except (KeyError, TypeError, AttributeError, OverflowError, ValueError) as error:
            raise InputError(f"not as this program saves clusters ({first_line(error)})") from error
        if centres.ndim != 2 or not len(centres) or centres.shape[1] != size:
            raise InputError(f"centres of shape {centres.shape}, while the model describes a frame by {size} values")
        if not are_numbers or not (np.abs(centres) <= _FLOAT32_MAX).all():
            raise InputError("centres that are not finite numbers")
        if len(labels) != len(centres) or not names <= set(CLASSES):
            raise InputError(f"{len(centres)} centres need a label each, of {', '.join(CLASSES)}, or null")
        if latent not in LATENTS:
            raise InputError(f"latent is to be one of {', '.join(LATENTS)}")
        return cls(centres, tuple(labels), latent)


def assign_to_nearest(latents: Latents, centres: Latents) -> NDArray[np.int64]:
    """The nearest centre to each latent, (N,), by Euclidean distance; of equally near ones the first."""
    distances = [np.linalg.norm(latents.astype(np.float64) - centre, axis=1) for centre in centres]
    return np.asarray(np.argmin(distances, axis=0), dtype=np.int64)


def cluster_latents(latents: Latents, protocol: ClusteringProtocol) -> Clustering:
    """k-means of finite latents, with fewer clusters where there are fewer different latents than clusters."""
    clusters = min(protocol.clusters, len(np.unique(latents, axis=0)))
    if clusters == 0:
        return Clustering(np.zeros(0, dtype=np.int64), np.zeros((0, latents.shape[1])))
    kmeans = KMeans(clusters, n_init=protocol.n_init, random_state=protocol.random_state)
    with threadpool_limits(1):  # sums in one order: the same clusters on any number of cores
        kmeans.fit(np.ascontiguousarray(latents, dtype=np.float64))
    # By the same function as saved centres are read with: a run's own frames are where their saved clusters have them.
    return Clustering(assign_to_nearest(latents, kmeans.cluster_centers_), kmeans.cluster_centers_)


def score_clusters(
    latents: Latents, clustering: Clustering, labels: Labels | None, saved_labels: Sequence[str | None] | None = None
) -> ClusterScores:
    """Score a clustering of latents against the frames' labels, if there are any.

    Args:
        latents: (N, latent_dim).
        clustering: of these latents.
        labels: (N,), None where the frames have none.
        saved_labels: of each centre, (k,); where not given, a cluster is labelled by its most frequent class.
    """
    clusters = []
    for number, centre in enumerate(clustering.centres):
        members = clustering.assignment == number
        size = int(members.sum())
        if size:
            counts = {} if labels is None else _counts(labels[members])
            label = _most_frequent(counts) if saved_labels is None else saved_labels[number]
            certainty = _hits(label, counts) / size if label and counts else None
            mdcc = float(np.linalg.norm(latents[members] - centre, axis=1).mean())
            clusters.append(Cluster(number, label, certainty, mdcc, size, counts))
    if labels is None or not clusters:
        return ClusterScores(clusters)
    names = [cluster.label for cluster in clusters if cluster.label]
    is_labelled = len(names) == len(clusters)
    return ClusterScores(
        clusters=clusters,
        noise=_noise(clusters),
        purity=sum(_hits(c.label, c.counts) for c in clusters if c.label) / len(labels) if is_labelled else None,
        classes_represented=len({name for label in names for name in label.split("/")}) if is_labelled else None,
        ari=float(adjusted_rand_score(labels, clustering.assignment)),
        nmi=float(normalized_mutual_info_score(labels, clustering.assignment)),
    )


def _counts(labels: Labels) -> dict[str, int]:
    found = Counter(labels.tolist())
    return {name: found[name] for name in CLASSES}


def _most_frequent(counts: Mapping[str, int]) -> str | None:
    """The class with the highest count, equal ones joined; None without counts."""
    return "/".join(name for name in counts if counts[name] == max(counts.values())) or None


def _hits(label: str, counts: Mapping[str, int]) -> float:
    """Frames of the label's class, the mean over its classes where it is a joined one."""
    names = label.split("/")
    return sum(counts[name] for name in names) / len(names)


def _noise(clusters: Sequence[Cluster]) -> NoiseCluster | None:
    noisy = [cluster for cluster in clusters if cluster.label == NOISE]
    if not noisy:
        return None
    best = max(noisy, key=lambda cluster: (cluster.certainty or 0.0, cluster.size))
    total = sum(cluster.counts[NOISE] for cluster in clusters)
    return NoiseCluster(best.certainty, best.counts[NOISE] / total if total else None)


def probe_macro_f1(latents: Latents, labels: Labels, groups: NDArray[Any]) -> float | None:
    """Macro F1 of 10-nearest-neighbour classification (Euclidean), cross-validated in groups of whole observations.

    None where there are fewer than two groups. What the latents know of the classes, whatever k-means makes of them.
    """
    folds = min(PROBE_FOLDS, len(np.unique(groups)))
    if folds < 2:
        return None
    predicted = np.empty_like(labels)
    for train, test in GroupKFold(folds).split(latents, labels, groups):
        probe = KNeighborsClassifier(min(PROBE_NEIGHBOURS, len(train)))
        predicted[test] = probe.fit(latents[train], labels[train]).predict(latents[test])
    return float(f1_score(labels, predicted, average="macro", labels=np.unique(labels), zero_division=0))
