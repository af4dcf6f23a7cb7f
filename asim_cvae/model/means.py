"""Means of what training steps give, over an epoch."""

from collections.abc import Mapping

from torch import Tensor


class EpochMeans:
    """Sums up values of steps where they are computed, for one log an epoch.

    Lightning's own log takes a good part of a millisecond a value and step, while a GPU waits.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | float] = {}
        self._frames: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor | float], frames: int) -> None:
        """Add a step's values, each a mean over so many frames."""
        for name, value in values.items():
            detached = value.detach() if isinstance(value, Tensor) else value
            self._sums[name] = self._sums.get(name, 0.0) + frames * detached
            self._frames[name] = self._frames.get(name, 0) + frames

    def take(self) -> dict[str, Tensor | float]:
        """Give the means of all values, and begin anew."""
        means = {name: total / self._frames[name] for name, total in self._sums.items()}
        self._sums, self._frames = {}, {}
        return means
