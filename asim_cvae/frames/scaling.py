"""Flux of a frame -> values in (0, 1) as a network is to see them, and back."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_cvae.instrument.photometers import FLUX_PER_COUNT, SATURATION_FLUX

Frames = NDArray[np.float32]
"""(..., 3, T); flux in uW/m^2 in time order, or scaled values in the order the network sees."""

_QUANTUM: Frames = FLUX_PER_COUNT.astype(np.float32)[:, None]


@dataclass(frozen=True)
class Scaling(ABC):
    """A scaling of frames and its inverse.

    ``full_scale`` in uW/m^2 becomes 1; values are clamped to ``low`` and ``high``, inside the support of a Beta.
    Networks that are ``time_reversed`` see every photometer backwards.
    """

    full_scale: float = SATURATION_FLUX
    low: float = 1e-6
    high: float = 0.99999
    time_reversed: bool = False

    def scale(self, flux: Frames) -> Frames:
        """Flux in uW/m^2, in time order -> values in (0, 1), in the order the network sees."""
        values = np.ascontiguousarray(self._to_unit(self._ordered(flux)))
        return np.clip(values, np.float32(self.low), np.float32(self.high), out=values)

    def unscale(self, values: Frames) -> Frames:
        """The inverse of :meth:`scale`, within the clamped range."""
        return np.ascontiguousarray(self._from_unit(self._ordered(values)))

    def _ordered(self, values: Frames) -> Frames:
        return values[..., ::-1] if self.time_reversed else values

    @abstractmethod
    def _to_unit(self, flux: Frames) -> Frames: ...

    @abstractmethod
    def _from_unit(self, values: Frames) -> Frames: ...


@dataclass(frozen=True)
class LinearScaling(Scaling):
    """Flux over one full scale for all photometers (Joergensen 2021, 3.4)."""

    def _to_unit(self, flux: Frames) -> Frames:
        return flux / np.float32(self.full_scale)

    def _from_unit(self, values: Frames) -> Frames:
        return values * np.float32(self.full_scale)


@dataclass(frozen=True)
class LogScaling(Scaling):
    """log(1 + n) / log(1 + n_full), n being flux in each photometer's nominal count quantum: each shows one count."""

    def _to_unit(self, flux: Frames) -> Frames:
        values: Frames = np.log1p(flux / _QUANTUM) / self._log_full()
        return values

    def _from_unit(self, values: Frames) -> Frames:
        flux: Frames = np.expm1(values * self._log_full()) * _QUANTUM
        return flux

    def _log_full(self) -> Frames:
        full: Frames = np.log1p(np.float32(self.full_scale) / _QUANTUM)
        return full


_SCALINGS = {scaling.__name__: scaling for scaling in (LinearScaling, LogScaling)}


def scaling_settings(scaling: Scaling) -> dict[str, Any]:
    """Plain values from which :func:`build_scaling` makes the scaling again."""
    return {"name": type(scaling).__name__, **asdict(scaling)}


def build_scaling(settings: Mapping[str, Any]) -> Scaling:
    """The scaling that :func:`scaling_settings` described; only scalings of this package are made.

    Raises:
        ValueError: there is no such scaling.
        TypeError: it does not take these settings.
    """
    values = dict(settings)
    name = values.pop("name", None)
    if name not in _SCALINGS:
        raise ValueError(f"unknown scaling {name!r}, not one of {', '.join(_SCALINGS)}")
    return _SCALINGS[name](**values)
