"""Workers: Python processes of their own, which compute what they are given, and whose death harms nobody else.

Those of ``concurrent.futures`` end together where one ends, and import the program's main module first, with all of
torch; these do neither.
"""

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from asim_cvae.base.allocator import keep_large_blocks

Argument = TypeVar("Argument")
Result = TypeVar("Result")

_PATIENCE_S = 5.0  # with a worker that is told to end


class WorkerDiedError(Exception):
    """A worker's process has ended in the midst of its work.

    Attributes:
        status: exit status of the process, or the number of the signal that ended it, negative.
        how: the same for people, as 'SIGSEGV' or 'exit status 3'.
    """

    def __init__(self, status: int) -> None:
        self.status = status
        self.how = f"exit status {status}"
        if status < 0:
            with suppress(ValueError):  # a signal without a name
                self.how = signal.Signals(-status).name
        super().__init__(f"a worker process has ended ({self.how})")


class Worker:
    """A process that computes one thing after the other. It starts when it is needed, and anew after its death.

    Args:
        folder: folder that it works in; by default that of this process.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    def compute(self, work: Callable[[Argument], Result], argument: Argument) -> Result:
        """Compute ``work(argument)``, all of which must be picklable.

        Raises:
            WorkerDiedError: the process has ended meanwhile.
            ChildProcessError: no process can be started, or :meth:`stop` was called.
            Exception: whatever ``work`` raises.
        """
        result: Result = self.compute_pickled(pickle.dumps((work, argument)))
        return result

    def compute_pickled(self, request: bytes) -> Any:
        """Compute as :meth:`compute` does what was pickled, and is not unpickled here."""
        process = self._process = self._process or _start(self._folder)
        if self._is_stopped:
            self.stop()
        try:
            pickle.dump(request, process.stdin)  # type: ignore[arg-type]
            process.stdin.flush()  # type: ignore[union-attr]
            is_result, answer = _receive(process)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            self._process = None
            death = WorkerDiedError(_status(process))
            raise ChildProcessError("the worker was stopped") if self._is_stopped else death from error
        if not is_result:
            raise answer
        return answer

    def stop(self) -> None:
        """End the process for good. Another thread may do so while this one computes."""
        self._is_stopped = True
        process = self._process
        if process is not None:
            process.terminate()
            _status(process)


def _start(folder: str | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", __name__]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except OSError as error:
        raise ChildProcessError(f"no worker process can be started ({error})") from error
    try:
        _receive(process)
    except EOFError as error:
        how = WorkerDiedError(process.wait()).how
        raise ChildProcessError(f"a worker process ends before it works ({how}); is memory short?") from error
    return process


def _status(process: subprocess.Popen[bytes]) -> int:
    """Exit status of a process that is about to end, which is killed if it does not."""
    try:
        return process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _receive(process: subprocess.Popen[bytes]) -> tuple[bool, Any]:
    return pickle.load(process.stdout)  # type: ignore[no-any-return, arg-type]


def _serve() -> None:
    """Be a worker: compute what comes in on standard input, until that ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed
    for number in (signal.SIGINT, signal.SIGUSR1):  # the parent's, which ends its workers; clusters signal them all
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    keep_large_blocks()
    with suppress(OSError):  # where memory runs out, Linux ends the worker rather than the program
        score = Path("/proc/self/oom_score_adj")
        score.write_text(str(max(int(score.read_text()), 500)))
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_take_requests, args=(requests,), daemon=True).start()
    _send(answers, (True, None))
    while True:
        try:
            work, argument = pickle.loads(requests.get())
            answer = (True, work(argument))
        except Exception as error:
            error.add_note(traceback.format_exc())
            answer = (False, error)
        _send(answers, answer)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(1)  # with the ends of all blocks, which remove what is half written


def _take_requests(requests: "queue.SimpleQueue[bytes]") -> None:
    """Queue what comes in, and end the process where its parent has ended.

    A worker that outlived a killed parent would write into the same folder as the workers of the next run.
    """
    stream = os.fdopen(os.dup(0), "rb")  # not sys.stdin, which Python cannot close at its end while it is read
    while True:
        try:
            requests.put(pickle.load(stream))
        except (EOFError, pickle.UnpicklingError):  # at its end, or within a request
            os._exit(1)


def _send(answers: Any, answer: tuple[bool, Any]) -> None:
    pickle.dump(answer, answers)
    answers.flush()


if __name__ == "__main__":
    _serve()
