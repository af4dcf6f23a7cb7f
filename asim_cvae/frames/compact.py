"""Write what counts into as few shards as a fresh store has."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_cvae.base.progress import track
from asim_cvae.frames.shards import NO_VERSION, SHARD_FILES, shard_name, shard_path, versions, write_shard
from asim_cvae.frames.store import FrameStore
from asim_cvae.frames.tables import Tables, choose

_COPIED_FRAMES = 50  # at a time, 3 MB


def compact_shards(store: Path) -> set[str]:
    """Write shards of all that the index counts, where they are not there yet; the names of these shards.

    Raises:
        InputError: a frame is not as it was written.
    """
    names = set()
    with FrameStore(store) as frames:
        for observations, rejected in track(_batches(frames.table), "compacting", "shard"):
            part = choose(frames.table, observations, rejected)
            name = shard_name(versions(part))
            if not shard_path(store, name).exists():
                write_shard(store, part, _flux(frames, observations))
            names.add(name)
    return names


def _batches(tables: Tables) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows of observations and of rejected files of each shard: those that a fresh store would have."""
    files = sorted((file, row) for row, (file, version) in enumerate(versions(tables)) if version != NO_VERSION)
    rows = [row for _, row in files]
    batches = [np.array(rows[i : i + SHARD_FILES]) for i in range(0, len(rows), SHARD_FILES)]
    count = len(tables.observations)
    return [(batch[batch < count], batch[batch >= count] - count) for batch in batches]


def _flux(frames: FrameStore, observations: NDArray[np.integer[Any]]) -> Iterator[NDArray[np.float32]]:
    rows = np.flatnonzero(np.isin(frames.table.observation, observations))
    for first in range(0, len(rows), _COPIED_FRAMES):
        yield frames.frames(rows[first : first + _COPIED_FRAMES])
