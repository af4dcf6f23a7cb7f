"""What a suite of measurements is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from asim_cvae.studies.speed.report import Report


class Suite(ABC):
    """Measurements that belong together."""

    @property
    @abstractmethod
    def parts(self) -> Mapping[str, Callable[[], Report]]:
        """What is measured, by name, in order."""
