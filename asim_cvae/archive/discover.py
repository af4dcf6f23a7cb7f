"""Which observation files a folder holds."""

from pathlib import Path

from asim_cvae.errors import InputError
from asim_cvae.observation import RefusedFileError

SUFFIXES = (".fits", ".cdf")


def discover(folder: Path) -> tuple[dict[str, Path], list[RefusedFileError]]:
    """All ``.fits`` and ``.cdf`` files below ``folder``, by base name, and those refused because their name is taken.

    Labels and results go by base name: of several files with one name the first path counts.

    Raises:
        InputError: ``folder`` is no folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one that holds MMIA files (.fits or .cdf)")
    files: dict[str, Path] = {}
    refused = []
    for path in sorted(path for path in folder.rglob("*") if _is_candidate(path, folder)):
        first = files.setdefault(path.name, path)
        if first != path:
            refused.append(RefusedFileError(str(path), f"another file of this name is at {first}"))
    return files, refused


def _is_candidate(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix.lower() in SUFFIXES and not hidden and not path.is_dir()
