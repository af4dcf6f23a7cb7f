"""Tests of triage: how odd frames are, the tables, and what becomes of a folder that grows."""

import hashlib
import json
import logging
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.stats import expon, poisson

from asim_cvae.archive.reader import read_observation
from asim_cvae.base.errors import InputError, SettingError
from asim_cvae.base.workers import WorkerDiedError
from asim_cvae.frames.shards import Fingerprint, shard_name
from asim_cvae.frames.slicing import slice_frames
from asim_cvae.inference import load
from asim_cvae.instrument.classes import CLASSES, KINDS
from asim_cvae.instrument.observation import Observation, RejectedFileError
from asim_cvae.pulses.catalogue import find_pulses
from asim_cvae.pulses.kinds import PARTICLE
from asim_cvae.recognition.heads import Recognition
from asim_cvae.reviewing.page import _map_of_others
from asim_cvae.reviewing.records import ranked_files
from asim_cvae.runs.pretrained import NEWEST, SHIPPED
from asim_cvae.scoring.clusters import assign_to_nearest
from asim_cvae.triaging.chance import bootstrap, read_chance
from asim_cvae.triaging.columns import FRAMES, LEDGER, OBSERVATIONS, PULSES, REJECTED, schema
from asim_cvae.triaging.excess import Excess, find_excess
from asim_cvae.triaging.gathering import Filter, gather
from asim_cvae.triaging.interest import rate_interest
from asim_cvae.triaging.ledger import Folder, Ledger
from asim_cvae.triaging.measures import Measures, measure_frames
from asim_cvae.triaging.misfit import Misfit, misfit
from asim_cvae.triaging.origin import Origin, choose_threshold, make_judge
from asim_cvae.triaging.processing import File, Rows, judge_observation
from asim_cvae.triaging.reference import Familiarity, Reference, Tail, read_reference, write_reference
from asim_cvae.triaging.running import Job, _give_up, batch_sizes, triage
from tests.conftest import PROJECT, held_until_told, wait_until
from tests.mmia_files import NAME, level1, light, write_fits
from tests.tables import digest, read_rows

RARE = ("blue jet", "elve", "sprite")
PRETRAINED = SHIPPED / NEWEST
QUICK = ("page.observations=0", "file_workers=1")


def _dark(rate: float, curves: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Counts of a rate, and the rate."""
    counts = np.random.default_rng(seed).poisson(rate, (curves, 5000)).astype(float)
    return counts, np.full(counts.shape, rate)


@pytest.mark.parametrize("rate", [0.05, 2.0])
def test_light_that_a_rate_lacks_is_found_where_it_is(rate: float) -> None:
    counts, expected = _dark(rate)
    counts[0, 3000:3040] += np.round(4 * np.sqrt(rate) + 1)
    found = find_excess(counts, expected)
    start, end = int(found.start[0]), int(found.start[0] + found.samples[0])
    assert 2990 <= start <= 3005
    assert 3035 <= end <= 3050
    n, m = counts[0, start:end].sum(), rate * (end - start)
    assert found.evidence[0] == pytest.approx(poisson(n).logpmf(n) - poisson(m).logpmf(n))
    assert found.counts[0] == pytest.approx(n - m)


def test_evidence_is_the_largest_of_all_windows() -> None:
    counts, expected = _dark(0.7, seed=3)
    best = 5.0
    for step, windows in ((1, (1, 2, 3, 4, 6, 9, 13)), (5, (20, 30, 45, 65, 100, 150, 225, 300))):
        for window in windows:
            sums = np.array([counts[0, at : at + window].sum() for at in range(0, 5001 - window, step)])
            m = 0.7 * window
            best = max(best, *[n * np.log(n / m) - (n - m) for n in sums if n > m])
    assert find_excess(counts, expected).evidence[0] == pytest.approx(best)


def test_particle_hits_are_left_out_and_counted_and_light_is_not() -> None:
    counts, expected = _dark(0.1, curves=3)
    before = find_excess(counts, expected)
    for at, hit in ((500, [60]), (1500, [9, 50, 30, 12, 6, 3]), (4999, [25])):
        counts[0, at : at + len(hit)] += hit
    counts[1, 2000:2030] += 5  # light of 0.3 ms
    counts[2, 2000:2200] += 1  # light that the rate has too, with a hit on top of it
    expected[2, 2000:2200] += 1
    counts[2, 2100] += 40
    found = find_excess(counts, expected)
    assert (found.hits - before.hits).tolist() == [3, 0, 1]
    assert found.evidence[0] == pytest.approx(before.evidence[0], abs=1e-9)
    assert found.evidence[1] > 100
    assert found.evidence[2] < 20


@pytest.mark.parametrize("rate", [0.03, 0.7, 15.0])
def test_chance_gives_small_probabilities_as_rarely_as_they_say(rate: float) -> None:
    evidence = bootstrap(rate, 900, np.random.default_rng(8))
    p = read_chance().p_value(evidence, np.full((len(evidence), 5000), rate))
    for level in (0.3, 0.1, 0.01):
        share, error = (p <= level).mean(), np.sqrt(level * (1 - level) / len(p))
        assert share <= 1.2 * level + 3 * error
        assert share >= 0.4 * level - 3 * error, "such probabilities say nothing"


def test_chances_of_parts_add_up() -> None:
    chance, evidence = read_chance(), np.array([9.0])
    low, high = (np.full((1, 5000), rate) for rate in (0.2, 5.0))
    expected = [-np.log1p(-chance.p_value(evidence, rate)[0]) for rate in (low, high)]
    both = np.concatenate([low[:, :2500], high[:, 2500:]], axis=1)
    assert -np.log1p(-chance.p_value(evidence, both)[0]) == pytest.approx(np.mean(expected))
    assert chance.p_value(np.array([60.0]), low)[0] < 1e-20


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_tells_the_same_within_a_thousandth(archive: Path) -> None:
    frames = [slice_frames(read_observation(path).flux) for path in sorted(archive.glob("*.fits"))]
    flux = np.concatenate([part[~np.isnan(part.max(axis=(1, 2)))] for part in frames])
    torch.backends.cudnn.allow_tf32 = False
    origin = Origin(PRETRAINED / "model.safetensors", None, (), 0.5, RARE)
    judges = [make_judge(origin, device) for device in ("cpu", "cuda")]
    here, there = (measure_frames(judge.model, judge.heads, flux).told for judge in judges)
    np.testing.assert_allclose(there.classes, here.classes, atol=1e-3)
    np.testing.assert_allclose(there.kinds, here.kinds, atol=1e-3)
    assert (there.classes.argmax(1) == here.classes.argmax(1)).mean() >= 0.999


def test_misfit_of_a_frame_is_that_of_the_worst_of_three_photometers() -> None:
    counts, rate = _dark(0.5, curves=6, seed=2)
    counts, rate = counts.reshape(2, 3, 5000), rate.reshape(2, 3, 5000)
    counts[1, 2, 100:160] += 3
    found = misfit(counts, rate)
    assert found.of_photometers.shape == (2, 3)
    assert found.p[0] == pytest.approx(1 - (1 - found.of_photometers[0].min()) ** 3)
    assert found.p[1] == pytest.approx(3 * found.of_photometers[1].min())
    assert found.p[0] > 1e-3
    assert found.p[1] < 1e-20
    assert found.excess.start[1, 2] == pytest.approx(100, abs=5)


def test_tail_shares_are_those_of_the_distribution_beyond_all_that_was_seen() -> None:
    scores = np.random.default_rng(0).exponential(2.0, 20_000)
    tail = Tail.of(scores)
    at = np.array([0.1, 1.0, 5.0, 12.0, 30.0])
    np.testing.assert_allclose(tail.share_above(at), expon(scale=2).sf(at), rtol=0.35)
    assert (np.diff(tail.share_above(np.linspace(0, 100, 500))) <= 0).all()
    assert Tail.of(np.ones(50)).share_above(np.array([0.5, 1.5])).tolist() == [1.0, 0.0]


def test_familiarity_ranks_by_mahalanobis_distance() -> None:
    rng = np.random.default_rng(1)
    mixing = np.array([[2.0, 0.0, 0.0], [1.5, 0.3, 0.0], [0.0, 0.2, 5.0]])
    vectors = rng.normal(size=(4000, 3)) @ mixing.T + 7
    familiarity = Familiarity.of(vectors)
    shares = familiarity.share_as_far(vectors)
    np.testing.assert_allclose(np.sort(shares), np.linspace(0, 1, 4000), atol=0.02)
    along = 7 + mixing @ np.eye(3) * 3.0  # three deviations along each axis: equally far
    assert np.ptp(familiarity.share_as_far(along.T)) < 0.01


def test_reference_is_read_as_it_was_written_and_damage_is_told(tmp_path: Path) -> None:
    assert read_reference(tmp_path) == Reference()
    reference = read_reference(PRETRAINED)
    write_reference(tmp_path, reference)
    assert read_reference(tmp_path) == reference
    text = (tmp_path / "reference.json").read_text()
    (tmp_path / "reference.json").write_text(text.replace('"scale": ', '"scale": 1', 1))
    with pytest.raises(InputError, match=r"reference.json: damaged or changed"):
        read_reference(tmp_path)
    assert reference.model is not None
    uneven = replace(reference, model=replace(reference.model, axes=[[1.0], [0.0]]))
    write_reference(tmp_path, uneven)
    with pytest.raises(InputError, match=r"reference.json: model: its rows differ in length"):
        read_reference(tmp_path)


def test_interest_is_the_rarest_oddity_with_its_reason(archive: Path) -> None:
    model, reference = load("pretrained"), read_reference(PRETRAINED)
    flux = slice_frames(read_observation(sorted(archive.glob("*.fits"))[0]).flux)
    flux = flux[~np.isnan(flux.max(axis=(1, 2)))]
    measures = measure_frames(model.trained, model.heads, flux)
    kinds = measures.told.kinds.copy()
    kinds[1] = [0.0, 0.0, 0.999999, 0.0, 0.0]
    measures = replace(measures, told=measures.told._replace(kinds=kinds))
    numbers = np.arange(len(flux))
    rated = rate_interest(measures, numbers, reference, RARE)
    assert rated.reason[1] == "elve, probability 1.00"
    assert rated.interest[1] > 4
    without = rate_interest(measures, numbers, reference, ())
    assert without.interest[1] < rated.interest[1]
    far = [
        reference.model.familiarity.share_as_far(measures.description),
        reference.heads.familiarity.share_as_far(measures.told.features),
    ]
    np.testing.assert_allclose(rated.unusual, 1 - np.minimum(*far))
    kinds[1] = [0.0, 0.0, 0.0, 0.0, 0.04]
    hardly = replace(measures, told=measures.told._replace(kinds=kinds))
    reason = rate_interest(hardly, numbers, Reference(heads=reference.heads), ("radiation",)).reason[1]
    assert reason.startswith("more like radiation than "), reason
    nothing = rate_interest(measures, numbers, Reference(), RARE)
    assert np.isnan(nothing.interest).all()
    assert set(nothing.reason) == {""}


def _usual(reference: Reference, frames: int) -> Measures:
    """Measures of frames that nothing makes odd."""
    shape = (frames, 3)
    nothing = Excess(*(np.zeros(shape, dtype) for dtype in (float, int, int, float, int)))
    none = np.zeros((frames, 5))
    features = np.tile(reference.heads.familiarity.mean, (frames, 1))
    return Measures(
        description=np.tile(reference.model.familiarity.mean, (frames, 1)),
        log_px=np.zeros(frames),
        kl=np.zeros(frames),
        misfit=Misfit(np.ones(frames), np.ones(shape), nothing),
        told=Recognition(none, none.copy(), np.zeros(frames, dtype=bool), features),
    )


def test_each_way_of_being_odd_counts_and_is_put_into_words() -> None:
    reference = read_reference(PRETRAINED)
    measures = _usual(reference, 4)
    of_photometers, excess = measures.misfit.of_photometers, measures.misfit.excess
    of_photometers[0, 2] = p = 1e-30
    for column, value in ((excess.start, 1234), (excess.samples, 30), (excess.counts, 99.5)):
        column[0, 2] = value
    measures.description[1] += 3 * np.sqrt(1 / np.diag(reference.model.familiarity.precision))
    measures.told.kinds[2, KINDS.index("elve")] = 0.04
    rated = rate_interest(measures, np.array([2, 7, 8, 9]), reference, ["elve"])
    shares = [
        min(3 * float(reference.model.misfit[2].share_above(np.array([-np.log10(p)]))[0]), 1.0),
        float(reference.model.familiarity.share_as_far(measures.description)[1]),
        float(reference.heads.kinds["elve"].share_above(np.log([0.04 / 0.96]))[0]),
    ]
    assert max(shares) < 0.9
    np.testing.assert_allclose(rated.interest, [*-np.log10(shares), 0.0], rtol=1e-6, atol=1e-12)
    assert rated.reason[0] == "99 counts at 777.4 nm beyond the reconstruction in 0.30 ms from 112.34 ms on"
    for words, start, share in zip(rated.reason[1:3], ("more unusual", "more like an elve"), shares[1:], strict=True):
        told = re.fullmatch(rf"{start} than ([\d.]+) % of frames", words)
        assert told is not None, words
        assert float(told[1]) == pytest.approx(min(100 * (1 - share), 99.99), abs=0.0051)


def _rows(folder: Path, name: str) -> list[dict[str, str]]:
    return read_rows(folder / f"{name}.csv")


def _ledger(folder: Path, part: str) -> list[dict]:
    paths = sorted((folder / "shards").glob(f"*.{part}.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


@pytest.fixture(scope="module")
def root(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small archive, a file with a gap, and two files that cannot be used."""
    root = tmp_path_factory.mktemp("root") / "files"
    shutil.copytree(archive, root)
    (root / "broken.fits").write_bytes(b"SIMPLE  = nothing")
    (root / "empty.fits").write_bytes(b"")
    gap = light(2)
    gap[1, 1, 1700] = np.nan  # sample 10,025 of UV
    write_fits(root / f"{NAME}.fits", level1(gap))
    return root


@pytest.fixture(scope="module")
def few(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files of the small archive."""
    root = tmp_path_factory.mktemp("few")
    for path in sorted(archive.glob("*.fits"))[:3]:
        shutil.copy(path, root)
    return root


@pytest.fixture(scope="module")
def triaged(run, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its triage by the weights that ship."""
    out = tmp_path_factory.mktemp("triage") / "out"
    done = run("triage", f"root={root}", f"out={out}", "filter.noise=true")
    assert "2 files rejected" in done.stdout
    return out


def test_tables_have_the_columns_that_are_declared(triaged: Path) -> None:
    for name, columns in (("observations", OBSERVATIONS), ("pulses", PULSES), ("rejected", REJECTED)):
        with (triaged / f"{name}.csv").open() as stream:
            assert stream.readline().strip().split(",") == [column.name for column in columns]
    frames = pq.read_table(next((triaged / "shards").glob("*.frames.parquet")))
    assert frames.column_names == [column.name for column in FRAMES]
    assert frames.schema.field("kl").metadata[b"unit"] == b"nats"
    origin = json.loads(frames.schema.metadata[b"asim_cvae"])
    assert origin == json.loads((triaged / "provenance.json").read_text())["origin"]
    assert set(origin["files"]) >= {"model.safetensors", "heads.json", "reference.json"}


def test_frames_say_what_the_model_tells_of_them(triaged: Path, archive: Path) -> None:
    model = load("pretrained")
    path = sorted(archive.glob("*.fits"))[2]
    observation = read_observation(path)
    rows = {row["frame"]: row for row in _ledger(triaged, "frames") if row["file"] == path.name}
    flux = slice_frames(observation.flux)
    whole = np.flatnonzero(~np.isnan(flux.max(axis=(1, 2))))
    assert [k for k, row in rows.items() if not row["gap"]] == whole.tolist()
    told, encoded = model.recognize(flux[whole]), model.encode(flux[whole])
    description = model.describe(flux[whole])
    centres = model.trained.clusters.centres
    threshold = model.heads.calibration.noise_threshold
    for place, k in enumerate(whole.tolist()):
        row = rows[k]
        probability = told.classes[place]
        assert [row[f"p_{name}"] for name in CLASSES] == pytest.approx(probability, abs=1e-6)
        assert [row[kind.replace(" ", "_")] for kind in KINDS] == pytest.approx(told.kinds[place], abs=1e-6)
        assert row["class"] == CLASSES[probability.argmax()]
        assert row["margin"] == pytest.approx(np.sort(probability)[-1] - np.sort(probability)[-2], abs=1e-6)
        assert row["kept"] == (probability[-1] <= threshold)
        assert row["description"] == pytest.approx(description[place], abs=1e-5)
        assert row["cluster"] == assign_to_nearest(description[[place]], centres)[0]
        assert row["cluster_class"] == model.trained.clusters.labels[row["cluster"]]
        assert row["kl"] == pytest.approx(encoded.kl[place], rel=1e-5)
        assert row["peak_flux_777"] == pytest.approx(flux[k, 2].max())
        assert row["peak_ms_777"] == pytest.approx((5000 * k + flux[k, 2].argmax()) / 100)
        assert row["time_utc"] == observation.start.astype(datetime).replace(tzinfo=UTC) + (
            datetime.fromtimestamp(0.05 * k, UTC) - datetime.fromtimestamp(0, UTC)
        )
        assert row["why"]


def test_observations_are_ranked_by_their_most_interesting_frame(triaged: Path) -> None:
    observations, frames = _rows(triaged, "observations"), _ledger(triaged, "frames")
    assert [int(row["rank"]) for row in observations] == list(range(1, len(observations) + 1))
    interest = [float(row["interest"]) for row in observations]
    assert interest == sorted(interest, reverse=True)
    for row in observations:
        own = [frame for frame in frames if frame["file"] == row["file"] and not frame["gap"]]
        top = max(own, key=lambda frame: frame["interest"])
        assert float(row["interest"]) == pytest.approx(top["interest"], rel=1e-5)
        assert (row["why"], row["class"]) == (top["why"], top["class"])
        assert int(row["kept_frames"]) == sum(frame["kept"] for frame in own)
        assert float(row["misfit"]) == pytest.approx(min(frame["misfit"] for frame in own), rel=1e-5)
    listed = _rows(triaged, "frames")
    assert [float(row["interest"]) for row in listed] == sorted(
        (float(row["interest"]) for row in listed), reverse=True
    )
    assert {row["file"] for row in listed} == {row["file"] for row in observations}
    assert "description" not in listed[0]


def test_observations_say_what_files_and_frames_do(triaged: Path, root: Path) -> None:
    frames, rows = _ledger(triaged, "frames"), _rows(triaged, "observations")
    for row in rows:
        observation = read_observation(root / row["file"])
        own = [frame for frame in frames if frame["file"] == row["file"] and not frame["gap"]]
        likely = [kind for kind in KINDS if max(frame[kind.replace(" ", "_")] for frame in own) >= 0.5]
        assert row["kinds"] == "+".join(likely)
        assert int(row["pulses"]) == sum(find_pulses(observation)["kind"] != PARTICLE)
        for name in ("latitude", "longitude"):
            values = getattr(observation, name)
            known = values[~np.isnan(values)].tolist()
            assert [float(value) for value in [row[name]] if value] == pytest.approx(known[:1], rel=1e-5)
        assert (int(row["level"]), int(row["priority"])) == (observation.level, observation.priority.max())
        assert int(row["mxgs_trigger"]) == observation.mxgs_trigger.max()
        lit = (observation.photometer_trigger == 1).any(axis=0)
        assert row["phot_triggers"] == "+".join(np.array(["337", "uv", "777"])[lit])
        assert row["notes"].split("\n") == [*observation.notes] or not (row["notes"] or observation.notes)
    for name in ("kinds", "latitude", "longitude", "notes", "phot_triggers"):
        assert any(row[name] for row in rows), name
    assert {row["pulses"] for row in rows} > {"0"}


def test_pulses_are_those_of_whole_observations(triaged: Path, archive: Path) -> None:
    path = sorted(archive.glob("*.fits"))[2]
    expected = find_pulses(read_observation(path))
    rows = [row for row in _rows(triaged, "pulses") if row["file"] == path.name]
    assert len(rows) == len(expected) > 0
    assert [row["kind"] for row in rows] == expected["kind"].tolist()
    assert [float(row["onset_ms"]) for row in rows] == pytest.approx(expected["onset_ms"], rel=1e-5)
    start = read_observation(path).start
    onset = start + np.timedelta64(round(1000 * float(rows[0]["onset_ms"])), "us")
    assert rows[0]["onset_utc"] == f"{onset}Z"


def test_an_observation_that_cannot_be_judged_is_rejected_and_its_other_file_is_used(few: Path, monkeypatch) -> None:
    files = [File(path, Fingerprint.of(path)) for path in sorted(few.iterdir())[:2]]
    origin = Origin(PRETRAINED / "model.safetensors", None, (), 0.5, RARE)
    judge = make_judge(origin)
    fail = [True]

    def find(observation: Observation) -> np.ndarray:
        if fail.pop():
            raise ValueError("no such light")
        return find_pulses(observation)

    fail.insert(0, False)
    monkeypatch.setattr("asim_cvae.triaging.processing.find_pulses", find)
    rows = judge_observation(files, judge)
    assert [row["rejected"] for row in rows.files] == ["cannot be judged (no such light)", ""]
    assert {row["file"] for row in rows.frames} == {files[1].path.name}


def test_files_that_cannot_be_used_are_listed_and_gaps_are_told(triaged: Path) -> None:
    reasons = {row["file"]: row["reason"] for row in _rows(triaged, "rejected")}
    assert len(reasons) == 2
    assert "empty file" in reasons.values()
    gaps = [row for row in _ledger(triaged, "frames") if row["file"] == f"{NAME}.fits"]
    assert [row["gap"] for row in gaps] == [False, False, True]
    assert gaps[2]["why"] == "touches a gap"
    assert gaps[2]["p_N"] is gaps[2]["misfit"] is gaps[2]["kept"] is None
    assert gaps[2]["peak_flux_uv"] > 0


def test_a_folder_that_grows_ends_as_one_that_was_there_at_once(run, triaged: Path, root: Path, tmp_path: Path) -> None:
    grown, out = tmp_path / "files", tmp_path / "out"
    grown.mkdir()
    files = sorted(root.glob("*.fits"))
    for path in files[1::2]:
        shutil.copy(path, grown)
    done = run("triage", f"root={grown}", f"out={out}", *QUICK)
    assert f"{len(files[1::2])} observations, {len(files[1::2])} of them new" in done.stdout
    first = {path.name: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    for path in files[::2]:
        shutil.copy(path, grown)
    done = run("triage", f"root={grown}", f"out={out}", *QUICK, "filter.noise=true")
    assert f"{len(files)} observations, {len(files[::2])} of them new" in done.stdout
    assert {name: (out / "shards" / name).stat().st_mtime_ns for name in first} == first
    assert digest(out) == digest(triaged)
    for name in ("observations", "frames", "pulses", "rejected"):
        assert (out / f"{name}.csv").read_text() == (triaged / f"{name}.csv").read_text()
    again = run("triage", f"root={grown}", f"out={out}", *QUICK, "filter.interest=2")
    assert f"{len(files)} observations, 0 of them new" in again.stdout
    assert all(float(row["interest"]) >= 2 for row in _rows(out, "observations"))


def test_killed_and_parallel_programs_end_in_the_same_tables(triaged: Path, few: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "asim_cvae.triage", f"root={few}", f"out={out}", "filter.noise=true", *QUICK]
    process = subprocess.Popen(command, cwd=PROJECT)
    wait_until(lambda: process.poll() is not None or list(out.glob("shards/.*.lock")))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not list(out.glob("shards/*.files.parquet"))
    both = [subprocess.Popen(command, cwd=PROJECT) for _ in range(2)]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    digests = {row["file"]: row["digest"] for row in _ledger(triaged, "files")}
    rows = _ledger(out, "files")
    assert {row["file"]: row["digest"] for row in rows} == {row["file"]: digests[row["file"]] for row in rows}
    assert len(_rows(out, "observations")) == len(list(few.iterdir()))
    assert len(list(out.glob("shards/*.files.parquet"))) == 1
    assert not list(out.glob("shards/.*"))


@pytest.mark.processes
def test_a_batch_of_a_program_that_dies_is_judged_by_the_other(
    few: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = Origin(PRETRAINED / "model.safetensors", None, (), 0.5, RARE)
    ledger = Ledger(tmp_path, origin.identity())
    name = shard_name((path.name, Fingerprint.of(path)) for path in few.iterdir())
    ledger.shards.mkdir()
    with held_until_told(ledger.shards / f".{name}.lock", caplog, monkeypatch), caplog.at_level(logging.INFO):
        gathered = triage(few, Job(origin, ledger), 1, Filter(), 10, {})
    assert gathered.observations == 3
    assert ledger.names() == [name]


def test_programs_that_come_later_cut_the_same_batches() -> None:
    for observations in (0, 1, 5, 7, 55, 150, 820, 5000):
        sizes = batch_sizes(observations)
        assert sum(sizes) == observations
        assert all(0 < size <= 50 for size in sizes)
        for done in range(len(sizes)):
            assert batch_sizes(observations - sum(sizes[:done])) == sizes[done:]
        for size, after in zip(sizes, np.cumsum(sizes[::-1])[::-1] - sizes, strict=True):
            assert size <= max(after / 8, 5)  # whoever has the last large one keeps no other waiting for long
    assert len(batch_sizes(5000)) < 5000 / 50 + 40


def test_files_that_fell_into_two_batches_count_once(few: Path, tmp_path: Path) -> None:
    origin = Origin(PRETRAINED / "model.safetensors", None, (), 0.5, RARE)
    judge = make_judge(origin)
    files = [File(path, Fingerprint.of(path)) for path in sorted(few.iterdir())]
    rows = {file: judge_observation([file], judge) for file in files}
    digests = []
    for cuts in ([files], [files[:2], files[1:]], [files[2:], files[:1], files]):
        ledger = Ledger(tmp_path / str(len(digests)), origin.identity())
        ledger.shards.mkdir(parents=True)
        for cut in cuts:
            assert ledger.write(cut, partial(Rows.joined, [rows[file] for file in cut]))
            assert ledger.write(cut, pytest.fail)  # it is done, and is not judged again
        gathered = gather(ledger, {}, Filter(noise=True), 1000, {})
        assert (gathered.observations, gathered.rejected) == (len(files), 0)
        digests.append(digest(ledger.folder))
        for name in ("observations", "frames", "pulses"):
            assert _rows(ledger.folder, name) == _rows(tmp_path / "0", name)
    assert len(set(digests)) == 1


def test_results_of_other_settings_or_weights_are_refused(run, triaged: Path, few: Path, tmp_path: Path) -> None:
    done = run("triage", f"root={few}", f"out={triaged}", *QUICK, "rare=[elve]", check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "holds a triage of other rare kinds; choose another folder" in done.stderr
    done = run("triage", f"root={few}", f"out={tmp_path / 'a'}", *QUICK, "keep_recall=0.9999", check=False)
    assert (done.returncode, done.stderr.count("observations support")) == (2, 1)
    assert not (tmp_path / "a").exists()
    weights = tmp_path / "model"
    shutil.copytree(PRETRAINED, weights)
    (weights / "heads.json").unlink()
    origin = Origin(weights / "model.safetensors", None, (), 1.0, RARE)
    other = "holds a triage of other weights, heads or clusters and threshold; choose another folder"
    with pytest.raises(SettingError, match=other):
        Ledger(triaged, origin.identity()).check()
    with pytest.raises(SettingError, match="holds no triage, but other files; choose another folder"):
        Ledger(weights, origin.identity()).check()
    with pytest.raises(SettingError, match=r"keep_recall=0.9: .* holds no heads"):
        choose_threshold(origin.weights, (), 0.9, 0.95)
    assert choose_threshold(origin.weights, (), None, 0.95)[0] == 1.0


def test_a_promise_moves_the_threshold_and_is_told(run, few: Path, tmp_path: Path) -> None:
    done = run("triage", f"root={few}", f"out={tmp_path}/out", *QUICK, "keep_recall=0.9")
    promise = json.loads((tmp_path / "out" / "provenance.json").read_text())["promise"]
    assert promise in done.stdout
    assert promise == "kept: 0.9 of the simulated event observations or more, at 0.95 confidence"
    threshold = load("pretrained").heads.promised_threshold(0.9, 0.95)
    frames = _ledger(tmp_path / "out", "frames")
    assert {row["p_N"] <= threshold for row in frames if row["kept"]} == {True}
    assert {row["p_N"] > threshold for row in frames if row["kept"] is False} == {True}


def test_a_model_without_heads_gives_its_own_columns_alone(run, few: Path, tmp_path: Path) -> None:
    weights = tmp_path / "model"
    weights.mkdir()
    for name in ("model.json", "model.safetensors"):
        shutil.copy(PRETRAINED / name, weights)
    run("triage", f"root={few}", f"out={tmp_path}/out", *QUICK, f"weights={weights}")
    frames = _ledger(tmp_path / "out", "frames")
    assert {row[name] for row in frames for name in ("class", "p_N", "elve", "interest", "unusual", "map_x")} == {None}
    assert all(
        row["kept"] and row["cluster_class"] in CLASSES and row["misfit"] >= 0 for row in frames if not row["gap"]
    )


def test_the_thesis_weights_need_clusters_that_score_found(run, archive: Path, reference: Path, tmp_path: Path) -> None:
    weights = sorted((reference / "thesis_weights").glob("*.pth"))[0]
    data = ["data=mmia", f"data.root={archive}", f"data.store={tmp_path / 'store'}", "figures=null"]
    table = f"data.ground_truth.table={archive / 'GroundTruth_Table.xlsx'}"
    run("score", f"weights={weights}", *data, table, f"out={tmp_path / 'scores'}")
    alone = run("triage", f"root={archive}", f"out={tmp_path / 'out'}", *QUICK, f"weights={weights}", check=False)
    assert (alone.returncode, alone.stderr.count("holds no clusters; give clusters=FOLDER")) == (2, 1)
    clusters = f"clusters={tmp_path / 'scores'}"
    run("triage", f"root={archive}", f"out={tmp_path / 'out'}", *QUICK, f"weights={weights}", clusters)
    with np.load(tmp_path / "scores" / "latents.npz") as latents:
        scored = dict(zip(zip(latents["file"], latents["frame"], strict=True), latents["cluster"], strict=True))
    frames = {(row["file"], row["frame"]): row for row in _ledger(tmp_path / "out", "frames")}
    same = [frames[place]["cluster"] == cluster for place, cluster in scored.items()]
    assert np.mean(same) > 0.98
    assert frames[next(iter(scored))]["class"] is None


def test_score_without_labels_takes_the_saved_clusters(run, archive: Path, tmp_path: Path) -> None:
    data = ["data=mmia", f"data.root={archive}", f"data.store={tmp_path / 'store'}", "figures=null"]
    run("score", "weights=pretrained", *data, f"out={tmp_path / 'scores'}")
    model = load("pretrained")
    with np.load(tmp_path / "scores" / "latents.npz") as latents:
        expected = assign_to_nearest(latents["description"], model.trained.clusters.centres)
        assert latents["cluster"].tolist() == expected.tolist()
    clusters = json.loads((tmp_path / "scores" / "scores.json").read_text())["clusters"]
    assert [cluster["label"] for cluster in clusters] == [model.trained.clusters.labels[c["cluster"]] for c in clusters]


def test_filters_take_classes_kinds_times_and_places() -> None:
    row = {
        "kept_frames": 2, "class": "HCHA", "kinds": "corona+elve", "interest": 2.5,
        "start_utc": datetime(2019, 1, 3, 14, 8, tzinfo=UTC), "latitude": -5.0, "longitude": 170.0,
    }  # fmt: skip
    taking = [
        *({}, {"classes": ["HCHA"]}, {"kinds": ["elve", "sprite"]}, {"since": "2019-01-03"}, {"interest": 2.5}),
        *({"until": "2019-01-03T14:08:01"}, {"latitude": [-10, 0]}, {"longitude": [160, -160]}),
    ]
    leaving = [
        *({"classes": ["HCLA", "N"]}, {"kinds": ["sprite"]}, {"since": "2019-01-04"}, {"interest": 2.6}),
        *({"until": "2019-01-03T14:08"}, {"latitude": [0, 10]}, {"longitude": [-160, 160]}),
    ]
    rows = [row, {**row, "kept_frames": 0}, {**row, "latitude": None}, dict.fromkeys(row)]
    table = pa.Table.from_pylist(rows, schema([column for column in LEDGER if column.name in row], {}))

    def takes(**given: Any) -> list[bool]:
        return Filter(**given).takes(table).tolist()

    assert all(takes(**given)[0] for given in taking)
    assert not any(takes(**given)[0] for given in leaving)
    assert takes() == [True, False, True, False]
    for turned in (-190.0, 530.0):  # the same place
        table = pa.Table.from_pylist([{**row, "longitude": turned}], table.schema)
        assert all(takes(**given)[0] for given in taking)
        assert not any(takes(**given)[0] for given in leaving)
    table = pa.Table.from_pylist([{**row, "longitude": degrees} for degrees in (200.0, 350.0)], table.schema)
    assert takes() == [True, True]
    assert takes(longitude=[170, -150]) == [True, False]
    assert takes(longitude=[-20, 20]) == [False, True]
    table = pa.Table.from_pylist(rows, table.schema)
    assert takes(noise=True) == [True, True, True, True]
    assert takes(noise=True, latitude=[-10, 0]) == [True, True, False, False]
    with pytest.raises(SettingError, match=r"filter.kinds: no 'gnome'; there are corona"):
        Filter(kinds=["gnome"])
    with pytest.raises(SettingError, match=r"filter.since=NaT: no time"):
        Filter(since="NaT")


def _looked_at(file: str, **more: Any) -> dict[str, Any]:
    """Make a row of the ledger."""
    row = dict.fromkeys(column.name for column in LEDGER)
    used = {
        "key": file.split(".")[0],
        "rejected": "",
        "mtime_ns": 1,
        "ctime_ns": 1,
        "digest": file,
        "whole_frames": 3,
        "kept_frames": 1,
    }
    return {**row, "file": file, "start_utc": np.datetime64("2019-01-03"), **used, **more}


def _frame(file: str, number: int, interest: float | None, **more: Any) -> dict[str, Any]:
    row = dict.fromkeys(column.name for column in FRAMES)
    return {**row, "file": file, "frame": number, "interest": interest, "gap": False, "kept": True, **more}


def test_of_versions_and_files_of_an_observation_one_counts(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("asim_cvae.triaging.gathering._BLOCK", 2)
    monkeypatch.setattr("asim_cvae.triaging.gathering._PIECE", 3)
    a, b, c = "a.fits", "b.fits", "c.fits"
    ledger = Ledger(tmp_path, {})
    looked_at = [_looked_at(a, interest=9.0), _looked_at(b, interest=2.0), _looked_at("b.cdf")]
    frames = [_frame(a, 0, 9.0), _frame(b, 0, 2.0), _frame(b, 1, 2.0), _frame(b, 2, None)]
    ledger.write_rows("1" * 16, Rows(frames, [], [*looked_at, _looked_at("d.fits", rejected="no")]))
    unread = {"rejected": "disk gone", "mtime_ns": -1, "ctime_ns": -1}
    looked_at = [_looked_at(a, interest=1.0, mtime_ns=0), _looked_at(b, **unread), _looked_at(c)]
    frames = [_frame(a, 0, 2.0), _frame(a, 1, 5.0, kept=False), _frame(a, 2, 6.0, gap=True, kept=None)]
    ledger.write_rows("2" * 16, Rows([*frames, _frame(c, 0, 3.0)], [], looked_at))
    found = gather(ledger, {"b.cdf": "gone", "e.fits": "empty"}, Filter(), 3, {})
    assert (found.observations, found.frames, found.noise_frames, found.rejected) == (3, 9, 6, 3)
    assert [row["file"] for row in found.listed] == [row["file"] for row in found.listed[:9]] == [b, a, c]
    assert found.listed[1]["interest"] == 1.0
    shown = [(row["file"], row["frame"], row["interest"]) for row in _rows(tmp_path, "frames")]
    assert shown == [(c, "0", "3"), (a, "0", "2"), (b, "0", "2")]
    reasons = [(row["file"], row["reason"]) for row in _rows(tmp_path, "rejected")]
    assert reasons == [("b.cdf", "gone"), ("d.fits", "no"), ("e.fits", "empty")]
    lines = "\n".join(f"{file} {file}" for file in (a, b, c))
    assert digest(tmp_path) == hashlib.sha256(lines.encode()).hexdigest()
    assert gather(ledger, {}, Filter(noise=True), 1, {}).rejected == 2
    assert _rows(tmp_path, "rejected")[0]["reason"] == "same observation as b.fits, which is used"
    assert [row["frame"] for row in _rows(tmp_path, "frames")] == ["1"]
    assert len(gather(ledger, {}, Filter(interest=50), 1, {}).listed) == 0


def _two_batches(folder: Path) -> Ledger:
    ledger = Ledger(folder, {})
    for name, file in (("1" * 16, "a.fits"), ("2" * 16, "b.fits")):
        version = {"size": 5, "mtime_ns": 1, "ctime_ns": 2}
        ledger.write_rows(name, Rows([_frame(file, 0, 1.0)], [], [_looked_at(file, **version)]))
    return ledger


def test_digests_of_a_batch_are_those_that_sha256sum_checks(tmp_path: Path) -> None:
    ledger = _two_batches(tmp_path)
    check = ["sha256sum", "--check", "--strict", *(path.name for path in ledger.shards.glob("*.sha256"))]
    done = subprocess.run(check, cwd=ledger.shards, capture_output=True, text=True, check=True)
    assert done.stdout.count(": OK\n") == len(list(ledger.shards.glob("*.parquet"))) == 6


@pytest.mark.parametrize("part", ["frames", "pulses", "files"])
def test_a_damaged_batch_is_told_and_its_files_are_to_be_judged_again(tmp_path: Path, part: str, caplog) -> None:
    ledger = _two_batches(tmp_path)
    a, b = (("a.fits", Fingerprint(5, 1, 2)), ("b.fits", Fingerprint(5, 1, 2)))
    assert ledger.done() == {a, b}
    path = ledger.path("1" * 16, part)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{path.name}: damaged or changed"):
        ledger.read("1" * 16, part)
    assert ledger.done() == {b}
    assert path.name in caplog.text
    assert {other.name.split(".")[0] for other in ledger.shards.iterdir()} == {"2" * 16}
    path = ledger.path("2" * 16, part)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match=rf"{path.name}: cannot be read \(Is a directory\)"):
        ledger.done()


def test_what_kills_left_is_deleted_and_other_files_are_not(tmp_path: Path) -> None:
    ledger = _two_batches(tmp_path)
    ledger.digests("1" * 16).unlink()
    (ledger.shards / f".{'1' * 16}.lock").touch()
    others = [ledger.shards / "all.sha256", ledger.shards / "mine.frames.parquet"]
    for path in others:
        path.write_text("mine")
    whole = {path for path in ledger.shards.iterdir() if path.name.startswith("2")}
    ledger.clean()
    assert set(ledger.shards.iterdir()) == {*whole, *others}
    assert ledger.done() == {("b.fits", Fingerprint(5, 1, 2))}


def _unread(path: Path, version: Fingerprint) -> Observation:
    raise RejectedFileError(path.name, "cannot be read (Stale file handle)", transient=True)


@pytest.mark.processes
@pytest.mark.parametrize("reason", ["Stale file handle", "SIGKILL"])
def test_a_file_that_could_not_be_read_is_tried_again(reason: str, few: Path, tmp_path: Path, monkeypatch) -> None:
    root = tmp_path / "root"
    root.mkdir()
    shutil.copy(sorted(few.iterdir())[0], root)
    origin = Origin(PRETRAINED / "model.safetensors", None, (), 0.5, RARE)
    job = Job(origin, Ledger(tmp_path / "out", origin.identity()))
    job.ledger.claim()
    observation = Folder.look(root).observations[0]
    if reason == "SIGKILL":
        _give_up(observation, WorkerDiedError(-signal.SIGKILL), job)
    else:
        with monkeypatch.context() as patch:
            patch.setattr("asim_cvae.triaging.processing.read_version", _unread)
            job.ledger.write(observation, lambda: judge_observation(observation, make_judge(origin)))
    assert gather(job.ledger, {}, Filter(noise=True), 10, {}).rejected == 1
    assert reason in _rows(job.ledger.folder, "rejected")[0]["reason"]
    found = triage(root, job, 1, Filter(noise=True), 10, {})
    assert (found.observations, found.rejected) == (1, 0)
    assert len(job.ledger.names()) == 1
    assert Folder.look(root).pending(job.ledger.done()) == []
    assert job.ledger.write(observation, lambda: pytest.fail("it is judged"))


def test_a_file_that_changed_counts_as_it_is_now(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, {})
    for number, row in enumerate(
        [{"interest": 3.0, "mtime_ns": 9}, {"rejected": "damaged"}, {"interest": 2.0, "mtime_ns": 4}]
    ):
        rejections = int("rejected" in row)
        ledger.write_rows(f"{9 - number}" * 16, Rows([], [], [_looked_at("a.fits", **row)]))
        found = gather(ledger, {}, Filter(noise=True), 3, {})
        assert (found.observations, found.rejected) == (1 - rejections, rejections)
        assert [one["interest"] for one in found.listed] == ([] if rejections else [row["interest"]])


def test_programs_at_work_on_one_folder_keep_each_others_roots(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, {})
    for roots in (["a"], ["b"], ["a"]):
        gather(ledger, {}, Filter(), 3, {"roots": roots, "promise": roots[0]})
    assert ledger.roots() == ["a", "b"]


def test_of_programs_that_start_together_those_of_other_origins_are_refused(tmp_path: Path) -> None:
    first, other = (Ledger(tmp_path / "out", {"threshold": threshold}) for threshold in (0.1, 0.2))
    for ledger in (first, other):
        ledger.check()  # nothing is there yet
    first.folder.mkdir()
    with ThreadPoolExecutor() as pool:
        with first.locked():
            claims = [pool.submit(ledger.claim) for ledger in (first, other)]
            time.sleep(0.2)  # both wait for the lock now
        errors = [claim.exception() for claim in claims]
    refused = [error for error in errors if isinstance(error, SettingError)]
    assert len(refused) == 1
    assert "holds a triage of other threshold; choose another folder" in str(refused[0])
    assert (first if errors[1] else other).claim() is None


def test_the_photometer_that_is_named_is_the_one_that_makes_a_misfit_rare() -> None:
    flux = np.zeros((2, 3, 5000), np.float32)
    model, reference = load("pretrained"), read_reference(PRETRAINED)
    measures = measure_frames(model.trained, model.heads, flux)
    p = np.array([[1e-30, 0.5, 1e-6], [1e-30, 1e-6, 0.5]])  # the first photometer has often as little
    measures = replace(measures, misfit=measures.misfit._replace(of_photometers=p))
    often, rarely = Tail([0.5 * k for k in range(100)], 10.0), Tail([0.005 * k for k in range(100)], 0.1)
    model_reference = replace(reference.model, misfit=[often, rarely, rarely])
    shares, photometers = model_reference.share_as_misfit(p)
    assert photometers.tolist() == [2, 1]
    assert shares == pytest.approx(3 * rarely.share_above(np.array([6.0, 6.0])))
    rated = rate_interest(measures, np.arange(2), Reference(model=model_reference), ())
    assert [" at 777.4 nm " in rated.reason[0], " at 180-230 nm " in rated.reason[1]] == [True, True]


def test_clusters_that_are_none_are_refused_before_anything_is_written(run, few: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("triage", f"root={few}", f"out={out}", *QUICK, f"clusters={tmp_path}", check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"clusters={tmp_path}: has to be a folder that score wrote" in done.stderr
    assert not out.exists()


def test_no_cell_of_the_tables_is_a_formula(tmp_path: Path) -> None:
    name = "=HYPERLINK(1).fits"
    ledger = Ledger(tmp_path, {})
    ledger.write_rows("1" * 16, Rows([_frame(name, 0, 2.0)], [], [_looked_at(name, interest=2.0)]))
    gather(ledger, {"+1.fits": "empty"}, Filter(), 3, {})
    for table, cell in (("observations", f"'{name}"), ("frames", f"'{name}"), ("rejected", "'+1.fits")):
        assert [row["file"] for row in _rows(tmp_path, table)] == [cell]
    assert ranked_files(tmp_path, 5) == [name]


@pytest.fixture
def superseded(tmp_path: Path) -> Ledger:
    """Three frames of each of four files; two of these were judged twice, and the later rows are those that count."""
    ledger = Ledger(tmp_path, {})
    for batch, left in (("2", 0.0), ("1", 5.0)):
        names = ["a.fits", "b.fits", f"{batch}.fits"]
        frames = [_frame(name, k, 1.0, map_x=left + k, map_y=1.0) for name in names for k in range(3)]
        gap = _frame("a.fits", 3, None, gap=True)
        ledger.write_rows(batch * 16, Rows([*frames, gap], [], [_looked_at(name) for name in names]))
    return ledger


def test_the_map_shows_each_frame_once_however_many_there_are(superseded: Ledger, monkeypatch) -> None:
    one = _map_of_others(superseded, {"b.fits"})
    assert (one["points"], one["low"], one["high"]) == (9, [0.0, 1.0], [7.0, 1.0])
    monkeypatch.setattr("asim_cvae.reviewing.page._POINTS", 5)
    assert _map_of_others(superseded, {"b.fits"})["points"] == 5
    assert _map_of_others(superseded, {"a.fits", "b.fits", "1.fits", "2.fits"}) is None


def test_the_ledger_is_read_as_its_page_shows(superseded: Ledger) -> None:
    gather(superseded, {}, Filter(noise=True), 10, {})
    page = (PROJECT / "docs" / "triage.md").read_text()
    code, values = page.split("```python\n")[1].split("```")[0], {}
    exec(code.replace("OUT", str(superseded.folder)), values)
    found = {(row["file"], row["frame"]): row["map_x"] for row in values["frames"].to_pylist()}
    assert len(values["frames"]) == len(found) == 13
    assert [found["b.fits", 0], found["2.fits", 0]] == [5.0, 0.0]


def test_the_share_of_the_events_that_is_kept_is_told_as_it_is(monkeypatch) -> None:
    calibration = SimpleNamespace(keep=0.995, noise_threshold=0.3)
    heads = SimpleNamespace(calibration=calibration)
    monkeypatch.setattr("asim_cvae.triaging.origin._heads_of", lambda weights, trust: heads)
    assert choose_threshold(PRETRAINED, (), None, 0.95) == (
        0.3,
        "kept: 99.5 % of the event frames that the heads were calibrated on",
    )
