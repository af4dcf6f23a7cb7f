"""What happens in clouds, above them and in MMIA: each kind of event with the parameters its pulses are drawn from.

Light is in expected counts a sample at a pulse's peak, onsets in samples from the observation's start.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asim_cvae.simulator.pulses import (
    SAMPLES_PER_MS,
    Shape,
    current_pulse,
    glow,
    hit,
    streamer_pulse,
    through_cloud,
)


@dataclass(frozen=True)
class Pulse:
    """One pulse: ``peak`` (3,) is its light in each photometer, ``onset`` a sample number, which may lie before 0."""

    kind: str
    onset: int
    peak: tuple[float, float, float]
    shapes: tuple[Shape, Shape, Shape]

    @property
    def brightest(self) -> int:
        """The photometer, from 0, that sees most of it."""
        return self.peak.index(max(self.peak))

    @property
    def peak_sample(self) -> int:
        """The sample at which it is brightest."""
        return self.onset + int(self.shapes[self.brightest].argmax())

    @property
    def end(self) -> int:
        """The sample after its last."""
        return self.onset + max(map(len, self.shapes))

    @property
    def width_ms(self) -> float:
        """Time above half of the peak in the brightest photometer."""
        return np.count_nonzero(self.shapes[self.brightest] >= 0.5) / SAMPLES_PER_MS

    def light(self, photometer: int, first: int, samples: int) -> tuple[slice, Shape]:
        """Its light in samples ``first`` to ``first + samples``: where, counted from ``first``, and how much."""
        shape = self.shapes[photometer]
        start, stop = max(first, self.onset), min(first + samples, self.onset + shape.size)
        if stop <= start:
            return slice(0, 0), shape[:0]
        return slice(start - first, stop - first), self.peak[photometer] * shape[start - self.onset : stop - self.onset]


def expected_light(pulses: Iterable[Pulse], background: NDArray[np.float64], samples: int) -> NDArray[np.float64]:
    """Light of all pulses and the background (3,), as (3, T), in counts a sample of a counter without dead time."""
    light = np.repeat(background[:, None], samples, axis=1)
    for pulse in pulses:
        for photometer, peak in enumerate(pulse.peak):
            if peak:
                where, values = pulse.light(photometer, 0, samples)
                light[photometer, where] += values
    return light


@dataclass(frozen=True)
class Cloud:
    """What the light of a flash crosses: ``diffusion``'s parameters at 777.4 nm, and what 337 nm has beyond them.

    337 nm is scattered more (Luque et al. 2020, Geosci. Model Dev. 13:5549): ``blue_delay`` is its delay over that of
    777.4 nm, ``blue_light`` its light over that of 777.4 nm.
    """

    delay_ms: float
    loss_per_ms: float
    blue_delay: float
    blue_light: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Cloud":
        """With the source anywhere from near the cloud's top to deep in it."""
        return cls(
            delay_ms=log_uniform(rng, 0.01, 2.0),
            loss_per_ms=log_uniform(rng, 0.4, 2.0),
            blue_delay=rng.uniform(1.1, 2.0),
            blue_light=log_normal(rng, 1.0, 0.5),
        )


def return_stroke(onset: int, light: float, cloud: Cloud, rng: np.random.Generator) -> Pulse:
    """A return stroke, scattered by the cloud: its source rises in tens of microseconds."""
    return _scattered("return stroke", onset, light, (log_uniform(rng, 0.02, 0.1), log_uniform(rng, 0.05, 0.5)), cloud,
                      rng)  # fmt: skip


def cloud_pulse(onset: int, light: float, cloud: Cloud, rng: np.random.Generator) -> Pulse:
    """A brightening of a leader in the cloud, scattered by it: its source rises in a millisecond or so."""
    return _scattered("in-cloud pulse", onset, light, (log_uniform(rng, 0.3, 3.0), log_uniform(rng, 0.3, 3.0)), cloud,
                      rng)  # fmt: skip


_KNEE = 100.0  # counts, somewhat more than the largest seen on published light curves


def _scattered(
    kind: str, onset: int, light: float, times_ms: tuple[float, float], cloud: Cloud, rng: np.random.Generator
) -> Pulse:
    """337 and 777.4 nm together, a little ultraviolet; light beyond the knee grows as its logarithm, as assumed."""
    source = current_pulse(*times_ms)
    oxygen = through_cloud(source, cloud.delay_ms, cloud.loss_per_ms)
    nitrogen = through_cloud(source, cloud.blue_delay * cloud.delay_ms, cloud.loss_per_ms)
    blue = light * cloud.blue_light * log_normal(rng, 1.0, 0.3)
    seen_blue, seen = (float(_KNEE * np.log1p(each / _KNEE)) for each in (blue, light))
    return Pulse(kind, onset, (seen_blue, 0.01 * seen_blue, seen), (nitrogen, nitrogen, oxygen))


def continuing_current(onset: int, light: float, cloud: Cloud, rng: np.random.Generator) -> Pulse:
    """Current that goes on after a stroke, with M-components.

    For tens to hundreds of ms (Rakov and Uman 2003, *Lightning*, ch. 4); Bitzer 2017, JGR Atmospheres 122:1033, has
    its share of flashes from space.
    """
    surges = np.column_stack([rng.uniform(0.05, 0.8, 3), rng.uniform(0, 1.5, 3), rng.uniform(0.3, 2.0, 3)])
    shape = glow(log_uniform(rng, 10, 200), surges)
    return Pulse("continuing current", onset, (light * cloud.blue_light, 0.0, light), (shape, shape, shape))


def corona(onset: int, light: float, rng: np.random.Generator) -> Pulse:
    """A blue corona discharge at the cloud's top: 337 nm, at times some ultraviolet, next to no 777.4 nm.

    Soler et al. 2020, JGR Atmospheres 125, e2020JD032708; Husbjerg et al. 2022, Geophys. Res. Lett. 49, has rises of 30
    us or less from near the top, and longer ones from deeper.
    """
    shape = streamer_pulse(log_uniform(rng, 0.01, 0.1), log_uniform(rng, 0.1, 1.0))
    ultraviolet = rng.uniform(0, 0.2) if rng.random() < 0.3 else 0.0
    return Pulse("corona", onset, (light, ultraviolet * light, 0.02 * light), (shape, shape, shape))


def channel(onset: int, light: float, rng: np.random.Generator) -> Pulse:
    """Slow 777.4 nm light of a hot channel deep in the cloud, whose 337 nm is lost on the way.

    Assumed, after such a pulse on a published light curve.
    """
    source = current_pulse(log_uniform(rng, 0.1, 1.5), log_uniform(rng, 0.3, 3.0))
    shape = through_cloud(source, 1.0, 1.0)
    return Pulse("channel", onset, (0.02 * light, 0.0, light), (shape, shape, shape))


def blue_jet(onset: int, light: float, rng: np.random.Generator) -> tuple[Pulse, Pulse]:
    """The onset of a blue jet, with ultraviolet, and the jet's 337 nm over the next hundreds of milliseconds.

    Neubert et al. 2021, Nature 589:371: an onset that rises in some 10 us, the jet seen for about 400 ms.
    """
    flash = streamer_pulse(0.01, log_uniform(rng, 0.1, 0.5))
    body = glow(rng.uniform(200, 400), np.zeros((0, 3)))
    return (
        Pulse("blue jet", onset, (light, 0.2 * light, 0.05 * light), (flash, flash, flash)),
        Pulse("blue jet", onset, (0.1 * light, 0.0, 0.0), (body, body, body)),
    )


def elve(onset: int, light: float, rng: np.random.Generator) -> Pulse:
    """An elve: ultraviolet and a little 337 nm, 0.1-0.5 ms, at the onset of a strong stroke.

    Neubert et al. 2020, Science 367:183.
    """
    shape = streamer_pulse(0.05, rng.uniform(0.1, 0.5))
    return Pulse("elve", onset, (0.1 * light, light, 0.0), (shape, shape, shape))


def sprite(onset: int, light: float, rng: np.random.Generator) -> Pulse:
    """A sprite: nitrogen's first positive bands reach into 777.4 nm, the second are 337 nm; some milliseconds.

    Pasko, Yair and Kuo 2012, Space Sci. Rev. 168:475.
    """
    shape = streamer_pulse(log_uniform(rng, 0.1, 0.5), log_uniform(rng, 1.0, 5.0))
    return Pulse("sprite", onset, (0.7 * light, 0.02 * light, light), (shape, shape, shape))


_HIT_SHARES = (0.5, 0.02, 0.48)  # of the photometers; the published ultraviolet traces show none
_HIT_LOWEST, _HIT_HIGHEST = 2.0, 200.0  # counts
_LONGEST = 6  # samples


_HITS = np.array([np.pad(hit(length), (0, _LONGEST - length)) for length in range(1, _LONGEST + 1)])
_HIT_WIDTHS_MS = np.count_nonzero(_HITS >= 0.5, axis=1) / SAMPLES_PER_MS


@dataclass(frozen=True)
class Particles:
    """Hits of particles in order of ``onset``, (n,) each: what a :class:`Pulse` is, but many of a few shapes.

    ``height`` is the light at the peak, in one ``photometer``, from 0; ``length`` is in samples.
    """

    onset: NDArray[np.int64]
    height: NDArray[np.float64]
    photometer: NDArray[np.int64]
    length: NDArray[np.int64]

    @property
    def peak(self) -> NDArray[np.float64]:
        """Light at the peak in each photometer, (n, 3)."""
        peak: NDArray[np.float64] = self.height[:, None] * (self.photometer[:, None] == np.arange(3))
        return peak

    @property
    def width_ms(self) -> NDArray[np.float64]:
        """Time above half of the peak, (n,)."""
        width: NDArray[np.float64] = _HIT_WIDTHS_MS[self.length - 1]
        return width

    def light(self, samples: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Their light in the first ``samples`` samples, (m,) each: of which particle, in which sample, and how much."""
        particle, step = np.nonzero(np.arange(_LONGEST) < np.minimum(self.length, samples - self.onset)[:, None])
        return particle, self.onset[particle] + step, self.height[particle] * _HITS[self.length[particle] - 1, step]


def particles(samples: int, per_second: float, sampling_rate: int, rng: np.random.Generator) -> Particles:
    """Cosmic rays and trapped particles in ``samples`` samples: 1-6 samples each, in one photometer.

    The share of hits higher than h falls as 1/h, roughly as on a published light curve of many; lengths are its too.
    """
    count = rng.poisson(per_second * samples / sampling_rate)
    return Particles(
        onset=np.sort(rng.integers(0, samples, count)),
        height=np.minimum(_HIT_LOWEST * (1 + rng.pareto(1.0, count)), _HIT_HIGHEST),
        photometer=rng.choice(3, count, p=_HIT_SHARES),
        length=rng.integers(1, _LONGEST + 1, count),
    )


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between ``low`` and ``high`` whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def log_normal(rng: np.random.Generator, median: float, sigma: float) -> float:
    """A number whose natural logarithm is normal, with standard deviation ``sigma``."""
    return float(median * np.exp(rng.normal(0.0, sigma)))
