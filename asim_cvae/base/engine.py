"""Engines: where batches of work are computed, and what happens to one that ends its worker."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from asim_cvae.base.errors import InputError
from asim_cvae.base.workers import WorkerDiedError

Item = TypeVar("Item")
Result = TypeVar("Result")

Work = Callable[[Sequence[Item]], Result]
Lost = Callable[[Item, WorkerDiedError], Result]

DEATHS = 3
"""Times that an item alone, or work that is trusted, has to end its worker before it is given up."""

_LONG_S = 60.0  # without a result


class Team(ABC):
    """Workers that compute batches, several at a time."""

    @abstractmethod
    def size(self) -> int:
        """Return how many batches may be under way now."""

    @abstractmethod
    def submit(self, work: Work[Item, Result], batch: Sequence[Item]) -> "Future[Any]":
        """Begin with a batch, where less than :meth:`size` are under way."""

    @abstractmethod
    def result(self, future: "Future[Any]") -> Any:
        """Return the result of a batch that is done.

        Raises:
            WorkerDiedError: it has ended its worker.
            Exception: whatever the work raises.
        """

    def tell_what_lacks(self) -> None:
        """Say why nothing has been done for long, if that is known."""
        return


class Engine(ABC):
    """A place for work: processes of this machine, or a cluster."""

    @abstractmethod
    def team(self, workers: int | None) -> AbstractContextManager[Team]:
        """Return a context that has workers at hand, ``workers`` or, if None, as many as there are cores."""

    @property
    def is_here(self) -> bool:
        """Whether work that one worker would do may as well be done in this process."""
        return False


def compute(
    team: Team, work: Work[Item, Result], batches: Sequence[Sequence[Item]], lost: Lost[Item, Result] | None
) -> Iterator[tuple[Result, int]]:
    """Yield the results of batches as they come, each with the number of its items.

    Args:
        team: workers.
        work: function of one batch; it must be picklable.
        batches: what to compute.
        lost: see :func:`asim_cvae.base.parallel.map_batches`.

    Raises:
        InputError: a batch has ended its worker :data:`DEATHS` times, and there is no ``lost``.
        Exception: whatever ``work`` raises.
    """
    waiting = deque((batch, 0) for batch in batches)
    running: dict[Future[Any], tuple[Sequence[Item], int]] = {}
    done: SimpleQueue[Future[Any]] = SimpleQueue()
    while waiting or running:
        while waiting and len(running) < team.size():
            batch, deaths = waiting.popleft()
            future = team.submit(work, batch)
            running[future] = batch, deaths
            future.add_done_callback(done.put)
        future = _next(done, team)
        batch, deaths = running.pop(future)
        try:
            result = team.result(future)
        except WorkerDiedError as death:
            left = _after_death(batch, deaths, lost is None)
            waiting.extendleft(reversed(left))
            if left:
                continue
            if lost is None:
                raise InputError(f"{death}, {DEATHS} times at the same work; is memory short?") from death
            result = lost(batch[0], death)
        yield result, len(batch)


def _next(done: "SimpleQueue[Future[Any]]", team: Team) -> "Future[Any]":
    """Wait for the next batch that is done."""
    while True:
        try:
            return done.get(timeout=_LONG_S)
        except Empty:
            team.tell_what_lacks()


def _after_death(batch: Sequence[Item], deaths: int, is_trusted: bool) -> list[tuple[Sequence[Item], int]]:
    """Return what to compute of a batch that has ended its worker, with the deaths of each so far; [] to give it up."""
    if len(batch) > 1 and not is_trusted:
        middle = len(batch) // 2
        return [(batch[:middle], 0), (batch[middle:], 0)]
    return [(batch, deaths + 1)] if deaths + 1 < DEATHS else []
