"""Draw the pulses of events in clouds, above them, and in MMIA itself (particle hits).

A pulse's peak is in expected counts per sample of a counter without dead time, its onset in samples from the start of
the observation. 337 nm is a nitrogen band and called blue here, 777.4 nm is an oxygen line.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asim_cvae.simulator.pulses import (
    Shape,
    current_pulse,
    glow,
    hit,
    streamer_pulse,
    stretched,
    through_cloud,
)


@dataclass(frozen=True)
class Pulse:
    """One pulse of light.

    Attributes:
        kind: kind of event.
        onset: number of its first sample; negative if it begins before the observation.
        peak: peak in each photometer, in expected counts per sample.
        shapes: shape in each photometer.
    """

    kind: str
    onset: int
    peak: tuple[float, float, float]
    shapes: tuple[Shape, Shape, Shape]

    @property
    def brightest(self) -> int:
        """Index of the photometer with the highest peak."""
        return self.peak.index(max(self.peak))

    def scaled(self, width: float, brightness: float) -> "Pulse":
        """Return the pulse with all its times multiplied by ``width`` and its peaks by ``brightness``."""
        shapes = {id(shape): stretched(shape, width) for shape in self.shapes}  # photometers may share one
        blue, ultraviolet, oxygen = self.shapes
        return Pulse(
            self.kind,
            self.onset,
            (brightness * self.peak[0], brightness * self.peak[1], brightness * self.peak[2]),
            (shapes[id(blue)], shapes[id(ultraviolet)], shapes[id(oxygen)]),
        )

    @property
    def peak_sample(self) -> int:
        """Number of the sample at the peak, in the brightest photometer."""
        return self.onset + int(self.shapes[self.brightest].argmax())

    @property
    def end(self) -> int:
        """Number of the sample after its last."""
        return self.onset + max(map(len, self.shapes))

    def light(self, photometer: int, first: int, samples: int) -> tuple[slice, Shape]:
        """Return the pulse's light within a window of ``samples`` samples that begins at sample ``first``.

        Returns:
            The part of the window that it lights, as a slice of the window, and the expected counts there.
        """
        shape = self.shapes[photometer]
        start, stop = max(first, self.onset), min(first + samples, self.onset + shape.size)
        if stop <= start:
            return slice(0, 0), shape[:0]
        return slice(start - first, stop - first), self.peak[photometer] * shape[start - self.onset : stop - self.onset]


def expected_light(pulses: Iterable[Pulse], background: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up pulses and background rate (3, T); returns (3, T) expected counts per sample without dead time."""
    light = background.copy()
    for pulse in pulses:
        for photometer, peak in enumerate(pulse.peak):
            if peak:
                window, values = pulse.light(photometer, 0, light.shape[1])
                light[photometer, window] += values
    return light


@dataclass(frozen=True)
class Cloud:
    """The cloud between a flash and MMIA. 337 nm is scattered more (Luque et al. 2020, Geosci. Model Dev. 13:5549).

    Attributes:
        delay_ms: delay at 777.4 nm, see :func:`diffusion`.
        loss_per_ms: loss at both wavelengths, see :func:`diffusion`.
        blue_delay: delay at 337 nm divided by that at 777.4 nm.
        blue_light: light at 337 nm divided by that at 777.4 nm.
    """

    delay_ms: float
    loss_per_ms: float
    blue_delay: float
    blue_light: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Cloud":
        """Draw the parameters for a source anywhere from near the cloud's top to deep in it."""
        return cls(
            delay_ms=log_uniform(rng, 0.01, 2.0),
            loss_per_ms=log_uniform(rng, 0.4, 2.0),
            blue_delay=rng.uniform(1.1, 2.0),
            blue_light=log_normal(rng, 1.0, 0.5),
        )


def return_stroke(onset: int, peak: float, cloud: Cloud, rng: np.random.Generator) -> Pulse:
    """Draw a return stroke, scattered by the cloud; its source rises within tens of microseconds."""
    times_ms = log_uniform(rng, 0.02, 0.1), log_uniform(rng, 0.05, 0.5)
    return _scattered("return stroke", onset, peak, times_ms, cloud, rng)


def cloud_pulse(onset: int, peak: float, cloud: Cloud, rng: np.random.Generator) -> Pulse:
    """Draw the brightening of a leader in the cloud, scattered by it; its source rises within about a millisecond."""
    times_ms = log_uniform(rng, 0.3, 3.0), log_uniform(rng, 0.3, 3.0)
    return _scattered("in-cloud pulse", onset, peak, times_ms, cloud, rng)


_KNEE = 100.0  # counts, a little above the largest on published light curves


def _scattered(
    kind: str, onset: int, peak: float, times_ms: tuple[float, float], cloud: Cloud, rng: np.random.Generator
) -> Pulse:
    """Scatter a source that emits 337 and 777.4 nm and a little ultraviolet.

    Peaks are compressed to ``knee log(1 + peak / knee)``, which is assumed: published light curves show none far above
    the knee. ``times_ms`` are the rise and decay time constants of the source.
    """
    source = current_pulse(*times_ms)
    oxygen = through_cloud(source, cloud.delay_ms, cloud.loss_per_ms)
    nitrogen = through_cloud(source, cloud.blue_delay * cloud.delay_ms, cloud.loss_per_ms)
    blue_peak = peak * cloud.blue_light * log_normal(rng, 1.0, 0.3)
    compressed_blue, compressed = (float(_KNEE * np.log1p(each / _KNEE)) for each in (blue_peak, peak))
    return Pulse(kind, onset, (compressed_blue, 0.01 * compressed_blue, compressed), (nitrogen, nitrogen, oxygen))


def continuing_current(onset: int, peak: float, cloud: Cloud, rng: np.random.Generator) -> Pulse:
    """Draw a continuing current after a stroke, with M-components.

    It lasts tens to hundreds of ms (Rakov and Uman 2003, *Lightning*, ch. 4). Bitzer 2017, JGR Atmospheres 122:1033,
    gives the share of flashes that have one, as seen from space.
    """
    surges = np.column_stack([rng.uniform(0.05, 0.8, 3), rng.uniform(0, 1.5, 3), rng.uniform(0.3, 2.0, 3)])
    shape = glow(log_uniform(rng, 10, 200), surges)
    return Pulse("continuing current", onset, (peak * cloud.blue_light, 0.0, peak), (shape, shape, shape))


def corona(onset: int, peak: float, rng: np.random.Generator) -> Pulse:
    """Draw a blue corona discharge at the cloud's top: 337 nm, at times some ultraviolet, hardly any 777.4 nm.

    Soler et al. 2020, JGR Atmospheres 125, e2020JD032708. Husbjerg et al. 2022, Geophys. Res. Lett. 49, find rise times
    of 30 us or less near the cloud's top, and longer ones deeper in it.
    """
    shape = streamer_pulse(log_uniform(rng, 0.01, 0.1), log_uniform(rng, 0.1, 1.0))
    ultraviolet = rng.uniform(0, 0.2) if rng.random() < 0.3 else 0.0
    return Pulse("corona", onset, (peak, ultraviolet * peak, 0.02 * peak), (shape, shape, shape))


def channel(onset: int, peak: float, rng: np.random.Generator) -> Pulse:
    """Draw the slow 777.4 nm light of a hot channel deep in the cloud, which absorbs its 337 nm.

    Assumed, after a pulse of this kind on a published light curve.
    """
    source = current_pulse(log_uniform(rng, 0.1, 1.5), log_uniform(rng, 0.3, 3.0))
    shape = through_cloud(source, 1.0, 1.0)
    return Pulse("channel", onset, (0.02 * peak, 0.0, peak), (shape, shape, shape))


def blue_jet(onset: int, peak: float, rng: np.random.Generator) -> tuple[Pulse, Pulse]:
    """Draw a blue jet: an initial flash with ultraviolet, and 337 nm light of its body for hundreds of milliseconds.

    Neubert et al. 2021, Nature 589:371: the flash rises within some 10 us, the body lasts about 400 ms.
    """
    flash = streamer_pulse(0.01, log_uniform(rng, 0.1, 0.5))
    body = glow(rng.uniform(200, 400), np.zeros((0, 3)))
    return (
        Pulse("blue jet", onset, (peak, 0.2 * peak, 0.05 * peak), (flash, flash, flash)),
        Pulse("blue jet", onset, (0.1 * peak, 0.0, 0.0), (body, body, body)),
    )


def elve(onset: int, peak: float, rng: np.random.Generator) -> Pulse:
    """Draw an elve: 0.1-0.5 ms of ultraviolet and a little 337 nm, at the onset of a strong stroke.

    Neubert et al. 2020, Science 367:183.
    """
    shape = streamer_pulse(0.05, rng.uniform(0.1, 0.5))
    return Pulse("elve", onset, (0.1 * peak, peak, 0.0), (shape, shape, shape))


def sprite(onset: int, peak: float, rng: np.random.Generator) -> Pulse:
    """Draw a sprite: some milliseconds of 337 nm (nitrogen's second positive bands) and 777.4 nm (its first positive).

    Pasko, Yair and Kuo 2012, Space Sci. Rev. 168:475.
    """
    shape = streamer_pulse(log_uniform(rng, 0.1, 0.5), log_uniform(rng, 1.0, 5.0))
    return Pulse("sprite", onset, (0.7 * peak, 0.02 * peak, peak), (shape, shape, shape))


_HIT_SHARES = (0.5, 0.02, 0.48)  # share of hits in each photometer; published ultraviolet light curves show none
_HIT_LOWEST, _HIT_HIGHEST = 2.0, 200.0  # counts
_LONGEST = 6  # samples


HIT_SHAPES = tuple(hit(length) for length in range(1, _LONGEST + 1))
"""Shapes of particle hits, by their number of samples less one."""

_HITS = np.array([np.pad(shape, (0, _LONGEST - shape.size)) for shape in HIT_SHAPES])


@dataclass(frozen=True)
class Particles:
    """Pulses of n particles that hit a photometer, as arrays, since an observation may hold thousands.

    Attributes:
        onset: (n,) numbers of the first samples, ascending.
        height: (n,) peaks in expected counts per sample.
        photometer: (n,) index of the photometer hit.
        length: (n,) numbers of samples.
    """

    onset: NDArray[np.int64]
    height: NDArray[np.float64]
    photometer: NDArray[np.int64]
    length: NDArray[np.int64]

    @property
    def peak(self) -> NDArray[np.float64]:
        """Peak in each photometer, (n, 3), in expected counts per sample."""
        peak: NDArray[np.float64] = self.height[:, None] * (self.photometer[:, None] == np.arange(3))
        return peak

    def light(self, samples: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return the light in the first ``samples`` samples, one entry for each sample that a particle lights.

        Returns:
            Index of the particle, number of the sample, and expected counts there, (m,) each.
        """
        particle, step = np.nonzero(np.arange(_LONGEST) < np.minimum(self.length, samples - self.onset)[:, None])
        return particle, self.onset[particle] + step, self.height[particle] * _HITS[self.length[particle] - 1, step]


def particles(samples: int, per_second: float, sampling_rate: int, rng: np.random.Generator) -> Particles:
    """Draw the hits of cosmic rays and trapped particles during ``samples`` samples.

    Each lights one photometer for 1-6 samples. The share of hits with a peak above h falls as 1/h. Both are roughly as
    on a published light curve with many hits.
    """
    count = rng.poisson(per_second * samples / sampling_rate)
    return Particles(
        onset=np.sort(rng.integers(0, samples, count)),
        height=np.minimum(_HIT_LOWEST * (1 + rng.pareto(1.0, count)), _HIT_HIGHEST),
        photometer=rng.choice(3, count, p=_HIT_SHARES),
        length=rng.integers(1, _LONGEST + 1, count),
    )


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number between ``low`` and ``high`` whose logarithm is uniformly distributed."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def log_normal(rng: np.random.Generator, median: float, sigma: float) -> float:
    """Draw a number whose natural logarithm is normally distributed with standard deviation ``sigma``."""
    return float(median * np.exp(rng.normal(0.0, sigma)))
