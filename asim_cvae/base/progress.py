"""Show the progress of long work: a bar on a terminal, else a line every half minute, so that log files stay short."""

import logging
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

Item = TypeVar("Item")

_SECONDS = 30.0  # time between two lines

log = logging.getLogger(__name__)


def on_terminal() -> bool:
    """Tell whether both standard output and standard error are a terminal, where a person watches."""
    return sys.stdout.isatty() and sys.stderr.isatty()


@contextmanager
def progress(total: int, doing: str, unit: str) -> Iterator[Callable[[int], None]]:
    """Show progress within a context, and log its begin and end. If ``total`` is 0, nothing is shown.

    Args:
        total: number of items to process.
        doing: what is done, as "reading".
        unit: name of an item, in the singular.

    Yields:
        A function to call with the number of items that were processed since the last call.
    """
    if not total:
        yield lambda count: None
        return
    begin = time.monotonic()
    log.info("%s: %s", doing, _counted(total, unit))
    with _bar(total, doing, unit) if on_terminal() else _lines(total, doing, unit, begin) as advance:
        yield advance
    log.info("%s: done in %s", doing, duration(time.monotonic() - begin))


def track(items: Collection[Item], doing: str, unit: str) -> Iterator[Item]:
    """Yield the items in order, and show their progress; for the arguments see :func:`progress`."""
    with progress(len(items), doing, unit) as advance:
        for item in items:
            yield item
            advance(1)


def duration(seconds: float) -> str:
    """Format a time in seconds for people: '8.2 s', '48 s', '12 min', '3 h 05 min'."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


@contextmanager
def _bar(total: int, doing: str, unit: str) -> Iterator[Callable[[int], None]]:
    with logging_redirect_tqdm(), tqdm(total=total, desc=doing, unit=unit, leave=False) as bar:
        yield bar.update


@contextmanager
def _lines(total: int, doing: str, unit: str, begin: float) -> Iterator[Callable[[int], None]]:
    done, last_line = 0, begin

    def advance(count: int) -> None:
        nonlocal done, last_line
        done += count
        now = time.monotonic()
        if done < total and now - last_line >= _SECONDS:
            last_line = now
            rate = done / (now - begin)
            left = duration((total - done) / rate)
            log.info("%s: %d of %s, %.3g a second, about %s left", doing, done, _counted(total, unit), rate, left)

    yield advance


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"
