"""Tests of suggesting which frames to label next, of the queue that people fill in, and of what measures its worth."""

import csv
import json
import re
from collections import Counter, defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from scipy.stats import chisquare

from asim_cvae.archive.journal import Entry, append
from asim_cvae.archive.labels import RANDOM, read_labels
from asim_cvae.base.errors import InputError
from asim_cvae.frames.shards import Fingerprint
from asim_cvae.instrument.classes import CLASSES, NOISE
from asim_cvae.labelling.queue import labelled_frames, read_frames
from asim_cvae.labelling.suggesting import COLUMNS, Suggestion, suggest
from asim_cvae.runs.export import weights_file
from asim_cvae.settings.schema import CONF
from asim_cvae.simulator.frames import frames_of, joined
from asim_cvae.studies.triage.label_scores import CHANCE, FRAMES, ORDERS, Labelled, score
from asim_cvae.studies.triage.label_sets import Pool, SeenFrames, class_probability, make_held_out, make_pool
from asim_cvae.triaging.columns import FRAMES as COLUMNS_OF_FRAMES
from asim_cvae.triaging.columns import LEDGER
from asim_cvae.triaging.ledger import Ledger
from asim_cvae.triaging.origin import Origin, make_judge
from asim_cvae.triaging.processing import File, Rows

Place = tuple[str, int]


def _frames(observations: int = 60, seed: int = 0, heads: bool = True) -> pa.Table:
    """Frames of a ledger: up to 12 an observation, some of which touch a gap."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 13, observations)
    n = int(lengths.sum())
    is_gap = rng.random(n) < 0.1

    def told(values: np.ndarray) -> pa.Array:
        return pa.array(values.astype(np.float32), mask=is_gap)

    return pa.table(
        {
            "file": np.repeat([f"{k:03d}.fits" for k in range(observations)], lengths),
            "observation_id": np.repeat(np.arange(observations) + 10_000, lengths),
            "frame": np.concatenate([np.arange(length) for length in lengths]).astype(np.int32),
            "gap": is_gap,
            "margin": told(rng.random(n)) if heads else pa.nulls(n, pa.float32()),
            "interest": told(rng.exponential(size=n)),
            "description": pa.array(list(rng.normal(size=(n, 3)).astype(np.float32)), mask=is_gap),
        }
    )


def _places(suggestions: list[Suggestion]) -> list[Place]:
    return [(one.file, one.frame) for one in suggestions]


def _of(suggestions: list[Suggestion], way: str) -> list[Suggestion]:
    return [one for one in suggestions if one.chosen == way]


def _whole(frames: pa.Table) -> dict[str, set[Place]]:
    """The frames without a gap of each file."""
    found = defaultdict(set)
    for row in frames.to_pylist():
        if not row["gap"]:
            found[row["file"]].add((row["file"], row["frame"]))
    return found


def test_any_beginning_of_a_list_has_the_shares() -> None:
    ways = [one.chosen for one in suggest(_frames(), [], 40, 0)]
    for end in range(1, len(ways) + 1):
        counts = Counter(ways[:end])
        for way, share in (("margin", 0.5), ("anomaly", 0.25), (RANDOM, 0.25)):
            assert abs(counts[way] - share * end) < 1
    assert Counter(ways) == {"margin": 20, "anomaly": 10, RANDOM: 10}


def test_lists_never_repeat_a_frame_and_end_when_all_have_labels() -> None:
    frames = _frames(20)
    labelled: list[Place] = []
    while more := _places(suggest(frames, labelled, 17, 4)):
        assert len(more) == 17 or len(labelled) + len(more) == len(frames.filter(pc.invert(frames["gap"])))
        labelled += more
    assert len(labelled) == len(set(labelled))
    assert set(labelled) == set().union(*_whole(frames).values())


def test_suggestions_name_the_observation() -> None:
    for one in suggest(_frames(), [], 12, 0):
        assert one.observation_id == 10_000 + int(one.file[:3])


@pytest.mark.parametrize("seed", [0, 7])
def test_the_order_of_rows_decides_nothing(seed: int) -> None:
    frames = _frames()
    shuffled = frames.take(np.random.default_rng(1).permutation(len(frames)))
    labelled = _places(suggest(frames, [], 10, seed))
    assert suggest(shuffled, labelled, 30, seed) == suggest(frames, set(labelled), 30, seed)
    assert suggest(frames, labelled, 30, seed) != suggest(frames, labelled, 30, seed + 1)


def test_anomalies_are_the_most_interesting_frames_one_an_observation() -> None:
    frames = _frames()
    suggestions = suggest(frames, [], 40, 0)
    others = {one.file for one in suggestions if one.chosen == RANDOM}
    best: dict[str, tuple[float, int]] = {}
    for row in frames.to_pylist():
        if not row["gap"] and row["file"] not in others:
            best[row["file"]] = max(best.get(row["file"], (0.0, 0)), (row["interest"], row["frame"]))
    ranked = sorted(best, key=lambda file: -best[file][0])[:10]
    assert _places(_of(suggestions, "anomaly")) == [(file, best[file][1]) for file in ranked]


def test_margins_are_the_smallest_ones_and_their_frames_unlike_each_other() -> None:
    frames = _frames(400)
    rng = np.random.default_rng(3)
    near, groups = rng.random(len(frames)) * 0.1, rng.integers(5, size=len(frames))
    is_uncertain = rng.random(len(frames)) < 0.2
    columns = {
        "margin": pa.array(np.where(is_uncertain, near, near + 0.5), pa.float32()),
        "description": list((10 * np.eye(5)[groups] + rng.normal(0, 0.01, (len(frames), 5))).astype(np.float32)),
    }
    for name, values in columns.items():
        frames = frames.set_column(frames.column_names.index(name), name, [values])
    row_of = {(row["file"], row["frame"]): k for k, row in enumerate(frames.to_pylist())}
    for seed in range(5):
        chosen = _of(suggest(frames, [], 10, seed), "margin")
        rows = [row_of[place] for place in _places(chosen)]
        assert is_uncertain[rows].all()
        assert len({one.file for one in chosen}) == 5
        assert len(set(groups[rows])) == 5, "one of each group, as they lie far from each other"


def test_chance_draws_whole_observations_and_goes_on_where_it_was() -> None:
    frames = _frames(30)
    whole = _whole(frames)
    labelled: list[Suggestion] = []
    for _ in range(12):
        labelled += suggest(frames, _places(labelled), 20, 5)
    drawn = list(dict.fromkeys(one.file for one in _of(labelled, RANDOM)))
    done = set(_places(labelled))
    assert len(drawn) > 5
    assert all(whole[file] <= done for file in drawn[:-1]), "all of their frames have labels"
    alone = dict.fromkeys(one.file for one in suggest(frames, [], 10**6, 5, (RANDOM,)))
    assert drawn == list(alone)[: len(drawn)], "labels that were made otherwise change nothing"


def test_chance_is_told_by_a_frame_of_each_observation_that_it_draws() -> None:
    frames = _frames(25)
    labelled: list[Suggestion] = []
    while more := suggest(frames, _places(labelled), 9, 2):
        labelled += more
    assert {one.file for one in _of(labelled, RANDOM)} == set(_whole(frames))


def test_the_sequence_stays_as_a_folder_grows_and_for_other_files_of_an_observation() -> None:
    def drawn(table: pa.Table) -> list[str]:
        return list(dict.fromkeys(one.file for one in suggest(table, [], 10**6, 0, (RANDOM,))))

    frames = _frames(40)
    fewer = frames.filter(pc.less(frames["file"], "025"))
    assert [file for file in drawn(frames) if file < "025"] == drawn(fewer)
    named = "mmiatriggeredobservationtm{}_observation_time_2019-01-{}_00-00-00_observation_id_10000.fits"
    days = [f"{day:02d}" for day in range(1, 21)]
    by_level = []
    for level in ("", "level1"):
        files = pa.array([named.format(level, day) for day in days])
        observations = pa.table({**_frames(20).slice(0, 20).to_pydict(), "file": files, "gap": [False] * 20})
        by_level.append([re.findall(r"2019-01-\d\d", file)[0] for file in drawn(observations)])
    assert by_level[0] == by_level[1]


def test_each_observation_is_as_likely_to_be_drawn_however_interesting_or_uncertain() -> None:
    frames, draws = _frames(12, seed=6), 400
    first = Counter(_of(suggest(frames, [], 4, seed), RANDOM)[0].file for seed in range(draws))
    assert chisquare([first[f"{k:03d}.fits"] for k in range(12)]).pvalue > 0.001


def test_what_is_not_known_leaves_its_turns_to_the_others() -> None:
    ways = [one.chosen for one in suggest(_frames(heads=False), [], 20, 0)]
    assert Counter(ways) == {"anomaly": 10, RANDOM: 10}
    frames = _frames()
    without = frames.set_column(COLUMNS.index("interest"), "interest", pa.nulls(len(frames), pa.float32()))
    assert Counter(one.chosen for one in suggest(without, [], 21, 0)) == {"margin": 14, RANDOM: 7}
    none = frames.set_column(COLUMNS.index("gap"), "gap", pa.array([True] * len(frames)))
    assert suggest(none, [], 20, 0) == []


def test_a_table_without_classes_yet_costs_one_line(tmp_path: Path) -> None:
    rows = [("File Name", "Frame Number", "Classification", "Chosen"), *(("a.fits", k, "", RANDOM) for k in range(30))]
    rows[3], rows[5] = ("a.fits", 2, "N", RANDOM), ("a.fits", 4, "HCHA", "margin")
    path = tmp_path / "t.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    table = read_labels(path)
    assert table.labels == {("a.fits", 2): "N", ("a.fits", 4): "HCHA"}
    assert table.chosen == {("a.fits", 2): RANDOM, ("a.fits", 4): "margin"}
    assert table.problems == ("t.csv: no Classification yet in 28 of its rows, which label nothing",)


def _triage(folder: Path) -> pa.Table:
    """A triage of two batches, of which one holds an older version of a file."""
    frames = _frames(10)
    ledger = Ledger(folder, {})
    folder.joinpath("provenance.json").write_text("{}")
    for name, files, mtime in (("a", range(6), 1), ("b", range(5, 10), 2)):
        names = [f"{k:03d}.fits" for k in files]
        empty = dict.fromkeys(column.name for column in LEDGER)
        rows = [{**empty, "file": one, "key": one, "rejected": "", "mtime_ns": mtime} for one in names]
        chosen = [row for row in frames.to_pylist() if row["file"] in names]
        if name == "a":
            chosen = [{**row, "observation_id": 1} if row["file"] == "005.fits" else row for row in chosen]
        blank = dict.fromkeys(column.name for column in COLUMNS_OF_FRAMES)
        told = {"time_utc": np.datetime64("2019-05-01T12:00:00.25"), "class": "HCLA", "probability": 0.5, "why": "odd"}
        ledger.shards.mkdir(exist_ok=True)
        told_frames = [{**blank, **told, **row} for row in chosen]
        versions = [File(Path(one), Fingerprint(1, mtime, 0)) for one in names]
        ledger.write(versions, partial(Rows, told_frames, [], rows))
    return frames


@pytest.fixture
def triage(tmp_path: Path) -> Path:
    folder = tmp_path / "triage"
    folder.mkdir()
    _triage(folder)
    return folder


def test_frames_of_files_that_do_not_count_are_left_out(triage: Path) -> None:
    frames = read_frames(Ledger(triage, {})).select(COLUMNS).sort_by([("file", "ascending"), ("frame", "ascending")])
    assert frames.to_pylist() == _frames(10).select(COLUMNS).to_pylist()
    with pytest.raises(InputError, match="holds no observations"):
        read_frames(Ledger(triage / "shards", {}))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_queue_is_filled_in_and_asked_for_again(run, triage: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    done = run("suggest", f"folder={triage}", f"out={first}", "count=16", "seed=3")
    assert "0 frames have labels already" in done.stdout
    assert re.search(r"16 frames of \d+ observations: \d+ random, \d+ margin, \d anomaly", done.stdout)
    rows = _rows(first)
    expected = suggest(_frames(10), [], 16, 3)
    assert [(row["File Name"], int(row["Frame Number"])) for row in rows] == _places(expected)
    assert [row["Chosen"] for row in rows] == [one.chosen for one in expected]
    assert {row["Classification"] for row in rows} == {""}
    assert {(row["Start UTC"], row["Model Class"]) for row in rows} == {("2019-05-01T12:00:00.250000Z", "HCLA")}
    why = {row["Chosen"]: row["Why"] for row in rows}
    assert why["anomaly"] == "odd"
    assert re.fullmatch(r"the two likeliest classes differ by 0\.\d{3} in probability", why["margin"])

    for k, row in enumerate(rows[:11]):
        row["Classification"] = CLASSES[k % 5]
        row["File Name"] = row["File Name"].upper() if k % 2 else row["File Name"].removesuffix(".fits")
    with first.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert labelled_frames(first, [f"{k:03d}.fits" for k in range(10)]) == set(_places(expected[:11]))
    done = run("suggest", f"folder={triage}", f"out={second}", f"labels={first}", "count=16", "seed=3")
    assert "11 frames have labels already" in done.stdout
    again = suggest(_frames(10), _places(expected[:11]), 16, 3)
    assert [(row["File Name"], int(row["Frame Number"])) for row in _rows(second)] == _places(again)

    failed = run("suggest", f"folder={triage}", f"out={second}", check=False)
    assert failed.returncode == 2
    assert failed.stderr.strip().startswith(f"suggest: out={second}: is there already, and labels may be in it")


def test_a_folder_without_a_triage_is_refused(run, tmp_path: Path) -> None:
    failed = run("suggest", f"folder={tmp_path}", f"out={tmp_path / 'q.csv'}", check=False)
    assert failed.returncode == 2
    assert "holds no triage; python -m asim_cvae.triage" in failed.stderr
    assert not (tmp_path / "q.csv").exists()


def _pool() -> Pool:
    """Seven frames of three observations: two events and noise, noise alone, an event and noise."""
    noise = CLASSES.index(NOISE)
    label, observation = np.array([0, 1, noise, noise, noise, 2, noise]), np.array([3, 3, 3, 5, 5, 8, 8])
    number = np.array([0, 1, 2, 0, 1, 0, 1])
    return Pool(np.zeros((7, 2), np.float32), label, observation, number, np.zeros(7), np.zeros((7, 2), np.float32))


@pytest.mark.parametrize(
    ("rows", "chosen", "random", "behind"),
    [
        ([0, 1, 2], [RANDOM] * 3, [True] * 3, 1),
        ([0, 1, 2, 5], ["margin", RANDOM, "anomaly", "margin"], [True, True, True, False], 1),
        ([0, 2, 3, 4], [RANDOM] * 4, [True] * 4, 0),
        ([5, 6, 0], ["margin", "margin", RANDOM], [False, False, True], 0),
        ([6, 5, 2, 1, 0], [""] * 5, [True] * 5, 2),
    ],
)
def test_observations_behind_a_promise_are_drawn_by_chance_and_whole(
    rows: list[int], chosen: list[str], random: list[bool], behind: int
) -> None:
    labelled = Labelled(np.array(rows), np.array(chosen))
    assert labelled.are_random(_pool()).tolist() == random
    assert labelled.behind_promise(_pool()) == behind


def test_the_report_measures_what_labels_bring(run, tmp_path: Path) -> None:
    few = ("labels.pool=16", "labels.held_out=4", "labels.sizes=[6,12]", "labels.seeds=[0]", "seeds.labels=[503]")
    run("triage_report", "parts=[labels]", *few, "reference=null", f"out={tmp_path}")
    measured = json.loads((tmp_path / "triage.json").read_text())["labels"]
    ((fitted,), (unfitted,)) = measured["fitted"], measured["unfitted"]
    assert set(fitted) == {*ORDERS, FRAMES}
    assert fitted[CHANCE][0] == unfitted, "six frames of one observation are too few to fit anything to"
    for name in ("margin alone", "anomalies alone"):
        last = fitted[name][1]
        assert (last["events_kept"], last["noise_dropped"], last["observations"]) == (1, 0, 0)
        assert last["macro_f1"] != unfitted["macro_f1"]
    text = (tmp_path / "triage.md").read_text()
    assert f"| {FRAMES} | {unfitted['macro_f1']:.3f} | {fitted[FRAMES][0]['macro_f1']:.3f} |" in text
    assert (tmp_path / "simulated_labels.png").is_file()


def test_frames_are_seen_as_the_heads_see_them() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        simulation = instantiate(compose("triage_report").archives.shifted)
    simulation = replace(simulation, labelled=4, seed=504)
    judge = make_judge(Origin(weights_file(Path("pretrained")), None, (), 1.0, ()))
    pool, others = make_pool(judge, simulation, [0, 2]), make_held_out(judge.heads, simulation, [0, 2])
    frames = joined([frames_of(simulation, 0), frames_of(simulation, 2)])
    told = judge.heads.recognize(frames.flux).classes
    for seen in (pool, others):
        np.testing.assert_allclose(class_probability(judge.heads, seen), told, atol=1e-6)
        assert [CLASSES[label] for label in seen.label] == frames.label.tolist()
    ledger = pool.ledger(judge.heads)
    np.testing.assert_allclose(ledger["margin"], np.diff(np.sort(told))[:, -1], atol=1e-6)
    assert list(zip(ledger["file"].to_pylist(), ledger["frame"].to_pylist(), strict=True)) == pool.places
    assert {one.chosen for one in suggest(ledger, [], 4, 0)} <= {"margin", "anomaly", RANDOM}


def test_labels_of_journals_and_of_folders_of_them_are_known(tmp_path: Path) -> None:
    said = {"frame": 1, "kinds": (), "note": "", "chosen": RANDOM, "time": "2026-11-27T15:00:00Z", "model": "24383873"}
    for reviewer, file, given in (("anna", "a.fits", "N"), ("ben", "a.fits", "HCHA"), ("ben", "b.fits", "HCHA")):
        entry = Entry(file=file, classification=given, reviewer=reviewer, **said)
        append(tmp_path / f"{reviewer}.jsonl", entry)
    files = ["a.fits", "b.fits", "c.fits"]
    assert labelled_frames(tmp_path / "anna.jsonl", files) == {("a.fits", 1)}
    assert labelled_frames(tmp_path, files) == {("a.fits", 1), ("b.fits", 1)}, "also where reviewers differ"


def test_what_was_not_measured_is_no_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    told = np.eye(5)[[0, 0, 4]]
    monkeypatch.setattr("asim_cvae.studies.triage.label_scores.class_probability", lambda heads, frames: told)
    heads = SimpleNamespace(calibration=SimpleNamespace(noise_threshold=0.5))
    held_out = SeenFrames(np.zeros((3, 1), np.float32), np.zeros(3, np.int64), np.arange(3))
    scores = score(heads, held_out)
    assert np.isnan(scores.noise_dropped)
    assert scores.events_kept == pytest.approx(2 / 3)
