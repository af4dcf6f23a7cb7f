"""Read parts of a file by position, so that no reader goes beyond what is there."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from asim_cvae.archive.remote import Place, RemoteFile
from asim_cvae.archive.variables import UnusableError

GZIP_SIGNATURE = b"\x1f\x8b"
"""First bytes of a file compressed by gzip."""

LARGEST_UNPACKED = 256 * 2**20
"""Most bytes that a compressed file may unpack to; files with camera images have about 80 million."""


class Source:
    """The bytes of an open file, unpacked where gzip has compressed it.

    Attributes:
        size: number of bytes.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._content = _unpack(stream) if stream.read(len(GZIP_SIGNATURE)) == GZIP_SIGNATURE else None
        self.size = len(self._content) if self._content is not None else stream.seek(0, 2)

    def read(self, start: int, count: int) -> bytes:
        """Return the ``count`` bytes from ``start`` on.

        Raises:
            UnusableError: the file does not hold all of them.
        """
        if start < 0 or count < 0:
            raise UnusableError(f"damaged: it refers to byte {min(start, start + count)}, before its beginning")
        if start + count > self.size:
            raise UnusableError(f"truncated: it has {self.size} bytes and refers to byte {start + count}")
        if self._content is not None:
            return self._content[start : start + count]
        self._stream.seek(start)
        found = self._stream.read(count)
        if len(found) < count:
            raise UnusableError("truncated: it grew shorter while it was read")
        return found

    def head(self, count: int) -> bytes:
        """Return the first ``count`` bytes, or all if there are fewer."""
        return self.read(0, min(count, self.size))


@contextmanager
def open_source(place: Place) -> Iterator[Source]:
    """Open a file for reading; one that is elsewhere is fetched.

    Raises:
        OSError: the machine does not let it be read.
        RejectedFileError: it cannot be fetched.
        UnusableError: it is no regular file, too large to be fetched, or damaged as a gzip file.
    """
    if isinstance(place, RemoteFile):
        with place.fetched() as copy:
            yield Source(copy)
        return
    if place.exists() and not place.is_file():
        raise UnusableError("not a regular file")
    with place.open("rb") as stream:
        yield Source(stream)


def _unpack(stream: BinaryIO) -> bytes:
    stream.seek(0)
    try:
        with gzip.GzipFile(fileobj=stream) as unpacked:
            content = unpacked.read(LARGEST_UNPACKED + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UnusableError(f"damaged as a gzip file ({error})") from error
    if len(content) > LARGEST_UNPACKED:
        raise UnusableError(f"unpacks to more than {LARGEST_UNPACKED // 10**6} MB; unpack it with gunzip")
    return content
