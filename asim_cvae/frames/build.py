"""Build the frame store from an archive, in parallel.

Batches of files are read into small stores ("parts") beside the final one, which are then merged. A build that is
killed therefore continues where it stopped.
"""

import hashlib
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

import h5py
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from asim_cvae.archive.discover import discover
from asim_cvae.archive.labels import LabelTable, read_labels
from asim_cvae.archive.layout import FileName
from asim_cvae.archive.reader import read_observation
from asim_cvae.base.errors import InputError
from asim_cvae.base.parallel import map_batches
from asim_cvae.frames.report import BuildReport, ExcludedFrame
from asim_cvae.frames.slicing import FRAME_SAMPLES, slice_frames
from asim_cvae.frames.store import (
    FORMAT,
    NO_FILE,
    Fingerprint,
    FrameStore,
    ObservationEntry,
    RejectedEntry,
    is_store,
    read_observations,
    read_rejected,
    write_store,
)
from asim_cvae.instrument.observation import Observation, RejectedFileError
from asim_cvae.instrument.photometers import PHOTOMETERS

_PARTS = "[!.]*.h5"  # complete parts only: temporary files begin with a dot
_TIMEOUT_S = 60  # for reading one file
_BATCH = 32  # files per part: a kill loses at most one batch per worker, and a batch takes some 30 MB of memory
_COPY_FRAMES = 50  # frames copied at a time, 3 MB
_FILES_PER_WORKER = 300  # are read in the time that another worker process takes to start


@dataclass(frozen=True)
class _Plan:
    """Contents that a store should have.

    Attributes:
        files: path of each file to read, by base name.
        rejected: files that are rejected without reading them.
        labels: label of each labelled frame, by file name and frame number.
        ground_truth: names of the files to score on, which are kept out of training.
        label_problems: a line for each row of the label table that was ignored.
    """

    files: Mapping[str, Path]
    rejected: Sequence[RejectedEntry]
    labels: Mapping[tuple[str, int], str]
    ground_truth: frozenset[str]
    label_problems: Sequence[str]

    def fingerprints(self) -> dict[str, Fingerprint]:
        return {name: Fingerprint.of(path) for name, path in self.files.items()}


def build_store(
    store: Path,
    root: Path | None = None,
    ground_truth_root: Path | None = None,
    ground_truth_table: Path | None = None,
    workers: int | None = None,
) -> BuildReport:
    """Build or update a store: read new and changed files, drop deleted ones, set the labels.

    The result depends on the folders and the label table alone, not on earlier builds or whether they were killed.

    Args:
        store: the HDF5 file to build or update.
        root: folder of the observations to train on.
        ground_truth_root: folder of the observations to score on, if they are not in ``root``.
        ground_truth_table: label table. The files that it names are ground truth; without a table those in
            ``ground_truth_root`` are, without labels.
        workers: number of worker processes; by default one per core, or fewer if there are few files to read.

    Raises:
        InputError: no folder is given, a folder does not exist or holds no MMIA file, every file would be ground truth,
            the label table cannot be used, or ``store`` is another program's file.
    """
    plan = _plan(root, ground_truth_root, ground_truth_table)
    store.parent.mkdir(parents=True, exist_ok=True)
    parts = store.with_name(f"{store.name}.parts")
    with FileLock(f"{store}.lock"):
        fingerprints = plan.fingerprints()
        _refuse_other_file(store)
        known = _known_files(store, parts)
        new = [plan.files[name] for name in sorted(plan.files) if fingerprints[name] != known.get(name)]
        workers = workers or min(os.cpu_count() or 1, 1 + len(new) // _FILES_PER_WORKER)
        for _ in map_batches(partial(_write_part, parts=parts), new, _BATCH, workers, "reading"):
            pass  # the results are in the parts' files
        digest = _digest(plan, fingerprints)
        is_new = bool(new) or not (is_store(store) and FrameStore(store).digest == digest)
        if is_new:
            _merge([store, *sorted(parts.glob(_PARTS))], store, plan, fingerprints, digest)
        shutil.rmtree(parts, ignore_errors=True)
        report = _report(FrameStore(store), plan, is_new, len(new))
        report.write_tables()
        return report


def _refuse_other_file(store: Path) -> None:
    """Raise InputError if ``store`` exists and is not a frame store, of whatever version: it would be overwritten."""
    if not store.exists():
        return
    try:
        with h5py.File(store, "r") as file:
            is_frame_store = "format" in file.attrs and "frames" in file
    except OSError:
        is_frame_store = False
    if not is_frame_store:
        raise InputError(f"{store}: exists and is not a frame store; give data.store another file")


def _plan(root: Path | None, ground_truth_root: Path | None, table: Path | None) -> _Plan:
    folders = [folder for folder in (root, ground_truth_root) if folder is not None]
    if not folders:
        raise InputError("no data: give data.root=FOLDER, or data.ground_truth.root=FOLDER to score alone")
    none: tuple[dict[str, Path], list[RejectedFileError]] = ({}, [])
    pool, pool_rejected = discover(root) if root else none
    scored, scored_rejected = discover(ground_truth_root) if ground_truth_root else none
    labels = LabelTable({}) if table is None else read_labels(table)
    ground_truth = frozenset(scored) if table is None else labels.files
    if table is None and pool and set(scored) >= set(pool):
        raise InputError(
            f"{ground_truth_root}: holds every file of data.root, which leaves none to train on; "
            "give data.ground_truth.table, or data.ground_truth.root another folder"
        )
    files = pool | {name: path for name, path in scored.items() if name in ground_truth}
    if not files:
        raise InputError(f"{', '.join(map(str, folders))}: no MMIA file (.fits or .cdf) to use")
    rejected = {
        error.file: RejectedEntry(error.file, Fingerprint.of(Path(error.file)), error.reason)
        for error in (*pool_rejected, *scored_rejected)
    }
    return _Plan(files, list(rejected.values()), labels.labels, ground_truth, labels.problems)


def _known_files(store: Path, parts: Path) -> dict[str, Fingerprint]:
    """Return the fingerprints of the files that the store or a part holds already, by name."""
    known: dict[str, Fingerprint] = {}
    for path in (store, *sorted(parts.glob(_PARTS))):
        if is_store(path):
            with h5py.File(path, "r") as file:
                entries: list[ObservationEntry | RejectedEntry] = [*read_observations(file), *read_rejected(file)]
                known |= {entry.file: entry.fingerprint for entry in entries}
    return known


def _write_part(files: Sequence[Path], parts: Path) -> None:
    """Read a batch of files and write its observations as one part, a store in the folder ``parts``."""
    entries: list[ObservationEntry] = []
    frames: list[NDArray[np.float32]] = []
    rejected: list[RejectedEntry] = []
    for path in files:
        fingerprint = Fingerprint.of(path)
        try:
            with _time_limit(_TIMEOUT_S):
                observation = read_observation(path)
            entry, kept = _gap_free_frames(observation, path, fingerprint)
            entries.append(entry)
            frames.append(kept)
        except RejectedFileError as error:
            # After a transient error the file is read again next time: no existing file has this fingerprint.
            recorded = NO_FILE if error.transient else fingerprint
            rejected.append(RejectedEntry(path.name, recorded, error.reason))
    name = hashlib.sha256("\n".join(map(str, files)).encode()).hexdigest()[:16]
    write_store(parts / f"{name}-{os.getpid()}.h5", entries, frames, rejected)


@contextmanager
def _time_limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in the block after ``seconds``: reading a damaged CDF file may never end.

    Without effect outside the main thread and on systems without SIGALRM.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not read within {seconds} s")

    previous_handler = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous_handler)


def _gap_free_frames(
    observation: Observation, path: Path, fingerprint: Fingerprint
) -> tuple[ObservationEntry, NDArray[np.float32]]:
    """Slice an observation and drop the frames that touch a gap; returns its entry and the frames (n, 3, 5000)."""
    samples = observation.flux.shape[1]
    if samples < FRAME_SAMPLES:
        raise RejectedFileError(path.name, f"shorter than one frame, {samples} of {FRAME_SAMPLES} samples")
    frames = slice_frames(observation.flux)
    gaps = np.isnan(frames.max(axis=2))  # the maximum is NaN if any sample is; several times faster than isnan on each
    complete = ~gaps.any(axis=1)
    name = FileName.parse(path.name) or FileName(1, observation.start, observation.observation_id)
    entry = ObservationEntry(
        file=path.name,
        fingerprint=fingerprint,
        key=name.key,
        observation_id=observation.observation_id,
        start=observation.start,
        samples=samples,
        simulator=observation.simulator,
        frames=tuple(np.flatnonzero(complete).tolist()),
        excluded={int(k): _gap_reason(gaps[k]) for k in np.flatnonzero(~complete)},
    )
    return entry, frames[complete]


def _gap_reason(gaps: NDArray[np.bool_]) -> str:
    return "touches a gap in " + ", ".join(p.name for p, gap in zip(PHOTOMETERS, gaps, strict=True) if gap)


def _digest(plan: _Plan, fingerprints: Mapping[str, Fingerprint]) -> str:
    """Return a digest of all that a store depends on; equal digests mean equal stores."""
    content = [
        FORMAT,
        sorted(fingerprints.items()),
        sorted((entry.file, entry.reason) for entry in plan.rejected),
        sorted((*place, label) for place, label in plan.labels.items()),
        sorted(plan.ground_truth),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _merge(
    sources: Iterable[Path], store: Path, plan: _Plan, fingerprints: Mapping[str, Fingerprint], digest: str
) -> None:
    """Write ``store`` from ``sources``: its earlier state and the parts.

    Only entries of the wanted version of a file are taken. If several sources hold it, the last one counts.
    """
    located: dict[str, tuple[ObservationEntry, Path, int]] = {}  # entry, the store it is in, row of its first frame
    rejected: dict[str, RejectedEntry] = {}
    for path in filter(is_store, sources):
        with h5py.File(path, "r") as file:
            first = 0
            for entry in read_observations(file):
                if fingerprints.get(entry.file) == entry.fingerprint:
                    located[entry.file] = (entry, path, first)
                first += len(entry.frames)
            rejected |= {e.file: e for e in read_rejected(file) if fingerprints.get(e.file) == e.fingerprint}
    ordered = [located[name] for name in sorted(located)]
    entries = [entry for entry, _, _ in ordered]
    # All files of a ground-truth observation are kept out of training: its other level, and its other format if the
    # label table names the FITS file and the archive holds the CDF file.
    keys = {name.key for file in plan.ground_truth if (name := FileName.parse(file))}
    keys |= {entry.key for entry in entries if entry.file in plan.ground_truth}
    write_store(
        store,
        entries,
        _read_frames(ordered),
        [*plan.rejected, *(rejected[name] for name in sorted(rejected))],
        plan.labels,
        [entry.key in keys for entry in entries],
        digest,
    )


def _read_frames(located: Sequence[tuple[ObservationEntry, Path, int]]) -> Iterator[NDArray[np.float32]]:
    """Yield the frames of observations in turn, in blocks; consecutive rows of one store are read together."""
    runs: list[tuple[Path, int, int]] = []  # a store, the first row, and the row after the last
    for entry, path, first in located:
        last = first + len(entry.frames)
        if runs and runs[-1][0] == path and runs[-1][2] == first:
            runs[-1] = (path, runs[-1][1], last)
        else:
            runs.append((path, first, last))
    last_use = {path: i for i, (path, _, _) in enumerate(runs)}
    stores: dict[Path, FrameStore] = {}
    for i, (path, first, last) in enumerate(runs):
        if path not in stores:
            stores[path] = FrameStore(path)
        for row in range(first, last, _COPY_FRAMES):
            yield stores[path].mapped[row : min(row + _COPY_FRAMES, last)]
        if last_use[path] == i:  # closed early, so that few files are open at a time
            stores.pop(path).file.close()


def _report(store: FrameStore, plan: _Plan, is_new: bool, files_read: int) -> BuildReport:
    table = store.table()
    report = BuildReport(
        store=store.path,
        is_new=is_new,
        files_read=files_read,
        observations=len(table.observations),
        frames=len(table.frame),
        labelled_frames=int((table.label != "").sum()),
        rejected=store.rejected,
        excluded=[ExcludedFrame(e.file, k, why) for e in table.observations for k, why in e.excluded.items()],
        label_problems=[*plan.label_problems, *_unplaced_labels(plan, table.observations, store.rejected)],
    )
    store.file.close()
    return report


def _unplaced_labels(
    plan: _Plan, observations: Sequence[ObservationEntry], rejected: Sequence[RejectedEntry]
) -> Iterator[str]:
    """Yield a line for each label whose frame is not in the store, and one line for all labels of a missing file."""
    entries = {entry.file: entry for entry in observations}
    reasons = {entry.file: entry.reason for entry in rejected}
    missing: dict[str, int] = {}
    for (file, frame), label in plan.labels.items():
        entry = entries.get(file)
        if entry is None:
            missing[file] = missing.get(file, 0) + 1
        elif frame in entry.excluded:
            yield f"{label} on frame {frame} of {file}: it {entry.excluded[frame]}"
        elif frame not in entry.frames:
            held = entry.samples // FRAME_SAMPLES
            yield f"{label} on frame {frame} of {file}: the file holds frames 0 to {held - 1}"
    for file, count in missing.items():
        why = f"rejected, {reasons[file]}" if file in reasons else "not in the archive"
        yield f"{count} frame(s) of {file}: {why}"
