"""Work on many items in several processes, which says how far it has come."""

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


def _begin_worker() -> None:
    """Memory as in the commands; and a worker whose parent is killed would go on, in the way of the next run's."""
    keep_large_blocks()
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def map_batches(
    work: Callable[[Sequence[Item]], Result], items: Sequence[Item], batch: int, workers: int | None, doing: str
) -> Iterator[Result]:
    """``work`` on each batch of ``items``, results in the order in which they are done.

    Args:
        work: a picklable function of a batch.
        items: picklable.
        batch: items a batch.
        workers: processes; as many as there are cores where None, none but this one where 1 or one batch is all.
        doing: what is said of the work, as "reading files".
    """
    batches = [items[i : i + batch] for i in range(0, len(items), batch)]
    workers = min(workers or os.cpu_count() or 1, len(batches))
    with progress(len(items), doing, "file") as advance:
        if workers <= 1:
            for part in batches:
                yield work(part)
                advance(len(part))
            return
        # Not forked: torch's and HDF5's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker) as pool:
            sizes = {pool.submit(work, part): len(part) for part in batches}
            try:
                for done in as_completed(sizes):
                    yield done.result()
                    advance(sizes[done])
            except BaseException:
                pool.shutdown(cancel_futures=True)  # an error or Ctrl-C: finish what is under way, begin no more
                raise
