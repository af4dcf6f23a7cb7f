"""Locks between programs, where the file system has them."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_NO_LOCKS = {errno.EIO, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, 524}
"""What file systems without locks say, networks' and clusters' above all; 524 is Linux's own ENOTSUPP."""

_LONG_S = 60.0  # to wait without a word

log = logging.getLogger(__name__)


class HeldError(Exception):
    """Another program holds the lock."""


@contextmanager
def held_lock(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock file ``path`` within a context, once no other program does. A kill ends it too.

    Where the file system has no locks, go on without one, and say so.

    Args:
        path: of the lock file, which stays.
        wait: whether to wait for another program.

    Raises:
        HeldError: another program holds the lock, and is not waited for.
    """
    lock = FileLock(path, fallback_to_soft=False)
    try:
        _acquire(lock, wait)
    except Timeout as error:
        raise HeldError(str(path)) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        log.warning(
            "%s: the file system has no locks (%s); let no other program write %s meanwhile",
            *(path, error.strerror, path.parent),
        )
    try:
        yield
    finally:
        lock.release()  # does nothing where it is not held


def _acquire(lock: FileLock, wait: bool) -> None:
    if wait:
        with suppress(Timeout):
            lock.acquire(timeout=_LONG_S)
            return
        log.warning("%s: waiting for another program that holds it", lock.lock_file)
    lock.acquire(timeout=-1 if wait else 0)
