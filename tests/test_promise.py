"""Tests of promises: how often they are broken, what stands behind them, and the command that gathers it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binom

from asim_cvae.archive.labels import read_labels
from asim_cvae.archive.reader import read_observation
from asim_cvae.base.errors import InputError, SettingError
from asim_cvae.frames.slicing import slice_frames
from asim_cvae.inference import load
from asim_cvae.instrument.classes import CLASSES
from asim_cvae.recognition.heads import TrainedHeads, read_heads, write_heads
from asim_cvae.recognition.labelled_by import LabelledBy
from asim_cvae.recognition.promise import MOST_UNITS, ORBIT_S, Evidence, largest_share, make_evidence, one_an_orbit
from asim_cvae.recognition.refitting import refit
from tests.exports import sign
from tests.tables import write_table
from tests.test_recognition import _heads

REAL = LabelledBy("mmia", "some", "", 1_000_000, 100_000)
SIMULATED = replace(REAL, kind="simulated")
SETS = 1000
KEEP, CONFIDENCE = 0.9, 0.95
UNITS = 46  # of which one may be lost: such a promise is broken in 4.8 % of the draws, near the 5 % that are allowed
BROKEN = 0.05 + 3 * np.sqrt(0.05 * 0.95 / SETS)


def _evidence(units: int, source: LabelledBy = REAL) -> Evidence:
    return Evidence(source, units, tuple(np.linspace(0.1, 0.9, units).tolist()))


def _storms(orbits: int, each: int, spread: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise probabilities of event frames, their observations, their times; of an observation they are alike.

    Observations of an orbit are alike where ``spread`` is above 0.
    """
    rng = np.random.default_rng(seed)
    frames = rng.integers(1, 10, orbits * each)
    observation = np.repeat(np.arange(orbits * each), frames)
    orbit = observation // each
    shared = spread * rng.normal(size=orbits)[orbit] + 1.5 * rng.normal(size=orbits * each)[observation]
    time = np.datetime64("2019-01-01", "us") + (orbit * ORBIT_S * 10**6).astype("m8[us]")
    return expit(shared + 0.3 * rng.normal(size=len(observation)) - 2), observation, time


def _worst(noise: np.ndarray, observation: np.ndarray) -> np.ndarray:
    """The largest value of each observation, computed another way than make_evidence does."""
    ends = np.flatnonzero(np.diff(observation, append=-1))
    return np.array([part.max() for part in np.split(noise, ends[:-1] + 1)])


def _share_broken(sets: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], truth: np.ndarray) -> float:
    """Share of the sets of which a promise comes that is broken: above its threshold lies more of the truth."""
    broken = 0
    for noise, observation, time in sets:
        evidence = make_evidence(noise, np.ones(len(noise), bool), observation, time, REAL)
        assert evidence is not None
        broken += (truth > evidence.threshold(KEEP, CONFIDENCE)).mean() > 1 - KEEP
    return broken / len(sets)


def test_promises_are_broken_as_seldom_as_they_say_and_those_by_frames_are_not() -> None:
    noise, observation, _ = _storms(100_000, 1, 0.0, seed=0)
    sets = [_storms(UNITS, 1, 0.0, seed) for seed in range(1, SETS + 1)]
    expected = binom.cdf(1, UNITS, 1 - KEEP)
    share = _share_broken(sets, _worst(noise, observation))
    assert share <= BROKEN
    assert share == pytest.approx(expected, abs=3 * np.sqrt(expected * (1 - expected) / SETS))
    by_frames = [(part, np.arange(len(part)), np.full(len(part), np.datetime64("NaT"))) for part, _, _ in sets]
    assert _share_broken(by_frames, noise) > 2 * BROKEN


def test_promises_hold_for_orbits_whose_observations_are_alike() -> None:
    noise, observation, _ = _storms(20_000, 8, 3.0, seed=0)
    truth = _worst(noise, observation)
    sets = [_storms(UNITS, 8, 3.0, seed) for seed in range(1, SETS + 1)]
    assert _share_broken(sets, truth) <= BROKEN
    without_times = [(*part, np.full(len(time), np.datetime64("NaT"))) for *part, time in sets]
    assert _share_broken(without_times, truth) > 2 * BROKEN


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("units", [1, 7, 299])
def test_the_limit_is_the_share_at_which_so_few_losses_are_as_unlikely_as_said(units: int, confidence: float) -> None:
    lost = np.arange(units)
    limit = largest_share(lost, units, confidence)
    np.testing.assert_allclose(binom.cdf(lost, units, limit), 1 - confidence, rtol=1e-6)


@pytest.mark.parametrize(
    ("units", "keep", "lost"), [(299, 0.99, 0), (473, 0.99, 1), (59, 0.95, 0), (46, 0.9, 1), (1000, 0.9, 84)]
)
def test_thresholds_lose_as_many_as_published_sample_sizes_allow(units: int, keep: float, lost: int) -> None:
    evidence = _evidence(units)
    assert binom.cdf(lost, units, 1 - keep) <= 0.05 < binom.cdf(lost + 1, units, 1 - keep)
    assert sum(worst > evidence.threshold(keep, 0.95) for worst in evidence.worst) == lost
    assert evidence.threshold(keep, 0.95) in evidence.worst


def test_equal_values_are_lost_together_or_not_at_all() -> None:
    evidence = Evidence(REAL, 46, (*(0.2,) * 40, *(0.7,) * 6))
    assert evidence.threshold(0.9, 0.95) == 0.7


def test_what_labels_do_not_support_is_refused_in_words() -> None:
    few = _evidence(298)
    with pytest.raises(SettingError, match=r"^keep_recall=0\.99: 298 observations support 0\.98 at 95 % confidence; "):
        few.threshold(0.99, 0.95)
    with pytest.raises(SettingError, match=r"0\.99 takes 299 observations$"):
        few.threshold(0.99, 0.95)
    assert few.threshold(0.989, 0.95) == 0.9
    assert _evidence(50).words(0.95) == "50 observations support 0.94 at 95 % confidence"
    assert _evidence(299).words(0.95) == "299 observations support 0.99 at 95 % confidence"
    assert _evidence(1).words(0.9) == "1 observation supports 0.09 at 90 % confidence"
    assert _evidence(50).strongest(0.95) == pytest.approx(0.05 ** (1 / 50))
    told = "50 observations support 0.94 at 95 % confidence (simulated frames: a promise for simulated frames alone)"
    assert _evidence(50, SIMULATED).words(0.95) == told
    with pytest.raises(SettingError, match="promise for simulated frames alone"):
        _evidence(50, SIMULATED).threshold(0.95, 0.95)
    for keep, confidence, name in ((1.0, 0.95, "keep_recall=1"), (0.9, 0.0, "confidence=0")):
        with pytest.raises(SettingError, match=name):
            few.threshold(keep, confidence)
    with pytest.raises(SettingError, match=r"python -m asim_cvae\.calibrate makes heads of which it can"):
        _heads().promised_threshold(0.9, 0.95)


def test_an_observation_counts_by_the_event_frame_that_is_lost_first() -> None:
    noise = np.array([0.1, 0.6, 0.99, 0.2, 0.98, 0.3])
    is_event = np.array([True, True, False, True, False, True])
    observation = np.array([5, 5, 5, 8, 9, 11])
    unknown = np.full(6, np.datetime64("NaT"))
    evidence = make_evidence(noise, is_event, observation, unknown, REAL)
    assert evidence == Evidence(REAL, 3, (0.2, 0.3, 0.6))
    assert make_evidence(noise, np.zeros(6, bool), observation, unknown, REAL) is None
    together = np.full(6, np.datetime64("2019-01-01T00:00:00", "us"))
    one = make_evidence(noise, is_event, observation, together, REAL)
    assert one is not None
    assert (one.event_observations, len(one.worst)) == (3, 1)


def test_one_observation_of_each_orbit_counts_whichever_it_is() -> None:
    orbits = np.repeat(np.arange(3000), 3)
    within = np.tile([1, 2000, 5573], 3000)
    times = ((280_000 + orbits) * ORBIT_S + within).astype("M8[s]")
    chosen = one_an_orbit(times)
    assert sorted(orbits[chosen].tolist()) == list(range(3000))
    counts = np.bincount(chosen % 3)
    assert np.abs(counts - 1000).max() < 4 * np.sqrt(3000 * 2 / 9)
    np.testing.assert_array_equal(one_an_orbit(times), chosen)
    unknown = times.copy()
    unknown[:30] = np.datetime64("NaT")
    assert set(range(30)) <= set(one_an_orbit(unknown).tolist())
    assert len(one_an_orbit(unknown)) == 30 + 2990
    assert len(one_an_orbit(np.full(MOST_UNITS + 5, np.datetime64("NaT")))) == MOST_UNITS


def test_evidence_travels_with_heads(tmp_path: Path) -> None:
    heads = replace(_heads(), evidence=_evidence(60, SIMULATED))
    write_heads(tmp_path, heads)
    again = read_heads(tmp_path)
    assert again.evidence == heads.evidence
    assert again.promised_threshold(0.95, 0.95) == heads.evidence.threshold(0.95, 0.95)
    content = json.loads((tmp_path / "heads.json").read_text())
    del content["evidence"]
    sign(tmp_path / "heads.json", content)
    assert read_heads(tmp_path).evidence is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"worst": [0.3, 0.2]}, "have to be ascending"),
        ({"worst": [0.2, 1.5]}, r"evidence\.worst"),
        ({"worst": [-0.1, 0.5]}, r"evidence\.worst"),
        ({"worst": []}, r"evidence\.worst"),
        ({"worst": ["0.1"]}, r"evidence\.worst"),
        ({"worst": [0.5] * (MOST_UNITS + 1)}, r"evidence\.worst"),
        ({"worst": None}, r"evidence\.worst"),
        ({"event_observations": 59}, "fewer than the units"),
        ({"event_observations": 10**6}, "more than the labelled observations"),
        ({"source": {"kind": "real"}}, r"evidence\.source"),
    ],
)
def test_evidence_that_a_stranger_changed_is_refused(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    write_heads(tmp_path, replace(_heads(), evidence=_evidence(60)))
    content = json.loads((tmp_path / "heads.json").read_text())
    sign(tmp_path / "heads.json", content | {"evidence": content["evidence"] | changes})
    with pytest.raises(InputError, match=told):
        read_heads(tmp_path)


def _table(path: Path, labels: dict[tuple[str, int], str], chosen: dict[tuple[str, int], str]) -> Path:
    """A label table that says of each frame how it was chosen."""
    lines = [(*place, label, chosen.get(place, "")) for place, label in labels.items()]
    return write_table(path, [("File Name", "Frame Number", "Classification", "Chosen"), *lines])


def _flux(archive: Path, places: list[tuple[str, int]]) -> np.ndarray:
    """Frames read from the files themselves, (N, 3, 5000)."""
    frames = {file: slice_frames(read_observation(archive / file).flux) for file in {file for file, _ in places}}
    return np.array([frames[file][k] for file, k in places], dtype=np.float32)


def _worst_of_files(noise: np.ndarray, file: np.ndarray, label: np.ndarray) -> list[float]:
    """The largest noise probability of each file's events, ascending."""
    return sorted(float(noise[(file == name) & (label != "N")].max()) for name in set(file.tolist()))


def _crossed(heads: TrainedHeads, flux: np.ndarray, label: np.ndarray, file: np.ndarray) -> np.ndarray:
    """Noise probabilities by heads that were fitted to other files."""
    classes, observation = [CLASSES.index(name) for name in label], np.unique(file, return_inverse=True)[1]
    values = heads.representation.apply(flux)
    return refit(heads, values, np.array(classes), observation, SIMULATED).crossed[:, -1]


def test_the_command_gathers_what_stands_behind_a_promise(run, archive: Path, tmp_path: Path) -> None:
    labels = read_labels(archive / "GroundTruth_Table.xlsx").labels
    every = _flux(archive, sorted(labels))
    flux = every[np.isfinite(every).all(axis=(1, 2))]
    places = [place for place, one in zip(sorted(labels), every, strict=True) if np.isfinite(one).all()]
    file, label = np.array([name for name, _ in places]), np.array([labels[place] for place in places])
    files = np.unique(file).tolist()
    given = ["weights=pretrained", "data=mmia", f"data.root={archive}", f"data.store={tmp_path / 'store'}"]

    def calibrate(name: str, table: Path, *more: str, check: bool = True):
        where = [f"data.ground_truth.table={table}", f"out={tmp_path / name}"]
        return run("calibrate", *given, *where, *more, check=check)

    told = calibrate("all", archive / "GroundTruth_Table.xlsx", "refit=false").stdout
    heads, shipped = read_heads(tmp_path / "all"), load("pretrained").heads
    assert heads.calibration == shipped.calibration
    assert heads.calibrated_on is None
    for name in ("heads.safetensors", "model.safetensors", "model.json"):
        assert (tmp_path / "all" / name).is_file()
    worst = _worst_of_files(shipped.recognize(flux).classes[:, -1], file, label)
    np.testing.assert_allclose(heads.evidence.worst, worst, rtol=1e-4)
    assert (heads.evidence.source.kind, heads.evidence.source.observations) == ("simulated", 6)
    assert "promise: 6 observations support 0.6 at 95 % confidence (simulated frames" in told  # 0.05 ** (1 / 6)
    assert "for a promise count" not in told

    some = dict(zip(files, ["Random", "random", "MARGIN", "random", "by hand"], strict=False))
    ways = {place: some.get(place[0], "") for place in labels}
    ways[next(place for place in places if place[0] == files[0])] = "margin"  # others of it were chosen at random
    last = max(place for place in places if place[0] == files[3])
    lacking = {place: name for place, name in labels.items() if place != last}
    told = calibrate("some", _table(tmp_path / "some.csv", lacking, ways)).stdout
    assert "Chosen is 'by hand', not one of random, margin, anomaly, hand" in told
    assert "for a promise count 2 of 5 labelled observations: those chosen at random (3) and wholly labelled" in told
    fitted = read_heads(tmp_path / "some")
    assert (fitted.calibrated_on.observations, fitted.evidence.source.observations) == (5, 2)
    counts = np.isin(file, files[:2])
    assert fitted.evidence.source.frames == counts.sum()
    used = np.array([place != last and place[0] != files[4] for place in places])
    crossed = _crossed(shipped, flux[used], label[used], file[used])[counts[used]]
    np.testing.assert_allclose(fitted.evidence.worst, _worst_of_files(crossed, file[counts], label[counts]), rtol=1e-4)

    table = _table(tmp_path / "none.csv", labels, dict.fromkeys(labels, "anomaly"))
    assert "promise: none, as no event observation is wholly labelled, by chance" in calibrate("none", table).stdout
    fitted = read_heads(tmp_path / "none")
    assert fitted.evidence is None
    assert fitted.calibration.noise_threshold == 1.0
    refused = calibrate("no", table, "refit=false", check=False)
    assert (refused.returncode, refused.stderr.count("no labels to promise anything by")) == (1, 1)
