"""Cluster scores against hand-made latents and an independent computation."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from asim_cvae.scoring.clusters import (
    Clustering,
    ClusteringProtocol,
    cluster_latents,
    probe_macro_f1,
    score_clusters,
)
from asim_cvae.scoring.table import percent, two_digits

PROTOCOL = ClusteringProtocol()


def _blobs() -> tuple[np.ndarray, np.ndarray]:
    """Five tight groups at known places; the classes in each are known."""
    members = ["N"] * 7 + ["HCLA"], ["N", "N", "LCLA"], ["HCLA", "LCHA"], ["HCHA"], ["LCLA"] * 4
    centres = np.eye(5) * 100
    latents = [
        centre + offset for centre, labels in zip(centres, members, strict=True) for offset in _around(len(labels))
    ]
    return np.array(latents), np.array([label for labels in members for label in labels])


def _around(count: int) -> np.ndarray:
    """Offsets that average to zero: pairs at distance 1 on opposite sides, one in the middle for odd counts."""
    pairs = [sign * np.eye(5)[0] for _ in range(count // 2) for sign in (1, -1)]
    return np.array([*pairs, *([np.zeros(5)] * (count % 2))])


def test_scores_of_known_clusters() -> None:
    latents, labels = _blobs()
    score = score_clusters(latents, cluster_latents(latents, PROTOCOL), labels)
    found = {(c.label, c.size): c for c in score.clusters}
    assert set(found) == {("N", 8), ("N", 3), ("HCLA/LCHA", 2), ("HCHA", 1), ("LCLA", 4)}
    assert found["N", 8].certainty == 7 / 8
    assert found["N", 8].counts == {"HCHA": 0, "HCLA": 1, "LCHA": 0, "LCLA": 0, "N": 7}
    assert found["HCLA/LCHA", 2].certainty == 0.5
    assert found["N", 8].mdcc == pytest.approx(1.0)
    assert found["N", 3].mdcc == pytest.approx(2 / 3)
    assert found["HCHA", 1].mdcc == 0.0
    assert score.noise == {"certainty": 7 / 8, "recall": 7 / 9}
    assert score.purity == (7 + 2 + 1 + 1 + 4) / 18
    assert score.classes_represented == 5


def _independent(assignment: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """ARI by counting pairs, NMI from entropies."""
    pairs = list(combinations(range(len(labels)), 2))
    same = np.array([[assignment[i] == assignment[j], labels[i] == labels[j]] for i, j in pairs])
    both, a, b = (same.all(1).sum(), *same.sum(0))
    expected = a * b / len(pairs)
    ari = (both - expected) / ((a + b) / 2 - expected)

    def entropy(values: list) -> float:
        shares = np.array(list(Counter(values).values())) / len(values)
        return float(-(shares * np.log(shares)).sum())

    h_a, h_b = entropy(assignment.tolist()), entropy(labels.tolist())
    mutual = h_a + h_b - entropy(list(zip(assignment.tolist(), labels.tolist(), strict=True)))
    return ari, mutual / ((h_a + h_b) / 2)


def test_scores_against_an_independent_computation() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(["HCHA", "HCLA", "LCHA", "LCLA", "N"], 120)
    latents = rng.normal(size=(120, 6)) + 2 * (labels == "N")[:, None]
    clustering = cluster_latents(latents, PROTOCOL)
    score = score_clusters(latents, clustering, labels)
    ari, nmi = _independent(clustering.assignment, labels)
    assert score.ari == pytest.approx(ari, abs=1e-12)
    assert score.nmi == pytest.approx(nmi, abs=1e-12)
    for cluster in score.clusters:
        members = clustering.assignment == cluster.cluster
        best, count = Counter(labels[members].tolist()).most_common(1)[0]
        assert best in cluster.label.split("/")
        assert cluster.certainty == count / members.sum()
        centre = latents[members].mean(0)  # k-means: the centre is the mean
        distances = [np.sqrt(((latent - centre) ** 2).sum()) for latent in latents[members]]
        assert cluster.mdcc == pytest.approx(np.mean(distances), rel=1e-6)


def test_no_cluster_is_noise() -> None:
    latents, labels = np.array([[0.0], [0.1], [9.0], [9.1]]), np.array(["HCHA", "HCHA", "LCLA", "N"])
    score = score_clusters(latents, Clustering(np.array([0, 0, 1, 1]), np.array([[0.05], [9.05]])), labels)
    assert score.noise is None  # LCLA/N is a tie, not noise
    assert [c.label for c in score.clusters] == ["HCHA", "LCLA/N"]


def test_without_labels_clusters_have_sizes_and_no_classes() -> None:
    latents, _ = _blobs()
    score = score_clusters(latents, cluster_latents(latents, PROTOCOL), None)
    assert sorted(c.size for c in score.clusters) == [1, 2, 3, 4, 8]
    assert {(c.label, c.certainty) for c in score.clusters} == {(None, None)}
    assert (score.noise, score.purity, score.ari) == (None, None, None)


@pytest.mark.parametrize("frames", [0, 1, 3])
def test_fewer_frames_than_clusters(frames: int) -> None:
    latents = np.arange(frames * 2.0).reshape(frames, 2)
    clustering = cluster_latents(latents, PROTOCOL)
    score = score_clusters(latents, clustering, np.array(["N"] * frames))
    assert len(score.clusters) == frames
    assert all(c.size == 1 and c.mdcc == 0 for c in score.clusters)


def test_equal_latents_are_one_cluster() -> None:
    assert len(cluster_latents(np.ones((9, 4)), PROTOCOL).centres) == 1


def test_probe_finds_what_is_there_and_not_what_observations_give_away() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 10)
    labels = rng.choice(["N", "HCHA"], 200)
    telling = rng.normal(size=(200, 3)) + 5 * (labels == "N")[:, None]
    assert probe_macro_f1(telling, labels, groups) > 0.95
    by_group = np.repeat(rng.choice(["N", "HCHA"], 20), 10)
    only_groups = np.repeat(100 * rng.normal(size=(20, 3)), 10, axis=0) + rng.normal(size=(200, 3))
    assert probe_macro_f1(only_groups, by_group, groups) < 0.75
    assert probe_macro_f1(telling, labels, np.zeros(200)) is None


def test_percents_and_digits_are_cut_alike() -> None:
    shares = (0.875, 0.999, 0.29, 0.57, 1.0)
    assert [percent(share) for share in shares] == [87, 99, 29, 57, 100]
    assert [two_digits(share) for share in shares] == ["0.87", "0.99", "0.29", "0.57", "1.00"]
    assert [two_digits(score) for score in (-0.126, -0.29, -0.001)] == ["-0.12", "-0.29", "0.00"]
