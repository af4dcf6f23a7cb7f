"""Name the checkpoints of a run folder, and read them without unpickling, checksums verified."""

import json
import logging
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from msgspec import Meta

from asim_cvae.base.documents import Count, checked, parse_json
from asim_cvae.base.errors import InputError, first_line, is_machines_fault
from asim_cvae.runs.description import Description, read_description
from asim_cvae.runs.weights import MOST_BYTES

log = logging.getLogger(__name__)

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"

CHECKPOINT_KEY = "asim_cvae"
"""Key of a checkpoint, beside Lightning's own, under which its model is described."""

MOST_CHECKPOINT_BYTES = 4 * MOST_BYTES
"""Largest size of a checkpoint: beside each weight, optimisers keep two values or three."""

_MOST_VALUES = 200_000  # a run of the thesis's network has 1,000
_MOST_DEEP = 50  # levels of nesting


@dataclass(frozen=True)
class Checkpoint:
    """What is read of a checkpoint.

    Attributes:
        description: the model but its weights.
        weights: what stands there as its weights, by name; not compared with the network's.
    """

    description: Description
    weights: Mapping[str, Any]


@dataclass(frozen=True)
class _Content:
    """What Lightning and this program keep in a checkpoint, as far as it is looked at here."""

    state_dict: dict[str, Any]
    optimizer_states: list[dict[str, Any]]
    lr_schedulers: list[Any]
    loops: dict[str, Any]
    callbacks: dict[str, Any]
    epoch: Count
    global_step: Count
    scheduled_epochs: Annotated[int, Meta(ge=1)]


def latest_checkpoint(folder: Path) -> tuple[Path, Checkpoint] | None:
    """Return the newest undamaged checkpoint in ``folder`` and its content; None if there is none.

    A damaged checkpoint is renamed: otherwise the next save would keep it in place of the good one before it.

    Raises:
        InputError: a checkpoint is whole, but not one that this version of the program wrote; or the machine is to
            blame for its not being read.
    """
    for path in (folder / LAST, folder / PREVIOUS):
        if path.exists():
            try:
                return path, _checkpoint(load_plain(path))
            except InputError as error:
                raise InputError(f"{path}: {error}") from error
            except Exception as error:  # torch and zipfile raise errors of many types on damaged files
                log.warning("%s is damaged (%s); renamed to .damaged", path, first_line(error))
                path.replace(path.with_suffix(".damaged"))
    return None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of plain types whose checksums are right.

    Raises:
        InputError: it is damaged, or not one that this version of the program wrote. The path is not named.
    """
    try:
        content = load_plain(path)
    except InputError:
        raise
    except Exception as error:  # torch and zipfile raise errors of many types on damaged files
        raise InputError(f"is no checkpoint, or damaged ({first_line(error)}); copy it again") from error
    return _checkpoint(content)


def load_plain(path: Path) -> Any:
    """Load a checkpoint of plain types, checksums verified.

    Raises:
        InputError: it is too large, or the machine is to blame for its not being read. The path is not named.
        Exception: it is damaged; of any type, as torch and zipfile raise many.
    """
    try:
        return _load(path)
    except Exception as error:
        if is_machines_fault(error):
            raise InputError(f"cannot be read at present ({first_line(error)}); try again") from error
        raise


def _load(path: Path) -> Any:
    size = path.stat().st_size
    if size > MOST_CHECKPOINT_BYTES:
        raise InputError(f"{size:,} bytes are no checkpoint")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        # torch compresses nothing; a small file could unfold to any size.
        if any(entry.compress_type for entry in entries) or sum(entry.file_size for entry in entries) > size:
            raise zipfile.BadZipFile("its parts are larger than the file")
        damaged = archive.testzip()  # torch does not verify checksums
    if damaged is not None:
        raise zipfile.BadZipFile(f"checksum of {damaged}")
    return torch.load(path, map_location="cpu", weights_only=True)


def _checkpoint(content: Any) -> Checkpoint:
    """Check what a file of plain types holds, before any of it is used.

    Raises:
        InputError: it is not what this version of the program writes.
    """
    _refuse_unfolding(content)
    if not isinstance(content, dict) or not isinstance(content.get(CHECKPOINT_KEY), dict):
        raise InputError("not a checkpoint of this program")
    checked(content, _Content)
    try:
        description = json.dumps(content[CHECKPOINT_KEY], allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"its model is not described by plain values ({first_line(error)})") from error
    return Checkpoint(read_description(parse_json(description)), content["state_dict"])


def _refuse_unfolding(content: Any) -> None:
    """Raise InputError if values are nested deeply, or one within the other so often that copies would fill memory."""
    waiting, seen = [(content, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if seen > _MOST_VALUES or depth > _MOST_DEEP:
            raise InputError(f"more than {_MOST_VALUES:,} values, or {_MOST_DEEP} levels of them")
        if isinstance(value, dict):
            waiting += [(inner, depth + 1) for inner in value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += [(inner, depth + 1) for inner in value]
