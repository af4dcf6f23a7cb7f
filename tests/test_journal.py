"""Tests of journals: what reviewers say of frames, line by line, and the label tables that are written of it."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from asim_cvae.archive import journal as journals
from asim_cvae.archive.journal import MAX_LINE_BYTES, Entry, JournalError, append, read_journal
from asim_cvae.archive.labels import LabelTableError, read_labels
from asim_cvae.archive.reviews import is_label_table, read_agreed, read_reviews
from asim_cvae.base.locks import HeldError, held_lock
from asim_cvae.instrument.classes import CLASSES
from tests.tables import write_entries

DOCUMENT = {
    "file": "x.fits",
    "frame": 3,
    "class": "HCHA",
    "kinds": ["elve"],
    "note": "",
    "chosen": "hand",
    "reviewer": "anna",
    "time": "2026-11-27T15:00:00.123Z",
    "model": "0123456789abcdef",
    "seen": {"class": "LCLA", "probability": 0.93},
}
ENTRY = Entry.of(DOCUMENT)


def test_an_entry_and_its_line_are_the_same() -> None:
    assert json.loads(ENTRY.line()) == DOCUMENT
    odd = {**DOCUMENT, "note": 'two\nlines, "quoted"\u2028 æ ☇', "file": "Jørgen, 7.fits", "class": None, "seen": None}
    line = Entry.of(odd).line()
    assert "\n" not in line
    assert json.loads(line) == odd
    assert Entry.of(json.loads(line)) == Entry.of(odd)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"file": ""}, "file: has to be"),
        ({"file": "f" * 256}, "file: has to be"),
        ({"file": "../x.fits"}, "file: has to be"),
        ({"file": "..\\x.fits"}, "file: has to be"),
        ({"file": "x\x1b[2J.fits"}, "file: has to be"),
        ({"file": "x\ud800.fits"}, "file: has to be"),
        ({"file": 3}, "file: Expected `str`"),
        ({"frame": -1}, "frame: has to be"),
        ({"frame": 1_000_001}, "frame: has to be"),
        ({"frame": 1.0}, "frame: Expected `int`"),
        ({"frame": True}, "frame: Expected `int`"),
        ({"frame": "3"}, "frame: Expected `int`"),
        ({"class": "hcha"}, "class: has to be one of HCHA, HCLA, LCHA, LCLA, N"),
        ({"class": ["N"]}, "class: Expected `str | null`"),
        ({"kinds": ["elf"]}, "kinds: have to be of corona, blue jet"),
        ({"kinds": ["elve", "elve"]}, "kinds: .* each once"),
        ({"kinds": "elve"}, "kinds: Expected `array`"),
        ({"note": "n" * 2001}, "note: has to be"),
        ({"note": "\x00"}, "note: has to be"),
        ({"note": "\udfff"}, "note: has to be"),
        ({"chosen": "by me"}, "chosen: has to be one of random, margin, anomaly, hand"),
        ({"reviewer": ""}, "reviewer: has to be"),
        ({"reviewer": "r" * 65}, "reviewer: has to be"),
        ({"reviewer": "anna\n"}, "reviewer: has to be"),
        ({"time": "2026-11-27T15:00:00"}, "time: has to be"),
        ({"time": "2026-02-30T15:00:00Z"}, "time: has to be"),
        ({"time": "2026-11-27T15:00:00+01:00"}, "time: has to be"),
        ({"model": "pretrained"}, "model: has to be"),
        ({"seen": {"class": "M", "probability": 0.5}}, "seen: the class has to be one of HCHA"),
        ({"seen": {"class": "N", "probability": 1.5}}, "seen.probability: Expected `float` <= 1"),
        ({"seen": {"class": "N"}}, "seen: Object missing required field `probability`"),
        ({"seen": "N"}, "seen: Expected `object | null`"),
    ],
    ids=str,
)
def test_any_other_entry_is_refused_in_one_line(change: dict, told: str) -> None:
    with pytest.raises(JournalError, match=told) as error:
        Entry.of({**DOCUMENT, **change})
    assert str(error.value).isprintable()


@pytest.mark.parametrize("name", [name for name in DOCUMENT if name != "seen"])
def test_an_entry_lacks_nothing(name: str) -> None:
    with pytest.raises(JournalError, match=f"required field `{name}`"):
        Entry.of({key: value for key, value in DOCUMENT.items() if key != name})


@pytest.mark.parametrize("document", [None, 3, "x", [DOCUMENT], {"classification": "N"}, {}], ids=str)
def test_an_entry_is_made_of_an_object(document: object) -> None:
    with pytest.raises(JournalError):
        Entry.of(document)


def test_the_last_line_about_a_frame_counts_and_an_empty_one_withdraws(tmp_path: Path) -> None:
    path = tmp_path / "anna.jsonl"
    other, nothing = replace(ENTRY, frame=4), replace(ENTRY, classification=None, kinds=(), seen=None)
    again = replace(ENTRY, classification="N", kinds=())
    only_kind, only_note = replace(nothing, frame=5, kinds=("sprite",)), replace(nothing, frame=6, note="look again")
    for entry in (ENTRY, other, again, only_kind, only_note, replace(other, classification=None, kinds=())):
        append(path, entry)
    read = read_journal(path)
    assert read.problems == ()
    assert dict(read.entries) == {e.place: e for e in (again, only_kind, only_note)}
    assert path.read_text().count("\n") == 6
    assert {e.place: e for e in read.reviewers["anna"].values() if not e.withdraws} == read.entries
    append(path, again)
    assert list(read_journal(path).entries)[-1] == again.place


def test_lines_of_several_reviewers_are_told_apart(tmp_path: Path) -> None:
    path, other = tmp_path / "both.jsonl", replace(ENTRY, reviewer="ben", classification="N")
    for entry in (ENTRY, other):
        append(path, entry)
    read = read_journal(path)
    assert dict(read.entries) == {ENTRY.place: other}
    assert read.reviewers == {"anna": {ENTRY.place: ENTRY}, "ben": {ENTRY.place: other}}


@pytest.mark.parametrize("kept", [1, 20, -2, -1])
def test_a_torn_line_costs_itself_alone(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "anna.jsonl"
    torn, after = replace(ENTRY, frame=4, note="é"), replace(ENTRY, frame=5)
    append(path, ENTRY)
    with path.open("ab") as stream:
        stream.write((torn.line() + "\n").encode()[:kept])
    whole = {torn.place} if kept == -1 else set()  # nothing but the line's end is lost
    read = read_journal(path)
    assert set(read.entries) == {ENTRY.place} | whole
    assert [problem.split(":")[0] for problem in read.problems] == ([] if whole else ["anna.jsonl, line 2"])
    append(path, after)
    read = read_journal(path)
    assert set(read.entries) == {ENTRY.place, after.place} | whole
    assert [problem.split(":")[0] for problem in read.problems] == ([] if whole else ["anna.jsonl, line 2"])
    assert path.read_bytes().endswith(f"\n{after.line()}\n".encode())


def test_lines_that_hold_no_entry_are_named_and_never_fatal(tmp_path: Path) -> None:
    path = tmp_path / "anna.jsonl"
    lines = [
        b"",
        ENTRY.line().encode(),
        b"\xff\xfe",
        b"null",
        b"[" * 10_000,
        b'{"file": "a", "file": "b"}',
        b'{"frame": NaN}',
        b'{"frame": 1' + b"0" * 5000 + b"}",
        json.dumps({**DOCUMENT, "file": "/etc/passwd"}).encode(),
        json.dumps({**DOCUMENT, "note": "\x1b[2J"}).encode(),
        b'"' + b"x" * MAX_LINE_BYTES + b'"',
        replace(ENTRY, frame=9).line().encode() + b"\r",
    ]
    path.write_bytes(b"\n".join(lines) + b"\n")
    read = read_journal(path)
    assert {frame for _, frame in read.entries} == {3, 9}
    assert [problem.split(":")[0] for problem in read.problems] == [f"anna.jsonl, line {k}" for k in range(3, 12)]
    assert all(problem.isprintable() and len(problem) <= 500 for problem in read.problems)
    path.write_bytes(b"x\n" * 200)
    assert len(read_journal(path).problems) == 11
    assert read_journal(path).problems[-1] == "and 190 more: the line holds no entry"


def test_an_entry_is_written_under_the_lock_and_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "anna.jsonl", []

    def sync(number: int) -> None:
        with pytest.raises(HeldError), held_lock(tmp_path / ".anna.jsonl.lock", wait=False):
            pass
        synced.append(os.fstat(number).st_size)

    monkeypatch.setattr(os, "fsync", sync)
    append(path, ENTRY)
    assert synced == [path.stat().st_size] == [len(ENTRY.line()) + 1]
    with held_lock(tmp_path / ".anna.jsonl.lock", wait=False):
        pass


def test_a_journal_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "anna.jsonl"
    monkeypatch.setattr(journals, "MAX_BYTES", 2 * len(ENTRY.line()) + 2)
    append(path, ENTRY)
    append(path, ENTRY)
    with pytest.raises(JournalError, match="is full"):
        append(path, ENTRY)
    assert len(read_journal(path).entries) == 1
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(JournalError, match="at most"):
        read_journal(path)
    with pytest.raises(JournalError, match="no such file"):
        read_journal(tmp_path / "none.jsonl")


_WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from asim_cvae.archive.journal import Entry, append

path, first = Path(sys.argv[1]), int(sys.argv[2])
for frame in range(first, first + 10):
    append(path, Entry("x.fits", frame, "N", (), "é" * 1900, "hand", "anna", "2026-11-27T15:00:00Z", "0" * 64))
"""


@pytest.mark.processes
def test_parallel_programs_append_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "anna.jsonl"
    programs = [subprocess.Popen([sys.executable, "-c", _WRITER, str(path), str(10 * k)]) for k in range(5)]
    assert [program.wait() for program in programs] == [0] * 5
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert sorted(Entry.of(json.loads(line)).frame for line in lines) == list(range(50))
    assert read_journal(path).problems == ()


def test_a_label_table_of_entries_is_read_back(tmp_path: Path) -> None:
    entries = [
        replace(ENTRY, file=f"{label}, Jørgen.fits", frame=k, classification=label, chosen="random")
        for k, label in enumerate(CLASSES)
    ]
    write_entries(tmp_path / "t.csv", entries)
    table = read_labels(tmp_path / "t.csv")
    assert table.labels == {entry.place: entry.classification for entry in entries}
    assert table.chosen == {entry.place: "random" for entry in entries}
    assert (table.files, table.problems) == ({entry.file for entry in entries}, ())


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "'=1", "\t=1", "=cmd|'/C calc'!A0", "''-"])
def test_cells_that_look_like_formulas_are_harmless(tmp_path: Path, text: str) -> None:
    is_name = text.isprintable() and "/" not in text
    entry = replace(ENTRY, note=text, file=text if is_name else "x.fits", reviewer=text if is_name else "anna")
    write_entries(tmp_path / "t.csv", [entry])
    with (tmp_path / "t.csv").open(encoding="utf-8-sig", newline="") as stream:
        cells = [cell for row in list(csv.reader(stream))[1:] for cell in row]
    assert f"'{text}" in cells
    assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for cell in cells)
    assert read_labels(tmp_path / "t.csv").labels == {entry.place: "HCHA"}


def _journal(path: Path, *entries: Entry) -> Path:
    for entry in entries:
        append(path, entry)
    return path


def test_a_journal_and_its_csv_give_the_same_labels(tmp_path: Path) -> None:
    nothing = replace(ENTRY, classification=None, kinds=())
    entries = [
        ENTRY,
        replace(ENTRY, frame=4, classification="N", kinds=(), chosen="random"),
        replace(nothing, frame=5, kinds=("elve",)),
        replace(nothing, file="y.fits", note="look again"),
        replace(ENTRY, frame=6),
        replace(nothing, frame=6),
    ]
    journal = _journal(tmp_path / "anna.jsonl", *entries)
    write_entries(tmp_path / "anna.csv", read_journal(journal).entries.values())
    table = read_agreed(journal)
    assert table == read_agreed(tmp_path / "anna.csv")
    assert table.labels == {("x.fits", 3): "HCHA", ("x.fits", 4): "N"}
    assert table.chosen == {("x.fits", 3): "hand", ("x.fits", 4): "random"}
    assert (table.files, table.problems) == ({"x.fits", "y.fits"}, ())
    assert read_reviews(journal) == read_reviews(tmp_path / "anna.csv")


def test_a_folder_of_journals_is_a_label_table(tmp_path: Path) -> None:
    folder = tmp_path / "journals"
    folder.mkdir()
    assert not is_label_table(folder)
    ben = replace(ENTRY, reviewer="ben", chosen="random")
    _journal(folder / "anna.jsonl", ENTRY, replace(ENTRY, frame=4))
    _journal(folder / "ben.jsonl", ben, replace(ben, frame=5))
    (folder / "readme.txt").write_text("not a journal")
    with (folder / "ben.jsonl").open("a") as stream:
        stream.write("{")
    assert is_label_table(folder)
    table = read_agreed(folder)
    assert table.labels == {("x.fits", frame): "HCHA" for frame in (3, 4, 5)}
    assert table.chosen == {("x.fits", 3): "hand", ("x.fits", 4): "hand", ("x.fits", 5): "random"}
    (problem,) = table.problems
    assert problem.startswith("ben.jsonl, line 3: the line is torn")
    later = replace(ENTRY, classification="N", time="2026-11-28T00:00:00Z")
    _journal(folder / "a laptop.jsonl", later, replace(later, frame=4, time="2026-11-26T00:00:00Z"))
    assert read_reviews(folder).reviewers["anna"].labels == {("x.fits", 3): "N", ("x.fits", 4): "HCHA"}
    back = replace(ENTRY, classification=None, kinds=(), note="", frame=4, time="2026-11-29T00:00:00Z")
    assert back.withdraws
    _journal(folder / "z laptop.jsonl", back)  # what another journal of hers says
    assert read_reviews(folder).reviewers["anna"].labels == {("x.fits", 3): "N"}
    with pytest.raises(LabelTableError, match=r"differ about the class of 1 frame\(s\), frame 3 of x.fits"):
        read_agreed(folder)


def test_a_journal_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _journal(tmp_path / "anna.jsonl", ENTRY)
    monkeypatch.setattr(journals, "MAX_BYTES", 10)
    with pytest.raises(LabelTableError, match="at most 10 are read"):
        read_agreed(path)
    with pytest.raises(LabelTableError, match="no such label table"):
        read_agreed(tmp_path / "none.jsonl")
