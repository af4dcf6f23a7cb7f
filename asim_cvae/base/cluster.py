"""Compute batches on a Ray cluster, whose nodes share a file system and an installation.

A task of Ray's hands its batch to a worker process of its own (:mod:`asim_cvae.base.workers`), as this machine alone
does: a file that ends the process does so here as there, and the process keeps what is loaded from task to task.
"""

import importlib.util
import logging
import os
import pickle
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import asim_cvae
from asim_cvae.base.engine import Engine, Item, Result, Team, Work
from asim_cvae.base.errors import InputError, SettingError, first_line
from asim_cvae.base.workers import Worker, WorkerDiedError

_AHEAD = 2  # tasks a core under way: one works, the next one waits on its node
_LOOK_S = 5.0  # between two looks at the size of the cluster
_STORE_BYTES = 100_000_000  # of a cluster that is started here: results are small
_RETRIES = 1  # by Ray, of a task whose process or node has ended, before its batch is halved
_SAME = "all nodes have to share the file system and have the same installation"

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
            raise SettingError("engine=ray: Ray is not installed; pip install '.[ray]' in a clone")
        self.memory_gb = memory_gb
        self.gpus = gpus

    @contextmanager
    def team(self, workers: int | None) -> Iterator[Team]:
        """Yield the workers of the cluster, which end with the block.

        Raises:
            InputError: the cluster does not answer, or this machine alone has no room for a worker.
        """
        import ray  # here, as it is an extra

        address = os.environ.get("RAY_ADDRESS")
        _connect(address, workers)
        try:
            lack = self._lack()
            if lack and address is None:
                raise InputError(f"Ray on this machine: {lack}")
            log.info("Ray on %s: %d cores", address or "this machine", ray.cluster_resources().get("CPU", 0))
            needed = {"num_cpus": 1, "memory": int(self.memory_gb * 1e9), "num_gpus": self.gpus or None}
            # Ray would end a process that has a GPU after each task.
            task = ray.remote(**needed, max_retries=_RETRIES, max_calls=0)(_compute)
            yield _RayTeam(task, workers, self._lack)
        finally:
            ray.shutdown()

    def _lack(self) -> str:
        """Say why no worker can start on any node now; '' if one can."""
        import ray

        needed = {"CPU": 1, "memory": self.memory_gb * 1e9, "GPU": self.gpus}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if any(all(node.get(name, 0) >= amount for name, amount in needed.items()) for node in nodes):
            return ""
        there = "; ".join(", ".join(_amount(name, node.get(name, 0)) for name in needed) for node in nodes)
        wanted = ", ".join(_amount(name, amount) for name, amount in needed.items())
        return f"no node has what a worker takes ({wanted}; engine.memory_gb, engine.gpus); nodes: {there or 'none'}"


def _amount(name: str, amount: float) -> str:
    return f"{amount / 1e9:.3g} GB" if name == "memory" else f"{amount:.3g} {name}"


def _connect(address: str | None, workers: int | None) -> None:
    import ray

    if address is not None:
        _check_address(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use over the network
    of_own = {"num_cpus": workers, "object_store_memory": _STORE_BYTES, "include_dashboard": False}
    try:
        ray.init(address=address or "local", logging_level=logging.ERROR, **({} if address else of_own))
    except Exception as error:  # of whatever type: Ray's, gRPC's, the system's
        raise InputError(
            f"RAY_ADDRESS={address}: no Ray cluster can be used there ({first_line(error)}); start one with "
            "'ray start --head', with the same versions of Python and Ray"
            if address
            else f"no Ray cluster can be started on this machine ({first_line(error)})"
        ) from error


def _check_address(address: str) -> None:
    """Raise InputError if nothing answers at an address, as Ray would try for a quarter of an hour."""
    host, _, port = address.rpartition(":")
    if address == "auto":
        return
    if "://" in address or not host or not port.isdecimal():
        raise InputError(f"RAY_ADDRESS={address}: has to be HOST:PORT of the head node, as HEAD:6379, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_LOOK_S).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"RAY_ADDRESS={address}: nothing answers there ({first_line(error)}); start a cluster with "
            "'ray start --head', or unset RAY_ADDRESS to use this machine alone"
        ) from error


class _Outcome(NamedTuple):
    """What became of a batch: its result, unless there is an error or the status of a worker process that ended."""

    result: Any = None
    error: Exception | None = None
    status: int | None = None


class _RayTeam(Team):
    """Tasks on a cluster, which may grow and shrink meanwhile."""

    def __init__(self, task: Any, workers: int | None, lack: Callable[[], str]) -> None:
        self._task = task
        self._workers = workers
        self._lack = lack
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
        request = pickle.dumps((work, batch))
        future: Future[Any] = self._task.remote(request, str(Path.cwd()), asim_cvae.__version__).future()
        return future

    def tell_what_lacks(self) -> None:
        if lack := self._lack():
            log.warning("waiting: %s", lack)

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
            cause = first_line(getattr(error, "cause", None) or error)
            raise InputError(f"Ray: {cause}; {_SAME}") from error
        if outcome.error is not None:
            raise outcome.error
        if outcome.status is not None:
            raise WorkerDiedError(outcome.status)
        return outcome.result


def _compute(request: bytes, folder: str, version: str) -> _Outcome:
    """Compute what was pickled in the worker process of this process of Ray's, in the folder of the program.

    It is not unpickled here, as that would import all that it needs a second time.
    """
    node = socket.gethostname()
    if asim_cvae.__version__ != version:
        return _Outcome(error=InputError(f"{node}: has asim_cvae {asim_cvae.__version__}, not {version}; {_SAME}"))
    try:
        worker = _worker(folder, os.environ.get("CUDA_VISIBLE_DEVICES"))
        return _Outcome(result=worker.compute_pickled(request))
    except WorkerDiedError as death:
        return _Outcome(status=death.status)
    except (ChildProcessError, ImportError) as error:
        return _Outcome(error=InputError(f"{node}: {first_line(error)}; {_SAME}"))
    except Exception as error:
        error.add_note(f"on the node {node}")
        return _Outcome(error=error)


@lru_cache(maxsize=1)
def _worker(folder: str, gpus: str | None) -> Worker:
    """Return the worker process, which stays until Ray gives this process another GPU.

    The process of a worker that nothing refers to any more ends, as its input does.
    """
    return Worker(folder)
