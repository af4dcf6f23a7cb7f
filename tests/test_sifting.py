"""Tests of what measures anomaly scores and sifting, against independent computations on drawn data."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata

from asim_cvae.instrument.classes import CLASSES, KINDS, NOISE
from asim_cvae.recognition.calibration import expected_calibration_error, reliability
from asim_cvae.studies.triage.anomaly_scores import OWN, STROKES, measure_recall, rank_correlation
from asim_cvae.studies.triage.dark import FRAMES, dark_frames
from asim_cvae.studies.triage.judged import SCORES, Judged
from asim_cvae.studies.triage.sifting_scores import (
    by_clusters,
    by_peaks,
    joined,
    keeping,
    measure_ranks,
    noisiest_cluster,
    removed,
)
from asim_cvae.studies.triage.sifting_sets import LabelledSet, count_peaks

ELVE = KINDS.index("elve")


def _judged(frames: int, seed: int, share: float = 0.2) -> Judged:
    rng = np.random.default_rng(seed)
    holds = rng.random((frames, len(KINDS))) < share
    kinds = np.clip(0.4 * rng.random((frames, len(KINDS))) + 0.3 * holds, 0, 1)
    scores = rng.random((frames, len(SCORES)))
    return Judged(scores, kinds, holds, np.arange(frames) // 4, rng.random(frames))


def _labelled(frames: int, seed: int) -> LabelledSet:
    rng = np.random.default_rng(seed)
    label = rng.integers(len(CLASSES), size=frames)
    probability = rng.dirichlet(np.ones(len(CLASSES)), frames)
    is_event = label != CLASSES.index(NOISE)
    latents = rng.normal(3.0 * is_event[:, None], 1.0, (frames, 2)).astype(np.float32)
    peaks = rng.poisson(3 * is_event)
    return LabelledSet(label, np.arange(frames) // 5, {"own": probability}, {}, peaks, latents)


def test_recall_is_a_share_above_a_quantile_of_others() -> None:
    natural, rare = _judged(2000, 1), _judged(500, 2)
    found = measure_recall(natural, rare)
    others = np.sort(natural.kinds[~natural.holds[:, ELVE], ELVE])
    held = rare.kinds[rare.holds[:, ELVE], ELVE]
    # The threshold lies between the two values that 99 % of the others are next to.
    place = int(0.99 * (len(others) - 1))
    assert (held > others[place + 1]).mean() <= found.recall[OWN]["elve"] <= (held > others[place]).mean()
    assert found.recall[OWN]["elve"] > 0.3
    assert found.recall["misfit"]["elve"] == pytest.approx(0.01, abs=0.03)
    assert found.frames["elve"] == rare.holds[:, ELVE].sum()
    assert found.frames[STROKES] == sum(not row.any() for row in rare.holds)


def test_rank_correlation_is_that_of_ranks() -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 20, 300).astype(float)  # with ties
    y = x + rng.normal(0, 10, 300)
    assert rank_correlation(x, y) == pytest.approx(np.corrcoef(rankdata(x), rankdata(y))[0, 1])
    assert rank_correlation(x, np.zeros(300)) == 0


def test_frames_without_light_drift_and_have_hits() -> None:
    none, many = (dark_frames(660, 1, 13.0, hits) for hits in (None, (6000.0, 6000.0)))
    assert none.flux.shape == (FRAMES, 3, 5000)
    assert not len(none.hits)
    assert (dark_frames(660, 1, 13.0, None).flux == none.flux).all()
    frame, photometer, sample = many.hits.T
    background = many.flux.mean(2)[frame, photometer]
    assert (many.flux[frame, photometer, sample] > background).mean() > 0.99
    # 6,000 a second are 300 a frame; nearly all have 2 counts or more, not all of which stand out.
    assert 20 < len(many.hits) / FRAMES < 300


def test_a_threshold_keeps_events() -> None:
    rng = np.random.default_rng(4)
    noise, is_event = rng.random(1000), rng.random(1000) < 0.5
    noise[is_event] *= 0.7
    found = removed(noise, is_event, keeping(noise, is_event))
    ordered = np.sort(noise[is_event])
    least = ordered[int(np.ceil(0.99 * len(ordered))) - 1]
    assert found.events == (ordered <= least).mean() >= 0.99
    assert found.noise == (noise[~is_event] > least).mean()


def test_peaks_above_the_threshold_are_counted() -> None:
    flux = np.zeros((3, 5000), dtype=np.float32)
    flux[0, [10, 11, 30, 50]] = 2.0, 3.0, 1.7, 5.0  # one peak of two samples, one too low, one more
    flux[2, 100:103] = 1.76  # a plateau
    assert count_peaks(flux) == 3


def test_noise_is_dropped_by_the_number_of_peaks() -> None:
    chosen_on, scored = _labelled(3000, 5), _labelled(1000, 6)
    # A twentieth of Poisson counts of mean 3 are 0: that many events would be lost, so that nothing can be removed.
    assert by_peaks(chosen_on, scored).chosen.noise == 0
    more = [replace(one, peaks=one.peaks + 2 * one.is_event) for one in (chosen_on, scored)]
    assert by_peaks(more[0], more[1]).chosen.noise == 1


def test_clusters_are_dropped_by_their_share_of_noise() -> None:
    chosen_on, scored = _labelled(2000, 7), _labelled(1000, 8)
    found = by_clusters(chosen_on, scored)
    assert found is not None
    # Two Gaussians 4.2 standard deviations apart: clusters of both are not pure.
    assert 0.2 < found.chosen.noise < 1
    assert found.itself.events >= 0.99
    assert by_clusters(replace(chosen_on, latents=None), scored) is None
    of_one = noisiest_cluster(chosen_on, scored)
    assert of_one is not None
    assert 0 < of_one.noise < 1
    assert of_one.events > 0.95
    both = joined([chosen_on, scored])
    np.testing.assert_array_equal(both.noise("own")[2000:], scored.noise("own"))


def test_ranks_are_those_among_natural_observations() -> None:
    natural, rare = _judged(1600, 9, 0.02).by_observation(), _judged(400, 10).by_observation()
    found = measure_ranks(natural, rare, {"own": "", "chance": "misfit"}, ["sprite"], 50, np.random.default_rng(0))
    own, chance = found["own"]["elve"], found["chance"]["elve"]
    others = natural.only(~natural.holds[:, ELVE] & ~natural.holds[:, KINDS.index("sprite")])
    assert own.among == len(others.observation)
    assert own.available == rare.holds[:, ELVE].sum()
    assert own.put_in == round(own.among / 199)
    held = rare.kinds[rare.holds[:, ELVE], ELVE]
    possible = {(others.kinds[:, ELVE] > score).sum() + above for score in held for above in range(1, own.put_in + 1)}
    assert {int(rank) for rank in own.ranks} <= possible
    for k in range(50):  # average precision by its definition
        ranks = np.sort(own.ranks[k * own.put_in : (k + 1) * own.put_in])
        assert own.precision[k] == pytest.approx((np.arange(1, own.put_in + 1) / ranks).mean())
    assert np.mean(own.precision) > 0.3
    assert np.mean(chance.precision) < 0.1


def test_observations_are_judged_by_their_largest_values() -> None:
    frames = _judged(20, 11)
    both = frames.by_observation()
    np.testing.assert_array_equal(both.scores[2], frames.scores[8:12].max(0))
    np.testing.assert_array_equal(both.holds[4], frames.holds[16:20].any(0))
    np.testing.assert_array_equal(both.observation, np.arange(5))


def test_reliability_is_counted_in_bins() -> None:
    told = _labelled(4000, 12)
    found = reliability(told.classes["own"], told.label)
    confidence, right = told.classes["own"].max(1), told.classes["own"].argmax(1) == told.label
    error = 0.0
    for k in range(10):
        inside = (confidence >= k / 10) & (confidence < (k + 1) / 10)
        assert found.frames[k] == inside.sum()
        if inside.any():
            assert found.right[k] / found.frames[k] == pytest.approx(right[inside].mean())
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert found.error == pytest.approx(error) == expected_calibration_error(told.classes["own"], told.label)


FEW = (
    *("archives.evaluation.labelled=4", "archives.shifted.labelled=4", "archives.natural.observations=12"),
    *("archives.many.observations=5", *(f"archives.many.rare.{kind}=1" for kind in ("elve", "sprite", "blue_jet"))),
    *("archives.many.rare.corona=1", "archives.many.rare.radiation=1", "dark.none=20", "dark.quiet=20"),
    *("dark.south_atlantic=10", "drawn=3", "draws=5", "seeds.sifting.choosing=[500]", "seeds.sifting.evaluation=[501]"),
    *("seeds.sifting.shifted=[502]", "reference=null", "parts=[scores,sifting]"),
)


def test_the_command_measures_scores_and_sifting(run, tmp_path: Path) -> None:
    done = run("triage_report", *FEW, f"out={tmp_path}")
    assert done.stdout.splitlines()[-1] == str(tmp_path / "triage.md")
    measured, text = json.loads((tmp_path / "triage.json").read_text()), (tmp_path / "triage.md").read_text()
    assert measured["simulated"] is True
    assert set(measured) == {"simulated", "scores", "sifting"}
    scores, sifting = measured["scores"]["pretrained"], measured["sifting"]["pretrained"]
    assert scores["chance"]["none"]["frames"] == 20
    assert scores["chance"]["none"]["hits"] == 0 < scores["chance"]["south_atlantic"]["hits"]
    assert np.array(scores["chance"]["none"]["below"]).shape == (4, 3)
    assert set(sifting["sets"]) == {"evaluation 501", "shifted 502"}
    one = sifting["sets"]["evaluation 501"]
    assert f"| evaluation 501 | {one['noise_frames']} | heads | saved | {one['saved']['noise']:.3f} |" in text
    assert "The thesis's weights are left out" in text
    for name in ("scores_chance", "scores_recall", "scores_brightness", "sifting_noise", "sifting_reliability"):
        assert (tmp_path / f"simulated_{name}.png").is_file()


def test_weights_need_heads_and_a_reference(run, tmp_path: Path) -> None:
    failed = run("triage_report", "parts=[scores]", f"weights=[{tmp_path}]", f"out={tmp_path / 'out'}", check=False)
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)
    assert "holds no heads" in failed.stderr


def test_parts_are_checked(run, tmp_path: Path) -> None:
    failed = run("triage_report", "parts=[noise]", f"out={tmp_path}", check=False)
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)
    assert "parts" in failed.stderr
