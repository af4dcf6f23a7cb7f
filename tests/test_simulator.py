"""Tests of the simulator: its physics, its labelling rule, and the archives that it writes."""

import json
from collections import Counter
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from astropy.io import fits
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from asim_cvae.archive.discover import discover
from asim_cvae.archive.labels import read_labels
from asim_cvae.archive.layout import TRIGGER_VARIABLES, FileName
from asim_cvae.archive.reader import read_observation
from asim_cvae.base.errors import InputError
from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument.observation import RejectedFileError
from asim_cvae.instrument.photometers import DEAD_TIME, flux_to_counts
from asim_cvae.settings.schema import CONF
from asim_cvae.simulator import archive as archive_room
from asim_cvae.simulator.archive import TABLE_NAME, Simulation, make_archive, noise_free_light
from asim_cvae.simulator.events import Cloud, Pulse, cloud_pulse, expected_light, particles, return_stroke
from asim_cvae.simulator.labelling import LabelRule, frame_peaks
from asim_cvae.simulator.observation import SimulatedObservation, _mxgs_trigger, simulate_observation
from asim_cvae.simulator.orbit import ground_track, start_time, sun_elevation
from asim_cvae.simulator.photometer import SKIES, Background, background_counts, photon_counts, recorded_light
from asim_cvae.simulator.pulse_truth import PULSE_COLUMNS, pulse_rows
from asim_cvae.simulator.pulses import SAMPLES_PER_MS, current_pulse, diffusion, streamer_pulse, through_cloud
from asim_cvae.simulator.scenes import Rare, draw_scene
from asim_cvae.simulator.variation import Factors, Variation
from tests.tables import read_rows

PUBLISHED_CLASSES = {"LCLA": 143, "N": 120, "HCLA": 115, "LCHA": 92, "HCHA": 85}
QUIET = np.array([0.2, 2.0, 0.3])

with initialize_config_dir(str(CONF), version_base="1.3"):
    RULE = instantiate(compose("simulate", ["root=nowhere"]).rule)


def _simulation(**settings: Any) -> Simulation:
    return Simulation(**{"rule": RULE, **settings})


def _bytes(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir() if path.is_file() and path.name != ".lock"}


@pytest.mark.processes
@pytest.mark.parametrize("form", ["fits", "cdf"])
def test_same_seed_same_bytes_whatever_the_workers(tmp_path: Path, form: str) -> None:
    wanted = _simulation(observations=14, labelled=8, seed=5, format=form, faults=0.3)
    assert make_archive(tmp_path / "one", wanted, workers=1)
    assert make_archive(tmp_path / "two", wanted, workers=2)
    one, two = _bytes(tmp_path / "one"), _bytes(tmp_path / "two")
    assert len(one) == 27  # 22 files, the label table, three tables of truth, the settings
    assert one == two
    made = openpyxl.load_workbook(tmp_path / "one" / TABLE_NAME).properties
    assert made.created == made.modified
    make_archive(tmp_path / "other", _simulation(observations=14, labelled=8, seed=6, format=form), workers=1)
    assert one.keys() != _bytes(tmp_path / "other").keys()


def test_an_interrupted_archive_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = _simulation(observations=16, labelled=4, seed=8)
    make_archive(tmp_path / "whole", wanted, workers=1)
    make_file, made = archive_room._make_file, []

    def killed(number: int, *more: object) -> object:
        if number == 13:
            raise KeyboardInterrupt
        made.append(number)
        return make_file(number, *more)

    monkeypatch.setattr(archive_room, "_make_file", killed)
    with pytest.raises(KeyboardInterrupt):
        make_archive(tmp_path / "cut", wanted, workers=1)
    assert not (tmp_path / "cut" / TABLE_NAME).exists()

    def counted(number: int, *more: object) -> object:
        made.append(number)
        return make_file(number, *more)

    monkeypatch.setattr(archive_room, "_make_file", counted)
    assert make_archive(tmp_path / "cut", wanted, workers=1)
    assert max(Counter(n for n in made if n < 10).values()) == 1  # a finished batch is not simulated again
    assert _bytes(tmp_path / "cut") == _bytes(tmp_path / "whole")


def test_deleted_files_are_made_again(tmp_path: Path) -> None:
    wanted = _simulation(observations=11, labelled=1, seed=2)
    make_archive(tmp_path, wanted, workers=1)
    before = _bytes(tmp_path)
    next(tmp_path.glob("*_id_10005*.fits")).unlink()
    assert make_archive(tmp_path, wanted, workers=1)
    assert _bytes(tmp_path) == before
    assert not make_archive(tmp_path, wanted, workers=1)


def test_lengths_are_of_whole_rows_where_rows_can_be_whole() -> None:
    lengths = [draw_scene(np.random.default_rng(k)).samples for k in range(300)]
    frames = {length // FRAME_SAMPLES: length for length in lengths}
    assert set(frames) == {5, 6, 7, 9, 10, 11, 12, 14}
    assert all((length % 8325 == 0) == (length // FRAME_SAMPLES in {6, 9, 11, 14}) for length in lengths)
    assert max(lengths) == 9 * 8325


def test_the_trigger_is_where_light_stands_out(tmp_path: Path) -> None:
    make_archive(tmp_path, _simulation(observations=20, labelled=0, seed=2, level=0, missing_rows=0.4), workers=1)
    rows = set()
    for row in read_rows(tmp_path / "truth_files.csv"):
        with fits.open(tmp_path / row["file"]) as hdus:
            table = hdus[1].data
            flags = np.array([table[f"PHOT{k}DataTrigger"] for k in (1, 2, 3)])
            assert np.argwhere(flags).tolist() == [[int(row["trigger_photometer"][-1]) - 1, int(row["trigger_row"])]]
            assert table["PHOT1Data_exists"][int(row["trigger_row"])]
            if (
                float(row["background_counts_PHOT2"]) < 1
            ):  # a brighter ultraviolet background may hold the largest count
                data = np.stack([table[f"PHOT{k}Data"].max(axis=1) for k in (1, 2, 3)])
                data[:, ~table["PHOT1Data_exists"].astype(bool)] = 0
                assert data[flags][0] >= 0.9 * data.max()
        rows.add(row["trigger_row"])
    assert len(rows) > 3


def test_archives_are_not_written_over(tmp_path: Path) -> None:
    wanted = _simulation(observations=1, labelled=1)
    assert make_archive(tmp_path, wanted)
    assert not make_archive(tmp_path, wanted)
    with pytest.raises(InputError, match="another simulated archive"):
        make_archive(tmp_path, _simulation(observations=2, labelled=1))
    (tmp_path / "simulation.json").unlink()
    with pytest.raises(InputError, match="not simulated"):
        make_archive(tmp_path, wanted)


@pytest.mark.parametrize(
    "wrong",
    [{"format": "hdf"}, {"level": 2}, {"labelled": -1}, {"observations": 0, "labelled": 0}, {"faults": 1.5},
     {"missing_rows": 1.0}, {"drift": -1.0}, {"rare": Rare(elve=1, sprite=1)}, {"rare": Rare(corona=-1)}],
)  # fmt: skip
def test_impossible_archives(wrong: dict) -> None:
    with pytest.raises(InputError):
        _simulation(**{"observations": 1, "labelled": 1, **wrong})


def test_all_formats_and_levels_hold_the_same_light(tmp_path: Path) -> None:
    seen = {}
    for form in ("fits", "cdf"):
        for level in (0, 1):
            root = tmp_path / f"{form}{level}"
            make_archive(
                root, _simulation(observations=0, labelled=2, seed=1, format=form, level=level, missing_rows=0.3)
            )
            files, rejected = discover(root)
            assert not rejected
            seen[form, level] = [read_observation(path) for path in files.values()]
            assert all(observation.simulator for observation in seen[form, level])
            assert read_labels(root / TABLE_NAME).files == set(files)
    for a, b, c, d in zip(*seen.values(), strict=True):
        np.testing.assert_array_equal(a.flux, c.flux)
        np.testing.assert_array_equal(b.flux, d.flux)
        np.testing.assert_array_equal(a.counts, c.counts)
        # The flux of Level 1 was made with the file's own q; fitted from the flux, it gives the counts of Level 0.
        np.testing.assert_array_equal(b.counts, a.counts)
        assert a.start == b.start == c.start == d.start
        assert [observation.level for observation in (a, b, c, d)] == [0, 1, 0, 1]
        for name in (
            "row_sample",
            "row_start",
            "latitude",
            "longitude",
            "mxgs_trigger",
            "photometer_trigger",
            "priority",
        ):
            first, *others = [getattr(observation, name) for observation in (a, b, c, d)]
            for other in others:
                np.testing.assert_array_equal(other, first)
        assert a.notes == b.notes == c.notes == d.notes == ()


def test_the_reader_finds_the_calibration_of_every_file(tmp_path: Path) -> None:
    make_archive(tmp_path, _simulation(observations=20, labelled=0, seed=12), workers=1)
    found = 0
    for row in read_rows(tmp_path / "truth_files.csv"):
        seen = read_observation(tmp_path / row["file"])
        truth = np.array([float(row[f"flux_per_count_PHOT{k}"]) for k in (1, 2, 3)])
        np.testing.assert_allclose(seen.flux_per_count[seen.q_fitted], truth[seen.q_fitted], rtol=1e-4)
        found += seen.q_fitted.sum()
    assert found >= 58  # a dark trace may hold no sample of two counts


def test_each_row_has_its_own_time_and_place(tmp_path: Path) -> None:
    make_archive(tmp_path, _simulation(observations=6, labelled=0, seed=2, missing_rows=0.4), workers=1)
    for row in read_rows(tmp_path / "truth_files.csv"):
        with fits.open(tmp_path / row["file"]) as hdus:
            table = hdus[1].data
            names = ("raw_datetime", "corrected_datetime_level1", "frame_time_phot")
            raw, corrected, middle = (
                np.array([time.removesuffix("+00:00") for time in table[name]], "datetime64[us]") for name in names
            )
            latitude, longitude = (
                np.radians(table["latitude"].astype(float)),
                np.radians(table["longitude"].astype(float)),
            )
            priority = table["priority"]
            triggers = sum(table[name].astype(int) for name in (*TRIGGER_VARIABLES, "MXGSTrigger"))
        # A missing row keeps its time, so that the next one is two rows later than the one before.
        np.testing.assert_array_equal(np.diff(raw), np.timedelta64(83_250, "us"))
        np.testing.assert_array_equal(corrected, raw)
        np.testing.assert_array_equal(middle - raw, np.timedelta64(41_625, "us"))
        assert raw[0].astype("datetime64[s]") == FileName.parse(row["file"]).start
        assert np.degrees([latitude[0], longitude[0]]) == pytest.approx(
            [float(row["latitude"]), float(row["longitude"])], abs=6e-4
        )
        # The point below the station moves at 7.2 km/s over a sphere of 6371 km, some 6 % slower as the Earth turns.
        north, east = latitude[-1] - latitude[0], (longitude[-1] - longitude[0]) * np.cos(latitude[0])
        speed = 6371 * np.hypot(north, east) / (83.25e-3 * (len(raw) - 1))
        assert speed == pytest.approx(7.2, rel=0.08)
        np.testing.assert_array_equal(priority, triggers)
        assert sum(triggers) >= 1


def test_gamma_rays_come_with_some_elves() -> None:
    scene, rng = draw_scene(np.random.default_rng(4)), np.random.default_rng(0)
    shape = np.ones(30)
    elves = [Pulse("elve", 2 * 8325 + 100, (0.5, 5.0, 0.0), (shape, shape, shape)), _bump(4 * 8325, 50.0)]
    seen = np.array([_mxgs_trigger(replace(scene, pulses=elves), 5, rng) for _ in range(400)])
    np.testing.assert_allclose(seen.mean(axis=0), [0, 0, 0.5, 0, 0], atol=0.1)
    assert not _mxgs_trigger(replace(scene, pulses=elves[1:]), 5, rng).any()


def test_missing_rows_are_gaps_without_labels(tmp_path: Path) -> None:
    make_archive(tmp_path, _simulation(observations=0, labelled=6, seed=4, missing_rows=0.2))
    labels = read_labels(tmp_path / TABLE_NAME).labels
    gaps = 0
    for name, path in discover(tmp_path)[0].items():
        flux = read_observation(path).flux
        frames = flux[:, : flux.shape[1] // FRAME_SAMPLES * FRAME_SAMPLES].reshape(3, -1, FRAME_SAMPLES)
        whole = np.isfinite(frames).all(axis=(0, 2))
        gaps += (~whole).sum()
        assert {frame for file, frame in labels if file == name} == set(np.flatnonzero(whole))
    assert gaps > 3


def test_faults_are_met_by_the_reader(tmp_path: Path) -> None:
    make_archive(tmp_path, _simulation(observations=40, labelled=2, seed=3, faults=0.9), workers=1)
    rejections: Counter = Counter()
    faults = {row["file"]: row["fault"] for row in read_rows(tmp_path / "truth_files.csv")}
    for name, path in discover(tmp_path)[0].items():
        try:
            flux = read_observation(path).flux
            found = "fake frames" if np.isnan(flux[:, :100]).all() else ""
        except RejectedFileError as error:
            found = str(error).split(": ")[1].split(",")[0]
        rejections[found] += 1
        assert faults[name].split()[0:1] == {"empty file": ["empty"], "no photometer data": ["no"]}.get(
            found, found.split()[0:1]
        )
    assert rejections[""] >= 2
    for reason in ("fake frames", "empty file", "no photometer data", "photometer missing", "truncated"):
        assert rejections[reason] > 1, rejections


def test_labels_are_in_the_published_proportions() -> None:
    rule = RULE
    counts: Counter = Counter()
    same = pairs = 0
    for number in range(150):
        made = simulate_observation(2, number)
        classes, _ = rule.label_frames(frame_peaks(made.light, made.scene.background.rate))
        labels = classes[made.whole_frames].tolist()
        counts.update(labels)
        same += sum(a == b for a, b in pairwise(labels))
        pairs += len(labels) - 1
    for name, number in PUBLISHED_CLASSES.items():
        assert counts[name] / counts.total() == pytest.approx(number / 555, abs=0.06)
    assert same / pairs == pytest.approx(
        279 / 505, abs=0.1
    )  # pairs of neighbouring frames with equal class, as published


def test_truth_agrees_with_the_labels_and_the_files(tmp_path: Path) -> None:
    make_archive(tmp_path, _simulation(observations=12, labelled=8, seed=9), workers=1)
    frames, pulses = read_rows(tmp_path / "truth_frames.csv"), read_rows(tmp_path / "truth.csv")
    labels = read_labels(tmp_path / TABLE_NAME).labels
    truth = {(row["file"], int(row["frame"])): row["class"] for row in frames}
    assert labels.items() <= truth.items()
    assert {file for file, _ in truth} == set(discover(tmp_path)[0])
    assert all((row["type"] == "noise") == (row["class"] == "N") for row in frames)
    assert {row["ambiguous"] for row in frames} == {"0", "1"}
    # The highest particle hits are at the sample that the truth gives, with the expected counts.
    assert all(float(row["onset_ms"]) < 750 for row in pulses)
    tall = [row for row in pulses if row["kind"] == "particle" and float(row["peak_counts_PHOT3"]) > 100]
    assert tall
    for row in tall:
        flux = read_observation(tmp_path / row["file"]).flux
        seen = flux_to_counts(flux)[2, round(100 * float(row["onset_ms"]))]
        light = float(row["peak_counts_PHOT3"])
        assert seen == pytest.approx(light / (1 + 1.11e-3 * light), abs=5 * np.sqrt(light))


def test_days_are_the_thesiss(tmp_path: Path) -> None:
    make_archive(tmp_path, _simulation(observations=12, labelled=4, seed=9), workers=1)
    starts = [FileName.parse(path.name) for path in tmp_path.glob("*.fits")]
    unlabelled = [name.start for name in starts if name.observation_id >= 10_004]
    assert len(unlabelled) == 12
    days = {(start - np.datetime64("2019-01-03")).astype("timedelta64[D]").astype(int) for start in unlabelled}
    assert all(day % 7 == 0 for day in days)
    assert len(days) > 5


def test_the_station_is_where_it_should_be() -> None:
    times = np.datetime64("2019-03-20T00:00:00", "us") + np.arange(86_400).astype("m8[s]")
    latitude, longitude = ground_track(times)
    assert np.abs(latitude).max() == pytest.approx(51.64, abs=0.01)
    assert np.abs(longitude).max() <= 180
    assert (np.diff(np.sign(latitude)) > 0).sum() in (15, 16)  # ascending nodes in a day
    noon = sun_elevation(times[[43_200]], np.array([0.0]), np.array([0.0]))
    assert noon[0] == pytest.approx(90, abs=2)  # noon at the equator on an equinox
    year = np.arange("2019-01-01", "2020-01-01", dtype="M8[D]")
    time, south, west = start_time(year, False, True, np.random.default_rng(0))
    assert -48 < south < -4
    assert -95 < west < 5
    assert sun_elevation(np.array([time]), np.array([south]), np.array([west]))[0] <= -18


def test_diffused_light_peaks_where_the_formula_says() -> None:
    # d/dt of t^(-3/2) exp(-D/t - nu t) vanishes at t = (sqrt(9/4 + 4 nu D) - 3/2) / (2 nu)
    for delay, loss in ((0.5, 0.5), (3.0, 0.3), (2.0, 1.2)):
        shape = diffusion(delay, loss)
        peak = (np.sqrt(2.25 + 4 * loss * delay) - 1.5) / (2 * loss)
        assert (shape.argmax() + 1) / 100 == pytest.approx(peak, abs=0.01)
        assert shape.max() == 1.0


def test_clouds_delay_and_broaden() -> None:
    def moments(shape: np.ndarray) -> tuple[float, float]:
        time = np.arange(shape.size) / SAMPLES_PER_MS
        mean = (time * shape).sum() / shape.sum()
        return mean, ((time - mean) ** 2 * shape).sum() / shape.sum()

    source = current_pulse(0.1, 0.4)
    out = through_cloud(source, 1.0, 1.0)
    # Mean and variance of a convolution are the sums of those of its parts, here only nearly, as tails are cut at 1 %.
    for whole, a, b in zip(moments(out), moments(source), moments(diffusion(1.0, 1.0)), strict=True):
        assert whole == pytest.approx(a + b, rel=0.05)
    rng = np.random.default_rng(1)
    pulse, slower = (kind(0, 10.0, Cloud(1.0, 0.5, 1.8, 1.0), rng) for kind in (return_stroke, cloud_pulse))
    assert moments(pulse.shapes[0])[0] > moments(pulse.shapes[2])[0]  # 337 nm is delayed more
    assert slower.shapes[2].argmax() > pulse.shapes[2].argmax()
    rise = streamer_pulse(0.05, 0.5)
    assert rise.argmax() < (rise >= 0.5).sum() / 2  # fast rise, slow decay


def test_photons_are_poisson_with_dead_time() -> None:
    rng = np.random.default_rng(0)
    background = np.array([0.2, 3.0, 0.5])
    dark = np.repeat(background[:, None], 200_000, axis=1)
    light = dark.copy()
    light[:, 100_000:] += 40.0
    counts = photon_counts(light, dark, rng)
    for part, mean in ((slice(0, 100_000), background), (slice(100_000, None), background + 40)):
        seen = counts[:, part]
        expected = mean / (1 + np.array([1.72e-3, 1.76e-3, 1.11e-3]) * mean)
        np.testing.assert_allclose(seen.mean(axis=1), expected, rtol=0.02)
        np.testing.assert_allclose(seen.var(axis=1) / seen.mean(axis=1), 1, atol=0.03)
    assert photon_counts(np.full((3, 10), 1e5), dark[:, :10], rng).max() == 255


def test_particles_fall_as_one_over_height() -> None:
    heights = particles(10_000_000, 300.0, 100_000, np.random.default_rng(0)).height
    assert heights.size == pytest.approx(30_000, rel=0.03)
    for height in (4, 10, 40):
        assert (heights > height).mean() == pytest.approx(2 / height, rel=0.1)


def test_skies_hold_what_was_measured() -> None:
    rng = np.random.default_rng(0)
    levels = np.array([background_counts(sky, rng) for sky in SKIES for _ in range(300)])
    # Measured background rates: 0.02-0.75, 0.6-6.7 and 0.1-2.3 counts per sample.
    for low, high, row in zip([0.02, 0.6, 0.1], [0.75, 6.7, 2.3], levels.T, strict=True):
        assert 0.5 * low < row.min() < 1.05 * low
        assert 0.95 * high < row.max() < 1.4 * high
    skies = Counter(draw_scene(np.random.default_rng(k)).sky for k in range(400))
    for name, sky in SKIES.items():
        assert skies[name] / 400 == pytest.approx(sky.share, abs=0.08)


def _class_of(pulses: list[Pulse], rule: LabelRule | None = None) -> tuple[str, bool]:
    background = np.repeat(QUIET[:, None], FRAME_SAMPLES, axis=1)
    peaks = frame_peaks(expected_light(pulses, background), background)
    label, ambiguous = (rule or RULE).label_frames(peaks)
    return label.item(), ambiguous.item()


def _bump(onset: int, light: float, photometers: tuple[int, ...] = (0, 2), width: int = 60) -> Pulse:
    shape = np.sin(np.linspace(0, np.pi, 2 * width + 1)[1:-1])
    peak = [light if p in photometers else 0.0 for p in range(3)]
    return Pulse("bump", onset, (peak[0], peak[1], peak[2]), (shape, shape, shape))


def test_the_labelling_rule() -> None:
    assert _class_of([]) == ("N", False)
    assert _class_of([_bump(100, 1e-3)]) == ("N", False)  # too faint to be detectable
    assert _class_of([_bump(100, 50.0), _bump(1000, 50.0)]) == ("HCLA", False)
    assert _class_of([_bump(500 * k, 50.0) for k in range(9)]) == ("HCHA", False)
    assert _class_of([_bump(500 * k, 50.0, (2 * (k % 2),)) for k in range(9)]) == ("LCHA", False)
    assert _class_of([_bump(900, 50.0, (0,)), _bump(2900, 50.0, (2,))]) == ("LCLA", False)
    assert _class_of([_bump(900 * k, 30.0, (2 * (k % 2),), width=2) for k in range(2)]) == ("N", False)  # stray spikes
    for dim, bright in ((0, 2), (2, 0)):  # a trace of one band's light in the other is not a correlation
        leak = [_bump(900, 50.0, (bright,)), _bump(900, 1.0, (dim,))]
        assert _class_of(leak) == ("LCLA", False)
    assert _class_of([_bump(-60, 50.0)])[0] == "HCLA"  # a pulse cut by the start of the frame
    assert _class_of([_bump(500 * k, 50.0) for k in range(6)]) == ("HCHA", True)  # exactly at the threshold
    assert _class_of([_bump(500 * k, 50.0) for k in range(6)], replace(RULE, high_activity=20))[0] == "HCLA"


def test_light_scales_into_the_noise() -> None:
    classes = [_class_of([_bump(1000, light)]) for light in np.geomspace(0.01, 50, 40)]
    labels = [label for label, _ in classes]
    assert labels[0] == "N"
    assert labels[-1] == "HCLA"
    assert any(ambiguous for _, ambiguous in classes)
    assert not classes[0][1]
    assert not classes[-1][1]


def _background(level: np.ndarray, drift: float, samples: int, seed: int) -> Background:
    return Background.draw(level, drift, samples, np.random.default_rng(seed))


def test_backgrounds_drift_by_their_setting() -> None:
    sizes, shares = [], []
    for seed in range(300):
        drawn = _background(QUIET, 13.0, 40_000, seed)
        counts = drawn.rate.reshape(3, 40, 1000).sum(axis=2)  # expected in each 10 ms
        deviation = np.sqrt(1000 * QUIET)
        seen = (counts.max(axis=1) - 1000 * QUIET) / deviation
        assert (seen <= drawn.drift + 1e-9).all()
        shares.append(seen / drawn.drift)
        np.testing.assert_allclose(drawn.rate.min(axis=1), QUIET, rtol=1e-3)
        sizes.append(drawn.drift)
    # Within 10 ms the background goes on changing, so that the mean stays a little below the highest rate.
    assert np.min(shares) > 0.85
    assert np.median(shares) > 0.95
    blue, ultraviolet, oxygen = np.array(sizes).T
    assert 12 < blue.max() <= 13
    assert np.quantile(blue, 0.8) == pytest.approx(13 * 0.8**3, rel=0.2)
    np.testing.assert_allclose(ultraviolet, 0.3 * blue)
    np.testing.assert_allclose(oxygen, 0.3 * blue)
    assert (_background(QUIET, 0.0, 40_000, 1).rate == QUIET[:, None]).all()


def test_photons_follow_a_drifting_background() -> None:
    drawn = next(b for k in range(100) if (b := _background(QUIET, 60.0, 60_000, k)).drift[0] > 40)
    rng = np.random.default_rng(0)
    seen = sum(photon_counts(drawn.rate, drawn.rate, rng).reshape(3, 60, 1000).sum(axis=2) for _ in range(40))
    expected = 40 * recorded_light(drawn.rate, DEAD_TIME[:, None]).reshape(3, 60, 1000).sum(axis=2)
    chi_square = ((seen - expected) ** 2 / expected).sum(axis=1)
    assert (np.ptp(expected, axis=1) > 5 * np.sqrt(expected.max(axis=1))).all()
    assert (np.abs(chi_square - 60) < 4 * np.sqrt(2 * 60)).all()


def test_labels_follow_from_pulses_and_not_from_drift() -> None:
    bumps = [_bump(500 * k, 50.0) for k in range(9)]
    lone = [_bump(900, 50.0, (0,)), _bump(2900, 50.0, (2,))]
    for seed in range(40):
        rate = _background(QUIET, 40.0, FRAME_SAMPLES, seed).rate
        for pulses in ([], lone, bumps):
            peaks = frame_peaks(expected_light(pulses, rate), rate)
            assert RULE.label_frames(peaks)[0].item() == _class_of(pulses)[0]
    # A brighter background makes a peak less significant, however slowly it came.
    pulse = [_bump(1000, 2.0)]
    dark, bright = (np.repeat(factor * QUIET[:, None], FRAME_SAMPLES, axis=1) for factor in (1, 9))
    first, second = (frame_peaks(expected_light(pulse, rate), rate).significance[0] for rate in (dark, bright))
    assert second / first == pytest.approx(np.sqrt((2 + 0.2) / (2 + 1.8)), rel=1e-6)


def test_rare_kinds_are_held_by_as_many_files_as_wanted(tmp_path: Path) -> None:
    wanted = {"elve": 3, "sprite": 2, "blue_jet": 3, "corona": 2, "radiation": 1}
    simulation = _simulation(observations=13, labelled=1, seed=5, rare=Rare(**wanted))
    make_archive(tmp_path, simulation, workers=1)
    files = {row["file"]: row for row in read_rows(tmp_path / "truth_files.csv")}
    kinds = Counter(row["rare"].replace(" ", "_") for row in files.values())
    assert kinds == {**wanted, "": 3}
    pulses = read_rows(tmp_path / "truth.csv")
    strokes = events = 0
    for file, row in files.items():
        held = [pulse for pulse in pulses if pulse["file"] == file]
        of_kind = [pulse for pulse in held if pulse["kind"] == row["rare"]]
        if row["rare"] == "radiation":
            assert (row["cause"], row["anomaly"]) == ("radiation", "1")
            assert sum(pulse["kind"] == "particle" for pulse in held) > 100
        elif row["rare"]:
            assert of_kind
            whole_ms = 50 * (int(row["samples"]) // FRAME_SAMPLES)
            assert all(0 <= float(pulse["onset_ms"]) < whole_ms for pulse in of_kind if row["rare"] != "corona")
            assert sum(pulse["kind"] == "return stroke" for pulse in held) >= 5
            assert len(of_kind) == 2 or row["rare"] != "blue jet"  # the flash and the body of one jet
    for number in range(60):  # strong strokes without an elve are as frequent as those with one
        scene = draw_scene(np.random.default_rng(number), rare="elve")
        elves = sum(pulse.kind == "elve" for pulse in scene.pulses)
        assert elves >= 1
        events, strokes = events + elves, strokes + scene.samples // FRAME_SAMPLES
    assert events / strokes == pytest.approx(0.62, abs=0.1)


def _observation(pulses: list[Pulse], samples: int = 10_000) -> SimulatedObservation:
    """An observation without particles, of flux of 0.5, 0.01 and 0.3 uW/m^2 per count."""
    scene = draw_scene(np.random.default_rng(0))
    background = Background(QUIET, np.zeros(3), np.repeat(QUIET[:, None], samples, axis=1))
    nothing = replace(scene.particles, **{name: np.zeros(0, int) for name in ("onset", "photometer", "length")})
    nothing = replace(nothing, height=np.zeros(0))
    scene = replace(scene, background=background, samples=samples, particles=nothing, pulses=pulses)
    made = simulate_observation(0, 0)
    return replace(made, scene=scene, light=scene.light(), flux_per_count=np.array([0.5, 0.01, 0.3]))


def _truth(pulses: list[Pulse]) -> list[dict[str, str]]:
    return [dict(zip(PULSE_COLUMNS, row, strict=True)) for row in pulse_rows("file", _observation(pulses))]


def test_the_truth_of_one_pulse() -> None:
    up, down = np.arange(1, 101) / 100, np.arange(199, 0, -1) / 200
    fast = np.concatenate([up, down])  # peak at sample 99; 0.1, 0.5 and 0.9 at samples 9, 49 and 89; 119, 199 and 279
    late = np.concatenate([np.zeros(40), fast])
    pulse = Pulse("corona", 3000, (20.0, 0.0, 8.0), (fast, fast, late))
    (row,) = _truth([pulse])
    times = [float(row[f"{name}_ms"]) for name in ("onset", "rise", "decay", "width", "delay")]
    assert times == [30.09, 0.80, 1.60, 1.51, 0.40]
    np.testing.assert_allclose([float(row[f"peak_counts_PHOT{k}"]) for k in (1, 2, 3)], [20, 0, 8])
    # Brute force: each sample of the light, added up one by one.
    counts, squares = np.zeros(3), 0.0
    for sample in range(10_000):
        for photometer, shape in enumerate((fast, None, late)):
            at = sample - 3000
            own = pulse.peak[photometer] * shape[at] if shape is not None and 0 <= at < shape.size else 0.0
            counts[photometer] += own
            squares += own**2 / (own + QUIET[photometer])
    np.testing.assert_allclose([float(row[f"fluence_counts_PHOT{k}"]) for k in (1, 2, 3)], counts, atol=0.01)
    uj_m2 = counts * [0.5, 0.01, 0.3] * 1e-5  # 10 us a sample
    np.testing.assert_allclose([float(row[f"fluence_uj_m2_PHOT{k}"]) for k in (1, 2, 3)], uj_m2, rtol=1e-3)
    assert float(row["significance"]) == pytest.approx(np.sqrt(squares), abs=0.01)
    # The higher maximum is that of 337 nm: 150 samples wide at half of its 20 counts over 0.2.
    assert float(row["separation"]) == pytest.approx(20 * np.sqrt(150 / 20.2), rel=0.002)


def test_a_maximum_has_one_owner() -> None:
    bright = _bump(2000, 50.0, (0,), width=400)
    apart, hidden, twin = _bump(5000, 20.0, (0,)), _bump(2350, 1.0, (0,), width=100), _bump(5010, 15.0, (0,))
    rows = _truth([bright, apart])
    first, second = (float(row["separation"]) for row in rows)
    assert first == pytest.approx(50 * np.sqrt(2 / 3 * 800 / 50.2), rel=0.01)  # a sine is above half for 2/3 of its arc
    assert second == pytest.approx(20 * np.sqrt(2 / 3 * 120 / 20.2), rel=0.02)
    with_hidden = {row["onset_ms"]: float(row["separation"]) for row in _truth([bright, hidden])}
    assert sorted(with_hidden.values()) == [0.0, pytest.approx(first, rel=0.01)]
    merged = [float(row["separation"]) for row in _truth([apart, twin])]
    assert merged[0] > second
    assert merged[1] == 0
    assert float(_truth([bright, hidden])[1]["significance"]) > 1  # a filter that knows its shape sees it all the same


def test_particles_have_the_truth_of_pulses(tmp_path: Path) -> None:
    make_archive(tmp_path, _simulation(observations=2, labelled=0, seed=9), workers=1)
    seen = 0
    for number, file in enumerate(row["file"] for row in read_rows(tmp_path / "truth_files.csv")):
        light, _ = noise_free_light(tmp_path, number)
        hits = simulate_observation(9, number).scene.particles
        rows = [row for row in read_rows(tmp_path / "truth.csv") if (row["file"], row["kind"]) == (file, "particle")]
        assert len(rows) == hits.onset.size
        for k, row in enumerate(rows):
            name = f"PHOT{hits.photometer[k] + 1}"
            shape = np.exp(-np.arange(hits.length[k]) / max(hits.length[k] / 2, 1))
            window = slice(hits.onset[k], min(hits.onset[k] + hits.length[k], light.shape[1]))
            own = (hits.height[k] * shape)[: window.stop - window.start]
            squares = (own**2 / light[hits.photometer[k], window]).sum()
            assert float(row["significance"]) == pytest.approx(np.sqrt(squares), abs=0.01)
            assert float(row[f"fluence_counts_{name}"]) == pytest.approx(hits.height[k] * shape.sum(), abs=0.01)
            assert row["delay_ms"] == ""
            seen += float(row["separation"]) > 0
    assert seen > 20


def test_the_noise_free_light_is_the_mean_of_draws(tmp_path: Path) -> None:
    make_archive(tmp_path, _simulation(observations=3, labelled=1, seed=7, level=0, drift=13.0), workers=1)
    file = next(row["file"] for row in read_rows(tmp_path / "truth_files.csv") if row["cause"] == "flash")
    light, recorded = noise_free_light(tmp_path, file)
    rng = np.random.default_rng(0)
    scene = _simulation(observations=3, labelled=1, seed=7, drift=13.0).observation(int(_number(file))).scene
    draws = [photon_counts(light, scene.background.rate, rng) for _ in range(60)]
    in_file = read_observation(tmp_path / file).counts
    blocks = slice(0, light.shape[1] // 100 * 100)
    mean, one, expected, without = (
        values[:, blocks].reshape(3, -1, 100).sum(axis=2)
        for values in (np.mean(draws, axis=0), in_file, recorded, light)
    )
    deviations = (mean - expected) / np.sqrt(expected / 60)
    assert np.abs(deviations).max() < 6
    assert deviations.std() == pytest.approx(1, abs=0.05)
    assert ((one - expected) / np.sqrt(expected)).std() == pytest.approx(1, abs=0.05)
    bright = expected > 1000
    assert (without[bright] > 1.01 * expected[bright]).all()  # dead time
    np.testing.assert_array_equal(noise_free_light(tmp_path, int(_number(file)))[1], recorded)
    other_year = file.replace("_time_2019", "_time_1999")
    for wrong in ("no_name.fits", 4, -1, other_year):
        with pytest.raises(InputError, match=f"has no file {wrong}"):
            noise_free_light(tmp_path, wrong)
    settings = json.loads((tmp_path / "simulation.json").read_text())
    for damaged in ("{", "[]", json.dumps({"simulator": settings["simulator"]})):
        (tmp_path / "simulation.json").write_text(damaged)
        with pytest.raises(InputError, match=r"simulation\.json: "):
            noise_free_light(tmp_path, 0)
    (tmp_path / "simulation.json").write_text(json.dumps({**settings, "simulator": "asim_cvae 4"}))
    with pytest.raises(InputError, match="made by asim_cvae 4, this is asim_cvae 5; simulate the archive again"):
        noise_free_light(tmp_path, 0)


def _number(file: str) -> int:
    name = FileName.parse(file)
    assert name is not None
    return name.observation_id - 10_000


def test_factors_change_what_they_are_of() -> None:
    plain = [draw_scene(np.random.default_rng(k)) for k in range(40)]
    names = {"width": 2.0, "brightness": 0.5, "background": 3.0}
    for scene, number in zip(plain, range(40), strict=True):
        changed = draw_scene(np.random.default_rng(number), Factors(**names))
        np.testing.assert_allclose(changed.background.level, 3 * scene.background.level)
        np.testing.assert_array_equal(changed.particles.height, scene.particles.height)
        other = {(pulse.kind, pulse.onset, pulse.peak): pulse for pulse in changed.pulses}
        for pulse in scene.pulses:
            scaled = other[pulse.kind, pulse.onset, tuple(0.5 * peak for peak in pulse.peak)]
            assert scaled.shapes[0].max() == 1
            assert (scaled.shapes[0] >= 0.5).sum() == pytest.approx(2 * (pulse.shapes[0] >= 0.5).sum(), abs=3)
    busy = [draw_scene(np.random.default_rng(k), Factors(rate=3.0)) for k in range(40)]
    lit = [sum(len(scene.pulses) for scene in scenes if scene.cause == "flash") for scenes in (busy, plain)]
    assert lit[0] / lit[1] == pytest.approx(3, rel=0.25)
    gain = Variation(gain=[1.05, 1.05])
    np.testing.assert_allclose(
        simulate_observation(0, 3, variation=gain).flux_per_count, 1.05 * simulate_observation(0, 3).flux_per_count
    )


def test_factors_are_drawn_from_their_ranges(tmp_path: Path) -> None:
    drawn = np.array([Variation(width=(0.5, 2.0)).draw(np.random.default_rng(k)).width for k in range(400)])
    assert 0.5 <= drawn.min() < 0.52
    assert 1.92 < drawn.max() <= 2
    assert np.median(drawn) == pytest.approx(1, abs=0.12)  # as frequent on either side, as logarithms are
    variation = Variation(width=[0.5, 2.0], gain=[0.9, 1.1])
    make_archive(tmp_path, _simulation(observations=6, labelled=0, variation=variation), workers=1)
    files = read_rows(tmp_path / "truth_files.csv")
    assert len({row["factor_width"] for row in files}) == 6
    assert {row["factor_rate"] for row in files} == {"1.0000"}
    for row in files:
        assert 0.9 <= float(row["factor_gain"]) <= 1.1
        assert float(row["flux_per_count_PHOT1"]) / float(row["factor_gain"]) == pytest.approx(0.494, rel=0.02)


@pytest.mark.parametrize("wrong", [[1.0], [0.0, 1.0], [2.0, 1.0], [1.0, 1.0, 1.0]])
def test_impossible_ranges(wrong: list[float]) -> None:
    with pytest.raises(InputError, match=r"variation\.width=.*: give two numbers above 0, the lower one first"):
        Variation(width=wrong)


def _configured(name: str, *overrides: str) -> Simulation:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return instantiate(compose("train", [f"data={name}", *overrides]).data.simulation)


def test_the_configured_archives() -> None:
    small, full, shifted = (_configured(name) for name in ("simulated", "simulated_full", "simulated_shifted"))
    assert (small.observations, small.labelled, small.seed) == (1000, 50, 0)
    assert full == replace(small, observations=5700)
    assert _configured("simulated_evaluation") == replace(small, observations=0, seed=101)
    rare, randomised = (_configured(f"simulated_{name}") for name in ("rare", "randomised"))
    assert min(asdict(rare.rare).values()) >= 100
    outside = [
        name
        for name, (low, high) in asdict(randomised.variation).items()
        if not any(low <= end <= high for end in getattr(shifted.variation, name))
    ]
    assert outside == ["width", "rate", "brightness", "background", "gain"]
    assert shifted.rule != randomised.rule == small.rule


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "data").glob("simulated*.yaml")))
def test_the_configured_archives_have_places_of_their_own(name: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        data = OmegaConf.to_container(compose("train", [f"data={name}"]), resolve=True)["data"]
    assert data["root"].startswith("outputs/archives/asim-sim-")
    assert data["ground_truth"]["table"] in (None, f"{data['root']}/GroundTruth_Table.xlsx")


@pytest.mark.processes
@pytest.mark.parametrize(
    ("group", "benchmark", "classes"),
    [
        (
            "simulated_evaluation",
            "asim-sim-evaluation-101",
            {"N": 142, "LCLA": 119, "LCHA": 110, "HCLA": 95, "HCHA": 43},
        ),
        ("simulated_shifted", "asim-sim-shifted-201", {"LCLA": 186, "HCLA": 184, "N": 81, "LCHA": 47, "HCHA": 40}),
    ],
)
def test_benchmarks_are_what_they_were(group: str, benchmark: str, classes: dict[str, int], tmp_path: Path) -> None:
    make_archive(tmp_path, _configured(group))
    assert json.loads((tmp_path / "simulation.json").read_text())["benchmark"] == benchmark
    assert Counter(read_labels(tmp_path / TABLE_NAME).labels.values()) == classes


@pytest.mark.parametrize("name", ["x.FIT", "sub/y.fits.gz", "z.cdf"])
def test_no_archive_is_simulated_among_other_observations(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(InputError, match="holds observation files that are not simulated; choose another folder"):
        make_archive(tmp_path, _simulation(observations=1, labelled=0), workers=1)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]
