"""Run cases in child processes with limits on time and memory: a crash or a hang is counted, not suffered."""

import json
import os
import resource
import selectors
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import BinaryIO

from tests.faults.report import Case

_CHUNK = 60  # cases of a child process, at most


@dataclass(frozen=True)
class Limits:
    """What a case may take: CPU seconds, seconds, and bytes of memory beyond what its process holds after its imports.

    None is no limit.
    """

    cpu_s: float | None = 5.0
    wall_s: float = 60.0
    memory: int | None = 500_000_000


RunCase = Callable[[int], Case]


@dataclass
class _Child:
    """A child process, and the cases that it has still to run."""

    pid: int
    numbers: deque[int]
    stream: BinaryIO
    since: float


def run_guarded(numbers: Sequence[int], run_case: RunCase, limits: Limits, processes: int) -> Iterator[Case]:
    """Yield the case of each number, as they end; ``run_case`` runs in forked processes."""
    waiting = deque(numbers)
    chunk = max(1, min(_CHUNK, len(waiting) // processes))
    with selectors.DefaultSelector() as selector:
        while waiting or selector.get_map():
            while waiting and len(selector.get_map()) < processes:
                child = _start([waiting.popleft() for _ in range(min(chunk, len(waiting)))], run_case, limits)
                selector.register(child.stream, selectors.EVENT_READ, child)
            for key, _ in selector.select(timeout=1.0):
                child = key.data
                line = child.stream.readline()
                if line:
                    child.since = time.monotonic()
                    yield replace(Case(**json.loads(line)), number=child.numbers.popleft())
                if not line or not child.numbers:
                    selector.unregister(child.stream)
                    yield from _end(child, waiting, limits)
            for key in list(selector.get_map().values()):
                if time.monotonic() - key.data.since > limits.wall_s:
                    os.kill(key.data.pid, signal.SIGKILL)


def _start(numbers: Sequence[int], run_case: RunCase, limits: Limits) -> _Child:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            _work(numbers, run_case, limits, writing)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(writing)
    return _Child(pid, deque(numbers), os.fdopen(reading, "rb"), time.monotonic())


def _work(numbers: Sequence[int], run_case: RunCase, limits: Limits, writing: int) -> None:
    if limits.memory:
        most = _address_space() + limits.memory
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    for number in numbers:
        signal.setitimer(signal.ITIMER_PROF, limits.cpu_s or 0)  # its signal ends the process
        case = run_case(number)
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.write(writing, json.dumps(asdict(case)).encode() + b"\n")


def _end(child: _Child, waiting: deque[int], limits: Limits) -> Iterator[Case]:
    """Wait for a child, and yield the case that ended it if it has not done all; the others wait again."""
    child.stream.close()
    _, status = os.waitpid(child.pid, 0)
    if not child.numbers:
        return
    code = os.waitstatus_to_exitcode(status)
    why = {-signal.SIGPROF: f"more than {limits.cpu_s} s of CPU", -signal.SIGKILL: f"more than {limits.wall_s} s"}
    number = child.numbers.popleft()
    waiting.extendleft(reversed(child.numbers))
    yield Case("ended its process", "", "failed", why.get(code, f"exit status {code}"), number=number)


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as stream:  # noqa: PTH123
        return int(stream.read().split()[0]) * resource.getpagesize()
