"""Tests of reading a folder whatever is in it, and whatever the machine does meanwhile."""

import csv
import errno
import gzip
import os
import resource
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from asim_cvae.archive.discover import discover
from asim_cvae.archive.layout import FileName, observation_key
from asim_cvae.base import limits
from asim_cvae.base.cluster import RayCluster
from asim_cvae.base.errors import InputError, SettingError, is_machines_fault
from asim_cvae.base.parallel import HERE, cores, map_batches
from asim_cvae.base.workers import Worker, WorkerDiedError
from asim_cvae.frames.build import build_store
from asim_cvae.frames.reading import deadly
from asim_cvae.frames.report import BuildReport
from asim_cvae.frames.store import FrameStore
from tests import hostile
from tests.mmia_files import NAME, NAME_LEVEL0, level0, level1, light, numbered, write, write_fits

pytestmark = pytest.mark.processes  # files are read in processes of their own


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


@pytest.fixture
def hostile_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asim_cvae.frames.build.read_into_shard", hostile.read_into_shard)


def _build(root: Path, **how: object) -> BuildReport:
    return build_store(root.parent / "store", root, **how)


def _rejected(report: BuildReport) -> dict[str, str]:
    with (report.store / "rejected.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        assert [(row["file"], row["reason"]) for row in csv.DictReader(stream)] == report.rejected
    return dict(report.rejected)


def _used(report: BuildReport) -> list[str]:
    return report.table.observations["file"].tolist()


def _written(store: Path) -> dict[Path, tuple[int, int]]:
    """What shows that a file of a store has been written: a new inode or another time."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in store.rglob("*")}


def _assert_next_start_writes_nothing(report: BuildReport, root: Path, files_read: int = 0) -> None:
    before = _written(report.store)
    again = _build(root)
    assert (again.is_new, again.files_read) == (False, files_read)
    assert again.rejected == report.rejected
    assert _written(report.store) == before
    assert len(list(again.lines())) == 1


def _compress(path: Path) -> Path:
    """Replace a file by its .gz."""
    compressed = path.with_name(f"{path.name}.gz")
    compressed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return compressed


def test_suffixes_of_any_case_and_compressed_files_are_found(root: Path) -> None:
    names = ("a.fits", "b.FITS", "c.fit", "d.Cdf", "e.fits.gz", "f.CDF.GZ")
    others = ("g.txt", "h.fits.bz2", "fits", ".i.fits")
    for name in (*names, *others):
        (root / name).touch()
    (root / "folder.fits").mkdir()
    (root / "folder.fits" / "j.fits").touch()
    files, rejected = discover(root)
    assert sorted(files) == [*names, "j.fits"]
    assert not rejected


def test_mmia_names_with_another_suffix_are_rejected(root: Path) -> None:
    for suffix in (".fits.bz2", ".fits.zip", ".fits.part", ".h5", ""):
        (root / f"{NAME}{suffix}").touch()
    files, rejected = discover(root)
    assert not files
    advice = "unpack it or rename it, to .fits, .cdf, .fits.gz or .cdf.gz"
    assert [(Path(error.file).name, error.reason) for error in rejected] == [
        (NAME, f"the name has no suffix; {advice}"),
        (f"{NAME}.fits.bz2", f"the suffix .bz2 is not read; {advice}"),
        (f"{NAME}.fits.part", f"the suffix .part is not read; {advice}"),
        (f"{NAME}.fits.zip", f"the suffix .zip is not read; {advice}"),
        (f"{NAME}.h5", f"the suffix .h5 is not read; {advice}"),
    ]
    with pytest.raises(InputError, match=r"no MMIA file \(\.fits or \.cdf\) to use; .*id_77: the name has no suffix;"):
        _build(root)


@pytest.mark.parametrize("mark", [" (1)", "(2)", " copy", " copy 3", " - Copy", " - Copy (2)", " (copy)"])
def test_copies_are_told_by_their_names(mark: str) -> None:
    for suffix in ("fits", "FIT", "cdf.gz"):
        assert FileName.parse(f"{NAME}{mark}.{suffix}") == FileName.parse(f"{NAME}.fits")
    assert observation_key(f"event{mark}.fits") == f"event{mark}"  # it may be another event


def test_one_file_an_observation_is_used(root: Path) -> None:
    best = [f"{NAME}.fits", f"{NAME}.fits.gz", f"{NAME}.cdf", f"{NAME_LEVEL0}.fits", f"{NAME_LEVEL0}.cdf"]
    copies = [f"{NAME} (1).fits", f"{NAME} copy.fits"]
    plain = write_fits(root / "plain.fits", level1(light(1, seed=1)))
    shutil.copy(plain, root / best[1].removesuffix(".gz"))
    _compress(root / best[1].removesuffix(".gz"))
    for name in (best[0], *copies):
        shutil.copy(plain, root / name)
    write(root / best[2], level1(light(1, seed=2)))
    for name in best[3:]:
        write(root / name, level0(np.full((3, 1, 8325), 3, dtype=np.int32)))
    shutil.copy(plain, root / "plain.FITS")
    report = _build(root)
    assert _used(report) == [best[0], "plain.FITS"]
    reason = f"same observation as {best[0]}, which is used"
    others = dict.fromkeys([*best[1:], *copies], reason)
    assert _rejected(report) == {**others, "plain.fits": "same observation as plain.FITS, which is used"}
    assert report.files_read == 2
    _assert_next_start_writes_nothing(report, root)
    for gone, follower in zip([best[0], *copies], [*copies, best[2]], strict=True):
        (root / gone).unlink()
        if follower == best[2]:
            (root / best[1]).unlink()
        assert _used(_build(root)) == [follower, "plain.FITS"]
    (root / best[2]).unlink()
    assert _used(_build(root)) == [best[3], "plain.FITS"]


def test_the_next_file_of_an_observation_is_used_where_one_is_damaged(root: Path) -> None:
    (root / f"{NAME}.fits").write_text("broken")
    (root / f"{NAME}.cdf").symlink_to(root / "nowhere")
    write_fits(root / f"{NAME_LEVEL0}.fits", level0(np.full((3, 1, 8325), 3, dtype=np.int32)))
    write(root / f"{NAME_LEVEL0}.cdf", level0(np.full((3, 1, 8325), 3, dtype=np.int32)))
    report = _build(root)
    used = f"{NAME_LEVEL0}.fits"
    assert _used(report) == [used]
    assert _rejected(report) == {
        f"{NAME}.fits": f"neither FITS nor CDF by its content; {used} of the same observation is used",
        f"{NAME}.cdf": f"cannot be read (No such file or directory); {used} of the same observation is used",
        f"{NAME_LEVEL0}.cdf": f"same observation as {used}, which is used",
    }
    _assert_next_start_writes_nothing(report, root)
    compact = _build(root, compact=True)
    assert (_used(compact), compact.rejected) == ([used], report.rejected)
    (root / f"{NAME}.fits").unlink()
    write_fits(root / f"{NAME}.fits", level1(light(1)))
    mended = _build(root)
    assert _used(mended) == [f"{NAME}.fits"]
    assert _rejected(mended)[used] == f"same observation as {NAME}.fits, which is used"
    fresh = build_store(root.parent / "fresh", root)
    assert FrameStore(fresh.store).digest == FrameStore(mended.store).digest


def test_labels_stand_on_the_file_that_is_used(root: Path) -> None:
    names = [f"{NAME_LEVEL0}.fits", f"{NAME}.fits", f"{numbered(1)}.fits", "other.fits"]
    labels = zip(names, ("HCHA", "HCLA", "N", "N"), strict=True)
    table = root / "labels.csv"
    rows = [f"{name},0,{label}" for name, label in labels]
    table.write_text("\n".join(["File Name,Frame Number,Classification", *rows]))
    write_fits(root / names[0], level0(np.full((3, 1, 8325), 3, dtype=np.int32)))
    write_fits(root / names[1], level1(light(1)))
    _compress(write_fits(root / names[2], level1(light(1))))
    (root / names[3]).write_text("broken")
    write(root / "other.cdf", level1(light(1)))
    write_fits(root / f"{numbered(2)}.fits", level1(light(1)))
    report = build_store(root.parent / "store", root, ground_truth_table=table)
    labelled = {f"{NAME}.fits": "HCHA", f"{numbered(1)}.fits.gz": "N", "other.cdf": "N"}
    held = dict(zip(report.table.file.tolist(), report.table.label.tolist(), strict=True))
    assert held == {**labelled, f"{numbered(2)}.fits": ""}
    assert {file for file, is_truth in zip(_used(report), report.table.ground_truth, strict=True) if is_truth} == {
        *labelled
    }
    (problem,) = report.label_problems
    assert problem == f"HCLA on frame 0 of {NAME}.fits: HCHA under another name of the observation"


def test_a_labelled_observation_in_a_folder_of_its_own_has_its_other_files(root: Path) -> None:
    scored = root.parent / "scored"
    scored.mkdir()
    (scored / f"{NAME}.fits").write_text("broken")
    for name in (NAME_LEVEL0, numbered(1).replace("level1", "")):
        write_fits(scored / f"{name}.fits", level0(np.full((3, 1, 8325), 3, dtype=np.int32)))
    write_fits(root / f"{numbered(2)}.fits", level1(light(1)))
    table = root / "labels.csv"
    table.write_text(f"File Name,Frame Number,Classification\n{NAME}.fits,0,HCHA\n")
    report = build_store(root.parent / "store", root, scored, table)
    assert dict(zip(_used(report), report.table.ground_truth.tolist(), strict=True)) == {
        f"{NAME_LEVEL0}.fits": True,
        f"{numbered(2)}.fits": False,
    }


@pytest.mark.usefixtures("hostile_reader")
def test_a_file_that_ends_its_process_is_rejected_and_the_others_go_on(root: Path) -> None:
    for number in range(5):
        write_fits(root / f"{numbered(number)}.fits", level1(light(1, seed=number)))
    (root / f"{numbered(5)}.fits").write_text("signal SIGSEGV")
    (root / f"{numbered(6)}.fits").write_text("exit 3")
    report = _build(root, workers=1)
    assert _used(report) == [f"{numbered(number)}.fits" for number in range(5)]
    died, advice = "its reading ended the process three times", "replace it, or touch it to have it tried again"
    assert _rejected(report) == {
        f"{numbered(5)}.fits": f"{died} (SIGSEGV); {advice}",
        f"{numbered(6)}.fits": f"{died} (exit status 3); {advice}",
    }
    _assert_next_start_writes_nothing(report, root)


@pytest.mark.usefixtures("hostile_reader")
def test_a_killed_reading_is_the_machine_s_fault(root: Path) -> None:
    for number in range(33):  # two batches, for two workers
        write_fits(root / f"{numbered(number)}.fits", level1(light(1, seed=number)))
    (root / "z.fits").write_text("signal SIGKILL")
    report = _build(root, workers=2)
    assert len(_used(report)) == 33
    assert _rejected(report) == {
        "z.fits": "its reading ended the process three times (SIGKILL), as where memory runs out; "
        "it is tried again next time"
    }
    _assert_next_start_writes_nothing(report, root, files_read=1)
    write_fits(root / "z.fits", level1(light(1)))
    assert len(_used(_build(root))) == 34


def _text(name: str) -> str:
    """The system's text of an error's name."""
    return os.strerror(getattr(errno, name))


@pytest.mark.usefixtures("hostile_reader")
def test_only_the_machine_s_faults_are_tried_again(root: Path) -> None:
    write_fits(root / f"{numbered(0)}.fits", level1(light(1)))
    machine, own = ("EIO", "EACCES", "EMFILE", "ESTALE", "ENOMEM"), ("EINVAL", "EOVERFLOW")
    for word in (*machine, *own):
        (root / f"{word}.fits").write_text(f"errno {word}")
    (root / "bug.fits").write_text("bug")
    (root / "memory.fits").write_text("memory")
    report = _build(root)
    assert _rejected(report) == {
        **{f"{word}.fits": f"cannot be read ({_text(word)}); it is tried again next time" for word in machine},
        **{f"{word}.fits": f"cannot be read ({_text(word)})" for word in own},
        "bug.fits": "cannot be read (list index out of range)",
        "memory.fits": "cannot be read (MemoryError); it is tried again next time",
    }
    assert report.files_read == 10
    _assert_next_start_writes_nothing(report, root, files_read=len(machine) + 1)
    for word in machine:
        (root / f"{word}.fits").unlink()
    (root / "memory.fits").unlink()
    settled = _build(root)
    assert settled.is_new
    _assert_next_start_writes_nothing(settled, root)


def test_what_cannot_be_tried_again_leaves_a_read_only_store_usable(
    root: Path, hostile_reader: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_fits(root / f"{numbered(0)}.fits", level1(light(1)))
    (root / "eio.fits").write_text("errno EIO")
    report = _build(root)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # chmod does not hold root back
    _assert_next_start_writes_nothing(report, root)


@pytest.mark.usefixtures("hostile_reader")
def test_a_hang_is_bounded(root: Path) -> None:
    write_fits(root / f"{numbered(0)}.fits", level1(light(1)))
    (root / "spin.fits").write_text("spin")
    (root / "wait.fits").write_text("wait")
    report = _build(root)
    assert _used(report) == [f"{numbered(0)}.fits"]
    reasons = _rejected(report)
    assert "not read within 1 s" in reasons["spin.fits"]
    assert "not read within 300 s" in reasons["wait.fits"]
    assert _build(root).files_read == 1  # that which waited for the machine


def test_a_hang_beyond_python_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_GRACE_S", 0)
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            hostile.spin_beyond_python()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGXCPU


def test_limits_leave_no_trace() -> None:
    def now() -> list[object]:
        handlers = [signal.getsignal(number) for number in (signal.SIGPROF, signal.SIGALRM)]
        timers = [signal.getitimer(timer) for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL)]
        return [*handlers, *timers, *(resource.getrlimit(kind) for kind in (resource.RLIMIT_CPU, resource.RLIMIT_DATA))]

    before = now()
    with pytest.raises(TimeoutError) as late, limits.limited(60, 1):
        signal.pause()
    assert is_machines_fault(late.value)
    assert now() == before


def test_folders_that_cannot_be_read_are_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_fits(root / f"{numbered(0)}.fits", level1(light(1)))
    for name in ("closed", "bad"):
        (root / name).mkdir()
        write_fits(root / name / f"{numbered(1)}.fits", level1(light(1)))
    scandir = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry]:  # chmod does not hold root back
        if Path(path).name in ("closed", "bad"):
            number = errno.EACCES if Path(path).name == "closed" else errno.EIO
            raise OSError(number, os.strerror(number), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = _build(root)
    assert _used(report) == [f"{numbered(0)}.fits"]
    advice = "and no file in it is used; make it readable"
    assert _rejected(report) == {
        "bad": f"the folder cannot be read (Input/output error), {advice}",
        "closed": f"the folder cannot be read (Permission denied), {advice}",
    }
    _assert_next_start_writes_nothing(report, root)
    with pytest.raises(InputError, match=r"no MMIA file .* to use; .*closed: the folder cannot be read \(Permission"):
        build_store(root.parent / "other", root / "closed")


def test_what_is_no_file_is_named_and_never_waited_for(root: Path) -> None:
    write_fits(root / f"{numbered(0)}.fits", level1(light(1)))
    os.mkfifo(root / "pipe.fits")
    (root / "device.fits").symlink_to("/dev/zero")
    (root / "loop.fits").symlink_to(root / "loop.fits")
    (root / "broken.fits").symlink_to(root / "nowhere")
    (root / "self").symlink_to(root)
    (root / "folder.fits").mkdir()
    (root / os.fsdecode(b"bad\xff.fits")).touch()
    (root / "two\nlines.fits").touch()
    with socket.socket(socket.AF_UNIX) as heard:
        heard.bind(os.path.relpath(root / "socket.fits"))  # of 108 characters at most
        report = _build(root)
        assert _used(report) == [f"{numbered(0)}.fits"]
        odd = "the name has characters that cannot be printed; rename it"
        assert _rejected(report) == {
            "pipe.fits": "not a regular file",
            "device.fits": "not a regular file",
            "socket.fits": "not a regular file",
            "loop.fits": "cannot be read (Too many levels of symbolic links)",
            "broken.fits": "cannot be read (No such file or directory)",
            "bad\\udcff.fits": odd,
            "two\\nlines.fits": odd,
        }
        _assert_next_start_writes_nothing(report, root)


def test_of_two_files_of_one_name_that_which_is_a_file_is_used(root: Path) -> None:
    for place in ("a", "b"):
        (root / place).mkdir()
    (root / "a" / "x.fits").symlink_to(root / "nowhere")
    write_fits(root / "b" / "x.fits", level1(light(1)))
    files, rejected = discover(root)
    assert files == {"x.fits": root / "b" / "x.fits"}
    assert [(error.file, error.reason) for error in rejected] == [
        ("a/x.fits", "another file of this name is at b/x.fits; rename one")
    ]


def test_notes_are_listed_and_told_once(root: Path) -> None:
    ids = np.array([77, 78], dtype=np.int32)
    for number in range(5):
        seconds = f"2019-01-03T14:08:{10 + number}.000000+00:00"
        rows = {"corrected_datetime_level1": np.array([seconds]), "observation_id": ids[:1] + number - 77}
        write_fits(root / f"{numbered(number)}.fits", level1(light(1), **rows))
    times = ["2019-01-03T14:08:00.000000+00:00", "2019-01-03T14:08:00.083250+00:00"]
    write_fits(root / f"{NAME}.fits", level1(light(2), corrected_datetime_level1=np.array(times), observation_id=ids))
    report = _build(root)
    assert list(report.lines())[:-1] == [
        *(f"note on {numbered(n)}.fits: its time differs from its name's by {10 + n}.0 s" for n in range(3)),
        "2 more notes like the last",
        f"note on {NAME}.fits: 2 observation ids (77, 78), the first is taken",
        f"6 notes on files that are used, all listed in {report.store / 'notes.csv'}",
    ]
    with (report.store / "notes.csv").open(newline="") as stream:
        listed = {row["file"]: row["note"] for row in csv.DictReader(stream)}
    assert len(listed) == 6
    assert listed[f"{numbered(4)}.fits"] == "its time differs from its name's by 14.0 s"
    _assert_next_start_writes_nothing(report, root)


def test_an_archive_without_a_frame_is_an_error_in_one_line(run, root: Path) -> None:
    for number in range(4):
        (root / f"{numbered(number)}.fits").write_text("broken")
    (root / "empty.cdf").touch()
    write_fits(root / "short.fits", level1(light(1, 100)))
    store = root.parent / "store"
    for _ in range(2):
        done = run("prepare", "data=mmia", f"data.root={root}", f"data.store={store}", check=False)
        assert done.returncode == 1
        assert done.stderr == (
            f"prepare: {root}: no frame to use: 6 files rejected (4: neither FITS nor CDF by its content; "
            "1: empty file; 1: shorter than one frame, 100 of 5000 samples); "
            f"all are listed in {store / 'rejected.csv'}\n"
        )


def test_workers_lose_only_what_ends_them() -> None:
    lost = []

    def note(number: int, death: WorkerDiedError) -> list[int]:
        lost.append((number, death.how))
        return []

    found = map_batches(hostile.double, list(range(20)), 8, 2, "doubling", note)
    assert sorted(number for part in found for number in part) == [2 * n for n in range(20) if n != 13]
    assert lost == [(13, "exit status 1")]
    with pytest.raises(InputError, match=r"a worker process has ended \(exit status 1\), 3 times at the same work"):
        list(map_batches(hostile.double, list(range(20)), 8, 2, "doubling"))


def test_work_that_is_trusted_is_tried_again(tmp_path: Path) -> None:
    works = [str(tmp_path / name) for name in ("a", "b")]
    found = list(map_batches(hostile.die_once, works, 1, 2, "dying"))
    assert sorted(map(str, found)) == works


def test_a_worker_whose_gpu_fails_ends_and_blames_no_file() -> None:
    with pytest.raises(WorkerDiedError) as death:
        Worker().compute(hostile.judge_on_a_full_gpu, [])
    assert deadly(Path("a.fits"), death.value).transient


def test_what_a_worker_raises_is_raised_here() -> None:
    worker = Worker()
    with pytest.raises(ValueError, match="invalid literal"):
        worker.compute(int, "no number")
    assert worker.compute(int, "7") == 7
    worker.stop()
    with pytest.raises(ChildProcessError, match="stopped"):
        worker.compute(int, "8")


def test_a_cluster_without_its_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"engine=ray: Ray is not installed; pip install '\.\[ray\]' in a clone"):
        RayCluster()


def test_there_are_as_many_workers_as_cores_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7} if process == 0 else set(), raising=False)
    assert cores() == 3
    with HERE.team(None) as team:
        assert team.size() == 3
