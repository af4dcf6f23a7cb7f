"""End a run on SIGTERM, SIGUSR1 or Ctrl-C: at once, or, while it trains, as soon as its state is saved."""

import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
"""Signals that end a run: of the system, of a cluster shortly before a job's time is up, and of Ctrl-C."""


class StoppedError(SystemExit):
    """A signal ended the run. It may come anywhere, so it is of a type that libraries do not take for a fault."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.number).name}"


class StopSignal:
    """A context in which the first of ``SIGNALS`` raises StoppedError. A second one has its usual effect.

    Attributes:
        number: the signal that came; None if none did.
        is_deferred: whether a signal is kept in ``number`` until :meth:`raise_if_stopped`, instead of raising at once.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.is_deferred = False

    def __enter__(self) -> "StopSignal":
        self._usual = {number: signal.getsignal(number) for number in SIGNALS}
        self.listen()
        return self

    def listen(self) -> None:
        """Take signals back from handlers that were installed since, unless one has come already."""
        if self.number is None:
            for number in self._usual:
                signal.signal(number, self._take)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._usual.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self.__exit__()
        if not self.is_deferred:
            self.raise_if_stopped()

    def raise_if_stopped(self) -> None:
        """Raise StoppedError if a signal came."""
        if self.number is not None:
            raise StoppedError(self.number)
