"""Tests of building a store from an archive: labels, gaps, growing archives, killed builds."""

import csv
import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import openpyxl
import pytest

from asim_cvae.archive.reader import read_observation
from asim_cvae.base.errors import InputError
from asim_cvae.frames.build import build_store
from asim_cvae.frames.store import FrameStore
from tests.mmia_files import NAME, level0, level1, light, write_cdf, write_fits


def _name(number: int) -> str:
    return NAME.replace("id_77", f"id_{number}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of three observations of 3 frames, one with a gap in its frame 1, and three files to reject."""
    root = tmp_path / "files"
    root.mkdir()
    for number in range(3):
        write_fits(root / f"{_name(number)}.fits", level1(light(2, seed=number)))
    gap = light(2, seed=9)
    gap[2, 0, 6000] = np.nan
    write_cdf(root / f"{_name(3)}.cdf", level1(gap))
    (root / f"{_name(4)}.fits").write_text("broken")
    write_fits(root / f"{_name(5)}.fits", level1(light(1, 4200)))
    (root / "gone.fits").symlink_to(tmp_path / "nowhere")
    return root


def _table(path: Path, rows: list[tuple]) -> Path:
    book = openpyxl.Workbook()
    for row in [("File Name", "Frame Number", "Classification"), *rows]:
        book.active.append(row)
    book.save(path)
    return path


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
        assert table.time[row] == np.datetime64("2019-01-03T14:08:00.250000") + np.timedelta64(50 * k, "ms")
    assert (len(table.observations), report.files_read) == (4, 6)
    assert report.excluded == [(f"{_name(3)}.cdf", 1, "touches a gap in PHOT3")]
    reasons = {entry.file: entry.reason for entry in report.rejected}
    assert reasons[f"{_name(4)}.fits"] == "neither FITS nor CDF by its content"
    assert reasons[f"{_name(5)}.fits"] == "shorter than one frame, 4200 of 5000 samples"
    assert "No such file" in reasons["gone.fits"]


def test_what_is_left_out_is_listed_beside_the_store_and_told_once(folder: Path, tmp_path: Path) -> None:
    for number in range(6, 10):
        (folder / f"{_name(number)}.fits").write_text("broken")
    store = tmp_path / "store"
    told = list(build_store(store, folder).lines())
    rejected, excluded = (store / f"{what}.csv" for what in ("rejected", "excluded"))
    with rejected.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["file"]: row["reason"] for row in rows[1:]} == {
        **{f"{_name(number)}.fits": "neither FITS nor CDF by its content" for number in (4, 6, 7, 8, 9)},
        f"{_name(5)}.fits": "shorter than one frame, 4200 of 5000 samples",
    }
    assert rows[0]["file"] == "gone.fits"
    assert excluded.read_text() == f"file,frame,reason\n{_name(3)}.cdf,1,touches a gap in PHOT3\n"
    assert [line.split()[0] for line in told] == ["rejected"] * 3 + ["7", "excluded", "1", f"{store}:"]
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
    rows = [(f"{_name(3)}.cdf", 0, "HCHA"), (None, 1, "N"), (None, 3, "N"), ("gone.fits", 0, "N"), ("no.fits", 2, "N")]
    report = build_store(tmp_path / "store", folder, ground_truth_table=_table(tmp_path / "t.xlsx", rows))
    table = FrameStore(tmp_path / "store").table
    labels = dict(zip(zip(table.file.tolist(), table.frame.tolist(), strict=True), table.label.tolist(), strict=True))
    assert {place: label for place, label in labels.items() if label} == {(f"{_name(3)}.cdf", 0): "HCHA"}
    assert table.observations["file"][table.ground_truth].tolist() == [f"{_name(3)}.cdf"]
    told = "\n".join(report.label_problems)
    assert f"N on frame 1 of {_name(3)}.cdf: it touches a gap in PHOT3" in told
    assert f"N on frame 3 of {_name(3)}.cdf: the file holds frames 0 to 2" in told
    assert "1 frame(s) of gone.fits: rejected" in told
    assert "1 frame(s) of no.fits: not in the archive" in told


def test_new_labels_need_no_reading(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    build_store(store, folder)
    table = _table(tmp_path / "t.xlsx", [(f"{_name(0)}.fits", 2, "LCLA")])
    report = build_store(store, folder, ground_truth_table=table)
    assert (report.files_read, (report.table.label != "").sum()) == (0, 1)
    fresh = tmp_path / "fresh"
    build_store(fresh, folder, ground_truth_table=table)
    assert _content(store) == _content(fresh)


def test_new_changed_and_lost_files(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    build_store(store, folder)
    write_fits(folder / f"{_name(1)}0.fits", level1(light(2, seed=20)))  # its name sorts between the others
    write_fits(folder / f"{_name(2)}.fits", level1(light(1, seed=21)))
    (folder / f"{_name(0)}.fits").unlink()
    report = build_store(store, folder)
    assert report.files_read == 2
    fresh = tmp_path / "fresh"
    build_store(fresh, folder)
    assert _content(store) == _content(fresh)
    assert build_store(store, folder).files_read == 0


def test_all_files_of_a_labelled_observation_are_kept_from_training(tmp_path: Path) -> None:
    counts = np.full((3, 2, 8325), 3, dtype=np.int32)
    root = tmp_path / "files"
    root.mkdir()
    write_fits(root / f"{NAME}.fits", level1(light(2)))
    write_fits(root / f"{NAME.replace('level1', '')}.fits", level0(counts))  # Level 0 of the same observation
    write_fits(root / f"{_name(1)}.fits", level1(light(2)))
    build_store(tmp_path / "store", root, ground_truth_table=_table(tmp_path / "t.xlsx", [(f"{NAME}.fits", 0, "N")]))
    table = FrameStore(tmp_path / "store").table
    held = set(table.observations["file"][table.ground_truth])
    assert held == {f"{NAME}.fits", f"{NAME.replace('level1', '')}.fits"}


def test_labels_keep_other_files_of_the_observation_from_training_too(tmp_path: Path) -> None:
    root = tmp_path / "files"
    root.mkdir()
    write_cdf(root / f"{NAME}.cdf", level1(light(1)))
    write_fits(root / f"{_name(1)}.fits", level1(light(1)))
    table = _table(tmp_path / "t.xlsx", [(f"{NAME}.fits", 0, "N"), (f"{_name(1)}.fits", 0, "no class")])
    report = build_store(tmp_path / "store", root, ground_truth_table=table)
    assert FrameStore(tmp_path / "store").table.ground_truth.all()
    assert len(report.label_problems) == 2


def test_other_files_and_folders_are_not_written_over(folder: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.h5"
    with h5py.File(old, "w") as file:
        file["frames"] = [1]
    before = old.read_bytes()
    with pytest.raises(
        InputError, match=r"old\.h5: is a file, and a frame store is a folder; give data\.store a folder"
    ):
        build_store(old, folder)
    assert old.read_bytes() == before
    for name in ("notes.txt", "shards/precious.h5"):
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


def test_what_the_machine_was_to_blame_for_is_tried_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("asim_cvae.archive.reader._read_content", fail)
        assert not len(build_store(tmp_path / "store", folder).table.frames)
    assert len(build_store(tmp_path / "store", folder).table.frames) == 11
    assert build_store(tmp_path / "store", folder).files_read == 0


def test_ground_truth_in_a_folder_of_its_own(folder: Path, tmp_path: Path) -> None:
    scored = tmp_path / "scored"
    scored.mkdir()
    shutil.copy(folder / f"{_name(0)}.fits", scored)  # now in both folders
    write_fits(scored / f"{_name(8)}.fits", level1(light(1)))
    build_store(tmp_path / "store", folder, scored)
    table = FrameStore(tmp_path / "store").table
    held = set(table.observations["file"][table.ground_truth])
    assert held == {f"{_name(0)}.fits", f"{_name(8)}.fits"}


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
        write_fits(root / f"{_name(number)}.fits", level1(light(2, seed=number)))
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
    assert sorted(path.name for path in store.iterdir()) == ["excluded.csv", "index.h5", "rejected.csv", "shards"]
