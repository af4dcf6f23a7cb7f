"""Keep SIGTERM, SIGUSR1 and Ctrl-C until the training can save its state."""

import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
"""Signals that end a training: of the system, of a cluster shortly before a job's time is up, and of Ctrl-C."""


class StoppedError(Exception):
    """A signal ended the training after its state was saved."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.exit_status = 128 + number
        super().__init__(f"stopped by {signal.Signals(number).name}")


class StopSignal:
    """A context in which the first of ``SIGNALS`` is kept in ``number``. A second one has its usual effect."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __enter__(self) -> "StopSignal":
        self._usual = {number: signal.getsignal(number) for number in SIGNALS}
        self.listen()
        return self

    def listen(self) -> None:
        """Take signals back from handlers that were installed since, unless one has come already."""
        if self.number is None:
            for number in self._usual:
                signal.signal(number, self._keep)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._usual.items():
            signal.signal(number, handler)

    def _keep(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self.__exit__()

    def raise_if_stopped(self) -> None:
        """Raise StoppedError if a signal came."""
        if self.number is not None:
            raise StoppedError(self.number)
