"""Compute batches on a Ray cluster, whose nodes share a file system and an installation.

A task of Ray's hands its batch to a worker process of its own (:mod:`asim_cvae.base.workers`), as this machine alone
does: a file that ends the process does so here as there, and the process keeps what is loaded from task to task.
"""

import importlib.util
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from asim_cvae.base.engine import DEATHS, Engine, Item, Result, Team, Work
from asim_cvae.base.errors import InputError, SettingError, first_line
from asim_cvae.base.workers import Worker, WorkerDiedError

_AHEAD = 2  # tasks a core under way: one works, the next one waits on its node
_LOOK_S = 5.0  # between two looks at the size of the cluster
_STORE_BYTES = 100_000_000  # of a cluster that is started here: results are small

log = logging.getLogger(__name__)


class RayCluster(Engine):
    """The Ray cluster that the environment variable ``RAY_ADDRESS`` names, or one of this machine that is started.

    Args:
        memory_gb: memory in GB that each worker takes; a node runs as many as have room.
        gpus: part of a GPU that each worker takes; 0: none.

    Raises:
        SettingError: Ray is not installed.
    """

    def __init__(self, memory_gb: float = 1.5, gpus: float = 0.0) -> None:
        if importlib.util.find_spec("ray") is None:
            raise SettingError("engine=ray: Ray is not installed; pip install 'asim_cvae[ray]'")
        self.memory_gb = memory_gb
        self.gpus = gpus

    @contextmanager
    def team(self, workers: int | None) -> Iterator[Team]:
        """Yield the workers of the cluster, which end with the block.

        Raises:
            InputError: the cluster does not answer, or has no room for one worker.
        """
        import ray  # here, as it is an extra

        address = os.environ.get("RAY_ADDRESS")
        _connect(address, workers)
        try:
            self._check_room(ray.cluster_resources(), address)
            needed = {"num_cpus": 1, "memory": int(self.memory_gb * 1e9), "num_gpus": self.gpus or None}
            task = ray.remote(**needed, max_retries=DEATHS)(_compute)
            yield _RayTeam(task, workers)
        finally:
            ray.shutdown()

    def _check_room(self, resources: dict[str, float], address: str | None) -> None:
        """Raise InputError if no worker could ever start, instead of waiting for ever."""
        where = address or "this machine"
        for name, needed, unit in (
            ("CPU", 1, 1.0),
            ("memory", self.memory_gb, 1e9),
            ("GPU", self.gpus, 1.0),
        ):
            there = resources.get(name, 0) / unit
            if there < needed:
                raise InputError(f"Ray on {where}: has {there:.3g} of {name}, and a worker takes {needed:.3g}")
        log.info("Ray on %s: %d cores", where, resources["CPU"])


def _connect(address: str | None, workers: int | None) -> None:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use over the network
    quiet = {"logging_level": logging.ERROR, "include_dashboard": False if address is None else None}
    here = {"num_cpus": workers, "object_store_memory": _STORE_BYTES} if address is None else {}
    try:
        ray.init(
            address=address or "local", **{name: value for name, value in quiet.items() if value is not None}, **here
        )
    except Exception as error:  # of whatever type: Ray's, gRPC's, the system's
        raise InputError(
            f"RAY_ADDRESS={address}: no Ray cluster can be used there ({first_line(error)}); start one with "
            "'ray start --head', with the same versions of Python and Ray"
            if address
            else f"no Ray cluster can be started on this machine ({first_line(error)})"
        ) from error


class _Outcome(NamedTuple):
    """What became of a batch: exactly one is not None, or all are where the result is None."""

    result: Any = None
    error: Exception | None = None
    status: int | None = None  # of the worker process, where it has ended


class _RayTeam(Team):
    """Tasks on a cluster, which may grow and shrink meanwhile."""

    def __init__(self, task: Any, workers: int | None) -> None:
        self._task = task
        self._workers = workers
        self._cores = 0
        self._seen = -_LOOK_S

    def size(self) -> int:
        return self._workers or _AHEAD * self._current_cores()

    def _current_cores(self) -> int:
        import ray

        if time.monotonic() - self._seen >= _LOOK_S:
            self._seen = time.monotonic()
            self._cores = max(int(ray.cluster_resources().get("CPU", 0)), 1)
        return self._cores

    def submit(self, work: Work[Item, Result], batch: Sequence[Item]) -> "Future[Any]":
        future: Future[Any] = self._task.remote(work, batch, str(Path.cwd())).future()
        return future

    def result(self, future: "Future[Any]") -> Any:
        from ray import exceptions

        ended = (
            exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.OutOfMemoryError,
            exceptions.ObjectLostError,
        )  # fmt: skip
        try:
            outcome = future.result()
        except ended as error:
            log.warning("a batch was given up by Ray: %s", first_line(error))
            raise WorkerDiedError(-signal.SIGKILL) from error
        except exceptions.RayError as error:
            raise InputError(f"Ray: {first_line(error.__cause__ or error)}") from error
        if outcome.error is not None:
            raise outcome.error
        if outcome.status is not None:
            raise WorkerDiedError(outcome.status)
        return outcome.result


def _compute(work: Work[Item, Result], batch: Sequence[Item], folder: str) -> _Outcome:
    """Compute a batch in the worker process of this process of Ray's, in a folder, that of the program."""
    try:
        return _Outcome(result=_worker(folder, os.environ.get("CUDA_VISIBLE_DEVICES")).compute(work, batch))
    except WorkerDiedError as death:
        return _Outcome(status=death.status)
    except ChildProcessError as error:
        advice = "all nodes have to share the file system and have the same installation"
        return _Outcome(error=InputError(f"{socket.gethostname()}: {first_line(error)}; {advice}"))
    except Exception as error:
        return _Outcome(error=error)


@lru_cache(maxsize=1)
def _worker(folder: str, gpus: str | None) -> Worker:
    """Return the worker process, which stays until Ray gives this process another GPU.

    The process of a worker that nothing refers to any more ends, as its input does.
    """
    return Worker(folder)
