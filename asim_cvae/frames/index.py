"""The index of a store: which rows of which shards count, with their labels. It follows from shards and plan alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asim_cvae.frames.columns import REJECTED, SHARDS, TABLES, Table, make_table
from asim_cvae.frames.hdf import FORMAT, check_format, open_hdf, read_table, write_hdf, write_table
from asim_cvae.frames.plan import Plan
from asim_cvae.frames.shards import Shard, shard_path, versions
from asim_cvae.frames.tables import Tables, choose, concatenate, content_digest


@dataclass(frozen=True)
class Index:
    """The index of a store.

    Attributes:
        tables: the tables of all that counts, in the order of file names.
        shards: the shards that hold it.
        plan: digest of the plan that the store fulfils; '' where files could not be read this time.
        digest: digest of the content.
    """

    tables: Tables
    shards: Table
    plan: str
    digest: str

    def is_whole(self, store: Path) -> bool:
        """Whether all shards are there, as long as they were."""
        try:
            return all(
                shard_path(store, name).stat().st_size == size
                for name, size in zip(self.shards["name"].tolist(), self.shards["size"].tolist(), strict=True)
            )
        except FileNotFoundError:
            return False


def index_path(store: Path) -> Path:
    """Path of the index of a store."""
    return store / "index.h5"


def read_index(store: Path) -> Index:
    """Read the index of a store.

    Raises:
        DamagedError: it is of another version, cut short, or not as it was written.
        OSError: the system cannot read it.
    """
    path = index_path(store)
    with open_hdf(path) as file:
        check_format(file, path)
        tables = Tables(**{name: read_table(file, name, columns) for name, columns in TABLES.items()})
        shards = read_table(file, "shards", SHARDS)
        return Index(tables, shards, str(file.attrs["plan"]), str(file.attrs["digest"]))


def write_index(store: Path, index: Index) -> None:
    """Write the index of a store."""
    with write_hdf(index_path(store), {"plan": index.plan, "digest": index.digest}) as file:
        for name, columns in TABLES.items():
            write_table(file, name, getattr(index.tables, name), columns)
        write_table(file, "shards", index.shards, SHARDS)


def make_index(plan: Plan, shards: Iterable[Shard], unread: Mapping[str, str]) -> Index:
    """The index that follows from a plan and the shards that are there.

    Args:
        plan: what the store should hold.
        shards: the shards; they may hold more.
        unread: the reason of each file that could not be read this time.
    """
    ordered = sorted(shards, key=lambda shard: shard.name)
    for i, shard in enumerate(ordered):
        shard.tables.frames["shard"] = i
    held = concatenate([shard.tables for shard in ordered])
    chosen = choose(held, *_wanted(plan, held))
    tables = Tables(**{**vars(chosen), "rejected": _with_unread(chosen.rejected, {**plan.rejected, **unread})})
    tables.observations["ground_truth"] = plan.is_ground_truth(tables)
    frames = make_table(
        TABLES["frames"],
        len(tables.frames),
        {**{name: tables.frames[name] for name in tables.frames.dtype.names or ()}, "label": plan.labels_of(tables)},
    )
    tables = Tables(**{**vars(tables), "frames": frames})
    used = np.unique(frames["shard"])
    frames["shard"] = np.searchsorted(used, frames["shard"])
    listed = [ordered[i] for i in used.tolist()]
    columns = {name: [getattr(shard, name) for shard in listed] for name in ("name", "size", "offset")}
    counts = [len(shard.tables.frames) for shard in listed]
    table = make_table(SHARDS, len(listed), {**columns, "frames": counts})
    return Index(tables, table, "" if unread else plan.digest, content_digest(tables, FORMAT))


def _wanted(plan: Plan, held: Tables) -> tuple[np.ndarray, np.ndarray]:
    """Rows of observations and of rejected files that count: of each wanted version of a file one, by its name."""
    rows: dict[str, int] = {}
    for row, (file, version) in enumerate(versions(held)):
        if plan.versions.get(file) == version:
            rows.setdefault(file, row)
    ordered = np.array([rows[file] for file in sorted(rows)], dtype=np.int64)
    observations = len(held.observations)
    return ordered[ordered < observations], ordered[ordered >= observations] - observations


def _with_unread(rejected: Table, reasons: Mapping[str, str]) -> Table:
    more = make_table(REJECTED, len(reasons), {"file": list(reasons), "reason": list(reasons.values())})
    table = np.concatenate([more, rejected])
    return table[np.lexsort((table["reason"], table["file"]))]
