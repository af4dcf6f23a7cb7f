from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from asim_cvae.simulator.flashes import corona_pulse, diffusion_pulse, lightning

from asim_cvae.archive import discover, read_labels, read_observation
from asim_cvae.errors import InputError
from asim_cvae.instrument import flux_to_counts
from asim_cvae.simulator.archive import TABLE_NAME, Simulation, make_archive
from asim_cvae.simulator.labelling import frame_class


def _bytes(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir() if path.suffix in {".fits", ".csv", ".json"}}


def test_same_seed_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    wanted = Simulation(observations=10, labelled=8, seed=5)
    assert make_archive(tmp_path / "one", wanted, workers=1)
    assert make_archive(tmp_path / "two", wanted, workers=2)
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")
    make_archive(tmp_path / "other", Simulation(observations=10, labelled=8, seed=6), workers=1)
    assert _bytes(tmp_path / "one").keys() != _bytes(tmp_path / "other").keys()


def test_archives_are_not_written_over(tmp_path: Path) -> None:
    wanted = Simulation(observations=1, labelled=1)
    assert make_archive(tmp_path, wanted)
    assert not make_archive(tmp_path, wanted)
    with pytest.raises(InputError, match="another simulated archive"):
        make_archive(tmp_path, Simulation(observations=2, labelled=1))
    (tmp_path / "simulation.json").unlink()
    with pytest.raises(InputError, match="not simulated"):
        make_archive(tmp_path, wanted)


@pytest.mark.parametrize(
    "wrong", [{"format": "hdf"}, {"level": 2}, {"labelled": -1}, {"observations": 0, "labelled": 0}]
)
def test_impossible_archives(wrong: dict) -> None:
    with pytest.raises(InputError):
        Simulation(**wrong)


def test_all_formats_and_levels_hold_the_same_light(tmp_path: Path) -> None:
    seen = {}
    for form in ("fits", "cdf"):
        for level in (0, 1):
            root = tmp_path / f"{form}{level}"
            make_archive(root, Simulation(observations=0, labelled=2, seed=1, format=form, level=level))
            files, refused = discover(root)
            assert not refused
            seen[form, level] = [read_observation(path) for path in files.values()]
            assert all(observation.simulator for observation in seen[form, level])
            assert read_labels(root / TABLE_NAME).files == set(files)
    for a, b, c, d in zip(*seen.values(), strict=True):
        np.testing.assert_array_equal(a.flux, c.flux)
        np.testing.assert_array_equal(b.flux, d.flux)
        np.testing.assert_array_equal(a.counts, c.counts)
        # Level 1 has the file's own q: its levels lie on the whole counts of Level 0
        np.testing.assert_allclose(flux_to_counts(b.flux), a.counts, atol=0.02)
        assert a.start == b.start == c.start == d.start


def test_labels_are_in_the_published_proportions(tmp_path: Path) -> None:
    make_archive(tmp_path, Simulation(observations=0, labelled=60, seed=2))
    table = read_labels(tmp_path / TABLE_NAME)
    assert not table.problems
    counts = Counter(table.labels.values())
    published = {"LCLA": 143, "N": 120, "HCLA": 115, "LCHA": 92, "HCHA": 85}
    for name, number in published.items():
        assert counts[name] / counts.total() == pytest.approx(number / 555, abs=0.08)
    frames = Counter(file for file, _ in table.labels)
    assert set(frames.values()) <= {5, 6, 7, 9, 10, 11, 12, 14}


def test_diffused_light_peaks_where_the_formula_says() -> None:
    # d/dt of t^(-3/2) exp(-D/t - nu t) vanishes at t = (sqrt(9/4 + 4 nu D) - 3/2) / (2 nu)
    for delay, loss in ((0.5, 0.5), (3.0, 0.3), (2.0, 1.2)):
        shape = diffusion_pulse(delay, loss)
        peak = (np.sqrt(2.25 + 4 * loss * delay) - 1.5) / (2 * loss)
        assert (shape.argmax() + 1) / 100 == pytest.approx(peak, abs=0.01)
        assert shape.max() == 1.0
    rise = corona_pulse(0.05, 0.5)
    assert rise.argmax() < (rise >= 0.5).sum()  # fast rise, slow decay


def test_the_labelling_rule_at_its_ends() -> None:
    rng = np.random.default_rng(0)
    background = np.array([0.2, 2.0, 0.3])
    bright = [lightning(500 * k, 50.0, rng) for k in range(8)]
    assert frame_class([], background, 0, 5000) == "N"
    assert frame_class([lightning(100, 1e-3, rng)], background, 0, 5000) == "N"  # there, but not to be seen
    assert frame_class(bright[:2], background, 0, 5000) == "HCLA"
    assert frame_class(bright, background, 0, 5000) == "HCHA"
    assert frame_class(bright[:2], background, 50_000, 5000) == "N"  # in another frame
