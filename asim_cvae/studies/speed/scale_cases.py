"""Cases that measure engines: triage by them, what a task costs, and memory over very many files."""

import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from asim_cvae.base.cluster import RayCluster
from asim_cvae.base.engine import Engine
from asim_cvae.base.parallel import HERE, map_batches
from asim_cvae.studies.speed.cases import Measurement
from asim_cvae.studies.speed.triaging import triaging

_ROUTINE = 50  # tasks before those that are timed: processes start
_SAMPLED_S = 1.0
_WORKER = "-m asim_cvae.base.workers"


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
    memory of a worker process; ``of_ray`` is that of Ray's process which has started it.
    """
    with _sampled() as samples:
        measured = triaging(root, out, workers, _engine(engine))
    again = triaging(root, out, workers, _engine(engine), anew=False)
    own, starters = np.array([sample for sample in samples if len(sample) == workers]).mean(1).T
    tenth = max(len(own) // 10, 1)
    return {
        **measured,
        "again": again["seconds"],
        "megabytes": sum(path.stat().st_size for path in Path(out).rglob("*") if path.is_file()) / 1e6,
        "program": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "worker_first": float(np.median(own[:tenth])),
        "worker_last": float(np.median(own[-tenth:])),
        "worker_most": float(own.max()),
        "of_ray": float(np.median(starters)),
    }


def _engine(name: str) -> Engine:
    os.environ.pop("RAY_ADDRESS", None)  # a cluster of this machine alone is measured
    return RayCluster(memory_gb=1.0) if name == "ray" else HERE


@contextmanager
def _sampled() -> Iterator[list[list[tuple[float, float]]]]:
    """Sample the memory in MB of each worker process and of the process that has started it, once a second."""
    samples: list[list[tuple[float, float]]] = []
    is_over = threading.Event()

    def sample() -> None:
        while not is_over.wait(_SAMPLED_S):
            workers = [pid for pid, words in descendants() if _WORKER in words]
            with suppress(OSError, ValueError):  # one has just ended
                samples.append([(_megabytes(pid), _megabytes(_parent(pid))) for pid in workers])

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        is_over.set()
        thread.join()


def descendants() -> Iterator[tuple[int, str]]:
    """Yield number and command line of each process that this one has started, or one of these has (Linux)."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):  # it has just ended
            parents[int(folder.name)] = _parent(int(folder.name))
    for pid in parents:
        above = parents[pid]
        while above in parents and above != os.getpid():
            above = parents[above]
        with suppress(OSError):
            if above == os.getpid():
                yield pid, Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def _parent(pid: int) -> int:
    """Return the number of the process that has started another one."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _megabytes(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
