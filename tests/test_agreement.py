"""Tests of the agreement of reviewers: coefficients beside published and computed values, consensus, files."""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest

from asim_cvae.archive.journal import Entry, append
from asim_cvae.archive.labels import read_labels, read_reviewers
from asim_cvae.base.errors import InputError
from asim_cvae.figures.agreement import confusion_figure
from asim_cvae.frames.store import FrameStore
from asim_cvae.instrument.classes import CLASSES
from asim_cvae.labelling import agreement as agreement_of
from asim_cvae.labelling.agreement import cohen_kappa, krippendorff_alpha, measure_agreement
from asim_cvae.labelling.agreement_page import write_agreement
from asim_cvae.labelling.consensus import find_consensus, write_consensus, write_disputed
from asim_cvae.labelling.raters import Raters, read_raters
from tests.mmia_files import NAME, NAME_LEVEL0, level1, light, write_fits
from tests.tables import write_entries, write_table

ENTRY = Entry("a.fits", 0, "N", (), "", "hand", "anna", "2026-11-27T15:00:00Z", "0" * 8)

COHEN = np.array([[88, 14, 18], [10, 40, 10], [2, 6, 12]])
"""A table of three classes and 200 subjects. By hand: 140 agree, and (120 100 + 60 60 + 20 40) / 200 = 82 by chance,
so that kappa is (140 - 82) / (200 - 82)."""

KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
    [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
]
"""Four coders, twelve units, 0 where a coder is silent (Krippendorff 2011, Computing Krippendorff's Alpha-Reliability,
example C): alpha of nominal values is 0.743."""


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement_of, "RESAMPLES", 200)


def _counts(codes: Sequence[Sequence[int]]) -> np.ndarray:
    return (np.array(codes).T[:, :, None] == np.arange(1, 6)).sum(axis=1)


def _table(path: Path, rows: Sequence[tuple], head: str = "File Name,Frame Number,Classification") -> Path:
    return write_table(path, [head.split(","), *rows])


def _reviewers(folder: Path, **labels: str) -> Raters:
    """Reviewers who give classes to frames of files, each of two frames: 0 to 4, or '.' for none."""
    tables = []
    for name, text in labels.items():
        rows = [(f"{k // 2}.fits", k % 2, CLASSES[int(code)]) for k, code in enumerate(text) if code != "."]
        tables.append(_table(folder / f"{name}.csv", rows))
    return read_raters(tables)


def test_kappa_of_a_table_computed_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement_of, "RESAMPLES", 1000)
    first, second = (np.repeat(codes.ravel(), COHEN.ravel()) for codes in np.indices(COHEN.shape))
    kappa = cohen_kappa(first, second, np.arange(len(first)))
    assert kappa.value == pytest.approx(58 / 118)
    assert kappa.low < kappa.value < kappa.high
    # Fleiss, Cohen and Everitt 1969: the large-sample standard error of kappa
    share = COHEN / COHEN.sum()
    rows, columns = share.sum(1), share.sum(0)
    agreed, chance = np.trace(share), rows @ columns
    inside = (np.diag(share) * ((1 - chance) - (rows + columns) * (1 - agreed)) ** 2).sum()
    off = share * (columns[:, None] + rows[None, :]) ** 2 * (1 - np.eye(3))
    variance = inside + (1 - agreed) ** 2 * off.sum() - (agreed * chance - 2 * chance + agreed) ** 2
    error = np.sqrt(variance / COHEN.sum()) / (1 - chance) ** 2
    assert kappa.high - kappa.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_kappa_s_interval_is_over_observations() -> None:
    """Each frame ten times in its observation is no more evidence than once."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 5, 60)
    second = np.where(rng.random(60) < 0.7, first, rng.integers(0, 5, 60))
    once = cohen_kappa(first, second, np.arange(60))
    often = cohen_kappa(np.repeat(first, 10), np.repeat(second, 10), np.repeat(np.arange(60), 10))
    assert often == once
    apart = cohen_kappa(np.repeat(first, 10), np.repeat(second, 10), np.arange(600))
    assert apart.high - apart.low == pytest.approx((once.high - once.low) / np.sqrt(10), rel=0.2)
    assert cohen_kappa(first, second, np.arange(60)) == once


def test_alpha_of_krippendorff_s_example_with_missing_data() -> None:
    alpha = krippendorff_alpha(_counts(KRIPPENDORFF), np.arange(12))
    assert alpha.value == pytest.approx(0.743, abs=5e-4)
    assert alpha.low < alpha.value < alpha.high


def test_alpha_of_whole_data_is_that_of_krippendorff_s_formula(tmp_path: Path) -> None:
    """1 - (n - 1) sum of differing pairs / (n^2 - sum of squares), for two reviewers without missing labels."""
    raters = _reviewers(tmp_path, anna="0011223344", ben="0012223304")
    agreement = measure_agreement(raters)
    labels = np.array([5, 3, 5, 4, 3])  # of each class, of 20; two of the ten frames differ, each in two ordered pairs
    assert agreement.alpha.value == pytest.approx(1 - 19 * 4 / (400 - (labels**2).sum()))


def test_what_is_not_defined_is_no_number(tmp_path: Path) -> None:
    same = measure_agreement(_reviewers(tmp_path, anna="4444", ben="4444"))
    assert np.isnan([same.alpha.value, same.pairs[0].kappa.value, same.alpha.low]).all()
    assert same.pairs[0].agreed == 1
    one = measure_agreement(_reviewers(tmp_path, anna="04", ben="00"))
    assert one.pairs[0].kappa.value == 0
    assert np.isnan([one.pairs[0].kappa.low, one.alpha.low]).all()
    apart = measure_agreement(_reviewers(tmp_path, anna="04..", ben="0412", eve="..12"))
    assert [pair.frames for pair in apart.pairs] == [2, 0, 2]
    assert np.isnan([apart.pairs[1].kappa.value, apart.pairs[1].agreed]).all()
    page = write_agreement(tmp_path, apart, []).read_text()
    assert "| anna | eve | 0 | 0 | - | - |" in page
    assert json.loads((tmp_path / "agreement.json").read_text())["pairs"][1]["kappa"] == {
        "value": None,
        "low": None,
        "high": None,
    }


def test_confusion_counts_frames_by_both_classes(tmp_path: Path) -> None:
    agreement = measure_agreement(_reviewers(tmp_path, anna="00013.", ben="00114.", eve="0....4"))
    first, second, _ = agreement.pairs
    expected = np.zeros((5, 5), dtype=int)
    expected[0, 0], expected[0, 1], expected[1, 1], expected[3, 4] = 2, 1, 1, 1
    np.testing.assert_array_equal(first.confusion, expected)
    assert (first.frames, first.observations, first.agreed) == (5, 3, 0.6)
    assert (second.first, second.second, second.frames) == ("anna", "eve", 1)
    once = np.zeros((5, 5), dtype=int)
    once[0, 0] = 1
    np.testing.assert_array_equal(agreement.confusion, expected + expected.T + 2 * 2 * once)
    assert (agreement.labelled, agreement.frames, agreement.observations) == ({"anna": 5, "ben": 5, "eve": 2}, 5, 3)


def test_a_consensus_takes_more_than_half(tmp_path: Path) -> None:
    raters = _reviewers(tmp_path, anna="00012.", ben="001.1.", eve="01231.", dan="0113.4")
    agreed = {one.place: one.label for one in find_consensus(raters)}
    expected = ["HCHA", "", "", "LCLA", "HCLA", "N"]  # of 4, 2 : 2, 1 : 2 : 1, 2 of 3, 2 of 3, 1 of 1
    assert list(agreed.values()) == expected
    write_consensus(tmp_path / "consensus.csv", find_consensus(raters))
    table = read_labels(tmp_path / "consensus.csv")
    assert table.labels == {place: label for place, label in agreed.items() if label}
    assert (table.problems, table.chosen) == ((), {})
    write_disputed(tmp_path / "disputed.csv", find_consensus(raters), raters.reviews, None)
    with (tmp_path / "disputed.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [
        ["File Name", "Frame Number", "anna", "ben", "eve", "dan", "Consensus"],
        ["0.fits", "1", "HCHA", "HCHA", "HCLA", "HCLA", ""],
        ["1.fits", "0", "HCHA", "HCLA", "LCHA", "HCLA", ""],
        ["1.fits", "1", "HCLA", "", "LCLA", "LCLA", "LCLA"],
        ["2.fits", "0", "LCHA", "HCLA", "HCLA", "", "HCLA"],
    ]


def test_kinds_and_choice_of_a_consensus(tmp_path: Path) -> None:
    head = "File Name,Frame Number,Classification,Kinds,Chosen,Reviewer"
    said = {
        0: [("N", "elve+corona", "random"), ("N", "elve", "random"), ("N", "", "random")],
        1: [("N", "elve", "random"), ("N", "elve", "hand"), ("N", "sprite", "random")],
        2: [("", "sprite", ""), ("", "sprite", "")],
        3: [("N", "sprite", "random"), ("HCHA", "sprite", "random")],
    }
    rows = [
        ("a.fits", frame, *cells, reviewer)
        for frame, each in said.items()
        for cells, reviewer in zip(each, ("anna", "ben", "eve"), strict=False)
    ]
    plain = [("a.fits", frame, "N") for frame in said]
    raters = read_raters([_table(tmp_path / "t.csv", rows, head), _table(tmp_path / "dan.csv", plain)])
    write_consensus(tmp_path / "consensus.csv", find_consensus(raters))
    review = read_reviewers(tmp_path / "consensus.csv").reviewers[""]
    assert review.kinds == {
        ("a.fits", 0): ("elve",),
        ("a.fits", 1): ("elve",),
        ("a.fits", 2): ("sprite",),
        ("a.fits", 3): ("sprite",),
    }
    assert review.labels == {("a.fits", frame): "N" for frame in range(4)}
    assert review.chosen == {("a.fits", 1): "hand"}  # dan does not say how his frames were chosen
    raters = read_raters([tmp_path / "t.csv"])
    write_consensus(tmp_path / "consensus.csv", find_consensus(raters))
    review = read_reviewers(tmp_path / "consensus.csv").reviewers[""]
    assert review.labels == {("a.fits", 0): "N", ("a.fits", 1): "N"}
    assert review.kinds[("a.fits", 2)] == ("sprite",)
    assert ("a.fits", 3) not in review.kinds
    assert review.chosen == {("a.fits", 0): "random", ("a.fits", 1): "hand"}


def test_names_of_one_observation_are_joined(tmp_path: Path) -> None:
    names = (f"{NAME}.fits", f"{NAME_LEVEL0}.cdf", NAME.upper(), "77")
    tables = [_table(tmp_path / f"r{k}.csv", [(name, 1, "N")]) for k, name in enumerate(names)]
    assert [(one.place, one.labels) for one in find_consensus(read_raters(tables))] == [
        ((f"{NAME}.fits", 1), ["N"] * 4)
    ]


def test_links_lead_into_the_page_of_a_triage(tmp_path: Path) -> None:
    file = "a & b#%=+é.fits"
    rows = [(file, frame, label) for frame, label in ((7, "N"), (8, "N"))]
    tables = [_table(tmp_path / "anna.csv", rows), _table(tmp_path / "ben.csv", [(file, 7, "HCHA"), (file, 8, "N")])]
    raters = read_raters(tables)
    write_disputed(tmp_path / "d.csv", find_consensus(raters), raters.reviews, tmp_path / "my triage")
    with (tmp_path / "d.csv").open(encoding="utf-8-sig", newline="") as stream:
        (row,) = csv.DictReader(stream)
    link = urlparse(row["Link"])
    assert row["Link"].startswith((tmp_path / "my triage" / "page.html").as_uri() + "#file=a%20%26%20b%23%25%3D%2B")
    assert parse_qs(link.fragment) == {"file": [file], "frame": ["7"]}


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"anna": [("a.fits", 0, "N")]}, "hold labels of anna alone; agreement is of two reviewers or more"),
        ({"anna": [("a.fits", 0, "N")], "ben": []}, "hold labels of anna alone"),
        ({"anna": [], "ben": []}, "hold labels of nobody alone"),
        ({"anna": [("a.fits", 0, "N")], "ben": [("a.fits", 1, "N"), ("b.fits", 0, "N")]}, "anna, ben have labelled no"),
    ],
    ids=str,
)
def test_too_little_is_refused_in_one_line(tmp_path: Path, tables: dict, told: str) -> None:
    paths = [_table(tmp_path / f"{name}.csv", rows) for name, rows in tables.items()]
    with pytest.raises(InputError, match=told) as error:
        measure_agreement(read_raters(paths))
    assert "\n" not in str(error.value)


def test_a_reviewer_in_two_tables_is_refused(tmp_path: Path) -> None:
    write_entries(tmp_path / "one.csv", [ENTRY])
    append(tmp_path / "two.jsonl", ENTRY)
    with pytest.raises(InputError, match=r"one.csv and .*two.jsonl both hold labels of anna"):
        read_raters([tmp_path / "one.csv", tmp_path / "two.jsonl"])


HOSTILE = ["=HYPERLINK(1)", "<script>alert(1)</script>|`x`", r"$\frac{1$ *b*", "@é☇"]


def test_hostile_names_are_written_as_they_are_and_obeyed_by_nothing(tmp_path: Path) -> None:
    file = "=cmd|' C'!A0 <b>.fits"
    entries = [
        replace(ENTRY, file=file, frame=frame, reviewer=name, classification=CLASSES[(frame * k) % 5])
        for k, name in enumerate(HOSTILE)
        for frame in range(4)
    ]
    write_entries(tmp_path / "t.csv", entries)
    raters = read_raters([tmp_path / "t.csv"])
    assert list(raters.reviews) == HOSTILE
    agreement, agreed = measure_agreement(raters), find_consensus(raters)
    write_disputed(tmp_path / "d.csv", agreed, raters.reviews, tmp_path)
    write_consensus(tmp_path / "c.csv", agreed)
    for name in ("c.csv", "d.csv"):
        with (tmp_path / name).open(encoding="utf-8-sig", newline="") as stream:
            cells = [cell for row in csv.reader(stream) for cell in row]
        assert f"'{file}" in cells
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    assert set(read_labels(tmp_path / "c.csv").labels) == {one.place for one in agreed if one.label}
    page = write_agreement(tmp_path, agreement, agreed).read_text()
    assert "<script>" not in page
    assert r"\<script\>alert\(1\)\</script\>\|\`x\`" in page
    confusion_figure(agreement.pairs).savefig(tmp_path / "f.png")


def test_figure_shows_each_pair(tmp_path: Path) -> None:
    agreement = measure_agreement(_reviewers(tmp_path, anna="0013", ben="0113", eve="0...", dan=".113"))
    axes = [axis for axis in confusion_figure(agreement.pairs).axes if axis.get_title()]
    assert [(axis.get_ylabel(), axis.get_xlabel()) for axis in axes] == [
        *(("anna", "ben"), ("anna", "dan"), ("ben", "dan"), ("anna", "eve"), ("ben", "eve")),
    ]
    drawn = {(text.get_position()[::-1], text.get_text()) for text in axes[0].texts}
    assert drawn == {((0, 0), "1"), ((0, 1), "1"), ((1, 1), "1"), ((3, 3), "1")}
    assert axes[0].get_title().startswith("4 frames, kappa 0.")


def test_the_command(run, tmp_path: Path) -> None:
    journals, out = tmp_path / "journals", tmp_path / "out"
    journals.mkdir()
    for reviewer, classes in (("anna", "0123401"), ("ben", "0123441")):
        for frame, code in enumerate(classes):
            entry = replace(ENTRY, file=f"{frame}.fits", classification=CLASSES[int(code)], reviewer=reviewer)
            append(journals / f"{reviewer}.jsonl", entry)
    with (journals / "ben.jsonl").open("a") as stream:
        stream.write("{torn")
    table = _table(tmp_path / "eve.csv", [(f"{frame}.fits", 0, "N") for frame in range(5)])
    done = run("agreement", f"tables=[{journals},{table}]", f"folder={tmp_path}", f"out={out}")
    assert done.stdout.splitlines()[-1] == str(out / "agreement.md")
    assert "ben.jsonl, line 8: the line is torn" in done.stdout
    files = {"agreement.json", "agreement.md", "confusion.png", "consensus.csv", "disputed.csv"}
    assert {path.name for path in out.iterdir()} == files
    numbers = json.loads((out / "agreement.json").read_text())
    assert numbers["labelled"] == {"anna": 7, "ben": 7, "eve": 5}
    named = ("frames", "observations", "disputed", "consensus", "left_out")
    assert [numbers[name] for name in named] == [7, 7, 5, 6, 1]
    kappa = numbers["pairs"][0]["kappa"]
    assert kappa["value"] == pytest.approx(32 / 39)  # 6 / 7 of the frames, 10 / 49 by chance
    page = (out / "agreement.md").read_text()
    assert f"| anna | ben | 7 | 7 | 86 % | {kappa['value']:.3f} ({kappa['low']:.2f} to {kappa['high']:.2f}) |" in page
    assert len(read_labels(out / "consensus.csv").labels) == 6


def test_prepare_takes_the_consensus_of_reviewers_who_differ(run, tmp_path: Path) -> None:
    journals, root, out = tmp_path / "journals", tmp_path / "files", tmp_path / "out"
    for folder in (journals, root):
        folder.mkdir()
    write_fits(root / f"{NAME}.fits", level1(light(2)))
    for reviewer, classes in (("anna", "NNN"), ("ben", "NNH"), ("eve", "NNN")):
        for frame, letter in enumerate(classes):
            label = {"N": "N", "H": "HCHA"}[letter]
            entry = replace(ENTRY, file=f"{NAME}.fits", frame=frame, classification=label, reviewer=reviewer)
            append(journals / f"{reviewer}.jsonl", entry)
    store = tmp_path / "store"
    settings = ("data=mmia", f"data.root={root}", f"data.store={store}")
    refused = run("prepare", *settings, f"data.ground_truth.table={journals}", check=False)
    assert refused.returncode == 1
    told = (
        f"prepare: {journals}: its reviewers differ about the class of 1 frame(s), frame 2 of {NAME}.fits among them; "
    )
    assert refused.stderr.startswith(told)
    assert len(refused.stderr.splitlines()) == 1
    run("agreement", f"tables=[{journals}]", f"out={out}")
    run("prepare", *settings, f"data.ground_truth.table={out / 'consensus.csv'}")
    with FrameStore(store) as made:
        assert made.table.label.tolist() == ["N"] * 3
        assert made.table.chosen.tolist() == ["hand"] * 3


def test_the_command_refuses_in_one_line(run, tmp_path: Path) -> None:
    table = _table(tmp_path / "anna.csv", [("a.fits", 0, "N")])
    for settings, status, told in (
        ((f"tables=[{tmp_path / 'no.csv'}]",), 2, f"tables={tmp_path / 'no.csv'}: no such label table"),
        ((f"tables=[{table}]", "folder=/nowhere"), 2, "folder=/nowhere: no such folder"),
        ((f"tables=[{table}]",), 1, "tables: hold labels of anna alone"),
    ):
        done = run("agreement", *settings, f"out={tmp_path / 'out'}", check=False)
        assert done.returncode == status
        assert done.stderr.startswith(f"agreement: {told}")
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
