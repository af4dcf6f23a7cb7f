"""Process many items batch by batch, in several workers, and say how far it has come."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate
from queue import SimpleQueue
from typing import Any

from asim_cvae.base.engine import Engine, Item, Lost, Result, Team, Work, compute
from asim_cvae.base.progress import progress
from asim_cvae.base.workers import Worker


def cores() -> int:
    """Number of cores that this process may use, which a job of a cluster has fewer of than its machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalProcesses(Engine):
    """Worker processes of this machine."""

    @property
    def is_here(self) -> bool:
        """True."""
        return True

    @contextmanager
    def team(self, workers: int | None) -> Iterator[Team]:
        """Yield workers, whose processes start when they are needed, and end with the block."""
        hands = [Worker() for _ in range(workers or cores())]
        with ThreadPoolExecutor(len(hands)) as pool:
            try:
                yield _LocalTeam(hands, pool)
            finally:  # after Ctrl-C too
                pool.shutdown(wait=False, cancel_futures=True)
                for worker in hands:
                    worker.stop()


class _LocalTeam(Team):
    """Worker processes, and a thread for each that waits for it."""

    def __init__(self, hands: Sequence[Worker], pool: ThreadPoolExecutor) -> None:
        self._hands = hands
        self._pool = pool
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in hands:
            self._idle.put(worker)

    def size(self) -> int:
        return len(self._hands)

    def submit(self, work: Work[Item, Result], batch: Sequence[Item]) -> "Future[Any]":
        return self._pool.submit(self._compute, work, batch)

    def result(self, future: "Future[Any]") -> Any:
        return future.result()

    def _compute(self, work: Work[Item, Result], batch: Sequence[Item]) -> Result:
        worker = self._idle.get()
        try:
            return worker.compute(work, batch)
        finally:
            self._idle.put(worker)


HERE = LocalProcesses()
"""The engine of all that names none."""


def map_batches(
    work: Work[Item, Result],
    items: Sequence[Item],
    batch_size: int | Sequence[int],
    workers: int | None,
    description: str,
    lost: Lost[Item, Result] | None = None,
    engine: Engine = HERE,
) -> Iterator[Result]:
    """Apply ``work`` to batches of ``items`` and yield the results as they complete, in no fixed order.

    Args:
        work: function of one batch; it must be picklable.
        items: items to process; they must be picklable.
        batch_size: items per batch, or how many each batch has.
        workers: number of workers; None for one per core.
        description: what is done, as "reading".
        lost: result of an item that has ended its worker :data:`asim_cvae.base.engine.DEATHS` times, computed here. A
            batch that ends its worker is halved, until such an item is alone. Without ``lost`` the items are trusted:
            this process does the work itself with one worker or one batch, and a batch whose worker has ended is tried
            again as it is.
        engine: where the workers are.

    Raises:
        InputError: a batch has ended its worker as many times, and there is no ``lost``.
        Exception: whatever ``work`` raises. Batches that have begun are given up, no others begin.
    """
    sizes = [batch_size] * -(-len(items) // batch_size) if isinstance(batch_size, int) else batch_size
    batches = [items[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)]
    with progress(len(items), description, "file") as advance:
        for result, count in _results(work, batches, workers, lost, engine):
            yield result
            advance(count)


def _results(
    work: Work[Item, Result],
    batches: Sequence[Sequence[Item]],
    workers: int | None,
    lost: Lost[Item, Result] | None,
    engine: Engine,
) -> Iterator[tuple[Result, int]]:
    """Yield results, each with the number of its items."""
    if not batches:
        return
    if engine.is_here:
        workers = min(workers or cores(), len(batches))
        if workers == 1 and lost is None:
            yield from ((work(batch), len(batch)) for batch in batches)
            return
    with engine.team(workers) as team:
        yield from compute(team, work, batches, lost)
