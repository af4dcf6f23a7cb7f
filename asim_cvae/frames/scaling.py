"""Flux of a frame -> values in (0, 1) as a network is to see them, and back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from asim_cvae.instrument import FLUX_PER_COUNT, SATURATION_FLUX

Frames = NDArray[np.float32]
"""(..., 3, T); flux in uW/m^2 in time order, or scaled values in the order the network sees."""


class Scaling(Protocol):
    """A scaling of frames and its inverse; ``time_reversed`` networks see every photometer backwards."""

    time_reversed: bool

    def scale(self, flux: Frames) -> Frames:
        """Flux in uW/m^2, in time order -> values in (0, 1), in the order the network sees."""
        ...

    def unscale(self, values: Frames) -> Frames:
        """The inverse of ``scale``, within the clamped range."""
        ...


@dataclass(frozen=True)
class LinearScaling:
    """Flux over one full scale for all photometers, clamped into the Beta's open interval (Joergensen 2021, 3.4)."""

    full_scale: float = SATURATION_FLUX
    low: float = 1e-6
    high: float = 0.99999
    time_reversed: bool = False

    def scale(self, flux: Frames) -> Frames:
        values = np.clip(flux / np.float32(self.full_scale), np.float32(self.low), np.float32(self.high))
        return _in_order(values, self.time_reversed)

    def unscale(self, values: Frames) -> Frames:
        return _in_order(values, self.time_reversed) * np.float32(self.full_scale)


@dataclass(frozen=True)
class LogScaling:
    """log(1 + n) / log(1 + n_full), n being flux in each photometer's nominal count quantum: one count is seen in all."""

    full_scale: float = SATURATION_FLUX
    low: float = 1e-6
    high: float = 0.99999
    time_reversed: bool = False

    def scale(self, flux: Frames) -> Frames:
        values = np.log1p(flux / _QUANTUM) / self._full()
        return _in_order(np.clip(values, np.float32(self.low), np.float32(self.high)), self.time_reversed)

    def unscale(self, values: Frames) -> Frames:
        return np.expm1(_in_order(values, self.time_reversed) * self._full()) * _QUANTUM

    def _full(self) -> NDArray[np.float32]:
        return np.log1p(np.float32(self.full_scale) / _QUANTUM)


_QUANTUM = FLUX_PER_COUNT.astype(np.float32)[:, None]

_SCALINGS = {scaling.__name__: scaling for scaling in (LinearScaling, LogScaling)}


def scaling_settings(scaling: LinearScaling | LogScaling) -> dict[str, Any]:
    """Plain values from which :func:`build_scaling` makes the scaling again."""
    return {"name": type(scaling).__name__, **asdict(scaling)}


def build_scaling(settings: Mapping[str, Any]) -> LinearScaling | LogScaling:
    """The scaling that :func:`scaling_settings` described.

    Raises:
        ValueError: there is no such scaling, or it does not take these settings.
    """
    values = dict(settings)
    name = values.pop("name", None)
    if name not in _SCALINGS:
        raise ValueError(f"unknown scaling {name!r}, not one of {', '.join(_SCALINGS)}")
    try:
        return _SCALINGS[name](**values)
    except TypeError as error:
        raise ValueError(f"settings that {name} does not take: {error}") from error


def _in_order(values: Frames, time_reversed: bool) -> Frames:
    return np.ascontiguousarray(values[..., ::-1]) if time_reversed else values
