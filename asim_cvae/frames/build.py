"""Bring a frame store up to date with its folders, by as many programs at a time as there are.

Batches of files are read into shards, and an index says which rows of them count. Shards are named after what is in
them and appear whole, and the index follows from them and the plan alone. So a killed build goes on where it was, two
that run at the same time do no harm, and whoever writes the index last writes the right one.
"""

import errno
import logging
import os
import random
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from asim_cvae.archive.remote import Root
from asim_cvae.base.engine import Engine
from asim_cvae.base.errors import InputError
from asim_cvae.base.files import can_be_folder, remove_leftovers
from asim_cvae.base.parallel import HERE, cores, map_batches
from asim_cvae.base.progress import track
from asim_cvae.frames.compact import compact_shards
from asim_cvae.frames.hdf import DamagedError, OtherFormatError
from asim_cvae.frames.index import (
    Holding,
    Index,
    holding,
    join,
    make_index,
    nothing_held,
    read_index,
    write_index,
)
from asim_cvae.frames.plan import Plan, make_plan
from asim_cvae.frames.reading import File, give_up, read_into_shard
from asim_cvae.frames.report import BuildReport, write_tables
from asim_cvae.frames.shards import (
    SHARD_FILES,
    read_shard,
    shard_names,
    shard_path,
    shards_folder,
    versions,
)
from asim_cvae.frames.store import FrameStore

_FILES_PER_WORKER = 300  # are read in the time that another worker process takes to start
_ATTEMPTS = 3  # at reading a file into a shard that is there afterwards
_SHARD = re.compile(r"[0-9a-f]{16}\.h5")
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)

log = logging.getLogger(__name__)


def build_store(
    store: Path,
    root: Root | None = None,
    ground_truth_root: Root | None = None,
    ground_truth_table: Path | None = None,
    workers: int | None = None,
    check: bool = False,
    compact: bool = False,
    engine: Engine = HERE,
) -> BuildReport:
    """Build or update a store: read new and changed files, drop deleted ones, set the labels.

    The content depends on the folders and the label table alone: not on earlier builds, on whether they were killed, or
    on how many run at the same time. A store that is up to date is not written to.

    Args:
        store: folder of the store.
        root: folder of the observations to train on.
        ground_truth_root: folder of the observations to score on, if they are not in ``root``.
        ground_truth_table: label table. The files that it names are ground truth; without a table those in
            ``ground_truth_root`` are, without labels.
        workers: number of workers that read files; by default one per core, or fewer if there are few files.
        check: whether all frames are read, and damaged shards are made again.
        compact: whether what is no longer needed is removed; not while others read or write the store.
        engine: where files are read.

    Raises:
        InputError: no folder is given, a folder does not exist or holds no MMIA file, every file would be ground truth,
            the label table cannot be used, or ``store`` holds something else, or is out of date and cannot be written.
    """
    plan = make_plan(root, ground_truth_root, ground_truth_table)
    refuse_other_content(store)
    try:
        return _Build(store, plan, workers, check, engine).run(compact)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        raise InputError(
            f"{store}: is out of date and cannot be written ({error.strerror}); "
            "make it writable, or give data.store another folder"
        ) from error


def check_store(store: Path) -> None:
    """Read all frames of a store whose files are not known.

    Raises:
        InputError: ``store`` is not a frame store, or one of its shards is damaged or not there.
    """
    with FrameStore(store) as opened:
        for name in track(opened.shards, "checking", "shard"):
            try:
                read_shard(store, name, verify=True)
            except (DamagedError, FileNotFoundError) as error:
                raise InputError(f"{error}; give data.root, to have it made again from its files") from error


def refuse_other_content(store: Path) -> None:
    """Make sure that nothing but a store, of whatever version, is at ``store``.

    Raises:
        InputError: something else is.
    """
    if not can_be_folder(store):
        raise InputError(f"{store}: is or lies in a file, and a frame store is a folder; give data.store a folder")
    folder = shards_folder(store)
    others = (path.name for path in folder.glob("[!.]*") if not _SHARD.fullmatch(path.name))
    if any(others) or (any(store.glob("[!.]*")) and not folder.is_dir() and not _has_index(store)):
        raise InputError(f"{store}: holds something else than a frame store; give data.store another folder")


def _has_index(store: Path) -> bool:
    """Tell whether a folder that lost its shards was a store."""
    try:
        read_index(store)
    except (DamagedError, OSError):
        return False
    return True


class _Build:
    """A store on its way to a plan.

    Args:
        store: folder of the store.
        plan: what it is to hold.
        workers: number of workers, None for as many as suit.
        check: whether all frames are verified.
        engine: where files are read.
    """

    def __init__(self, store: Path, plan: Plan, workers: int | None, check: bool, engine: Engine) -> None:
        self.store = store
        self.plan = plan
        self.workers = workers
        self.check = check
        self.engine = engine
        self.before = self._read_index()
        self.known = self._known_from_index()
        self.shards: dict[str, Holding] = {}
        self.unread: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        self.files_read = 0

    def run(self, compact: bool) -> BuildReport:
        index = self.before
        if index is None or not self._is_up_to_date(index) or self.check or compact:
            index = self._bring_up_to_date()
            if compact:
                index = self._compact()
            self._tidy(index)
        else:
            with suppress(OSError):  # of a store that is up to date nothing has to be written
                self._tidy(index)
        is_new = self.before is None or self.before.digest != index.digest
        problems = [*self.plan.label_problems, *self.plan.unplaced_labels(index.tables)]
        return BuildReport(self.store, is_new, self.files_read, index.tables, problems)

    def _tidy(self, index: Index) -> None:
        """Write the tables for people, and remove what killed programs left half written."""
        write_tables(self.store, index.tables)
        for folder in (self.store, shards_folder(self.store)):
            remove_leftovers(folder)

    def _is_up_to_date(self, index: Index) -> bool:
        """Whether nothing is to be done; files that could not be read are tried again where that can be kept."""
        is_settled = index.is_complete or not os.access(shards_folder(self.store), os.W_OK)
        return index.plan == self.plan.digest and is_settled and index.is_whole(self.store)

    def _read_index(self) -> Index | None:
        try:
            return read_index(self.store)
        except FileNotFoundError:
            return None
        except DamagedError as error:
            log.info("%s: it is made anew", error)
            return None

    def _bring_up_to_date(self) -> Index:
        """Read what is missing and write the index, until all that it names is there: others may remove shards."""
        shards_folder(self.store).mkdir(parents=True, exist_ok=True)
        while True:
            self._read_shards()
            missing = self._missing()
            if missing:
                self._read_files(missing)
                continue
            index = make_index(self.plan, join([self.known, *self.shards.values()]), self.unread)
            self._write(index)
            if index.is_whole(self.store):
                return index

    def _known_from_index(self) -> Holding:
        """What the index that is there tells of shards: all of those whose files all count."""
        if self.before is None or self.check:
            return nothing_held()
        return self.before.of(self.before.are_there(self.store) & self.before.are_complete())

    def _read_shards(self) -> None:
        """Read the tables of shards that have come, and forget those that have gone. Damaged ones are removed."""
        self.known = self.known.of(self.known.are_there(self.store))
        self.shards = {name: shard for name, shard in self.shards.items() if shard.are_there(self.store).all()}
        for name in sorted(shard_names(self.store) - {*self.shards, *self.known.shards["name"].tolist()}):
            try:
                self.shards[name] = holding(read_shard(self.store, name, self.check))
            except FileNotFoundError:  # another program has just removed it
                continue
            except OtherFormatError:  # the index is too, which is said
                shard_path(self.store, name).unlink(missing_ok=True)
            except DamagedError as error:
                log.warning("%s: it is removed, and its files are read again", error)
                shard_path(self.store, name).unlink(missing_ok=True)

    def _missing(self) -> list[File]:
        """The files to read now: of each observation that none has given yet the next one."""
        given, rejected = set(), set()
        for part in (self.known, *self.shards.values()):
            held = versions(part.tables)
            given.update(held[: len(part.tables.observations)])
            rejected.update(held[len(part.tables.observations) :])
        missing = []
        for files in self.plan.observations:
            for version in ((name, self.plan.versions[name]) for name in files):
                if version in given:
                    break
                if version not in rejected and self._may_be_read(version[0]):
                    missing.append(version)
                    break
        return [(self.plan.files[name], version) for name, version in sorted(missing)]

    def _may_be_read(self, name: str) -> bool:
        """Whether a file that is in no shard is to be read now, which is noted."""
        if name in self.unread:
            return False
        self.asked[name] += 1
        if self.asked[name] > _ATTEMPTS:
            self.unread[name] = "its shard could not be read back; it is tried again next time"
        return name not in self.unread

    def _read_files(self, files: Sequence[File]) -> None:
        if not os.access(shards_folder(self.store), os.W_OK):  # before hours of reading
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        self.files_read += len(files)
        enough = 1 + len(files) // _FILES_PER_WORKER
        workers = self.workers or (min(cores(), enough) if self.engine.is_here else None)
        work = partial(read_into_shard, store=self.store)
        lost = partial(give_up, store=self.store)
        for unread in map_batches(work, _own_order(files), SHARD_FILES, workers, "reading", lost, self.engine):
            self.unread |= unread

    def _write(self, index: Index) -> None:
        """Write an index that says something new."""
        before = self.before
        if before is None or not index.says_the_same_as(before) or not before.is_whole(self.store):
            write_index(self.store, index)

    def _compact(self) -> Index:
        """Write all that counts into full shards, and remove the others."""
        kept = compact_shards(self.store)
        self._read_shards()
        held = join([self.known, *self.shards.values()])
        index = make_index(self.plan, held.of(np.isin(held.shards["name"], list(kept))), self.unread)
        write_index(self.store, index)
        for name in set(held.shards["name"].tolist()) - kept:
            shard_path(self.store, name).unlink(missing_ok=True)
        return index


def _own_order(files: Sequence[File]) -> list[File]:
    """The files batch by batch, in an order of this program's own: programs that read the same files share them.

    The last batch, if it is not a full one, stays the last: batches are the same in whatever order.
    """
    batches = [files[i : i + SHARD_FILES] for i in range(0, len(files), SHARD_FILES)]
    last = batches.pop()
    random.Random().shuffle(batches)
    return [file for batch in [*batches, last] for file in batch]
