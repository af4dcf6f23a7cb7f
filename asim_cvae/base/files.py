"""Files that appear whole or not at all."""

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A name to write to; the file appears as ``path`` when all went well, and not at all otherwise.

    What a killed program left under that name is written over.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def file_digest(path: Path) -> str:
    """Eight letters of a file's SHA-256, which tell it from others."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:8]


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as JSON. NaN and infinity, which JSON lacks, raise ValueError."""
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
    with atomic_write(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as an ``.npz`` of the same bytes for the same arrays (``np.savez`` takes no array named 'file')."""
    with atomic_write(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)
