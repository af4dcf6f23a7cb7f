"""An archive of files -> the frame store, in parallel, in steps that a kill does not lose."""

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

_PARTS = "[!.]*.h5"  # not what a killed program left half written
_SECONDS = 60  # a file
_BATCH = 32  # files a part: what a kill loses at most, and some 30 MB of a worker's memory
_SLAB = 50  # frames copied at a time, 3 MB
_FILES_A_WORKER = 300  # are read in the time in which another process starts


@dataclass(frozen=True)
class BuildReport:
    """What :func:`build_store` did, and what a user has to know of the result."""

    store: Path
    files_read: int
    observations: int
    frames: int
    labelled_frames: int
    rejected: Sequence[RejectedEntry] = ()
    excluded: Sequence[str] = ()
    label_problems: Sequence[str] = ()

    def lines(self) -> Iterator[str]:
        """The report as text."""
        for entry in self.rejected:
            yield f"rejected {entry.file}: {entry.reason}"
        for line in self.excluded:
            yield f"excluded {line}"
        for line in self.label_problems:
            yield f"label ignored, {line}"
        yield (
            f"{self.store}: {self.frames} frames of {self.observations} observations, {self.labelled_frames} labelled; "
            f"{self.files_read} files read now, {len(self.rejected)} rejected, {len(self.excluded)} frames excluded"
        )


@dataclass(frozen=True)
class _Plan:
    """The files a store is to be made of, and what their frames' labels and parts in the whole are."""

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
    """Bring ``store`` up to date with the folders: read what is new or changed, drop what is gone, set the labels.

    The result depends on the folders and the table alone, not on how often or when this was run or killed.

    Args:
        store: the HDF5 file to make or bring up to date.
        root: folder of the observations to train on.
        ground_truth_root: folder of those to score on; ``root`` where not given.
        ground_truth_table: label table; without one all of ``ground_truth_root`` is ground truth, without labels.
        workers: processes; where not given as many as there are cores, fewer for few files.

    Raises:
        InputError: no folder is given or one does not exist, it holds no usable file, or the table cannot be used.
    """
    plan = _plan(root, ground_truth_root, ground_truth_table)
    store.parent.mkdir(parents=True, exist_ok=True)
    parts = store.with_name(f"{store.name}.parts")
    with FileLock(f"{store}.lock"):
        fingerprints = plan.fingerprints()
        _refuse_other_file(store)
        known = _known(store, parts)
        new = [plan.files[name] for name in sorted(plan.files) if fingerprints[name] != known.get(name)]
        workers = workers or min(os.cpu_count() or 1, 1 + len(new) // _FILES_A_WORKER)
        for _ in map_batches(partial(_write_part, parts=parts), new, _BATCH, workers, "reading files"):
            pass  # each batch has left its part
        digest = _digest(plan, fingerprints)
        if new or not (is_store(store) and FrameStore(store).digest == digest):
            _merge([store, *sorted(parts.glob(_PARTS))], store, plan, fingerprints, digest)
        shutil.rmtree(parts, ignore_errors=True)
        return _report(FrameStore(store), plan, len(new))


def _refuse_other_file(store: Path) -> None:
    if not store.exists():
        return
    try:
        with h5py.File(store, "r") as file:
            ours = "format" in file.attrs and "frames" in file
    except OSError:
        ours = False
    if not ours:
        raise InputError(f"{store}: exists and is no frame store; give data.store another file")


def _plan(root: Path | None, ground_truth_root: Path | None, table: Path | None) -> _Plan:
    folders = [folder for folder in (root, ground_truth_root) if folder is not None]
    if not folders:
        raise InputError("no data: give data.root=FOLDER, or data.ground_truth.root=FOLDER to score alone")
    nothing: tuple[dict[str, Path], list[RejectedFileError]] = ({}, [])
    pool, pool_twice = discover(root) if root else nothing
    scored, scored_twice = discover(ground_truth_root) if ground_truth_root else nothing
    labels = LabelTable({}) if table is None else read_labels(table)
    ground_truth = frozenset(scored) if table is None else labels.files
    if table is None and pool and set(scored) >= set(pool):
        raise InputError(
            f"{ground_truth_root}: holds all of data.root; give data.ground_truth.table, or another folder"
        )
    files = pool | {name: path for name, path in scored.items() if name in ground_truth}
    if not files:
        raise InputError(f"{', '.join(map(str, folders))}: no MMIA file (.fits or .cdf) to use")
    rejected = {
        e.file: RejectedEntry(e.file, Fingerprint.of(Path(e.file)), e.reason) for e in (*pool_twice, *scored_twice)
    }
    return _Plan(files, list(rejected.values()), labels.labels, ground_truth, labels.problems)


def _known(store: Path, parts: Path) -> dict[str, Fingerprint]:
    """Files that the store or a part of it holds already."""
    known: dict[str, Fingerprint] = {}
    for path in (store, *sorted(parts.glob(_PARTS))):
        if is_store(path):
            with h5py.File(path, "r") as file:
                entries: list[ObservationEntry | RejectedEntry] = [*read_observations(file), *read_rejected(file)]
                known |= {entry.file: entry.fingerprint for entry in entries}
    return known


def _write_part(files: Sequence[Path], parts: Path) -> None:
    """Read a batch of files into a store of its own in ``parts``."""
    entries: list[ObservationEntry] = []
    frames: list[NDArray[np.float32]] = []
    rejected: list[RejectedEntry] = []
    for path in files:
        fingerprint = Fingerprint.of(path)
        try:
            with _time_limit(_SECONDS):
                observation = read_observation(path)
            entry, kept = _frames_of(observation, path, fingerprint)
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
    """TimeoutError after ``seconds``, in a main thread: a damaged CDF file can keep its reader busy for ever."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not read within {seconds} s")

    usual = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, usual)


def _frames_of(
    observation: Observation, path: Path, fingerprint: Fingerprint
) -> tuple[ObservationEntry, NDArray[np.float32]]:
    samples = observation.flux.shape[1]
    if samples < FRAME_SAMPLES:
        raise RejectedFileError(path.name, f"shorter than one frame, {samples} of {FRAME_SAMPLES} samples")
    frames = slice_frames(observation.flux)
    gaps = np.isnan(frames.max(axis=2))  # NaN where one is: several times as fast as to ask each sample
    whole = ~gaps.any(axis=1)
    name = FileName.parse(path.name) or FileName(1, observation.start, observation.observation_id)
    entry = ObservationEntry(
        file=path.name,
        fingerprint=fingerprint,
        key=name.key,
        observation_id=observation.observation_id,
        start=observation.start,
        samples=samples,
        simulator=observation.simulator,
        frames=tuple(np.flatnonzero(whole).tolist()),
        excluded={int(k): _gap_reason(gaps[k]) for k in np.flatnonzero(~whole)},
    )
    return entry, frames[whole]


def _gap_reason(gaps: NDArray[np.bool_]) -> str:
    return "touches a gap in " + ", ".join(p.name for p, gap in zip(PHOTOMETERS, gaps, strict=True) if gap)


def _digest(plan: _Plan, fingerprints: Mapping[str, Fingerprint]) -> str:
    """Changes when a store made by ``plan`` would."""
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
    """Write ``store`` from earlier stores, of which later ones hold the newer state of a file."""
    found: dict[str, tuple[ObservationEntry, Path, int]] = {}
    rejected: dict[str, RejectedEntry] = {}
    for path in filter(is_store, sources):
        with h5py.File(path, "r") as file:
            first = 0
            for entry in read_observations(file):
                if fingerprints.get(entry.file) == entry.fingerprint:
                    found[entry.file] = (entry, path, first)
                first += len(entry.frames)
            rejected |= {e.file: e for e in read_rejected(file) if fingerprints.get(e.file) == e.fingerprint}
    ordered = [found[name] for name in sorted(found)]
    entries = [entry for entry, _, _ in ordered]
    # Every file of a labelled observation is kept from training: its Level 0 twin, and a FITS file labelled as a CDF.
    keys = {name.key for file in plan.ground_truth if (name := FileName.parse(file))}
    keys |= {entry.key for entry in entries if entry.file in plan.ground_truth}
    write_store(
        store,
        entries,
        _frames_from(ordered),
        [*plan.rejected, *(rejected[name] for name in sorted(rejected))],
        plan.labels,
        [entry.key in keys for entry in entries],
        digest,
    )


def _frames_from(places: Sequence[tuple[ObservationEntry, Path, int]]) -> Iterator[NDArray[np.float32]]:
    """The frames of the places in turn, many at a time where they stand together."""
    runs: list[tuple[Path, int, int]] = []  # a file, its first row, and the one after the last
    for entry, path, first in places:
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
        for row in range(first, last, _SLAB):
            yield stores[path].mapped[row : min(row + _SLAB, last)]
        if last_use[path] == i:  # so that few are open at a time
            stores.pop(path).file.close()


def _report(store: FrameStore, plan: _Plan, files_read: int) -> BuildReport:
    table = store.table()
    report = BuildReport(
        store=store.path,
        files_read=files_read,
        observations=len(table.observations),
        frames=len(table.frame),
        labelled_frames=int((table.label != "").sum()),
        rejected=store.rejected,
        excluded=[f"frame {k} of {e.file}: {why}" for e in table.observations for k, why in e.excluded.items()],
        label_problems=[*plan.label_problems, *_unplaced_labels(plan, table.observations, store.rejected)],
    )
    store.file.close()
    return report


def _unplaced_labels(
    plan: _Plan, observations: Sequence[ObservationEntry], rejected: Sequence[RejectedEntry]
) -> Iterator[str]:
    """A line for each label without a frame, one for all labels of a file that is not there."""
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
