"""Process many items in several worker processes, and say how far it has come."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import accumulate
from queue import SimpleQueue
from typing import TypeVar

from asim_cvae.base.progress import progress
from asim_cvae.base.workers import Worker, WorkerDiedError

Item = TypeVar("Item")
Result = TypeVar("Result")

Work = Callable[[Sequence[Item]], Result]

DEATHS = 3
"""Times that an item alone has to end its process before it is given up."""


def map_batches(
    work: Work[Item, Result],
    items: Sequence[Item],
    batch_size: int | Sequence[int],
    workers: int | None,
    description: str,
    lost: Callable[[Item, WorkerDiedError], Result] | None = None,
) -> Iterator[Result]:
    """Apply ``work`` to batches of ``items`` and yield the results as they complete, in no fixed order.

    Args:
        work: function of one batch; it must be picklable.
        items: items to process; they must be picklable.
        batch_size: items per batch, or how many each batch has.
        workers: number of worker processes; None for one per core.
        description: what is done, as "reading".
        lost: result of an item that has ended its process :data:`DEATHS` times, computed here. A batch that ends its
            process is halved, until such an item is alone. Without ``lost`` the items are trusted: this process does
            the work itself with one worker or one batch, and a worker's death is an error.

    Raises:
        WorkerDiedError: a worker has ended, and there is no ``lost``.
        Exception: whatever ``work`` raises. Batches that have begun are given up, no others begin.
    """
    sizes = [batch_size] * -(-len(items) // batch_size) if isinstance(batch_size, int) else batch_size
    batches = [items[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)]
    workers = min(workers or os.cpu_count() or 1, len(batches))
    is_done_here = lost is None and workers <= 1
    here = ((work(batch), len(batch)) for batch in batches)
    with progress(len(items), description, "file") as advance:
        for result, count in here if is_done_here else _in_workers(work, batches, workers, lost):
            yield result
            advance(count)


def _in_workers(
    work: Work[Item, Result],
    batches: Sequence[Sequence[Item]],
    workers: int,
    lost: Callable[[Item, WorkerDiedError], Result] | None,
) -> Iterator[tuple[Result, int]]:
    """Yield results, each with the number of its items."""
    if not batches:
        return
    idle: SimpleQueue[Worker] = SimpleQueue()
    hands = [Worker() for _ in range(workers)]
    for worker in hands:
        idle.put(worker)

    def compute(batch: Sequence[Item]) -> list[tuple[Result, int]]:
        worker = idle.get()
        try:
            return _compute(worker, work, batch, lost)
        finally:
            idle.put(worker)

    with ThreadPoolExecutor(workers) as pool:
        pending = [pool.submit(compute, batch) for batch in batches]
        try:
            for future in as_completed(pending):
                yield from future.result()
        finally:  # after Ctrl-C too
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in hands:
                worker.stop()


def _compute(
    worker: Worker,
    work: Work[Item, Result],
    batch: Sequence[Item],
    lost: Callable[[Item, WorkerDiedError], Result] | None,
    deaths: int = 0,
) -> list[tuple[Result, int]]:
    """Compute a batch, or its halves where it ends the worker's process; ``deaths``: of its only item so far."""
    try:
        return [(worker.compute(work, batch), len(batch))]
    except WorkerDiedError as death:
        if lost is None:
            raise
        if len(batch) > 1:
            middle = len(batch) // 2
            return [part for half in (batch[:middle], batch[middle:]) for part in _compute(worker, work, half, lost)]
        if deaths + 1 < DEATHS:
            return _compute(worker, work, batch, lost, deaths + 1)
        return [(lost(batch[0], death), 1)]
