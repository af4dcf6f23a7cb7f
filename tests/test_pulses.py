"""Tests of the catalogue of pulses, and of the study that measures it."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import poisson

from asim_cvae.instrument.observation import Observation
from asim_cvae.instrument.photometers import COUNTER_LIMIT, DEAD_TIME, FLUX_PER_COUNT, counts_to_flux
from asim_cvae.pulses.background import estimate_background
from asim_cvae.pulses.catalogue import find_pulses
from asim_cvae.pulses.columns import COLUMNS, Table
from asim_cvae.pulses.kinds import KINDS
from asim_cvae.pulses.scan import FALSE_ALARM, threshold
from asim_cvae.pulses.separation import contrast
from asim_cvae.pulses.words import in_words
from asim_cvae.simulator.observation import simulate_observation
from asim_cvae.simulator.photometer import recorded_light
from asim_cvae.simulator.pulse_truth import PULSE_COLUMNS, pulse_rows
from asim_cvae.studies.triage.observations import as_observation
from asim_cvae.studies.triage.pulse_baselines import smoothed_peaks, threshold_runs
from asim_cvae.studies.triage.pulse_scores import as_detections, score_catalogue
from asim_cvae.studies.triage.pulse_truths import Detections, TruePulses, match
from asim_cvae.studies.triage.quiet import quiet_observation
from tests.conftest import PROJECT

BACKGROUND = np.array([[0.1], [0.9], [0.2]])
START = np.datetime64("2019-01-03T14:08:00", "us")


def _observation(counts: NDArray[np.float64], gaps: NDArray[np.bool_] | None = None) -> Observation:
    """An observation of counts (3, T), without those in gaps (3, T)."""
    flux = counts_to_flux(counts)
    if gaps is not None:
        flux[gaps] = np.nan
    one = as_observation(simulate_observation(500, 0))
    return Observation(
        **{**vars(one), "flux": flux.astype(np.float32), "flux_per_count": FLUX_PER_COUNT, "start": START}
    )


def _drawn(light: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """Counts of light (3, T) over the background, with dead time."""
    return np.random.default_rng(seed).poisson(recorded_light(light + BACKGROUND, DEAD_TIME[:, None])).astype(float)


def _pulse(rise: float, decay: float, samples: int = 2000) -> NDArray[np.float64]:
    """A pulse of peak 1: an exponential rise and an exponential decay, in samples; its peak is at 5 rises."""
    before = np.exp(np.arange(-int(5 * rise), 0) / rise)
    return np.concatenate([before, np.exp(-np.arange(samples) / decay)])


def _light(samples: int, *pulses: tuple[int, int, float, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Light (3, samples) of pulses: photometer, first sample, peak, shape."""
    light = np.zeros((3, samples))
    for photometer, first, peak, shape in pulses:
        begin, end = max(first, 0), min(first + shape.size, samples)
        light[photometer, begin:end] += peak * shape[begin - first : end - first]
    return light


def test_columns_are_those_declared() -> None:
    table = find_pulses(
        _observation(_drawn(_light(20000, (0, 9000, 30.0, _pulse(5, 40)), (2, 4000, 30.0, _pulse(5, 40)))))
    )
    assert table.dtype.names == tuple(column.name for column in COLUMNS)
    for column in COLUMNS:
        declared = np.dtype(column.type)
        assert table.dtype[column.name].kind == declared.kind
        assert column.about
    assert table["pulse"].tolist() == [0, 1]
    assert np.all(np.diff(table["onset_ms"]) > 0)
    offsets = (table["onset_utc"] - START) / np.timedelta64(1, "us")
    np.testing.assert_allclose(offsets, 1000 * table["onset_ms"])
    none = find_pulses(_observation(_drawn(np.zeros((3, 20000)))))
    assert len(none) == 0
    assert none.dtype.names == table.dtype.names


def test_the_page_lists_the_columns() -> None:
    types = {"i4": "int32", "f8": "float64", "U": "text", "M8[us]": "time"}
    rows = [f"| `{column.name}` | {types[column.type]} | {column.unit} | {column.about} |" for column in COLUMNS]
    page = (PROJECT / "docs" / "pulses.md").read_text().splitlines()
    assert [line for line in page if line in rows] == rows


@pytest.mark.parametrize(("photometer", "name"), [(0, "337"), (1, "uv"), (2, "777")])
def test_a_pulse_of_known_shape_is_measured(photometer: int, name: str) -> None:
    sigma = 30.0  # samples of a Gaussian about sample 10000
    shape = np.exp(-0.5 * (np.arange(-200, 201) / sigma) ** 2)
    tables = [
        find_pulses(_observation(_drawn(_light(20000, (photometer, 9800, 40.0, shape)), seed))) for seed in range(12)
    ]
    assert [len(table) for table in tables] == [1] * 12
    times = ("onset_ms", "peak_ms", "rise_ms", "decay_ms", "width_ms")
    row = {column: np.median([table[column][0] for table in tables]) for column in times}
    tenth, ninth = (0.01 * sigma * np.sqrt(-2 * np.log(level)) for level in (0.1, 0.9))
    assert row["peak_ms"] == pytest.approx(100.0, abs=0.06)
    assert row["onset_ms"] == pytest.approx(100.0 - tenth, abs=0.04)
    assert row["rise_ms"] == pytest.approx(tenth - ninth, rel=0.1)
    assert row["decay_ms"] == pytest.approx(tenth - ninth, rel=0.1)
    assert row["width_ms"] == pytest.approx(0.01 * sigma * np.sqrt(8 * np.log(2)), rel=0.07)
    counts = np.median([table[f"peak_counts_{name}"][0] for table in tables])
    assert counts == pytest.approx(40, rel=0.07)
    expected = 40.0 * shape.sum() * FLUX_PER_COUNT[photometer] * 1e-5
    assert np.median([table[f"fluence_{name}"][0] for table in tables]) == pytest.approx(expected, rel=0.05)
    significance = np.sqrt(((40 * shape) ** 2 / (40 * shape + BACKGROUND[photometer])).sum())
    assert np.median([table["significance"][0] for table in tables]) == pytest.approx(significance, rel=0.06)
    assert photometer or {str(table["kind"][0]) for table in tables} == {"corona"}
    assert {str(table["flags"][0]) for table in tables} == {""}
    for column, background in zip(("337", "uv", "777"), BACKGROUND[:, 0], strict=True):
        np.testing.assert_allclose([table[f"background_{column}"][0] for table in tables], background, rtol=0.25)


def test_peaks_are_given_without_dead_time() -> None:
    shape = np.ones(40)
    counts = np.round(_light(20000, (2, 9000, 150.0, shape))) + _drawn(np.zeros((3, 20000)))
    (row,) = find_pulses(_observation(counts))
    assert row["peak_counts_777"] == pytest.approx(150 / (1 - 1.11e-3 * 150), rel=0.01)
    assert row["peak_flux_777"] == pytest.approx(row["peak_counts_777"] * FLUX_PER_COUNT[2])
    assert row["width_ms"] == pytest.approx(0.4)


@pytest.mark.parametrize("factor", [0.2, 1.0, 8.0])
def test_poisson_noise_is_no_pulse(factor: float) -> None:
    rng = np.random.default_rng(1)
    for _ in range(3):
        assert len(find_pulses(_observation(rng.poisson(factor * BACKGROUND, (3, 70000)).astype(float)))) == 0


def test_a_background_that_drifts_is_no_pulse() -> None:
    found = [len(find_pulses(as_observation(quiet_observation(530, number)))) for number in range(6)]
    assert sum(found) == 0
    simulated = quiet_observation(530, 0)
    assert np.ptp(simulated.light, axis=1) == pytest.approx(0.3 * simulated.scene.background.level)


def test_the_background_is_that_under_pulses() -> None:
    t = np.arange(70000)
    rate = 2.0 * (1 + 0.1 * np.sin(2 * np.pi * t / 30000))
    light = sum(np.where(t >= at, 30 * np.exp(-(t - at) / 300), 0) for at in range(5000, 70000, 9000))
    counts = np.random.default_rng(0).poisson(rate + light).astype(float)
    counts[20000:28000] = np.nan
    np.testing.assert_allclose(estimate_background(counts), rate, rtol=0.1)
    assert not estimate_background(np.full(500, np.nan)).any()


def test_pulses_beside_a_gap_are_flagged() -> None:
    light = _light(30000, (0, 9950, 40.0, _pulse(10, 60)), (0, 20000, 40.0, _pulse(10, 60)))
    gaps = np.zeros(light.shape, dtype=bool)
    gaps[:, 10050:14000] = True
    first, second = find_pulses(_observation(_drawn(light), gaps))
    assert str(first["flags"]).split("+")[0] == "gap"
    assert str(second["flags"]) == ""
    assert first["onset_ms"] == pytest.approx(99.8, abs=0.1)


def test_a_photometer_that_is_missing_is_flagged() -> None:
    light = _light(30000, (0, 9950, 40.0, _pulse(10, 60)), (0, 20000, 40.0, _pulse(10, 60)))
    gaps = np.zeros(light.shape, dtype=bool)
    gaps[2, 8325:16650] = True
    first, second = find_pulses(_observation(_drawn(light), gaps))
    assert str(first["flags"]) == "missing"
    assert str(first["kind"]) == "other"  # a corona and a stroke look alike without 777.4 nm
    assert np.isnan([first["peak_counts_777"], first["fluence_777"], first["ratio_337_777"]]).all()
    assert np.isfinite([first["peak_counts_uv"], second["peak_counts_777"]]).all()
    assert str(second["flags"]) == ""


def test_pulses_at_the_ends_are_flagged() -> None:
    shape = _pulse(10, 60)
    light = _light(20000, (0, -80, 60.0, shape), (2, 10000, 40.0, shape), (0, 19920, 60.0, shape))
    assert [str(row["flags"]) for row in find_pulses(_observation(_drawn(light)))] == ["end", "", "end"]


def test_the_limit_of_the_counter_is_flagged() -> None:
    light = _light(20000, (0, 5000, 900.0, _pulse(10, 60)), (2, 12000, 100.0, _pulse(10, 60)))
    counts = np.minimum(_drawn(light), COUNTER_LIMIT)
    assert [str(row["flags"]) for row in find_pulses(_observation(counts))] == ["saturated", ""]


def test_separate_pulses_are_two_and_overlapping_ones_are_blends() -> None:
    shape = _pulse(10, 60)
    apart = find_pulses(_observation(_drawn(_light(20000, (0, 9000, 30.0, shape), (0, 10000, 20.0, shape)))))
    assert [str(row["flags"]) for row in apart] == ["", ""]
    near = find_pulses(_observation(_drawn(_light(20000, (0, 9000, 30.0, shape), (0, 9110, 30.0, shape)))))
    assert [str(row["flags"]) for row in near] == ["blend", "blend"]
    np.testing.assert_allclose(np.diff(near["peak_ms"]), 1.1, atol=0.1)


def test_a_plateau_of_equal_low_counts_is_one_pulse() -> None:
    counts = np.zeros((3, 20000))
    counts[0, 9000:9200] = 3.0
    counts[0, 9000:9200:7] = 2.0
    counts[1:] = _drawn(np.zeros((3, 20000)))[1:]
    (row,) = find_pulses(_observation(counts))
    assert row["onset_ms"] == pytest.approx(90.0, abs=0.05)
    assert row["width_ms"] == pytest.approx(2.0, abs=0.1)


def test_a_flat_bright_light_is_one_pulse() -> None:
    for seed in range(4):
        assert len(find_pulses(_observation(_drawn(_light(30000, (2, 9000, 20.0, np.ones(6000))), seed)))) == 1


def test_the_photometers_of_a_pulse_are_matched() -> None:
    light = _light(
        20000, (2, 9000, 40.0, _pulse(15, 80)), (0, 9015, 30.0, _pulse(15, 80)), (1, 4000, 20.0, _pulse(10, 50))
    )
    ultraviolet, both = find_pulses(_observation(_drawn(light)))
    assert (str(both["photometers"]), str(both["kind"])) == ("337+777", "correlated")
    assert both["delay_ms"] == pytest.approx(-0.15, abs=0.05)
    assert both["ratio_337_777"] == pytest.approx(0.75 * FLUX_PER_COUNT[0] / FLUX_PER_COUNT[2], rel=0.1)
    assert (str(ultraviolet["photometers"]), str(ultraviolet["kind"])) == ("uv", "other")
    assert np.isnan(ultraviolet["delay_ms"])


def test_hits_are_particles_also_on_light() -> None:
    hit = np.array([1.0, 0.5, 0.25])
    light = _light(
        20000, (0, 3000, 60.0, hit), (0, 8950, 25.0, _pulse(20, 200)), (0, 9300, 120.0, hit), (2, 15000, 50.0, hit)
    )
    table = find_pulses(_observation(_drawn(light)))
    assert table["kind"].tolist() == ["particle", "corona", "particle", "particle"]
    hits = table[table["kind"] == "particle"]
    np.testing.assert_allclose(hits["onset_ms"], [30.0, 93.0, 150.0])
    np.testing.assert_allclose(hits["width_ms"], 0.02, atol=0.011)
    assert set(table["kind"].tolist()) <= set(KINDS)


def test_kinds_are_told_by_their_light() -> None:
    fast, slow = _pulse(2, 40), _pulse(100, 150)
    glow = np.exp(-np.arange(20000) / 9000) * np.minimum(np.arange(20000) / 50, 1)
    light = _light(60000, (2, 4000, 20.0, slow), (0, 12000, 30.0, fast), (2, 12000, 0.3, fast))
    light += _light(60000, (0, 30000, 90.0, fast), (1, 30000, 18.0, fast), (0, 30010, 9.0, glow))
    table = find_pulses(_observation(_drawn(light)))
    assert table["kind"].tolist()[:3] == ["channel", "corona", "blue jet"]
    assert set(table["kind"].tolist()[3:]) <= {"other"}  # the glow of the jet


def test_thresholds_have_the_probability_that_is_declared() -> None:
    for background in (0.01, 0.3, 5.0, 800.0):
        least = np.ceil(threshold(np.array([background]))[0])
        assert (
            poisson.sf(least, background)
            < FALSE_ALARM
            < 3 * poisson.sf(least - 3 - 0.3 * np.sqrt(background), background) * 1e3
        )


def test_contrast_is_the_deviation_of_two_rates() -> None:
    # Of many counts without background, it is the difference over its Poisson error.
    one, other = np.array([10100.0]), np.array([9600.0])
    zero = np.zeros(1)
    deviation = (one - other) / np.sqrt(one + other)
    np.testing.assert_allclose(contrast(one, zero, 10, other, zero, 10), deviation, rtol=1e-3)
    assert contrast(other, zero, 10, one, zero, 10) == 0
    # Li and Ma 1983, equation 17, with alpha = length / width.
    on, off, alpha = 30.0, 40.0, 0.25
    li_ma = np.sqrt(
        2 * (on * np.log((1 + alpha) / alpha * on / (on + off)) + off * np.log((1 + alpha) * off / (on + off)))
    )
    np.testing.assert_allclose(contrast(np.array([on]), zero, 5, np.array([off]), zero, 20), li_ma)


def test_a_pulse_is_put_into_words() -> None:
    light = _light(
        20000, (0, 3114, 84.0, _pulse(2, 40)), (2, 9000, 40.0, _pulse(15, 80)), (0, 9015, 30.0, _pulse(15, 80))
    )
    corona, stroke = find_pulses(_observation(_drawn(light)))
    told = in_words(corona).split(", ")
    assert told[0] == f"337 nm pulse at {corona['onset_ms']:.2f} ms"
    assert told[1] == f"{corona['peak_counts_337']:.0f} counts"
    assert told[2] == f"rise {1000 * corona['rise_ms']:.0f} us"
    assert told[3] == "nothing at 777.4 nm"
    told = in_words(stroke).split(", ")
    assert told[0].startswith("777.4 nm pulse at")
    assert told[3] == f"{stroke['peak_counts_337']:.0f} counts at 337 nm"
    assert told[4] == f"777.4 nm {-1000 * stroke['delay_ms']:.0f} us earlier"
    stroke["peak_counts_337"] = corona["peak_counts_337"] = 1.2
    assert in_words(corona).split(", ")[1] == "1 count"
    assert in_words(stroke).split(", ")[3] == "1 count at 337 nm"


def _truth(onset: list[float], separation: list[float], kind: str = "corona") -> TruePulses:
    n = len(onset)
    values = np.array(onset)
    peak = np.tile([10.0, 0.0, 0.0], (n, 1))
    some = np.full(n, 10.0)
    return TruePulses(
        np.full(n, kind), values, np.zeros(n), some, some, some, peak, peak, some, np.array(separation),
        np.ones(n, dtype=bool), 10000,
    )  # fmt: skip


def test_detections_are_matched_one_to_one() -> None:
    truth = _truth([100.0, 108.0, 500.0, 900.0], [50.0, 3.0, 50.0, 50.0])
    lit = np.array([[True, False, False]] * 4)
    lit[3] = [False, False, True]
    shown = match(truth, Detections(np.array([107.0, 103.0, 700.0, 900.0]), lit))
    # 107 is nearer to the pulse at 108, which need not be found; 900 is in another photometer.
    assert shown.tolist() == [1, 0, -1, -1]
    assert truth.is_fair.tolist() == [True, False, True, True]
    hits = _truth([100.0], [50.0], "particle")
    assert match(hits, Detections(np.array([105.0]), lit[:1])).tolist() == [-1]
    assert match(hits, Detections(np.array([104.0]), lit[:1])).tolist() == [0]


def test_the_truth_is_that_of_the_table() -> None:
    simulated = simulate_observation(500, 1, missing_rows=0.3)
    truth = TruePulses.of(simulated)
    rows = [dict(zip(PULSE_COLUMNS, row, strict=True)) for row in pulse_rows("", simulated)]
    assert truth.kind.tolist() == [row["kind"] for row in rows]
    np.testing.assert_allclose(truth.onset / 100, [float(row["onset_ms"]) for row in rows])
    np.testing.assert_allclose(truth.peak[:, 2], [float(row["peak_counts_PHOT3"]) for row in rows])
    in_gap = simulated.missing[(np.clip(truth.peak_sample, 0, None) // 8325).astype(int)]
    assert in_gap.any()
    np.testing.assert_array_equal(truth.is_recorded, ~in_gap)


def test_simulated_pulses_are_found() -> None:
    score = score_catalogue(simulate_observation(500, number, drift=13.0) for number in range(4))
    assert score.observations == 4
    assert len(score.is_found) > 100
    assert score.completeness() > 0.9
    assert score.purity() > 0.9
    assert score.by_chance < 0.3 * score.detections


def test_baselines_are_what_they_say() -> None:
    counts = np.zeros((3, 20000))
    counts[0, [1000, 1090, 5000]] = 4.0  # 1.99 uW/m^2
    counts[0, 7000] = 3.0
    counts[2, 5050] = 6.0  # 2.05 uW/m^2
    runs = threshold_runs(_observation(counts))
    assert runs.sample.tolist() == [1000, 5050]
    assert runs.lit.tolist() == [[True, False, False], [True, False, True]]
    light = _light(20000, (0, 9000, 40.0, _pulse(5, 40)), (2, 9010, 40.0, _pulse(5, 40)))
    smoothed = smoothed_peaks(_observation(_drawn(light)))
    at = np.abs(smoothed.sample - 9030) < 20
    assert smoothed.lit[at].tolist() == [[True, False, True]]
    table = find_pulses(_observation(_drawn(light)))
    assert as_detections(table).lit.tolist() == [[True, False, True]]


def test_the_command_measures_pulses(run, tmp_path: Path) -> None:
    few = ("archives.evaluation.labelled=2", "archives.shifted.labelled=2", "archives.rare.observations=4")
    rare = (f"archives.rare.rare.{kind}=1" for kind in ("elve", "sprite", "blue_jet", "corona"))
    seeds = ("seeds.evaluation=[500]", "seeds.shifted=[510]", "seeds.rare=[505]")
    done = run("triage_report", "parts=[pulses]", *few, *rare, *seeds, "quiet=2", "reference=null", f"out={tmp_path}")
    assert done.stdout.splitlines()[-1] == str(tmp_path / "triage.md")
    measured = json.loads((tmp_path / "triage.json").read_text())["pulses"]
    text = (tmp_path / "triage.md").read_text()
    for archive, detectors in measured["scores"].items():
        (score,) = detectors["catalogue"].values()
        assert f"### Archive {archive}, seeds" in text
        assert f"| catalogue | {np.mean(score['is_found']):.3f} ± 0.000 |" in text
    assert list(measured["quiet"]) == ["500"]
    for name in ("example", "completeness", "errors"):
        assert (tmp_path / f"simulated_pulses_{name}.png").is_file()


def test_real_frames_are_catalogued(reference: Path) -> None:
    from asim_cvae.studies.triage.pulse_study import _real

    real = _real(reference)
    assert len(real) == 4
    large = real["900001"][real["900001"]["peak_counts_337"] > 10]
    assert np.abs(large["peak_ms"][:, None] - [16.1, 25.4]).min(axis=0).max() < 0.5


def test_a_catalogue_is_a_table_of_the_whole_observation() -> None:
    observation = as_observation(simulate_observation(500, 3, drift=13.0))
    table: Table = find_pulses(observation)
    assert (table["peak_ms"] >= 0).all()
    assert (table["peak_ms"] < observation.flux.shape[1] / 100).all()
    assert (table["width_ms"] > 0).all()
    assert (table["rise_ms"] >= 0).all()
    assert (table["significance"] > 0).all()
    same = find_pulses(observation)
    for name in table.dtype.names or ():
        np.testing.assert_array_equal(same[name], table[name])


def test_a_background_that_is_missing_is_no_number() -> None:
    light = _light(30000, (0, 9950, 40.0, _pulse(10, 60)), (0, 20000, 40.0, _pulse(10, 60)))
    gaps = np.zeros(light.shape, dtype=bool)
    gaps[1] = True
    gaps[2, 8325:16650] = True
    table = find_pulses(_observation(_drawn(light), gaps))
    assert np.isnan(table["background_uv"]).all()
    assert np.isnan(table["background_777"]).tolist() == [True, False]
    assert table["background_777"][1] == pytest.approx(0.2, rel=0.3)
    assert table["background_337"] == pytest.approx([0.1, 0.1], rel=0.3)
