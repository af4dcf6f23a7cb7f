"""Find the observation files in a folder."""

import os
from collections.abc import Iterator
from pathlib import Path

from asim_cvae.base.errors import InputError
from asim_cvae.instrument.observation import RejectedFileError

SUFFIXES = (".fits", ".cdf")


def discover(folder: Path) -> tuple[dict[str, Path], list[RejectedFileError]]:
    """Find all ``.fits`` and ``.cdf`` files in ``folder`` and its subfolders.

    Labels and results refer to files by base name. Of several files with the same name the first path is used and the
    others are rejected, as are names that cannot be printed.

    Returns:
        The path of each file by base name, and the rejected files.

    Raises:
        InputError: ``folder`` is no folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one that holds MMIA files (.fits or .cdf)")
    files: dict[str, Path] = {}
    rejected = []
    for path in sorted(_candidates(folder)):
        if not path.name.isprintable():
            rejected.append(RejectedFileError(str(path), "the name has characters that cannot be printed; rename it"))
            continue
        first = files.setdefault(path.name, path)
        if first != path:
            rejected.append(RejectedFileError(str(path), f"another file of this name is at {first}; rename one"))
    return files, rejected


def _candidates(folder: Path) -> Iterator[Path]:
    """Yield files with one of ``SUFFIXES``, except hidden ones and those in hidden folders.

    Links to folders are followed. Each folder is visited once, so that circular links end.
    """
    visited = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = Path(parent).resolve()
        folders[:] = [] if real in visited else sorted(name for name in folders if not name.startswith("."))
        if real not in visited:
            yield from (Path(parent, n) for n in names if not n.startswith(".") and Path(n).suffix.lower() in SUFFIXES)
        visited.add(real)
