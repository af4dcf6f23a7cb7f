"""Which observation files a folder holds."""

import os
from collections.abc import Iterator
from pathlib import Path

from asim_cvae.base.errors import InputError
from asim_cvae.instrument.observation import RejectedFileError

SUFFIXES = (".fits", ".cdf")


def discover(folder: Path) -> tuple[dict[str, Path], list[RejectedFileError]]:
    """All ``.fits`` and ``.cdf`` files below ``folder``, by base name, and those rejected because their name is taken.

    Labels and results go by base name: of several files with one name the first path counts.

    Raises:
        InputError: ``folder`` is no folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one that holds MMIA files (.fits or .cdf)")
    files: dict[str, Path] = {}
    rejected = []
    for path in sorted(_candidates(folder)):
        if not path.name.isprintable():
            rejected.append(RejectedFileError(str(path), "a name with characters that do not print; rename the file"))
            continue
        first = files.setdefault(path.name, path)
        if first != path:
            rejected.append(RejectedFileError(str(path), f"another file of this name is at {first}"))
    return files, rejected


def _candidates(folder: Path) -> Iterator[Path]:
    """Files by suffix, hidden ones and folders aside; links to folders are followed, each folder visited once."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = Path(place).resolve()
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real not in seen:
            yield from (Path(place, n) for n in names if not n.startswith(".") and Path(n).suffix.lower() in SUFFIXES)
        seen.add(real)
