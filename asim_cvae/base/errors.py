"""Errors that the user's input causes."""

import errno
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import get_close_matches


class InputError(ValueError):
    """Input that cannot be used: a file, a folder or a setting.

    The message is one line that names the input, what is wrong with it and what to do. Commands print it without a
    traceback.
    """


class SettingError(InputError):
    """A setting that cannot be used, or does not go with another; the command ends with exit status 2."""


_MACHINE_ERRNOS = {
    getattr(errno, name, 0)  # not every system has all of them
    for name in (
        *("EACCES", "EPERM", "ENOENT", "EIO", "ENXIO", "ENODEV", "ENOMEM", "EMFILE", "ENFILE", "ENOSPC", "EDQUOT"),
        *("EAGAIN", "EINTR", "EBUSY", "ENOLCK", "EUCLEAN", "EBADMSG", "ESTALE", "EREMOTEIO", "ETIMEDOUT", "ENOBUFS"),
        *("ENOTCONN", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "ESHUTDOWN", "EHOSTDOWN", "EHOSTUNREACH"),
        *("ENETDOWN", "ENETRESET", "ENETUNREACH", "EKEYEXPIRED", "ENOKEY"),
    )
} - {0}


def is_machines_fault(error: BaseException) -> bool:
    """Whether the machine is to blame for an error in reading a file, which may be read at another time.

    Memory, permissions, disks and networks are the machine's. EINVAL, EOVERFLOW and the like come from what a file says
    of itself, as an offset below 0; so do errors without a number, which libraries raise.
    """
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _MACHINE_ERRNOS)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters, or its class name if the message is empty.

    Messages of libraries can run over many lines; this part of them fits into a one-line message. A line that only
    announces the next one, as torch's on weights of another network does, is joined with it.
    """
    first, *others = (str(error).strip() or type(error).__name__).splitlines()
    if first.endswith(":") and others:
        first = f"{first} {others[0].strip()}"
    return shown(first, 200)


def shown(value: object, most: int = 100) -> str:
    """Return a value for a message of one line: at most ``most`` characters, and none that a terminal would obey."""
    text = "".join(character if character.isprintable() else "?" for character in str(value)[: most + 1])
    return text if len(text) <= most else f"{text[: most - 3]}..."


def without_secrets(text: str) -> str:
    """Return text without what may be a password or a key in its addresses: user information and queries."""
    return re.sub(r"(://[^\s?'\"]*)\?[^\s'\")]*", r"\1?...", re.sub(r"://[^\s/'\"]*@", "://", text))


def printable(text: str, most: int | None = None) -> str:
    """Escape the characters of ``text`` that cannot be printed or encoded, as those of a damaged file name.

    ``most``: number of characters to which it is cut; None for all of them.
    """
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text[:most]
    )
    return shown if most is None or max(len(text), len(shown)) <= most else f"{shown[: most - 3]}..."


class Problems:
    """Lines about parts of an input that are left out: the first of each kind, then how many more there are."""

    MOST = 10

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}
        self._counts: Counter[str] = Counter()

    def add(self, kind: str, line: str) -> None:
        """Add a line; those of a ``kind`` stand together."""
        self._counts[kind] += 1
        if self._counts[kind] <= self.MOST:
            self._lines.setdefault(kind, []).append(printable(line, 500))

    def lines(self) -> Iterator[str]:
        """Yield at most ``MOST`` lines of each kind, and one with the number of the others, all of bounded length."""
        for kind, lines in self._lines.items():
            yield from lines
            if more := self._counts[kind] - len(lines):
                yield f"and {more} more: {kind}"


def did_you_mean(name: str, names: Iterable[str], alike: float = 0.6) -> str:
    """'; did you mean NEAREST?' where one of ``names`` is close to ``name``, else ''.

    Of dotted names, one that ends in ``name`` is the nearest. ``alike``: the similarity, up to 1, that counts as close.
    """
    names = list(names)
    nearest = [known for known in names if known.endswith(f".{name}")] or get_close_matches(name, names, 1, alike)
    return f"; did you mean {nearest[0]}?" if nearest else ""
