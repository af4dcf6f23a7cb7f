"""Limits of time and memory for work that may never end."""

import errno
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

_CPU_S = 60  # processor time of this process
_WAIT_S = 600  # time altogether: a disk or a network may not answer
_GRACE_S = 15  # after which the process is ended, as where a library does not come back to Python
_MEMORY = 4 * 2**30  # bytes beyond what the process has


@contextmanager
def limited(cpu_s: int = _CPU_S, wait_s: int = _WAIT_S, memory: int = _MEMORY) -> Iterator[None]:
    """Raise an error in the block after ``cpu_s`` seconds of work or ``wait_s`` altogether, or beyond ``memory`` bytes.

    Where an error of time does not come through, the system ends the process with SIGXCPU some seconds later. Without
    effect outside of the main thread; memory is limited on Linux alone.

    Raises:
        TimeoutError: without a number for work, ETIMEDOUT for waiting, which is the machine's fault.
        MemoryError: there is no more memory.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    import resource  # here, as Windows lacks it

    usage, cpu, data = resource.getrusage(resource.RUSAGE_SELF), resource.RLIMIT_CPU, resource.RLIMIT_DATA
    before = {number: resource.getrlimit(number) for number in (cpu, data)}
    wanted = {cpu: int(usage.ru_utime + usage.ru_stime) + cpu_s + _GRACE_S}
    with suppress(OSError):
        wanted[data] = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize() + memory
    for number, value in wanted.items():
        soft, hard = before[number]
        if soft == resource.RLIM_INFINITY or soft > value:
            resource.setrlimit(number, (value, hard))
    try:
        with _timers(cpu_s, wait_s):
            yield
    finally:
        for number, values in before.items():
            resource.setrlimit(number, values)


@contextmanager
def _timers(cpu_s: int, wait_s: int) -> Iterator[None]:
    def stop_working(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not read within {cpu_s} s")

    def stop_waiting(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(errno.ETIMEDOUT, f"{os.strerror(errno.ETIMEDOUT)}, not read within {wait_s} s")

    before = {
        signal.SIGPROF: signal.signal(signal.SIGPROF, stop_working),
        signal.SIGALRM: signal.signal(signal.SIGALRM, stop_waiting),
    }
    signal.setitimer(signal.ITIMER_PROF, cpu_s, _GRACE_S / 3)  # again, should a library have taken it for its own
    signal.setitimer(signal.ITIMER_REAL, wait_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
