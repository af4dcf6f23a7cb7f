"""Representations: what a network sees of a frame's flux, and the way back."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_cvae.base.errors import InputError
from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument.photometers import DEAD_TIME, FLUX_PER_COUNT, PHOTOMETERS, SATURATION_FLUX

Frames = NDArray[np.float32]
"""(..., 3, 5000), flux in uW/m^2 in time order, or (..., 3, T), values as the network sees them."""

_FLUX_PER_COUNT: Frames = FLUX_PER_COUNT.astype(np.float32)[:, None]
_DEAD_TIME: Frames = DEAD_TIME.astype(np.float32)[:, None]


@dataclass(frozen=True)
class Representation(ABC):
    """A function of frames and its inverse.

    Args:
        time_reversed: the network sees every photometer backwards.
    """

    time_reversed: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Photometers and steps of a frame as the network sees it, (3, T)."""
        return len(PHOTOMETERS), FRAME_SAMPLES

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments from which the representation is made again."""
        return asdict(self)

    def apply(self, flux: Frames) -> Frames:
        """Flux (..., 3, 5000) in uW/m^2 in time order -> what the network sees, (..., 3, T), float32."""
        return np.ascontiguousarray(self._to_values(self._ordered(flux)))

    def invert(self, values: Frames) -> Frames:
        """What a network sees, (..., 3, T), or a mean of it -> flux (..., 3, 5000) in uW/m^2 in time order."""
        return np.ascontiguousarray(self._ordered(self._to_flux(values)))

    def _ordered(self, frames: Frames) -> Frames:
        return frames[..., ::-1] if self.time_reversed else frames

    @abstractmethod
    def _to_values(self, flux: Frames) -> Frames: ...

    @abstractmethod
    def _to_flux(self, values: Frames) -> Frames: ...


@dataclass(frozen=True)
class _UnitScaling(Representation):
    """Flux scaled to the open interval (0, 1), the support of a Beta distribution.

    Args:
        full_scale: flux in uW/m^2 that becomes 1.
        low: values below it are set to it.
        high: values above it are set to it.
    """

    full_scale: float = SATURATION_FLUX
    low: float = 1e-6
    high: float = 0.99999

    def __post_init__(self) -> None:
        if not (0 < self.low < self.high < 1 and self.full_scale > 0):
            raise InputError(f"low={self.low}, high={self.high}, full_scale={self.full_scale}: 0 < low < high < 1")

    def _to_values(self, flux: Frames) -> Frames:
        scaled = np.ascontiguousarray(self._to_unit(flux))
        return np.clip(scaled, np.float32(self.low), np.float32(self.high), out=scaled)

    @abstractmethod
    def _to_unit(self, flux: Frames) -> Frames: ...


@dataclass(frozen=True)
class LinearScaling(_UnitScaling):
    """Flux over one full scale for all photometers (Joergensen 2021, 3.4)."""

    def _to_unit(self, flux: Frames) -> Frames:
        return flux / np.float32(self.full_scale)

    def _to_flux(self, values: Frames) -> Frames:
        return values * np.float32(self.full_scale)


@dataclass(frozen=True)
class LogScaling(_UnitScaling):
    """log(1 + n) / log(1 + n_full), n being flux in each photometer's nominal count quantum: each shows one count."""

    def _to_unit(self, flux: Frames) -> Frames:
        values: Frames = np.log1p(flux / _FLUX_PER_COUNT) / self._log_full()
        return values

    def _to_flux(self, values: Frames) -> Frames:
        flux: Frames = np.expm1(values * self._log_full()) * _FLUX_PER_COUNT
        return flux

    def _log_full(self) -> Frames:
        full: Frames = np.log1p(np.float32(self.full_scale) / _FLUX_PER_COUNT)
        return full


@dataclass(frozen=True)
class BinnedCounts(Representation):
    """Photon counts, summed over bins, for a likelihood of counts.

    Counts follow from flux by each photometer's nominal quantum and dead time, see
    :func:`asim_cvae.instrument.photometers.flux_to_counts`, and are rounded.

    Args:
        width: samples of a bin; a divisor of 5000.
    """

    width: int = 5

    def __post_init__(self) -> None:
        if self.width < 1 or FRAME_SAMPLES % self.width:
            raise InputError(f"width={self.width}: bins have to divide the {FRAME_SAMPLES} samples of a frame evenly")

    @property
    def shape(self) -> tuple[int, int]:
        """Photometers and bins of a frame, (3, 5000 / width)."""
        return len(PHOTOMETERS), FRAME_SAMPLES // self.width

    def _to_values(self, flux: Frames) -> Frames:
        counts = np.rint(flux / (_FLUX_PER_COUNT + _DEAD_TIME * flux))
        binned: Frames = counts.reshape(*flux.shape[:-1], -1, self.width).sum(-1, dtype=np.float32)
        return binned

    def _to_flux(self, values: Frames) -> Frames:
        counts = np.repeat(values / np.float32(self.width), self.width, axis=-1)
        flux: Frames = _FLUX_PER_COUNT * counts / (1 - _DEAD_TIME * counts)
        return flux
