"""A reading of files that goes wrong as that of some files does: their first bytes say how. Workers import it."""

import collections
import errno
import itertools
import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from asim_cvae.archive.reader import read_observation
from asim_cvae.base.errors import is_machines_fault
from asim_cvae.base.limits import limited
from asim_cvae.frames import reading
from asim_cvae.instrument.observation import Observation, RejectedFileError

_read_into_shard = reading.read_into_shard


def read_into_shard(files: Sequence[reading.File], store: Path) -> dict[str, str]:
    """As that of :mod:`asim_cvae.frames.reading`, in a worker, whose reader this changes."""
    reading.read_observation = _read  # type: ignore[assignment]
    reading.limited = partial(limited, 1, 300, 2**28)  # type: ignore[assignment]
    return _read_into_shard(files, store)


def _read(path: Path) -> Observation:
    word, _, what = path.read_bytes()[:20].decode("latin1").partition(" ")
    if word == "signal":
        os.kill(os.getpid(), getattr(signal, what))
    elif word == "exit":
        os._exit(int(what))
    elif word == "errno":
        error = OSError(getattr(errno, what), os.strerror(getattr(errno, what)))
        raise RejectedFileError(path.name, f"cannot be read ({error.strerror})", is_machines_fault(error)) from error
    elif word == "bug":
        raise IndexError("list index out of range")
    elif word == "memory":
        bytearray(2**30)
    elif word == "spin":
        while True:
            pass
    elif word == "wait":
        signal.setitimer(signal.ITIMER_REAL, 0.01)  # as if the limit had come
        time.sleep(300)
    return read_observation(path)


def spin_beyond_python() -> None:
    """Spin where no signal handler runs, within limits."""
    with limited(1):
        collections.deque(itertools.repeat(0), maxlen=0)


def double(numbers: list[int]) -> list[int]:
    """Double all numbers; 13 ends the process."""
    if 13 in numbers:
        os._exit(1)
    return [2 * number for number in numbers]


def visible_gpus(numbers: list[int]) -> tuple[str, int]:
    """Return the GPUs that CUDA would show to this process, and its number."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", ""), os.getpid()


def die_once(paths: list[str]) -> Path:
    """End the process where a file is not there, which is then; return its path."""
    (path,) = map(Path, paths)
    if not path.exists():
        path.touch()
        os._exit(1)
    return path


def judge_on_a_full_gpu(observations: list) -> None:
    """Judge a batch where the GPU has no memory left."""
    import torch

    from asim_cvae.triaging import running

    class Ledger:
        def write(self, files: list, rows: Callable[[], None], wait: bool) -> bool:
            rows()
            return True

    def fail(origin: None, device: str) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    running.make_judge = fail  # type: ignore[assignment]
    running._judge_batch(observations, running.Job(None, Ledger(), "cuda"))  # type: ignore[arg-type]
