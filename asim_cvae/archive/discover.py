"""Find the observation files in a folder."""

import os
from collections.abc import Iterator
from pathlib import Path

from asim_cvae.archive.layout import has_known_suffix, looks_like_an_observation
from asim_cvae.base.errors import InputError
from asim_cvae.instrument.observation import RejectedFileError


def discover(folder: Path) -> tuple[dict[str, Path], list[RejectedFileError]]:
    """Find all files with a suffix of FITS or CDF, compressed or not, in ``folder`` and its subfolders.

    Labels and results refer to files by base name. Of several files with the same name the first path is used and the
    others are rejected. So are names that cannot be printed, MMIA's names with another suffix, and folders that cannot
    be read.

    Returns:
        The path of each file by base name, and the rejected files and folders.

    Raises:
        InputError: ``folder`` is no folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one that holds MMIA files (.fits or .cdf)")
    files: dict[str, Path] = {}
    rejected: list[RejectedFileError] = []
    for path in sorted(_visible_files(folder, rejected)):
        if not has_known_suffix(path.name):
            if looks_like_an_observation(path.name):
                rejected.append(RejectedFileError(str(path), _suffix_problem(path)))
            continue
        if not path.name.isprintable():
            rejected.append(RejectedFileError(str(path), "the name has characters that cannot be printed; rename it"))
            continue
        first = files.setdefault(path.name, path)
        if first != path:
            used, other = sorted((first, path), key=lambda path: not _is_file(path))
            files[path.name] = used
            rejected.append(RejectedFileError(str(other), f"another file of this name is at {used}; rename one"))
    return files, rejected


def _visible_files(folder: Path, unreadable: list[RejectedFileError]) -> Iterator[Path]:
    """Yield files, except hidden ones and those in hidden folders, and add to ``unreadable`` what cannot be listed.

    Links to folders are followed. Each folder is visited once, so that circular links end.
    """

    def note(error: OSError) -> None:
        reason = f"the folder cannot be read ({error.strerror}), and no file in it is used; make it readable"
        unreadable.append(RejectedFileError(str(error.filename), reason))

    visited = set()
    for parent, folders, names in os.walk(folder, onerror=note, followlinks=True):
        real = os.path.realpath(parent)
        folders[:] = [] if real in visited else sorted(name for name in folders if not name.startswith("."))
        if real not in visited:
            yield from (Path(parent, name) for name in names if not name.startswith("."))
        visited.add(real)


def _is_file(path: Path) -> bool:
    """Whether a file is at ``path``, no pipe, and no link to nothing."""
    try:
        return path.is_file()
    except OSError:
        return False


def _suffix_problem(path: Path) -> str:
    suffix = f"the suffix {path.suffix} is not read" if path.suffix else "the name has no suffix"
    return f"{suffix}; unpack it or rename it, to .fits, .cdf, .fits.gz or .cdf.gz"
