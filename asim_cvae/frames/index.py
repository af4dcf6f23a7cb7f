"""The index of a store: which rows of which shards count, with their labels. It follows from shards and plan alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_cvae.frames.columns import FRAMES, REJECTED, SHARDS, TABLES, Table, make_table, with_column
from asim_cvae.frames.hdf import FORMAT, check_format, open_hdf, read_table, write_hdf, write_table
from asim_cvae.frames.plan import Plan
from asim_cvae.frames.shards import Shard, shard_path, size_of, versions
from asim_cvae.frames.tables import Tables, choose, concatenate, content_digest, no_tables


@dataclass(frozen=True)
class Holding:
    """Shards, and what they hold.

    Attributes:
        shards: the shards, of the columns ``SHARDS``.
        tables: the tables of what they hold, whose columns ``shard`` are rows of ``shards``.
    """

    shards: Table
    tables: Tables

    def are_there(self, store: Path) -> NDArray[np.bool_]:
        """Whether each shard is there, as long as it was."""
        sizes = [size_of(shard_path(store, name)) for name in self.shards["name"].tolist()]
        found: NDArray[np.bool_] = np.array(sizes, dtype=np.int64) == self.shards["size"]
        return found

    def are_complete(self) -> NDArray[np.bool_]:
        """Whether all files of each shard are in the tables."""
        rows = [table["shard"][table["shard"] >= 0] for table in (self.tables.observations, self.tables.rejected)]
        found: NDArray[np.bool_] = np.bincount(np.concatenate(rows), minlength=len(self.shards)) == self.shards["files"]
        return found

    def of(self, chosen: NDArray[np.bool_]) -> "Holding":
        """What the chosen shards hold."""
        is_held = np.append(chosen, False)  # the last for rows of no shard, -1
        both = (self.tables.observations, self.tables.rejected)
        tables = choose(self.tables, *(np.flatnonzero(is_held[table["shard"]]) for table in both))
        place = np.cumsum(chosen) - 1
        for table in (tables.observations, tables.rejected):
            table["shard"] = place[table["shard"]]
        return Holding(self.shards[chosen], tables)


@dataclass(frozen=True)
class Index(Holding):
    """The index of a store: shards that hold what counts, and the tables of that, in the order of file names.

    Attributes:
        plan: digest of the plan that the store fulfils.
        is_complete: whether all files could be read or rejected for good; the others are to be tried again.
        digest: digest of the content.
    """

    plan: str
    is_complete: bool
    digest: str

    def says_the_same_as(self, other: "Index") -> bool:
        """Whether both are of the same plan and content."""
        return (self.plan, self.is_complete, self.digest) == (other.plan, other.is_complete, other.digest)

    def is_whole(self, store: Path) -> bool:
        """Whether all shards are there, as long as they were."""
        return bool(self.are_there(store).all())


def nothing_held() -> Holding:
    """No shards."""
    return Holding(make_table(SHARDS, 0, {}), no_tables())


def holding(shard: Shard) -> Holding:
    """What one shard holds."""
    tables = shard.tables
    files = len(tables.observations) + len(tables.rejected)
    for table in (tables.observations, tables.rejected):
        table["shard"] = 0
    known: dict[str, Any] = {"name": shard.name, "size": shard.size, "offset": shard.offset, "files": files}
    return Holding(make_table(SHARDS, 1, known), tables)


def join(parts: Iterable[Holding]) -> Holding:
    """What all shards of ``parts`` hold, in the order of their names."""
    held = [nothing_held(), *parts]
    shards = np.concatenate([part.shards for part in held])
    order = np.argsort(shards["name"])
    place = np.argsort(order)
    firsts = np.cumsum([0, *(len(part.shards) for part in held[:-1])])
    tables = concatenate([part.tables for part in held])
    for name in ("observations", "rejected"):
        table = getattr(tables, name)
        lengths = [len(getattr(part.tables, name)) for part in held]
        table["shard"] = place[table["shard"] + np.repeat(firsts, lengths)]
    return Holding(shards[order], tables)


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
        plan, digest = (str(file.attrs[name]) for name in ("plan", "digest"))
        return Index(shards, tables, plan, bool(file.attrs["is_complete"]), digest)


def write_index(store: Path, index: Index) -> None:
    """Write the index of a store."""
    attributes = {"plan": index.plan, "is_complete": index.is_complete, "digest": index.digest}
    with write_hdf(index_path(store), attributes) as file:
        for name, columns in TABLES.items():
            write_table(file, name, getattr(index.tables, name), columns)
        write_table(file, "shards", index.shards, SHARDS)


def make_index(plan: Plan, held: Holding, unread: Mapping[str, str]) -> Index:
    """The index that follows from a plan and what the shards hold, which may be more.

    ``unread``: the reason of each file that could not be read this time.

    Raises:
        LabelTableError: the plan's labels are not those of the frames.
    """
    observations, rejected, unused = _wanted(plan, held.tables)
    chosen = choose(held.tables, observations, rejected)
    numbers = np.concatenate([table["shard"] for table in (chosen.observations, chosen.rejected)])
    counted = Holding(held.shards, chosen).of(np.isin(np.arange(len(held.shards)), numbers))
    tables = counted.tables
    tables.observations["ground_truth"] = plan.is_ground_truth(tables)
    frames = with_column(tables.frames, FRAMES, "label", plan.labels_of(tables))
    tables = replace(
        tables,
        frames=with_column(frames, FRAMES, "chosen", plan.chosen_of(tables)),
        rejected=_with_more(tables.rejected, {**unused, **plan.rejected, **unread}),
    )
    plan.check_labels(tables)
    return Index(counted.shards, tables, plan.digest, not unread, content_digest(tables, FORMAT))


def _wanted(plan: Plan, held: Tables) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, str]]:
    """Rows of observations and of rejected files that count, and the reason of each file that is not used.

    Of each observation the first file that gave one counts, and those before it that gave none. Where several shards
    hold a file, that of the first name counts; an observation rather than a rejection.
    """
    shards = (held.observations["shard"], held.rejected["shard"])
    count = len(shards[0])
    order = np.concatenate([np.argsort(shards[0], kind="stable"), count + np.argsort(shards[1], kind="stable")])
    found = versions(held)
    rows: dict[str, int] = {}
    for row in order.tolist():
        file, version = found[row]
        if plan.versions.get(file) == version:
            rows.setdefault(file, row)
    counts: dict[str, int] = {}
    unused: dict[str, str] = {}
    for files in plan.observations:
        used = next((place for place, file in enumerate(files) if rows.get(file, count) < count), len(files))
        counts |= {file: rows[file] for file in files[: used + 1] if file in rows}
        for file in files[used + 1 :]:
            unused[file] = f"same observation as {files[used]}, which is used"
    chosen = np.array([counts[file] for file in sorted(counts)], dtype=np.int64)
    return chosen[chosen < count], chosen[chosen >= count] - count, unused


def _with_more(rejected: Table, reasons: Mapping[str, str]) -> Table:
    more = make_table(REJECTED, len(reasons), {"file": list(reasons), "reason": list(reasons.values())})
    table = np.concatenate([more, rejected])
    return table[np.lexsort((table["reason"], table["file"]))]
