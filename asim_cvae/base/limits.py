"""Limits of time for work that may never end."""

import errno
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_CPU_S = 60  # processor time of this process
_WAIT_S = 600  # time altogether: a disk or a network may not answer
_GRACE_S = 15  # after which the process is ended, as where a library does not come back to Python


@contextmanager
def time_limit(cpu_s: int = _CPU_S, wait_s: int = _WAIT_S) -> Iterator[None]:
    """Raise an error in the block after ``cpu_s`` seconds of work, or ``wait_s`` seconds altogether.

    Where the error does not come through, the system ends the process with SIGXCPU some seconds later. Without effect
    outside of the main thread, and on systems without such timers.

    Raises:
        TimeoutError: without a number for work, ETIMEDOUT for waiting, which is the machine's fault.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    import resource  # here, as Windows lacks it

    def stop_working(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not read within {cpu_s} s")

    def stop_waiting(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(errno.ETIMEDOUT, f"not read within {wait_s} s: {os.strerror(errno.ETIMEDOUT)}")

    usage, limits = resource.getrusage(resource.RUSAGE_SELF), resource.getrlimit(resource.RLIMIT_CPU)
    last_s = int(usage.ru_utime + usage.ru_stime) + cpu_s + _GRACE_S
    handlers = {signal.SIGPROF: stop_working, signal.SIGALRM: stop_waiting}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    if limits[0] == resource.RLIM_INFINITY or limits[0] > last_s:
        resource.setrlimit(resource.RLIMIT_CPU, (last_s, limits[1]))
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, wait_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_CPU, limits)
        for number, handler in before.items():
            signal.signal(number, handler)
