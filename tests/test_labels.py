"""Tests of reading label tables."""

import csv
from collections import Counter
from pathlib import Path

import openpyxl
import pytest

from asim_cvae.archive.labels import LabelTableError, read_labels

ROWS = [
    ("File Number", "File Name", "Frame Number", "Classification", None, "Possible Classes"),
    (0, "some/folder/a.fits", 0, "HCHA", None, "a legend"),
    (None, None, 1.0, "N", None, "that goes on"),
    (None, None, 2, "XYZ", None, None),
    (1, "b.fits", 3, "LCLA", None, None),
    (None, None, "x", "LCLA", None, None),
    (None, None, -1, "LCLA", None, None),
    (None, None, 3, "N", None, None),
    (None, None, None, None, None, "and on"),
]


def _write(path: Path, rows: list[tuple]) -> Path:
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8-sig") as stream:
            csv.writer(stream).writerows(rows)
    else:
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        book.save(path)
    return path


@pytest.mark.parametrize("suffix", ["xlsx", "csv"])
def test_names_are_filled_down_and_problems_named(tmp_path: Path, suffix: str) -> None:
    table = read_labels(_write(tmp_path / f"t.{suffix}", ROWS))
    assert table.labels == {("a.fits", 0): "HCHA", ("a.fits", 1): "N", ("b.fits", 3): "LCLA"}
    assert table.files == {"a.fits", "b.fits"}
    assert read_labels(_write(tmp_path / "bad.csv", [ROWS[0], ("", r"C:\\data\\c.fits", 0, "lcla")])).files == {
        "c.fits"
    }
    told = "\n".join(table.problems)
    assert "row 4: frame 2 of a.fits: unknown class 'XYZ'" in told
    assert "row 6: frame x of b.fits: the frame number" in told
    assert "row 7: frame -1 of b.fits: the frame number" in told
    assert "row 8: frame 3 of b.fits: labelled N, but LCLA" in told
    assert len(table.problems) == 4


def test_semicolons_are_known(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("File Name;Frame Number;Classification\na.fits;0;N\n;1;HCHA\n")
    assert read_labels(path).labels == {("a.fits", 0): "N", ("a.fits", 1): "HCHA"}


def test_a_label_before_any_file_is_a_problem(tmp_path: Path) -> None:
    table = read_labels(_write(tmp_path / "t.csv", [ROWS[0], ("", "", 0, "N")]))
    assert not table.labels
    assert "no file name" in table.problems[0]


def test_unusable_tables_are_refused_in_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.xlsx"
    broken.write_bytes(b"PK\x03\x04 no workbook")
    headless = _write(tmp_path / "headless.csv", [("File Name", "Frame")])
    empty = _write(tmp_path / "empty.csv", [])
    for path, told in (
        (tmp_path / "gone.csv", "no such label table"),
        (broken, "cannot be read"),
        (headless, "no column Frame Number, Classification"),
        (empty, "no column File Name, Frame Number, Classification"),
    ):
        with pytest.raises(LabelTableError, match=told) as error:
            read_labels(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_the_published_table(reference: Path) -> None:
    table = read_labels(reference / "GroundTruth_Table.xlsx")
    assert not table.problems
    assert len(table.files) == 50
    assert Counter(table.labels.values()) == {"LCLA": 143, "N": 120, "HCLA": 115, "LCHA": 92, "HCHA": 85}
    first = "mmiatriggeredobservationtmlevel1_observation_time_2019-01-03_14-08-00_observation_id_10505.fits"
    assert [table.labels[first, k] for k in range(4)] == ["HCLA", "LCLA", "LCLA", "LCLA"]
