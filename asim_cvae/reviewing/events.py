"""Light curves of selected events in one file, to send to a colleague."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from asim_cvae.archive.reader import read_observation
from asim_cvae.archive.remote import Place
from asim_cvae.archive.sheets import without_apostrophe
from asim_cvae.base.errors import InputError, first_line, printable
from asim_cvae.base.files import write_npz
from asim_cvae.base.progress import track
from asim_cvae.instrument.observation import Observation, RejectedFileError

_MOST = 100_000  # events of a table


def write_events(table: Path, paths: Mapping[str, Place], out: Path) -> list[str]:
    """Write the light curves of the observations that a table lists, as NumPy arrays.

    With N observations of T_i samples: ``flux`` (3, sum of T_i) in uW/m^2, one observation after the other, NaN in
    gaps; ``first`` (N + 1,), the first sample of each and the end of the last; ``flux_per_count`` (N, 3) in uW/m^2;
    ``start_utc`` (N,) of the first samples; ``file``, ``observation_id`` and ``frame`` (N,), the frame of 50 ms that
    the event was selected for, or -1.

    Args:
        table: csv with the columns ``file`` and, if need be, ``frame``, as the page exports it.
        paths: of the files, by name.
        out: file to write, ``.npz``.

    Returns:
        A line for each row that is left out, with the reason.

    Raises:
        InputError: the table cannot be read, or no row of it leads to an observation.
    """
    found: list[tuple[Observation, int]] = []
    problems = []
    for name, frame in track(_rows(table), "reading", "event"):
        try:
            if name not in paths:
                raise RejectedFileError(name, "is in none of the triage's folders any more")
            found.append((read_observation(paths[name]), frame))
        except RejectedFileError as error:
            problems.append(str(error))
    if not found:
        raise InputError(f"{table}: no row leads to an observation; {problems[0] if problems else 'it has no rows'}")
    observations = [observation for observation, _ in found]
    arrays = {
        "flux": np.concatenate([observation.flux for observation in observations], axis=1),
        "first": np.cumsum([0, *(observation.flux.shape[1] for observation in observations)]),
        "flux_per_count": np.stack([observation.flux_per_count for observation in observations]),
        "start_utc": np.array([observation.start for observation in observations], "M8[us]"),
        "file": np.array([observation.source for observation in observations]),
        "observation_id": np.array([observation.observation_id for observation in observations]),
        "frame": np.array([frame for _, frame in found]),
    }
    write_npz(out, arrays)
    return problems


def _rows(table: Path) -> list[tuple[str, int]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if "file" not in (reader.fieldnames or ()):
                raise InputError(f"events={table}: has no column file; export events from the page")
            rows = [(row["file"] or "", row.get("frame") or "") for row, _ in zip(reader, range(_MOST), strict=False)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"events={table}: cannot be read ({first_line(error)})") from error
    return [(printable(without_apostrophe(file)), int(frame) if frame.isdecimal() else -1) for file, frame in rows]
