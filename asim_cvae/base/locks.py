"""Locks between programs, where the file system has them."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

_NO_LOCKS = {errno.EIO, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, 524}
"""What file systems without locks say, networks' and clusters' above all; 524 is Linux's own ENOTSUPP."""

log = logging.getLogger(__name__)


@contextmanager
def held_lock(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` within a context, once no other program does.

    Where the file system has no locks, go on without one, and say so.
    """
    lock = FileLock(path)
    try:
        lock.acquire()
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
