"""The base class of suites of measurements."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from asim_cvae.studies.speed.report import Report


class Suite(ABC):
    """A set of measurements that are reported together, in named parts."""

    @property
    @abstractmethod
    def parts(self) -> Mapping[str, Callable[[], Report]]:
        """Functions that measure each part, by name, in the order of the report."""
