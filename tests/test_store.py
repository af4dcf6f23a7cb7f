"""Tests of building a store from an archive: labels, gaps, growing archives, killed builds."""

import csv
import errno
import fcntl
import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from asim_cvae.archive.journal import Entry, append
from asim_cvae.archive.reader import read_observation
from asim_cvae.archive.reviews import read_agreed
from asim_cvae.base.errors import InputError
from asim_cvae.frames.build import build_store, check_store, refuse_other_content
from asim_cvae.frames.columns import FRAMES, TABLES
from asim_cvae.frames.index import read_index, write_index
from asim_cvae.frames.store import FrameStore
from asim_cvae.instrument.photometers import FLUX_PER_COUNT
from tests.mmia_files import NAME, level0, level1, light, numbered, write_cdf, write_fits
from tests.tables import write_table

LATE_ROW = ["2019-01-03T14:08:00.250000+00:00", "2019-01-03T14:08:00.340000+00:00"]
"""Starts of two rows, the second of which begins 6.75 ms after the first has ended."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of three observations of 3 frames, one with a gap in its frame 1, and three files to reject."""
    root = tmp_path / "files"
    root.mkdir()
    for number in range(3):
        rows = level1(light(2, seed=number), corrected_datetime_level1=np.array(LATE_ROW))
        write_fits(root / f"{numbered(number)}.fits", rows)
    gap = light(2, seed=9)
    gap[2, 0, 6000] = np.nan
    write_cdf(root / f"{numbered(3)}.cdf", level1(gap, corrected_datetime_level1=np.array(LATE_ROW)))
    (root / f"{numbered(4)}.fits").write_text("broken")
    write_fits(root / f"{numbered(5)}.fits", level1(light(1, 4200)))
    (root / "gone.fits").symlink_to(tmp_path / "nowhere")
    return root


def _table(path: Path, rows: list[tuple], *more: str) -> Path:
    return write_table(path, [("File Name", "Frame Number", "Classification", *more), *rows])


def _content(path: Path) -> dict[str, str]:
    """All that a store holds, wherever its shards hold it."""
    with FrameStore(path) as store:
        held = {
            f"{name}/{column}": repr(table[column].tolist())  # NaN equals NaN
            for name, table in vars(store.table).items()
            for column in table.dtype.names
            if column not in ("shard", "position")
        }
        flux = hashlib.sha256(store.frames(np.arange(len(store)))).hexdigest()
        return {**held, "flux": flux, "digest": store.digest}


def test_frames_stand_with_their_origin(folder: Path, tmp_path: Path) -> None:
    report = build_store(tmp_path / "store", folder)
    with FrameStore(tmp_path / "store") as store:
        assert len(store) == 11
        flux, counts, table = store.frames(np.arange(11)), store.counts(np.arange(11)), store.table
    assert (flux.shape, flux.dtype) == ((11, 3, 5000), np.float32)
    for row, (file, k) in enumerate(zip(table.file.tolist(), table.frame.tolist(), strict=True)):
        observation = read_observation(folder / file)
        samples = slice(5000 * k, 5000 * (k + 1))
        np.testing.assert_array_equal(flux[row], observation.flux[:, samples])
        np.testing.assert_array_equal(counts[row], observation.counts[:, samples])
        assert table.time[row] == np.datetime64(f"2019-01-03T14:08:00.{(250_000, 300_000, 356_750)[k]}")
    assert (len(table.observations), report.files_read) == (4, 6)
    assert report.excluded == [(f"{numbered(3)}.cdf", 1, "touches a gap in PHOT3")]
    reasons = {entry.file: entry.reason for entry in report.rejected}
    assert reasons[f"{numbered(4)}.fits"] == "neither FITS nor CDF by its content"
    assert reasons[f"{numbered(5)}.fits"] == "shorter than one frame, 4200 of 5000 samples"
    assert "No such file" in reasons["gone.fits"]


def test_what_is_left_out_is_listed_beside_the_store_and_told_once(folder: Path, tmp_path: Path) -> None:
    for number in range(6, 10):
        (folder / f"{numbered(number)}.fits").write_text("broken")
    store = tmp_path / "store"
    told = list(build_store(store, folder).lines())
    rejected, excluded = (store / f"{what}.csv" for what in ("rejected", "excluded"))
    with rejected.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["file"]: row["reason"] for row in rows[1:]} == {
        **{f"{numbered(number)}.fits": "neither FITS nor CDF by its content" for number in (4, 6, 7, 8, 9)},
        f"{numbered(5)}.fits": "shorter than one frame, 4200 of 5000 samples",
    }
    assert rows[0]["file"] == "gone.fits"
    assert excluded.read_text() == f"file,frame,reason\n{numbered(3)}.cdf,1,touches a gap in PHOT3\n"
    assert [line.split()[0] for line in told if "note" not in line] == [
        *(["rejected"] * 3), "7", "excluded", "1", f"{store}:"
    ]  # fmt: skip
    assert told[3] == f"7 files rejected, all listed in {rejected}"
    assert "7 rejected, 1 frames excluded" in told[-1]
    (folder / "gone.fits").unlink()
    build_store(store, folder)
    with rejected.open(newline="") as stream:
        assert list(csv.DictReader(stream)) == rows[1:]
    rejected.unlink()
    assert list(build_store(store, folder).lines()) == [f"{store}: 11 frames of 4 observations, 0 labelled; "
                                                        "0 files read now, 6 rejected, 1 frames excluded"]  # fmt: skip
    assert rejected.exists()


def test_labels_and_where_they_cannot_go(folder: Path, tmp_path: Path) -> None:
    rows = [
        (f"{numbered(3)}.cdf", 0, "HCHA"),
        (None, 1, "N"),
        (None, 3, "N"),
        ("gone.fits", 0, "N"),
        ("no.fits", 2, "N"),
    ]
    report = build_store(tmp_path / "store", folder, ground_truth_table=_table(tmp_path / "t.xlsx", rows))
    table = FrameStore(tmp_path / "store").table
    labels = dict(zip(zip(table.file.tolist(), table.frame.tolist(), strict=True), table.label.tolist(), strict=True))
    assert {place: label for place, label in labels.items() if label} == {(f"{numbered(3)}.cdf", 0): "HCHA"}
    assert table.observations["file"][table.ground_truth].tolist() == [f"{numbered(3)}.cdf"]
    told = "\n".join(report.label_problems)
    assert f"N on frame 1 of {numbered(3)}.cdf: it touches a gap in PHOT3" in told
    assert f"N on frame 3 of {numbered(3)}.cdf: the file holds frames 0 to 2" in told
    assert "1 frame(s) of gone.fits: rejected" in told
    assert "1 frame(s) of no.fits: not in the archive" in told


def test_new_labels_need_no_reading(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    build_store(store, folder)
    table = _table(tmp_path / "t.xlsx", [(f"{numbered(0)}.fits", 2, "LCLA")])
    report = build_store(store, folder, ground_truth_table=table)
    assert (report.files_read, (report.table.label != "").sum()) == (0, 1)
    fresh = tmp_path / "fresh"
    build_store(fresh, folder, ground_truth_table=table)
    assert _content(store) == _content(fresh)


def test_new_changed_and_lost_files(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    build_store(store, folder)
    write_fits(folder / f"{numbered(1)}0.fits", level1(light(2, seed=20)))  # its name sorts between the others
    write_fits(folder / f"{numbered(2)}.fits", level1(light(1, seed=21)))
    (folder / f"{numbered(0)}.fits").unlink()
    report = build_store(store, folder)
    assert report.files_read == 2
    fresh = tmp_path / "fresh"
    build_store(fresh, folder)
    assert _content(store) == _content(fresh)
    assert build_store(store, folder).files_read == 0


def test_labels_keep_other_files_of_the_observation_from_training_too(tmp_path: Path) -> None:
    root = tmp_path / "files"
    root.mkdir()
    write_cdf(root / f"{NAME}.cdf", level1(light(1)))
    write_fits(root / f"{numbered(1)}.fits", level1(light(1)))
    table = _table(tmp_path / "t.xlsx", [(f"{NAME}.fits", 0, "N"), (f"{numbered(1)}.fits", 0, "no class")])
    report = build_store(tmp_path / "store", root, ground_truth_table=table)
    held = FrameStore(tmp_path / "store").table
    assert held.ground_truth.all()
    assert dict(zip(held.file.tolist(), held.label.tolist(), strict=True)) == {
        f"{NAME}.cdf": "N",
        f"{numbered(1)}.fits": "",
    }
    assert len(report.label_problems) == 1


@pytest.mark.parametrize(
    "named",
    [f"{numbered(1).upper()}.FITS", numbered(1), rf"C:\mmia\{numbered(1)}.cdf", f"/mmia/{numbered(1)}.fits", "1"],
)
def test_labels_find_their_file_by_whatever_names_it(folder: Path, tmp_path: Path, named: str) -> None:
    build_store(
        tmp_path / "store", folder, ground_truth_table=_table(tmp_path / "t.xlsx", [(named, 0, "N"), (None, 2, "HCHA")])
    )
    table = FrameStore(tmp_path / "store").table
    labels = dict(zip(zip(table.file.tolist(), table.frame.tolist(), strict=True), table.label.tolist(), strict=True))
    assert {place: label for place, label in labels.items() if label} == {
        (f"{numbered(1)}.fits", 0): "N",
        (f"{numbered(1)}.fits", 2): "HCHA",
    }
    assert table.observations["file"][table.ground_truth].tolist() == [f"{numbered(1)}.fits"]


def test_labels_of_one_observation_under_two_names_are_joined(folder: Path, tmp_path: Path) -> None:
    rows = [(f"{numbered(1)}.fits", 0, "N"), (numbered(1), 1, "N"), (None, 2, "N"), ("1", 0, "HCHA")]
    report = build_store(tmp_path / "store", folder, ground_truth_table=_table(tmp_path / "t.xlsx", rows))
    assert report.table.label[report.table.file == f"{numbered(1)}.fits"].tolist() == ["N"] * 3
    assert len(report.label_problems) == 1
    assert "under another name of the observation" in report.label_problems[0]


def test_the_store_knows_how_frames_were_chosen_to_be_labelled(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(f"{numbered(1)}.fits", 0, "N"), (None, 2, "HCHA"), (numbered(1), 0, "N"), (None, 1, "N")]
    store, labels = tmp_path / "store", _table(tmp_path / "t.xlsx", rows)
    build_store(store, folder, ground_truth_table=labels)
    with monkeypatch.context() as before:  # as indices were before they had the column
        before.setitem(TABLES, "frames", [column for column in FRAMES if column.name != "chosen"])
        write_index(store, read_index(store))
    assert not build_store(store, folder, ground_truth_table=labels).is_new
    assert set(FrameStore(store).table.chosen.tolist()) == {""}
    chosen = [(*row, way) for row, way in zip(rows, ("margin", None, "random", "anomaly"), strict=True)]
    report = build_store(store, folder, ground_truth_table=_table(tmp_path / "t.xlsx", chosen, "Chosen"))
    assert (report.is_new, report.files_read) == (True, 0)
    table = FrameStore(store).table
    assert table.chosen[table.file == f"{numbered(1)}.fits"].tolist() == ["random", "anomaly", ""]
    assert set(table.chosen[table.file != f"{numbered(1)}.fits"].tolist()) == {""}


def test_a_frame_counts_as_chosen_at_random_only_if_all_chose_it_so_under_whatever_name(tmp_path: Path) -> None:
    rows = [
        *((f"{numbered(1)}.fits", 0, "N", "anna", "random"), (None, 1, "N", "anna", "random")),
        *((numbered(1), 0, "N", "ben", "hand"), (None, 1, "N", "ben", "random")),
    ]
    table = read_agreed(_table(tmp_path / "t.xlsx", rows, "Reviewer", "Chosen"))
    names = (f"{numbered(1)}.fits", numbered(1))
    expected = {(name, frame): ("hand", "random")[frame] for name in names for frame in (0, 1)}
    assert table.chosen == expected


def test_a_table_beside_a_store_alone_is_refused(run, folder: Path, tmp_path: Path) -> None:
    build_store(tmp_path / "store", folder)
    table = _table(tmp_path / "t.xlsx", [(f"{numbered(1)}.fits", 0, "N")])
    done = run(
        "prepare", "data=mmia", f"data.store={tmp_path / 'store'}", f"data.ground_truth.table={table}", check=False
    )
    assert done.returncode == 2
    assert "a store that is given alone keeps its labels; give data.root=FOLDER too" in done.stderr


def test_labels_that_are_ignored_are_told_each_time(folder: Path, tmp_path: Path) -> None:
    good = (f"{numbered(1)}.fits", 0, "N")
    build_store(tmp_path / "store", folder, ground_truth_table=_table(tmp_path / "t.xlsx", [good]))
    table = _table(tmp_path / "t.xlsx", [good, (None, 1, "NOISEE"), (None, 77, "N")])
    report = build_store(tmp_path / "store", folder, ground_truth_table=table)
    assert not report.is_new
    ignored = [line for line in report.lines() if line.startswith("label ignored, ")]
    assert len(ignored) == 2
    assert "NOISEE" in ignored[0]
    assert "77" in ignored[1]


def test_a_store_is_the_same_wherever_its_files_lie(folder: Path, tmp_path: Path) -> None:
    (folder / "sub").mkdir()
    shutil.copyfile(folder / f"{numbered(1)}.fits", folder / "sub" / f"{numbered(1)}.fits")
    moved = tmp_path / "elsewhere" / "files"
    shutil.copytree(folder, moved, symlinks=True)
    one, other = (build_store(tmp_path / name, root) for name, root in (("one", folder), ("other", moved)))
    assert f"sub/{numbered(1)}.fits" in {entry.file for entry in one.rejected}
    assert one.rejected == other.rejected
    assert FrameStore(one.store).digest == FrameStore(other.store).digest


def test_a_store_without_its_shards_is_made_again(folder: Path, tmp_path: Path) -> None:
    before = _content(build_store(tmp_path / "store", folder).store)
    shutil.rmtree(tmp_path / "store" / "shards")
    refuse_other_content(tmp_path / "store")
    assert _content(build_store(tmp_path / "store", folder).store) == before


def test_journals_label_frames(folder: Path, tmp_path: Path) -> None:
    entry = Entry(f"{numbered(1)}.fits", 2, "HCHA", (), "", "random", "anna", "2026-11-27T15:00:00Z", "0" * 8)
    journals = tmp_path / "journals"
    journals.mkdir()
    for one in (entry, replace(entry, frame=0, classification=None, note="no class"), replace(entry, frame=1)):
        append(journals / "anna.jsonl", one)
    labels = ["", "HCHA", "HCHA"]
    for table in (journals / "anna.jsonl", journals):
        report = build_store(tmp_path / "store", folder, ground_truth_table=table)
        of_file = report.table.file == entry.file
        assert report.table.label[of_file].tolist() == labels
        assert report.table.chosen[of_file].tolist() == ["", "random", "random"]
        assert report.label_problems == []
    append(journals / "ben.jsonl", replace(entry, reviewer="ben", classification="N"))
    with pytest.raises(InputError, match=r"its reviewers differ about the class of 1 frame\(s\), frame 2 of"):
        build_store(tmp_path / "store", folder, ground_truth_table=journals)


@pytest.mark.parametrize("first", [0, 1])
def test_one_based_frame_numbers_are_refused(folder: Path, tmp_path: Path, first: int) -> None:
    rows = [(f"{numbered(file)}.fits", first + frame, "N") for file in range(2) for frame in range(3)]
    table = _table(tmp_path / "t.xlsx", rows)
    if first == 0:
        assert build_store(tmp_path / "store", folder, ground_truth_table=table).label_problems == []
        return
    with pytest.raises(InputError) as error:
        build_store(tmp_path / "store", folder, ground_truth_table=table)
    assert str(error.value) == (
        f"{table}: its frame numbers seem to be one-based: none is 0, and in 2 of 2 files one is just past the last "
        "frame; subtract 1 from all frame numbers"
    )
    assert not (tmp_path / "store" / "index.h5").exists()


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("a.fits", "x", "N")], "t.xlsx, row 2: frame x of a.fits: the frame number is not a whole number from 0 on"),
        ([], "it gives no class to any frame"),
        ([("a.fits", 0, "N"), (None, 1, "N")], "2 frame(s) of a.fits: not in the archive"),
        (
            [(f"{numbered(4)}.fits", 0, "N")],
            f"1 frame(s) of {numbered(4)}.fits: rejected, neither FITS nor CDF by its content",
        ),
        (
            [(f"{numbered(3)}.cdf", 1, "N"), (None, 7, "N")],
            f"N on frame 1 of {numbered(3)}.cdf: it touches a gap in PHOT3; "
            f"N on frame 7 of {numbered(3)}.cdf: the file holds frames 0 to 2",
        ),
    ],
    ids=str,
)
def test_a_table_without_a_usable_label_is_refused(folder: Path, tmp_path: Path, rows: list[tuple], told: str) -> None:
    table = _table(tmp_path / "t.xlsx", rows)
    with pytest.raises(InputError) as error:
        build_store(tmp_path / "store", folder, ground_truth_table=table)
    assert str(error.value) == f"{table}: no label can be used: {told}"


def test_labels_that_fit_no_frame_are_counted_where_there_are_many(folder: Path, tmp_path: Path) -> None:
    rows = [(f"{numbered(0)}.fits", 0, "N"), *((None, frame, "N") for frame in range(3, 33))]
    rows += [(f"no_{number}.fits", 0, "N") for number in range(12)]
    problems = build_store(tmp_path / "s", folder, ground_truth_table=_table(tmp_path / "t.xlsx", rows)).label_problems
    assert len(problems) == 22
    assert problems[10] == "and 20 more: frames past the end"
    assert problems[21] == "and 2 more: files that are not in the archive"


def test_other_files_and_folders_are_not_written_over(folder: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.h5"
    with h5py.File(old, "w") as file:
        file["frames"] = [1]
    before = old.read_bytes()
    with pytest.raises(
        InputError, match=r"old\.h5: is or lies in a file, and a frame store is a folder; give data\.store a folder"
    ):
        build_store(old, folder)
    assert old.read_bytes() == before
    for name in ("notes.txt", "index.h5", "shards/precious.h5"):
        other = tmp_path / name.replace("/", "-")
        (other / name).parent.mkdir(parents=True)
        (other / name).write_text("mine")
        with pytest.raises(InputError, match="holds something else than a frame store; give"):
            build_store(other, folder)
        assert [path for path in other.rglob("*") if path.is_file()] == [other / name]


def test_another_folder_s_files_are_other_files(tmp_path: Path) -> None:
    for place, seed in (("a", 1), ("b", 2)):
        (tmp_path / place).mkdir()
        path = write_fits(tmp_path / place / f"{NAME}.fits", level1(light(1, seed=seed)))
        os.utime(path, ns=(10**18, 10**18))
    build_store(tmp_path / "store", tmp_path / "a")
    assert build_store(tmp_path / "store", tmp_path / "b").files_read == 1
    np.testing.assert_array_equal(
        FrameStore(tmp_path / "store").frames(np.array([0]))[0], light(1, seed=2)[:, 0, :5000]
    )


def test_ground_truth_in_a_folder_of_its_own(folder: Path, tmp_path: Path) -> None:
    scored = tmp_path / "scored"
    scored.mkdir()
    shutil.copy(folder / f"{numbered(0)}.fits", scored)  # now in both folders
    write_fits(scored / f"{numbered(8)}.fits", level1(light(1)))
    build_store(tmp_path / "store", folder, scored)
    table = FrameStore(tmp_path / "store").table
    held = set(table.observations["file"][table.ground_truth])
    assert held == {f"{numbered(0)}.fits", f"{numbered(8)}.fits"}


def test_unusable_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no data"):
        build_store(tmp_path / "store")
    with pytest.raises(InputError, match="no MMIA file"):
        build_store(tmp_path / "store", tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        build_store(tmp_path / "store", tmp_path / "nowhere")


def test_rows_come_in_the_order_asked_for(folder: Path, tmp_path: Path) -> None:
    build_store(tmp_path / "store", folder)
    with FrameStore(tmp_path / "store") as store:
        all_frames = store.frames(np.arange(11))
        np.testing.assert_array_equal(store.frames(np.array([7, 0, 3])), all_frames[[7, 0, 3]])
        for beyond in ([0, 11], [11], [-1]):
            with pytest.raises(IndexError, match="of 11"):
                store.frames(np.array(beyond))
        store.close()
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).frames(np.array([4])), all_frames[[4]])


def _shards(store: Path) -> list[Path]:
    return sorted((store / "shards").iterdir())


def _flip(path: Path, byte: int) -> None:
    """Flip a bit of a file, which keeps its size and times."""
    status = path.stat()
    with path.open("r+b") as stream:
        stream.seek(byte)
        (value,) = stream.read(1)
        stream.seek(byte)
        stream.write(bytes([value ^ 4]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_new_files_make_a_new_shard_and_leave_the_others_alone(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    build_store(store, folder)
    before = {path: path.stat().st_mtime_ns for path in _shards(store)}
    write_fits(folder / f"{numbered(8)}.fits", level1(light(2, seed=8)))
    build_store(store, folder)
    assert len(_shards(store)) == len(before) + 1
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_compact_store_is_as_a_fresh_one(folder: Path, tmp_path: Path) -> None:
    store, fresh = tmp_path / "store", tmp_path / "fresh"
    build_store(store, folder)
    write_fits(folder / f"{numbered(8)}.fits", level1(light(2, seed=8)))
    (folder / f"{numbered(0)}.fits").unlink()
    build_store(store, folder)
    content = _content(store)
    report = build_store(store, folder, compact=True)
    assert (report.is_new, report.files_read) == (False, 0)
    assert _content(store) == content
    build_store(fresh, folder)
    assert [path.name for path in _shards(store)] == [path.name for path in _shards(fresh)]
    assert len(_shards(fresh)) == 1
    assert build_store(store, folder).files_read == 0


def test_a_flipped_bit_is_noticed_and_mended(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    build_store(store, folder)
    content = _content(store)
    (shard,) = _shards(store)
    _flip(shard, shard.stat().st_size // 2)  # in the flux, which is nearly all of it
    with FrameStore(store) as opened, pytest.raises(InputError) as noticed:
        opened.frames(np.arange(len(opened)))
    assert str(noticed.value).startswith(f"{shard}: is damaged in frame ")
    assert "python -m asim_cvae.prepare check=true" in str(noticed.value)
    with pytest.raises(InputError, match=r"is damaged \(checksum of a frame\); give data\.root"):
        check_store(store)
    assert build_store(store, folder, check=True).files_read == 6
    assert _content(store) == content
    check_store(store)


def test_a_shard_that_is_cut_short_or_gone_is_made_again(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "store"
    build_store(store, folder)
    content = _content(store)
    (shard,) = _shards(store)
    with FrameStore(store) as opened:
        shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
        with pytest.raises(InputError, match="is damaged in frame"):
            opened.frames(np.arange(len(opened)))
        with caplog.at_level("WARNING"):
            assert build_store(store, folder).files_read == 6
        assert f"{shard}: is damaged" in caplog.text
        assert _content(store) == content
        opened.close()
        shard.unlink()
        with pytest.raises(InputError, match=r"is gone; run python -m asim_cvae\.prepare again"):
            opened.frames(np.array([0]))
    assert build_store(store, folder).files_read == 6
    assert _content(store) == content


def test_a_damaged_or_older_index_is_made_anew_from_the_shards(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "store"
    build_store(store, folder)
    content, index = _content(store), store / "index.h5"
    place = index.read_bytes().index(f"{numbered(1)}.fits".encode())
    _flip(index, place)
    with pytest.raises(InputError, match=r"index\.h5: is damaged \(checksum of the table observations\)"):
        FrameStore(store)
    assert build_store(store, folder).files_read == 0
    assert _content(store) == content
    for path in (index, *_shards(store)):
        with h5py.File(path, "r+") as file:
            file.attrs["format"] = 1
    with pytest.raises(InputError, match="is of format 1, not 3; python"):
        FrameStore(store)
    with caplog.at_level("INFO"):
        assert build_store(store, folder).files_read == 6
    assert caplog.text.count("is of format 1, not 3") == 1
    assert _content(store) == content


def test_a_store_in_use_is_brought_up_to_date(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    build_store(store, folder)
    with FrameStore(store) as opened, ExitStack() as held:
        before = opened.frames(np.arange(11))
        for path in (store / "index.h5", *_shards(store)):  # as a program does that opens them with HDF5's locks
            fcntl.flock(held.enter_context(path.open("rb")), fcntl.LOCK_EX)
        (folder / f"{numbered(0)}.fits").unlink()
        write_fits(folder / f"{numbered(8)}.fits", level1(light(2, seed=8)))
        assert build_store(store, folder).files_read == 1
        np.testing.assert_array_equal(opened.frames(np.arange(11)), before)
        with FrameStore(store) as updated:
            assert set(updated.table.file) == {*(f"{numbered(n)}.fits" for n in (1, 2, 8)), f"{numbered(3)}.cdf"}
            assert len(updated.frames(np.arange(len(updated)))) == 11


def test_a_store_that_cannot_be_written_is_used_while_it_is_up_to_date(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    build_store(store, folder)
    (store / "excluded.csv").unlink()

    def refuse(path: Path, shared: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    for module in ("hdf", "report"):
        monkeypatch.setattr(f"asim_cvae.frames.{module}.atomic_write", refuse)
    assert len(build_store(store, folder).table.frames) == 11
    write_fits(folder / f"{numbered(8)}.fits", level1(light(2, seed=8)))
    with pytest.raises(InputError, match=r"is out of date and cannot be written \(Read-only file system\); make it"):
        build_store(store, folder)


def test_what_is_known_of_an_observation_and_its_rows_is_kept(tmp_path: Path) -> None:
    rows = {
        "latitude": np.array([np.nan, -12.5], dtype=np.float32),
        "longitude": np.array([30.0, 31.0], dtype=np.float32),
        "MXGSTrigger": np.array([0, 1], dtype=np.int32),
        "PHOT3DataTrigger": np.array([0, 0], dtype=np.int32),
        "priority": np.array([4, 9], dtype=np.int32),
    }
    (tmp_path / "files").mkdir()
    write_fits(tmp_path / "files" / f"{numbered(0)}.fits", level1(light(2), **rows))
    write_fits(tmp_path / "files" / f"{numbered(1)}.fits", level0(np.full((3, 2, 8325), 3, dtype=np.int32)))
    build_store(tmp_path / "store", tmp_path / "files")
    with FrameStore(tmp_path / "store") as store:
        first, second = store.table.observations
        known = store.table.rows
        np.testing.assert_array_equal(store.counts(np.flatnonzero(store.table.observation == 1)), 3)
    assert (first["level"], first["latitude"], first["longitude"]) == (1, -12.5, 30)
    assert (first["mxgs_trigger"], first["photometer_trigger"].tolist(), first["priority"]) == (1, [-1, -1, 0], 9)
    assert np.isnan(first["altitude"])
    assert (second["level"], second["mxgs_trigger"], second["priority"]) == (0, -1, -1)
    np.testing.assert_allclose(second["flux_per_count"], FLUX_PER_COUNT)
    assert known["observation"].tolist() == [0, 0, 1, 1]
    assert known["sample"].tolist() == [0, 8325] * 2
    np.testing.assert_array_equal(known["latitude"], [np.nan, -12.5, np.nan, np.nan])
    assert known["mxgs_trigger"].tolist() == [0, 1, -1, -1]


BUILD = """
import sys
from pathlib import Path
from asim_cvae.frames.build import build_store
if __name__ == "__main__":
    print(build_store(Path(sys.argv[1]), Path(sys.argv[2]), workers=2).files_read)
"""


@pytest.mark.processes
def test_a_killed_build_goes_on_where_it_was(tmp_path: Path) -> None:
    root = tmp_path / "files"
    root.mkdir()
    for number in range(150):
        write_fits(root / f"{numbered(number)}.fits", level1(light(2, seed=number)))
    script = tmp_path / "build.py"
    script.write_text(BUILD)
    store = tmp_path / "store"
    command = [sys.executable, str(script), str(store), str(root)]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(store.glob("shards/[!.]*.h5")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()  # the parent only; its workers must end by themselves
    process.wait()
    assert not (store / "index.h5").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 150
    whole = tmp_path / "whole"
    build_store(whole, root, workers=1)
    assert _content(store) == _content(whole)
    assert sorted(path.name for path in store.iterdir()) == [
        "excluded.csv",
        "index.h5",
        "notes.csv",
        "rejected.csv",
        "shards",
    ]


@pytest.mark.processes
def test_programs_that_build_at_the_same_time_share_the_work(tmp_path: Path) -> None:
    root = tmp_path / "files"
    root.mkdir()
    for number in range(200):
        write_fits(root / f"{numbered(number)}.fits", level1(light(1, seed=number)))
    script = tmp_path / "build.py"
    script.write_text(BUILD)
    store = tmp_path / "store"
    command = [sys.executable, str(script), str(store), str(root)]
    builders = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for builder in builders:
        builder.communicate(timeout=120)
        assert builder.returncode == 0
    assert len(_shards(store)) == 7  # each of 32 files, and none twice
    build_store(tmp_path / "whole", root, workers=1)
    assert _content(store) == _content(tmp_path / "whole")
    assert build_store(store, root).files_read == 0
