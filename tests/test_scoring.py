"""Tests of the cluster scores, on hand-made latents and against an independent computation."""

import csv
import io
import json
from collections import Counter
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from asim_cvae.base.errors import InputError
from asim_cvae.data.datamodule import ScoredFrames
from asim_cvae.figures.dashboard import add_scores
from asim_cvae.runs.export import write_results
from asim_cvae.scoring import scores as declarations
from asim_cvae.scoring.clusters import (
    Clustering,
    ClusteringProtocol,
    SavedClusters,
    assign_to_nearest,
    probe_macro_f1,
    score_clusters,
)
from asim_cvae.scoring.evaluation import Evaluation, FramePosteriors, score_saved
from asim_cvae.scoring.scores import NoiseCluster, Scores, score
from asim_cvae.scoring.table import cut_digits, format_scores, percent
from asim_cvae.scoring.table1 import FinishedRun, as_csv, as_latex, as_markdown, build_table

PROTOCOL = ClusteringProtocol()


def _blobs() -> tuple[np.ndarray, np.ndarray]:
    """Make latents in five tight groups, and their labels."""
    members = ["N"] * 7 + ["HCLA"], ["N", "N", "LCLA"], ["HCLA", "LCHA"], ["HCHA"], ["LCLA"] * 4
    centres = np.eye(5) * 100
    latents = [
        centre + offset for centre, labels in zip(centres, members, strict=True) for offset in _around(len(labels))
    ]
    return np.array(latents), np.array([label for labels in members for label in labels])


def _around(count: int) -> np.ndarray:
    """Make offsets with mean zero: opposite pairs at distance 1, and one at zero if ``count`` is odd."""
    pairs = [sign * np.eye(5)[0] for _ in range(count // 2) for sign in (1, -1)]
    return np.array([*pairs, *([np.zeros(5)] * (count % 2))])


def test_scores_of_known_clusters() -> None:
    latents, labels = _blobs()
    scored = score_clusters(latents, PROTOCOL.cluster(latents), labels)
    found = {(c.label, c.size): c for c in scored.clusters}
    assert set(found) == {("N", 8), ("N", 3), ("HCLA/LCHA", 2), ("HCHA", 1), ("LCLA", 4)}
    assert found["N", 8].certainty == 7 / 8
    assert found["N", 8].counts == {"HCHA": 0, "HCLA": 1, "LCHA": 0, "LCLA": 0, "N": 7}
    assert found["HCLA/LCHA", 2].certainty == 0.5
    assert found["N", 8].mdcc == pytest.approx(1.0)
    assert found["N", 3].mdcc == pytest.approx(2 / 3)
    assert found["HCHA", 1].mdcc == 0.0
    assert scored.noise == NoiseCluster(certainty=7 / 8, recall=7 / 9)
    assert scored.purity == (7 + 2 + 1 + 1 + 4) / 18
    assert scored.classes_represented == 5


def _independent(assignment: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Compute ARI by counting pairs, and NMI from entropies."""
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
    clustering = PROTOCOL.cluster(latents)
    scored = score_clusters(latents, clustering, labels)
    ari, nmi = _independent(clustering.assignment, labels)
    assert scored.ari == pytest.approx(ari, abs=1e-12)
    assert scored.nmi == pytest.approx(nmi, abs=1e-12)
    for cluster in scored.clusters:
        members = clustering.assignment == cluster.cluster
        best, count = Counter(labels[members].tolist()).most_common(1)[0]
        assert best in cluster.label.split("/")
        assert cluster.certainty == count / members.sum()
        centre = latents[members].mean(0)  # a k-means centre is the mean of its members
        distances = [np.sqrt(((latent - centre) ** 2).sum()) for latent in latents[members]]
        assert cluster.mdcc == pytest.approx(np.mean(distances), rel=1e-6)


def test_no_cluster_is_noise() -> None:
    latents, labels = np.array([[0.0], [0.1], [9.0], [9.1]]), np.array(["HCHA", "HCHA", "LCLA", "N"])
    scored = score_clusters(latents, Clustering(np.array([0, 0, 1, 1]), np.array([[0.05], [9.05]])), labels)
    assert scored.noise is None  # LCLA/N is a tie, not noise
    assert [c.label for c in scored.clusters] == ["HCHA", "LCLA/N"]


def test_without_labels_clusters_have_sizes_and_no_classes() -> None:
    latents, _ = _blobs()
    scored = score_clusters(latents, PROTOCOL.cluster(latents), None)
    assert sorted(c.size for c in scored.clusters) == [1, 2, 3, 4, 8]
    assert {(c.label, c.certainty) for c in scored.clusters} == {(None, None)}
    assert (scored.noise, scored.purity, scored.ari) == (None, None, None)


@pytest.mark.parametrize("frames", [0, 1, 3])
def test_fewer_frames_than_clusters(frames: int) -> None:
    latents = np.arange(frames * 2.0).reshape(frames, 2)
    clustering = PROTOCOL.cluster(latents)
    scored = score_clusters(latents, clustering, np.array(["N"] * frames))
    assert len(scored.clusters) == frames
    assert all(c.size == 1 and c.mdcc == 0 for c in scored.clusters)


def test_equal_latents_are_one_cluster() -> None:
    assert len(PROTOCOL.cluster(np.ones((9, 4))).centres) == 1


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
    assert [cut_digits(share, 2) for share in shares] == ["0.87", "0.99", "0.29", "0.57", "1.00"]
    assert [cut_digits(value, 2) for value in (-0.126, -0.29, -0.001)] == ["-0.12", "-0.29", "0.00"]
    assert [cut_digits(value, 0) for value in (50, 1.9)] == ["50", "1"]
    assert cut_digits(0.1239, 3) == "0.123"


CENTRES = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [50.0, 50.0]])
SAVED = ("N", "HCLA/LCHA", "N", "HCHA")


def _beside(assignment: list[int]) -> np.ndarray:
    """Make latents at distance 1 from their centres."""
    return CENTRES[assignment] + np.array([0.6, 0.8])


def test_saved_clusters_keep_their_labels_on_other_frames() -> None:
    assignment = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    labels = np.array(["N", "N", "LCLA", "LCLA", "HCLA", "LCHA", "LCHA", "LCLA", "N", "N"])
    latents = _beside(assignment)
    found = assign_to_nearest(latents.astype(np.float32), CENTRES)
    assert found.tolist() == assignment
    scored = score_clusters(latents, Clustering(found, CENTRES), labels, SAVED)
    assert [(c.cluster, c.label, c.size) for c in scored.clusters] == [(0, "N", 4), (1, "HCLA/LCHA", 4), (2, "N", 2)]
    assert [c.certainty for c in scored.clusters] == [2 / 4, (1 + 2) / 2 / 4, 1.0]
    assert [c.mdcc for c in scored.clusters] == pytest.approx([1.0, 1.0, 1.0])
    assert scored.noise == NoiseCluster(certainty=1.0, recall=2 / 4)
    assert scored.purity == (2 + 1.5 + 2) / 10
    assert scored.classes_represented == 3
    ari, nmi = _independent(found, labels)
    assert (scored.ari, scored.nmi) == pytest.approx((ari, nmi))


def test_saved_clusters_where_labels_or_noise_are_missing() -> None:
    latents = _beside([0, 0, 1])
    clustering = Clustering(np.array([0, 0, 1]), CENTRES)
    unlabelled = score_clusters(latents, clustering, None, SAVED)
    assert [(c.label, c.certainty, c.counts) for c in unlabelled.clusters] == [("N", None, {}), ("HCLA/LCHA", None, {})]
    assert (unlabelled.noise, unlabelled.purity, unlabelled.ari) == (None, None, None)
    no_noise = score_clusters(latents, clustering, np.array(["HCHA", "LCLA", "HCLA"]), SAVED)
    assert no_noise.noise == NoiseCluster(certainty=0.0, recall=None)
    nameless = score_clusters(latents, clustering, np.array(["HCHA", "HCHA", "N"]), [None] * 4)
    assert [(c.label, c.certainty) for c in nameless.clusters] == [(None, None), (None, None)]
    assert (nameless.noise, nameless.purity, nameless.classes_represented) == (None, None, None)
    assert nameless.ari == 1.0


def test_saved_clusters_are_read_as_they_were_written() -> None:
    centres = np.random.default_rng(0).normal(size=(3, 7)) / 3
    written = json.loads(json.dumps(SavedClusters(centres, ("N", None, "HCLA/LCHA")).as_dict()))
    read = SavedClusters.from_dict(written, 7)
    np.testing.assert_array_equal(read.centres, centres)
    assert read.labels == ("N", None, "HCLA/LCHA")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"centres": [[1.0], [2.0]]}, "describes a frame by 2 values"),
        ({"centres": [[1.0, 2.0], [3.0]]}, "not clusters saved by this program"),
        ({"centres": [[float("nan"), 2.0], [3.0, 4.0]]}, "not finite"),
        ({"centres": [[1.0, 2.0], [3.0, float("inf")]]}, "not finite"),
        ({"centres": [[1.0, 2.0], [3.0, 1e300]]}, "not finite"),
        ({"centres": [["1", "2"], ["3", "4"]]}, "not finite"),
        ({"centres": [[10**400, 2.0], [3.0, 4.0]]}, "not clusters saved by this program"),
        ({"centres": []}, "shape"),
        ({"centres": 3}, "not clusters saved by this program"),
        ({"labels": ["N"]}, "a label each"),
        ({"labels": ["N", "sprite"]}, "a label each"),
        ({"labels": [1, 2]}, "not clusters saved by this program"),
    ],
)
def test_clusters_that_are_none_are_refused(changes: dict, told: str) -> None:
    good = {"centres": [[1.0, 2.0], [3.0, 4.0]], "labels": ["N", "HCHA"]}
    assert SavedClusters.from_dict(good, 2).labels == ("N", "HCHA")
    with pytest.raises(InputError, match=told) as refused:
        SavedClusters.from_dict({**good, **changes}, 2)
    assert "\n" not in str(refused.value)


RUN_INFO = {"experiment": "mine", "seed": 0, "epochs": 2, "restarts": 0}


def _evaluation(mu: np.ndarray, latents: np.ndarray, labels: np.ndarray, scores: Scores) -> Evaluation:
    count = len(labels)
    frames = ScoredFrames(
        dataset=None,
        file=np.array([f"{i}.fits" for i in range(count)]),
        observation_id=np.arange(count),
        frame=np.zeros(count, dtype=np.int32),
        time_utc=np.full(count, np.datetime64("2019-01-03T14:08:00", "us")),
        latitude=np.full(count, np.nan),
        longitude=np.full(count, np.nan),
        label=labels,
        data={"kind": "mmia", "name": "real", "version": "", "digest": "0123abcd"},
    )
    flat = mu.reshape(count, -1)
    posterior = FramePosteriors(flat, np.zeros_like(flat), flat, np.zeros(count), np.zeros(count))
    return Evaluation(frames, posterior, latents, PROTOCOL.cluster(latents), scores, PROTOCOL, "cpu", "posterior means")


def test_frames_go_to_the_saved_centre_nearest_to_their_mean() -> None:
    rng = np.random.default_rng(0)
    mu = rng.normal(size=(40, 2)).astype(np.float32)
    sampled = mu + rng.normal(size=mu.shape).astype(np.float32)
    labels = rng.choice(["N", "HCHA"], 40)
    centres = rng.normal(size=(3, 2))
    evaluation = _evaluation(mu, sampled, labels, Scores(ari=0.5))
    found = score_saved(evaluation, SavedClusters(centres, ("N", "HCHA", "N")))
    distances = ((mu[:, None].astype(np.float64) - centres) ** 2).sum(axis=2)
    np.testing.assert_array_equal(found.saved_assignment, distances.argmin(axis=1))
    assert sum(cluster.size for cluster in found.scores.saved.clusters) == 40
    np.testing.assert_array_equal(found.assignment, evaluation.assignment)
    assert found.scores.ari == 0.5
    assert score_saved(evaluation, None).scores.saved is None


def test_clusters_of_samples_are_saved_at_the_mean_descriptions_of_their_frames() -> None:
    rng = np.random.default_rng(1)
    label = np.repeat(["N", "HCHA"], 20)
    described = (rng.normal(size=(40, 2)) + np.where(label == "N", 9.0, 0.0)[:, None]).astype(np.float32)
    sampled = np.repeat(described, 3, axis=1)  # of another size
    clustering = ClusteringProtocol(clusters=2).cluster(sampled)
    scores = Scores(**vars(score_clusters(sampled, clustering, label)))
    protocol = ClusteringProtocol(clusters=2, latent="sample")
    evaluation = replace(
        _evaluation(described, sampled, label, scores), clustering=clustering, scores=scores, protocol=protocol
    )
    saved = evaluation.clusters_to_save()
    for centre, name in zip(saved.centres, saved.labels, strict=True):
        np.testing.assert_allclose(centre, described[label == name].mean(0), rtol=1e-6)
    np.testing.assert_array_equal(np.array(saved.labels)[score_saved(evaluation, saved).saved_assignment], label)


@dataclass(frozen=True)
class _MoreScores(Scores):
    bright: float | None = score("bright share", places=3)
    hidden: int | None = score("hidden count", places=0, in_table1=False)


def test_a_new_field_is_a_score_everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(declarations, "Scores", _MoreScores)
    latents, labels = _blobs()
    known = vars(score_clusters(latents, PROTOCOL.cluster(latents), labels))
    found = _MoreScores(**known, active_units=5, dead=False, bright=0.12399, hidden=7)
    write_results(tmp_path, _evaluation(latents, latents, labels, found), RUN_INFO)
    content = json.loads((tmp_path / "scores.json").read_text())
    assert (content["bright"], content["hidden"]) == (0.12399, 7)
    printed = format_scores(content)
    assert "bright share 0.123" in printed
    assert "hidden count 7" in printed
    older = {name: value for name, value in content.items() if name not in ("bright", "hidden")}
    table = build_table([FinishedRun("a", content, {}), FinishedRun("b", {**older, "seed": 1}, {})], [])
    head, _, _, run, old, mean = [line.split(" | ") for line in as_markdown(table).splitlines() if line.startswith("|")]
    assert [line[head.index("bright share |")] for line in (run, old, mean)] == ["0.123 |", "- |", "0.123 (1 of 2) |"]
    assert "bright share" in as_latex(table)
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert [row["bright"] for row in rows] == ["", "0.12399", "", "0.12399"]  # the published one first
    assert "hidden" not in as_markdown(table) + as_csv(table)
    shown: dict[str, float] = {}
    add_scores(SimpleNamespace(log_hyperparams=lambda _, metrics: shown.update(metrics)), {}, content)
    assert (shown["score/bright"], shown["score/hidden"]) == (0.12399, 7.0)
    assert shown["score/noise_recall"] == 7 / 9


@pytest.mark.parametrize(("shape", "held"), [((2, 128), True), ((257,), False), ((3, 125), False)])
def test_few_latents_are_written_and_what_is_clustered_always(tmp_path: Path, shape: tuple, held: bool) -> None:
    latents, labels = _blobs()
    mu = np.random.default_rng(0).normal(size=(len(labels), *shape))
    write_results(tmp_path, _evaluation(mu, latents, labels, Scores(dead=False)), RUN_INFO)
    written = np.load(tmp_path / "latents.npz")
    np.testing.assert_array_equal(written["description"], latents)
    assert {"mu", "log_sigma"} <= set(written) if held else not {"mu", "log_sigma"} & set(written)
    if held:
        np.testing.assert_array_equal(written["mu"], mu.reshape(len(mu), 256))
    assert written["saved_cluster"].tolist() == [-1] * len(labels)
