"""Represent the flux of frames as the values that a network takes, and convert them back."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_cvae.base.errors import InputError
from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument.photometers import DEAD_TIME, FLUX_PER_COUNT, PHOTOMETERS, SATURATION_FLUX

Frames = NDArray[np.float32]
"""Flux (..., 3, 5000) in uW/m^2 in time order, or values (..., 3, T) in the order in which the network takes them."""

_FLUX_PER_COUNT: Frames = FLUX_PER_COUNT.astype(np.float32)[:, None]
_DEAD_TIME: Frames = DEAD_TIME.astype(np.float32)[:, None]


@dataclass(frozen=True)
class Representation(ABC):
    """A conversion of flux to a network's input values, with its inverse.

    Args:
        time_reversed: whether the network takes each light curve backwards in time, as the thesis's networks do.
    """

    time_reversed: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of a frame's values, (3, T)."""
        return len(PHOTOMETERS), FRAME_SAMPLES

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of the constructor that make the representation again."""
        return asdict(self)

    def apply(self, flux: Frames) -> Frames:
        """Convert flux (..., 3, 5000) in uW/m^2, in time order, to the network's values (..., 3, T), float32."""
        return np.ascontiguousarray(self._to_values(self._ordered(flux)))

    def invert(self, values: Frames) -> Frames:
        """Convert values (..., 3, T) of a network, or their means, to flux (..., 3, 5000) in uW/m^2, in time order."""
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
        full_scale: flux in uW/m^2 that is scaled to 1.
        low: smallest value; smaller ones are clamped to it.
        high: largest value; larger ones are clamped to it.

    Raises:
        InputError: ``full_scale`` is not positive, or not 0 < ``low`` < ``high`` < 1, in float32.
    """

    full_scale: float = SATURATION_FLUX
    low: float = 1e-6
    high: float = 0.99999

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):
            low, high, full_scale = np.array([self.low, self.high, self.full_scale], dtype=np.float32)
        if not (0 < low < high < 1 and 0 < full_scale < np.inf):
            raise InputError(
                f"low={self.low}, high={self.high}, full_scale={self.full_scale}: "
                "must be 0 < low < high < 1 and full_scale > 0, in single precision"
            )

    def _to_values(self, flux: Frames) -> Frames:
        scaled = np.ascontiguousarray(self._to_unit(flux))
        return np.clip(scaled, np.float32(self.low), np.float32(self.high), out=scaled)

    @abstractmethod
    def _to_unit(self, flux: Frames) -> Frames: ...


@dataclass(frozen=True)
class LinearScaling(_UnitScaling):
    """Flux divided by the same full scale in all photometers (Joergensen 2021, 3.4)."""

    def _to_unit(self, flux: Frames) -> Frames:
        return flux / np.float32(self.full_scale)

    def _to_flux(self, values: Frames) -> Frames:
        return values * np.float32(self.full_scale)


@dataclass(frozen=True)
class LogScaling(_UnitScaling):
    """Logarithmic scaling ``log(1 + n) / log(1 + n_full)``, in which single counts stay visible in every photometer.

    n is the flux divided by the photometer's nominal flux per count, n_full the same of ``full_scale``.
    """

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

    Flux is converted to counts with each photometer's nominal flux per count and dead time, see
    :func:`asim_cvae.instrument.photometers.flux_to_counts`, and rounded.

    Args:
        width: samples per bin; a divisor of 5000.

    Raises:
        InputError: ``width`` does not divide 5000.
    """

    width: int = 5

    def __post_init__(self) -> None:
        if self.width < 1 or FRAME_SAMPLES % self.width:
            raise InputError(f"width={self.width}: must be a divisor of {FRAME_SAMPLES}, the samples of a frame")

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of a frame's bins, (3, 5000 / width)."""
        return len(PHOTOMETERS), FRAME_SAMPLES // self.width

    def _to_values(self, flux: Frames) -> Frames:
        binned: Frames = self._bins(flux).sum(-1, dtype=np.float32)
        return binned

    def _bins(self, flux: Frames) -> Frames:
        """Return the counts of each sample, (..., 3, bins, width)."""
        counts: Frames = np.rint(flux / (_FLUX_PER_COUNT + _DEAD_TIME * flux))
        return counts.reshape(*flux.shape[:-1], FRAME_SAMPLES // self.width, self.width)

    def _to_flux(self, values: Frames) -> Frames:
        counts = np.repeat(values / np.float32(self.width), self.width, axis=-1)
        flux: Frames = _FLUX_PER_COUNT * counts / (1 - _DEAD_TIME * counts)
        return flux


@dataclass(frozen=True)
class BinnedPeaks(BinnedCounts):
    """Photon counts summed over bins, as :class:`BinnedCounts`, and below them the largest sample of each bin."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of a frame's values: sums of the three photometers, then their largest samples, (6, 5000 / width)."""
        return 2 * len(PHOTOMETERS), FRAME_SAMPLES // self.width

    def _to_values(self, flux: Frames) -> Frames:
        bins = self._bins(flux)
        return np.concatenate([bins.sum(-1, dtype=np.float32), bins.max(-1).astype(np.float32)], axis=-2)

    def _to_flux(self, values: Frames) -> Frames:
        return super()._to_flux(values[..., : len(PHOTOMETERS), :])
