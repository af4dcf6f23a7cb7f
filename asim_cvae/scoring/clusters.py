"""Cluster latents, score the clusters against labels (Joergensen 2021, 3.5), and probe latents with neighbours."""

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
"""Latent vectors (N, latent_dim), one per frame."""

Labels = NDArray[np.str_]
"""Class names (N,), one per frame."""

LATENTS = ("mean", "sample")
"""Latents that can be clustered: means of the posteriors, or one sample of each."""

PROBE_NEIGHBOURS = 10
"""Neighbours that vote on a frame's class in the probe."""

PROBE_FOLDS = 5
"""Folds of the probe's cross-validation."""

_FLOAT32_MAX = float(np.finfo(np.float32).max)  # larger centres have distances that overflow in float32


@dataclass(frozen=True)
class Clustering:
    """Clusters of N latents: the cluster number of each, (N,), and the cluster centres, (k, latent_dim)."""

    assignment: NDArray[np.int64]
    centres: Latents


@dataclass(frozen=True)
class ClusteringProtocol:
    """Settings of the clustering.

    Attributes:
        clusters: k, the number of clusters.
        n_init: runs of k-means from different starts, of which the best is kept.
        random_state: seed of k-means.
        latent: 'mean' to cluster posterior means, 'sample' to cluster one sample of each posterior.

    Raises:
        InputError: ``latent`` is neither.
    """

    clusters: int = 5
    n_init: int = 10
    random_state: int = 0
    latent: str = "mean"

    def __post_init__(self) -> None:
        if self.latent not in LATENTS:
            raise InputError(f"scoring.latent={self.latent}: must be {' or '.join(LATENTS)}, of each frame's posterior")

    def cluster(self, latents: Latents) -> Clustering:
        """Cluster finite latents (N, D) with k-means; if fewer than k are different, there are as many clusters.

        Another way of clustering is a subclass with another such method, named in ``conf/scoring/``. Latents belong to
        the nearest centre, since that is how saved clusters take in frames that come later.
        """
        clusters = min(self.clusters, len(np.unique(latents, axis=0)))
        if clusters == 0:
            return Clustering(np.zeros(0, dtype=np.int64), np.zeros((0, latents.shape[1])))
        kmeans = KMeans(clusters, n_init=self.n_init, random_state=self.random_state)
        with threadpool_limits(1):  # one order of summation gives the same clusters on any number of cores
            kmeans.fit(np.ascontiguousarray(latents, dtype=np.float64))
        return Clustering(assign_to_nearest(latents, kmeans.cluster_centers_), kmeans.cluster_centers_)


@dataclass(frozen=True)
class SavedClusters:
    """Clusters stored in an exported model, so that a frame gets the same cluster whatever it is scored with.

    Attributes:
        centres: (k, D) centres in the space of the descriptions of frames, float64.
        labels: label of each cluster; None if the clusters were fitted on frames without labels.
    """

    centres: Latents
    labels: tuple[str | None, ...]

    @classmethod
    def around_means(
        cls, described: Latents, assignment: NDArray[np.integer], labels: Mapping[int, str | None]
    ) -> "SavedClusters":
        """Put the centre of each cluster at the mean description of its frames; clusters without frames are left out.

        Args:
            described: (N, D) descriptions of frames.
            assignment: (N,) number of each frame's cluster, whatever they were clustered by.
            labels: label of each cluster, by its number.
        """
        kept = [number for number in labels if (assignment == number).any()]
        centres = [described[assignment == number].mean(0, dtype=np.float64) for number in kept]
        return cls(np.array(centres), tuple(labels[number] for number in kept))

    def as_dict(self) -> dict[str, Any]:
        """Return the clusters as plain values, for JSON."""
        return {"centres": self.centres.tolist(), "labels": list(self.labels)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], size: int) -> "SavedClusters":
        """Make the clusters from the result of :meth:`as_dict`.

        Args:
            content: the result of :meth:`as_dict`, which may have been tampered with.
            size: D, the number of values by which the model describes a frame.

        Raises:
            InputError: a key is missing, or a value has another type, another shape, or is not finite.
        """
        try:
            rows, labels = content["centres"], content["labels"]
            are_numbers = all(type(value) in (int, float) for row in rows for value in row)
            centres = np.array(rows, dtype=np.float64)
            names = {name for label in labels if label is not None for name in label.split("/")}
        except (KeyError, TypeError, AttributeError, OverflowError, ValueError) as error:
            raise InputError(f"not clusters saved by this program ({first_line(error)})") from error
        if centres.ndim != 2 or not len(centres) or centres.shape[1] != size:
            raise InputError(f"centres of shape {centres.shape}, while the model describes a frame by {size} values")
        if not are_numbers or not (np.abs(centres) <= _FLOAT32_MAX).all():
            raise InputError("centres that are not finite numbers")
        if len(labels) != len(centres) or not names <= set(CLASSES):
            raise InputError(f"{len(centres)} centres need a label each, of {', '.join(CLASSES)}, or null")
        return cls(centres, tuple(labels))


def assign_to_nearest(latents: Latents, centres: Latents) -> NDArray[np.int64]:
    """Return the number of the centre (k, D) that is nearest to each latent (N, D) by Euclidean distance, (N,).

    If two centres are equally near, the first is taken.
    """
    distances = [np.linalg.norm(latents.astype(np.float64) - centre, axis=1) for centre in centres]
    return np.asarray(np.argmin(distances, axis=0), dtype=np.int64)


def score_clusters(
    latents: Latents, clustering: Clustering, labels: Labels | None, saved_labels: Sequence[str | None] | None = None
) -> ClusterScores:
    """Score a clustering of latents, against the frames' labels if they have any.

    Args:
        latents: (N, latent_dim).
        clustering: clusters of these latents.
        labels: (N,) labels of the frames, None if they have none.
        saved_labels: label of each centre, (k,); by default a cluster's label is its most frequent class.
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
        noise=_score_noise(clusters),
        purity=sum(_hits(c.label, c.counts) for c in clusters if c.label) / len(labels) if is_labelled else None,
        classes_represented=len({name for label in names for name in label.split("/")}) if is_labelled else None,
        ari=float(adjusted_rand_score(labels, clustering.assignment)),
        nmi=float(normalized_mutual_info_score(labels, clustering.assignment)),
    )


def _counts(labels: Labels) -> dict[str, int]:
    frequencies = Counter(labels.tolist())
    return {name: frequencies[name] for name in CLASSES}


def _most_frequent(counts: Mapping[str, int]) -> str | None:
    """Return the class with the highest count, or all of them joined by / if several have it; None without counts."""
    return "/".join(name for name in counts if counts[name] == max(counts.values())) or None


def _hits(label: str, counts: Mapping[str, int]) -> float:
    """Return the number of frames of the label's class; for a joined label the mean over its classes."""
    names = label.split("/")
    return sum(counts[name] for name in names) / len(names)


def _score_noise(clusters: Sequence[Cluster]) -> NoiseCluster | None:
    noise_clusters = [cluster for cluster in clusters if cluster.label == NOISE]
    if not noise_clusters:
        return None
    best = max(noise_clusters, key=lambda cluster: (cluster.certainty or 0.0, cluster.size))
    total = sum(cluster.counts[NOISE] for cluster in clusters)
    return NoiseCluster(best.certainty, best.counts[NOISE] / total if total else None)


def probe_macro_f1(latents: Latents, labels: Labels, groups: NDArray[Any]) -> float | None:
    """Measure how well latents predict classes, apart from any clustering: macro F1 of a 10-nearest-neighbour vote.

    Distances are Euclidean. Five-fold cross-validation keeps frames of one group together.

    Args:
        latents: (N, latent_dim).
        labels: (N,) classes.
        groups: (N,) group of each frame, such as its observation.

    Returns:
        The macro F1 over the classes in ``labels``; None if there are fewer than two groups.
    """
    folds = min(PROBE_FOLDS, len(np.unique(groups)))
    if folds < 2:
        return None
    predicted = np.empty_like(labels)
    for train, test in GroupKFold(folds).split(latents, labels, groups):
        probe = KNeighborsClassifier(min(PROBE_NEIGHBOURS, len(train)))
        predicted[test] = probe.fit(latents[train], labels[train]).predict(latents[test])
    return float(f1_score(labels, predicted, average="macro", labels=np.unique(labels), zero_division=0))
