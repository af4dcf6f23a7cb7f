"""Read observation files into shards."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asim_cvae.archive.reader import read_observation
from asim_cvae.archive.remote import Place
from asim_cvae.base.errors import first_line, is_machines_fault
from asim_cvae.base.limits import limited
from asim_cvae.base.workers import WorkerDiedError
from asim_cvae.frames.columns import EXCLUDED, FRAMES, OBSERVATIONS, REJECTED, ROWS, make_table, observed
from asim_cvae.frames.shards import Fingerprint, checksums, shard_name, shard_path, write_shard
from asim_cvae.frames.slicing import FRAME_SAMPLES, frame_times, slice_frames
from asim_cvae.frames.tables import Tables, concatenate, no_tables
from asim_cvae.instrument.observation import Observation, RejectedFileError
from asim_cvae.instrument.photometers import PHOTOMETERS

_AGAIN = "it is tried again next time"

File = tuple[Place, Fingerprint]
"""A file to read, and the version of it that is wanted."""


def read_into_shard(files: Sequence[File], store: Path) -> dict[str, str]:
    """Read a batch of files into a shard of ``store``, unless another program has just done so.

    Returns:
        The reason of each file that could not be read this time, by its name: the machine was to blame, not the file.
    """
    if shard_path(store, shard_name((path.name, version) for path, version in files)).exists():
        return {}
    parts, flux, unread = [], [], {}
    for path, version in files:
        try:
            tables, kept = _read(path, version)
            parts.append(tables)
            flux.append(kept)
        except RejectedFileError as error:
            if error.transient:
                unread[path.name] = f"{error.reason}; {_AGAIN}"
            else:
                parts.append(_rejected(path.name, version, error.reason))
    if parts:
        write_shard(store, concatenate(parts), flux)
    return unread


def give_up(file: File, death: WorkerDiedError, store: Path) -> dict[str, str]:
    """Reject a file that ends each process that reads it, in a shard of its own; returns as :func:`read_into_shard`."""
    path, version = file
    error = deadly(path, death)
    if error.transient:
        return {path.name: error.reason}
    write_shard(store, _rejected(path.name, version, error.reason), [])
    return {}


def deadly(path: Place, death: WorkerDiedError) -> RejectedFileError:
    """Say why a file is rejected that ends each process that reads it.

    Whoever is killed from outside has been so for want of memory, as a rule: the file is left for another time.
    """
    reason = f"its reading ended the process three times ({death.how})"
    if death.how == "SIGKILL":
        return RejectedFileError(path.name, f"{reason}, as where memory runs out; {_AGAIN}", transient=True)
    return RejectedFileError(path.name, f"{reason}; replace it, or touch it to have it tried again")


def _read(path: Place, version: Fingerprint) -> tuple[Tables, NDArray[np.float32]]:
    """Read and slice a file; raises RejectedFileError, whatever it is that goes wrong."""
    return sliced(read_version(path, version), version)


def read_version(path: Place, version: Fingerprint) -> Observation:
    """Read a version of a file, within limits of time and memory.

    Raises:
        RejectedFileError: whatever it is that goes wrong, or the file is another by now.
    """
    try:
        with limited():
            observation = read_observation(path)
        if Fingerprint.now(path) != version:
            raise RejectedFileError(path.name, "was changed while it was read", transient=True)
    except (ImportError, RejectedFileError):  # a broken installation is no broken file
        raise
    except Exception as error:  # whatever a damaged file leads to, the others are read
        reason = f"cannot be read ({first_line(error)})"
        raise RejectedFileError(path.name, reason, is_machines_fault(error)) from error
    return observation


def sliced(observation: Observation, version: Fingerprint) -> tuple[Tables, NDArray[np.float32]]:
    """Slice an observation and drop the frames that touch a gap: its tables, and the flux of the others, (n, 3, 5000).

    Raises:
        RejectedFileError: it is shorter than a frame.
    """
    samples = observation.flux.shape[1]
    if samples < FRAME_SAMPLES:
        raise RejectedFileError(observation.source, f"shorter than one frame, {samples} of {FRAME_SAMPLES} samples")
    flux = slice_frames(observation.flux)
    gaps = np.isnan(flux.max(axis=2))  # the maximum is NaN if any sample is; several times faster than isnan on each
    complete, incomplete = np.flatnonzero(~gaps.any(axis=1)), np.flatnonzero(gaps.any(axis=1))
    kept = np.ascontiguousarray(flux[complete])
    times = frame_times(complete, observation.start, observation.row_sample, observation.row_start)
    described = {"file": observation.source, **version._asdict(), **observed(OBSERVATIONS, observation)}
    tables = Tables(
        observations=make_table(OBSERVATIONS, 1, described),
        rows=make_table(ROWS, len(observation.row_sample), observed(ROWS, observation)),
        frames=make_table(FRAMES, len(kept), {"frame": complete, "time": times, "checksum": checksums(kept)}),
        excluded=make_table(
            EXCLUDED, len(incomplete), {"frame": incomplete, "reason": [_gap_reason(gaps[k]) for k in incomplete]}
        ),
        rejected=no_tables().rejected,
    )
    return tables, kept


def _gap_reason(gaps: NDArray[np.bool_]) -> str:
    return "touches a gap in " + ", ".join(p.name for p, gap in zip(PHOTOMETERS, gaps, strict=True) if gap)


def _rejected(file: str, version: Fingerprint, reason: str) -> Tables:
    rejected = make_table(REJECTED, 1, {"file": file, **version._asdict(), "reason": reason})
    return Tables(**{**vars(no_tables()), "rejected": rejected})
