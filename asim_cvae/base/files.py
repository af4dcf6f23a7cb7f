"""Files that appear whole or not at all."""

import hashlib
import json
import secrets
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PARTIAL = ".partial-"
_LEFT_AFTER_S = 3600.0


@contextmanager
def atomic_write(path: Path, shared: bool = False) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename it to ``path`` when the block ends.

    If the block raises, the temporary file is deleted and ``path`` stays as it was. Missing parent folders are made. A
    temporary file that a killed program left behind is overwritten; that of a ``shared`` path, which another program
    may write at the same time, has a name of its own and is left to :func:`remove_leftovers`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    own = f"{secrets.token_hex(4)}-" if shared else ""
    partial = path.with_name(f"{_PARTIAL}{own}{path.name}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove_leftovers(folder: Path, after_s: float = _LEFT_AFTER_S) -> None:
    """Delete temporary files that killed programs left in ``folder``: those that nobody wrote to for ``after_s`` s."""
    for path in folder.glob(f"{_PARTIAL}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime >= after_s:
                path.unlink()


def can_be_folder(path: Path) -> bool:
    """Tell whether ``path`` is a folder, or none of the folders that it would be made in is a file."""
    return next(place for place in (path, *path.parents) if place.exists()).is_dir()


def file_digest(path: Path) -> str:
    """Eight letters of a file's SHA-256, which tell it from others."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:8]


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as indented JSON.

    Raises:
        ValueError: ``content`` holds NaN or infinity, which JSON lacks.
    """
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
    with atomic_write(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name as an ``.npz`` file; the same arrays give the same bytes.

    ``np.savez`` would not take an array named 'file'.
    """
    with atomic_write(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)
