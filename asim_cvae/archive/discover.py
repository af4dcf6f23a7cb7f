"""Find the observation files in a folder."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePath

from asim_cvae.archive.layout import has_known_suffix, looks_like_an_observation
from asim_cvae.archive.remote import (
    Place,
    RemoteFile,
    RemoteFolder,
    Root,
    as_root,
    is_refusal,
    unreadable_folder,
)
from asim_cvae.base.errors import InputError
from asim_cvae.instrument.observation import RejectedFileError


def find_root(text: str) -> Root:
    """Return the folder that a setting names, by path or address.

    Raises:
        InputError: there is no such folder.
    """
    root = as_root(text)
    if isinstance(root, RemoteFolder):
        root.check()
    else:
        _check_folder(root)
    return root


def discover(root: Root) -> tuple[dict[str, Place], list[RejectedFileError]]:
    """Find all files with a suffix of FITS or CDF, compressed or not, in ``root`` and its subfolders.

    Labels and results refer to files by base name. Of several files with the same name the first path is used and the
    others are rejected. So are names that cannot be printed, MMIA's names with another suffix, and folders that cannot
    be read. Rejected ones are named by their paths within ``root``.

    Returns:
        The place of each file by base name, and the rejected files and folders.

    Raises:
        InputError: ``root`` is no folder, or cannot be listed as a whole: files that a list lacks count as deleted.
    """
    files: dict[str, Place] = {}
    rejected: list[RejectedFileError] = []
    for place in sorted(_all_files(root, rejected), key=lambda place: place.parts):
        if not has_known_suffix(place.name):
            if looks_like_an_observation(place.name):
                rejected.append(RejectedFileError(_within(root, place), _suffix_problem(place.name)))
            continue
        if not place.name.isprintable():
            problem = "the name has characters that cannot be printed; rename it"
            rejected.append(RejectedFileError(_within(root, place), problem))
            continue
        first = files.setdefault(place.name, place)
        if first != place:
            used, other = sorted((first, place), key=lambda place: not _is_file(place))
            files[place.name] = used
            problem = f"another file of this name is at {_within(root, used)}; rename one"
            rejected.append(RejectedFileError(_within(root, other), problem))
    return _looked_up(files, rejected), rejected


def _within(root: Root, place: Place) -> str:
    """The path of a file within its folder: what is told of it is the same wherever the folder is."""
    return str(place).removeprefix(f"{root}/")


def _all_files(root: Root, unreadable: list[RejectedFileError]) -> Iterator[Place]:
    if isinstance(root, RemoteFolder):
        return root.files(unreadable)
    _check_folder(root)
    return _visible_files(root, unreadable)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one that holds MMIA files (.fits or .cdf)")


def _looked_up(files: dict[str, Place], rejected: list[RejectedFileError]) -> dict[str, Place]:
    """Return the files, after a look at those of which the listing does not tell enough, as on web servers."""
    known: dict[str, Place] = {}
    for name, place in files.items():
        try:
            is_unclear = isinstance(place, RemoteFile) and not place.is_known
            known[name] = place.looked_up() if is_unclear else place  # type: ignore[union-attr]
        except RejectedFileError as error:
            if error.transient and not is_refusal(error.__cause__):
                raise InputError(f"{place}: {error.reason}, so that the list has a hole; try again") from error
            rejected.append(error)
    return known


def _visible_files(folder: Path, unreadable: list[RejectedFileError]) -> Iterator[Path]:
    """Yield files, except hidden ones and those in hidden folders, and add to ``unreadable`` what cannot be listed.

    Links to folders are followed. Each folder is visited once, so that circular links end.
    """

    def note(error: OSError) -> None:
        inside = os.path.relpath(error.filename, folder)
        unreadable.append(unreadable_folder(str(folder) if inside == "." else inside, str(error.strerror)))

    visited = set()
    for parent, folders, names in os.walk(folder, onerror=note, followlinks=True):
        real = os.path.realpath(parent)
        folders[:] = [] if real in visited else sorted(name for name in folders if not name.startswith("."))
        if real not in visited:
            yield from (Path(parent, name) for name in names if not name.startswith("."))
        visited.add(real)


def _is_file(place: Place) -> bool:
    """Whether a file is there, no pipe, and no link to nothing."""
    try:
        return place.is_file()
    except OSError:
        return False


def _suffix_problem(name: str) -> str:
    suffix = PurePath(name).suffix
    suffix = f"the suffix {suffix} is not read" if suffix else "the name has no suffix"
    return f"{suffix}; unpack it or rename it, to .fits, .cdf, .fits.gz or .cdf.gz"
