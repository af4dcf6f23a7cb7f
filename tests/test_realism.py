"""Tests of the realism report and its statistics."""

import json
from pathlib import Path

import numpy as np
import pytest

from asim_cvae.studies.realism.real_frames import Comparison
from asim_cvae.studies.realism.recovery import as_published
from asim_cvae.studies.realism.statistics import frame_statistics
from asim_cvae.studies.realism.thesis_weights import Agreement, Outcome, verdict


def test_simulated_frames_are_like_real_ones(run, reference: Path, tmp_path: Path) -> None:
    run("realism", f"reference={reference}", "seeds=[0,1]", "observations=110", f"out={tmp_path}")
    found = json.loads((tmp_path / "realism.json").read_text())
    real = found["real_frames"]
    assert real["comparisons"] > 140
    assert len(real["outside"]) <= 0.08 * real["comparisons"]
    weights = found["thesis_weights"]
    assert weights["simulated"]["holds"]
    assert not weights["shuffled"]["holds"]
    assert weights["simulated"]["mdcc_within"] >= 8
    assert weights["simulated"]["certainties_within"] >= 8
    assert abs(weights["simulated"]["purest"] - weights["simulated"]["purest_published"]) <= 15
    assert (
        0.86 < found["forest"]["without_rule"] <= found["forest"]["macro_f1"] < 0.99
    )  # a wider range than the report's, as there are fewer frames
    assert any("spike" in name for name in real["without_value"])
    page = (tmp_path / "report.md").read_text()
    for name in (
        "physics_simulated.png",
        "frames_real_and_simulated.png",
        "ranks_among_simulated.png",
        "certainties_simulated.png",
    ):
        assert f"]({name})" in page
        assert (tmp_path / name).stat().st_size > 20_000


def test_without_a_reference_the_report_says_what_it_lacks(run, tmp_path: Path) -> None:
    done = run("realism", f"reference={tmp_path}", "seeds=[7]", "observations=0", "labelled=3", f"out={tmp_path}")
    assert "holds no recovered_frames.npz" in done.stdout
    page = (tmp_path / "report.md").read_text()
    assert page.count("Skipped: ") == 2
    assert "random forest" in page


@pytest.mark.parametrize("wrong", ["seeds=[1,1]", "labelled=0"])
def test_reports_that_cannot_be_made(run, wrong: str, tmp_path: Path) -> None:
    done = run("realism", wrong, f"out={tmp_path}", check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("realism: ")


def test_recovery_leaves_what_a_figure_shows(reference: Path) -> None:
    rng = np.random.default_rng(0)
    with np.load(reference / "recovered_frames.npz") as file:
        real = file["counts"].astype(int)
    # Ultraviolet light curves hold background alone, so that Poisson counts must lose points in the same way.
    for frame in real[:, 1]:
        counts = rng.poisson(frame.mean(), (20, 5000))
        read = as_published(counts)
        assert (read != counts).mean() < 0.25
        assert (read <= counts.max(axis=1, keepdims=True)).all()
        assert (read.max(axis=1) == counts.max(axis=1)).all()  # the highest points are always kept
        lags = [np.corrcoef(row[1:], row[:-1])[0, 1] for row in read]
        assert np.mean(lags) > 0.03  # interpolation correlates neighbouring samples, as in the real frames
        assert abs(np.corrcoef(frame[1:], frame[:-1])[0, 1] - np.mean(lags)) < 0.06


def test_statistics_of_a_known_light_curve() -> None:
    counts = np.zeros((3, 5000), dtype=np.int64)
    counts[0] = np.round(100 * np.interp(np.arange(5000), [1000, 1500, 3000], [0, 1, 0]))
    counts[2, [700, 701, 2700]] = 20
    found = frame_statistics(counts)
    assert found["337 nm: mean (counts)"] == pytest.approx(20, rel=0.01)
    assert found["337 nm: rise of the tallest pulse (ms)"] == pytest.approx(4.0, abs=0.2)
    assert found["337 nm: decay of the tallest pulse (ms)"] == pytest.approx(12.0, abs=0.4)
    assert found["337 nm: autocorrelation at 10 µs"] > 0.99
    assert found["777.4 nm: spikes"] == 2
    assert found["777.4 nm: median spike height (counts)"] == 20
    assert found["777.4 nm: mean spike width (samples)"] == 1.5
    assert found["777.4 nm: samples without a photon"] == pytest.approx(4997 / 5000)
    assert np.isnan(found["180-230 nm: variance / mean"])


def test_ranks_count_ties_half() -> None:
    values = np.array([0.0, 1.0, 1.0, 2.0])
    assert Comparison("frame", "statistic", 1.0, values).rank == 0.5
    assert Comparison("frame", "statistic", 3.0, values).rank == 1.0
    assert not Comparison("frame", "statistic", 3.0, values).is_inside


def test_the_verdict_needs_all_three() -> None:
    published = Outcome(8.0, (60, 40, 35, 30, 25))
    near, far = Outcome(9.0, (55, 42, 35, 30, 28)), Outcome(9.0, (33, 30, 28, 26, 24))
    agreements = [Agreement(str(k), published, (near,) * 3, (far,) * 3) for k in range(10)]
    assert verdict(agreements, shuffled=False).holds
    assert not verdict(agreements, shuffled=True).holds
    wide = [Agreement(str(k), published, (Outcome(11.0, near.certainties),), (far,)) for k in range(10)]
    assert not verdict(wide, shuffled=False).holds
