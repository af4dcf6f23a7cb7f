"""Cases that measure engines: triage by them, what a task costs, and memory over very many files."""

import resource
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from asim_cvae.base.cluster import RayCluster
from asim_cvae.base.engine import Engine
from asim_cvae.base.parallel import HERE, map_batches
from asim_cvae.studies.speed.cases import Measurement
from asim_cvae.studies.speed.triaging import triaging

_ROUTINE = 50  # tasks before those that are timed: processes start
_SAMPLED_S = 1.0
_WORKER, _OF_RAY = "-m asim_cvae.base.workers", "ray::"


def engine_triaging(root: str, out: str, engine: str, workers: int) -> Measurement:
    """Measure a triage of a folder by an engine, from its beginning to its tables."""
    return triaging(root, out, workers, _engine(engine))


def tasks(engine: str, workers: int, count: int) -> Measurement:
    """Measure what a task costs that does nothing, in seconds; ``workers`` are at work."""
    begin, done = 0.0, 0
    for done, _ in enumerate(map_batches(len, range(_ROUTINE + count), 1, workers, "", None, _engine(engine)), 1):
        if done == _ROUTINE:
            begin = time.perf_counter()
    return {"seconds": (time.perf_counter() - begin) / (done - _ROUTINE)}


def crowd(root: str, out: str, engine: str, workers: int) -> Measurement:
    """Measure the memory in MB of program and workers in a triage of many files, and its time.

    ``again`` is the time of a second triage, which finds nothing new and makes the tables anew. ``worker_first`` and
    ``worker_last`` are the medians, over the first and the last tenth of the time with all workers at work, of the
    memory of a worker process; ``of_ray`` is that of Ray's process beside it.
    """
    with _sampled() as samples:
        measured = triaging(root, out, workers, _engine(engine))
    again = triaging(root, out, workers, _engine(engine), anew=False)
    full = [sample for sample in samples if len(sample[_WORKER]) == workers]
    tenth = max(len(full) // 10, 1)
    own = [statistics.mean(sample[_WORKER]) for sample in full]
    of_ray = [memory for sample in full for memory in sample[_OF_RAY]]
    return {
        **measured,
        "again": again["seconds"],
        "program": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "worker_first": statistics.median(own[:tenth]),
        "worker_last": statistics.median(own[-tenth:]),
        "worker_most": max(own),
        "of_ray": statistics.median(of_ray) if of_ray else 0.0,
    }


def _engine(name: str) -> Engine:
    return RayCluster(memory_gb=1.0) if name == "ray" else HERE


@contextmanager
def _sampled() -> Iterator[Sequence[dict[str, list[float]]]]:
    """Sample the memory of the worker processes of this machine, once a second."""
    samples: list[dict[str, list[float]]] = []
    is_over = threading.Event()

    def sample() -> None:
        while not is_over.wait(_SAMPLED_S):
            samples.append({_WORKER: [], _OF_RAY: []})
            for words, megabytes in _processes():
                for kind, found in samples[-1].items():
                    if kind in words:
                        found.append(megabytes)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        is_over.set()
        thread.join()


def _processes() -> Iterator[tuple[str, float]]:
    """Yield the command line and the memory in MB of each process of this machine."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            pages = int((folder / "statm").read_text().split()[1])
            yield words, pages * resource.getpagesize() / 2**20
