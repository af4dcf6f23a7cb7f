"""Process many items in several worker processes, and say how far it has come."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

from asim_cvae.base.allocator import keep_large_blocks
from asim_cvae.base.progress import progress

Item = TypeVar("Item")
Result = TypeVar("Result")


def _init_worker() -> None:
    """Set up a worker process: its allocator, and a thread that ends the worker when its parent dies.

    A worker that outlived a killed parent would write into the same folder as the workers of the next run.
    """
    keep_large_blocks()
    parent = multiprocessing.parent_process()

    def exit_with_parent() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()


def map_batches(
    work: Callable[[Sequence[Item]], Result],
    items: Sequence[Item],
    batch_size: int,
    workers: int | None,
    description: str,
) -> Iterator[Result]:
    """Apply ``work`` to batches of ``items`` and yield the results as they complete, in no fixed order.

    Args:
        work: function of one batch; it must be picklable.
        items: items to process; they must be picklable.
        batch_size: items per batch.
        workers: number of worker processes; None for one per core. With 1, or if there is only one batch, this process
            does the work itself.
        description: what is done, as "reading".

    Raises:
        Exception: whatever ``work`` raises. Batches that have begun are completed first, no others begin.
    """
    batches = [items[i : i + batch_size] for i in range(0, len(items), batch_size)]
    workers = min(workers or os.cpu_count() or 1, len(batches))
    with progress(len(items), description, "file") as advance:
        if workers <= 1:
            for batch in batches:
                yield work(batch)
                advance(len(batch))
            return
        # Spawned, not forked: the threads of torch and HDF5 do not survive a fork.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_init_worker) as pool:
            sizes = {pool.submit(work, batch): len(batch) for batch in batches}
            try:
                for future in as_completed(sizes):
                    yield future.result()
                    advance(sizes[future])
            except BaseException:  # Ctrl-C too
                pool.shutdown(cancel_futures=True)
                raise
