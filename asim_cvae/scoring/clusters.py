"""Latents and labels -> clusters and their scores (Joergensen 2021, 3.5), and what the latents know beyond them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, f1_score, normalized_mutual_info_score
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from asim_cvae.base.errors import InputError
from asim_cvae.instrument.classes import CLASSES, NOISE

Latents = NDArray[np.floating[Any]]
"""(N, latent_dim)."""

Labels = NDArray[np.str_]
"""(N,) class names."""

PROBE_NEIGHBOURS = 10
PROBE_FOLDS = 5


@dataclass(frozen=True)
class ClusteringProtocol:
    """How latents are scored: k-means settings, and whether a latent is the posterior's 'mean' or a 'sample' of it."""

    clusters: int = 5
    n_init: int = 10
    random_state: int = 0
    latent: str = "mean"

    def __post_init__(self) -> None:
        if self.latent not in ("mean", "sample"):
            raise InputError(f"scoring.latent={self.latent}: a frame's latent is its posterior 'mean' or one 'sample'")


@dataclass(frozen=True)
class Clustering:
    """k-means: the cluster of each latent, (N,), and the centres, (k, latent_dim)."""

    assignment: NDArray[np.int64]
    centres: Latents


@dataclass(frozen=True)
class Cluster:
    """One cluster: its most frequent class (equal counts joined as HCLA/LCHA) and its share, the certainty.

    ``mdcc`` is the mean Euclidean distance of its members to its centre. Without labels, ``label`` and ``certainty``
    are None and ``counts`` is empty.
    """

    cluster: int
    label: str | None
    certainty: float | None
    mdcc: float
    size: int
    counts: dict[str, int]


@dataclass(frozen=True)
class ClusterScore:
    """Scores of a clustering; all but ``clusters`` are None without labels.

    ``noise`` is that of the cluster labelled N with the highest certainty: its certainty, and its recall, the share of
    all N frames that are in it; None where no cluster is labelled N. ``purity`` is the share of frames that are of
    their cluster's class, ``classes_represented`` the number of classes that label a cluster, ``ari`` and ``nmi`` the
    adjusted Rand index and the normalised mutual information of clusters and classes.
    """

    clusters: list[Cluster] = field(default_factory=list)
    noise: dict[str, float] | None = None
    purity: float | None = None
    classes_represented: int | None = None
    ari: float | None = None
    nmi: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def cluster_latents(latents: Latents, protocol: ClusteringProtocol) -> Clustering:
    """k-means of finite latents, with fewer clusters where there are fewer different latents than clusters."""
    clusters = min(protocol.clusters, len(np.unique(latents, axis=0)))
    if clusters == 0:
        return Clustering(np.zeros(0, dtype=np.int64), np.zeros((0, latents.shape[1])))
    kmeans = KMeans(clusters, n_init=protocol.n_init, random_state=protocol.random_state)
    with threadpool_limits(1):  # sums in one order: the same clusters on any number of cores
        kmeans.fit(np.ascontiguousarray(latents, dtype=np.float64))
    return Clustering(kmeans.labels_.astype(np.int64), kmeans.cluster_centers_)


def score_clusters(latents: Latents, clustering: Clustering, labels: Labels | None) -> ClusterScore:
    """Score a clustering of latents against the frames' labels, if there are any."""
    clusters = [
        _describe(cluster, latents[members], centre, None if labels is None else labels[members])
        for cluster, centre in enumerate(clustering.centres)
        if (members := clustering.assignment == cluster).any()
    ]
    if labels is None or not clusters:
        return ClusterScore(clusters)
    return ClusterScore(
        clusters=clusters,
        noise=_noise(clusters),
        purity=sum(max(c.counts.values()) for c in clusters) / len(labels),
        classes_represented=len({name for c in clusters for name in (c.label or "").split("/")}),
        ari=float(adjusted_rand_score(labels, clustering.assignment)),
        nmi=float(normalized_mutual_info_score(labels, clustering.assignment)),
    )


def _describe(number: int, members: Latents, centre: Latents, labels: Labels | None) -> Cluster:
    mdcc = float(np.linalg.norm(members - centre, axis=1).mean())
    if labels is None:
        return Cluster(number, None, None, mdcc, len(members), {})
    found = Counter(labels.tolist())
    counts = {name: found[name] for name in CLASSES}
    most = max(counts.values())
    label = "/".join(name for name in CLASSES if counts[name] == most)
    return Cluster(number, label, most / len(members), mdcc, len(members), counts)


def _noise(clusters: Sequence[Cluster]) -> dict[str, float] | None:
    noisy = [cluster for cluster in clusters if cluster.label == NOISE]
    if not noisy:
        return None
    best = max(noisy, key=lambda cluster: (cluster.certainty or 0.0, cluster.size))
    total = sum(cluster.counts[NOISE] for cluster in clusters)
    return {"certainty": best.certainty or 0.0, "recall": best.counts[NOISE] / total}


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
