"""Light curves of what MMIA sees: each a pulse shape with a physical form, and scenes made of them.

Times are in milliseconds, light in counts a sample at a pulse's peak.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asim_cvae.instrument import SAMPLING_RATE

SAMPLES_PER_MS = SAMPLING_RATE // 1000

Shape = NDArray[np.float64]
"""(n,): a pulse sampled at the photometers' rate, from its onset, 1 at its peak."""


@dataclass(frozen=True)
class Pulse:
    """One pulse put into an observation: ``peak`` (3,) is its light in each photometer, ``onset`` a sample number."""

    kind: str
    onset: int
    peak: tuple[float, float, float]
    shapes: tuple[Shape, Shape, Shape]

    @property
    def width_ms(self) -> float:
        """Time above half of the peak in the brightest photometer."""
        shape = self.shapes[int(np.argmax(self.peak))]
        return float((shape >= 0.5).sum()) / SAMPLES_PER_MS

    @property
    def is_hit(self) -> bool:
        """A particle in a photometer, not light."""
        return self.kind == "hit"


def diffusion_pulse(delay_ms: float, loss_per_ms: float) -> Shape:
    """Light of an instantaneous source after it diffused out of a cloud: t^(-3/2) exp(-delay/t - loss t).

    Soler et al. 2020, JGR Atmospheres 125, e2020JD032708, after Koshak et al. 1994, JGR 99(D7):14361: fast rise, slow
    decay. ``delay_ms`` grows with the depth of the source, ``loss_per_ms`` with absorption.
    """
    t = np.arange(1, int(10 / loss_per_ms * SAMPLES_PER_MS)) / SAMPLES_PER_MS
    return _trimmed(t**-1.5 * np.exp(-delay_ms / t - loss_per_ms * t))


def corona_pulse(rise_ms: float, decay_ms: float) -> Shape:
    """A blue corona discharge or the onset of a blue jet: exponential rise and decay (Neubert et al. 2021)."""
    t = np.arange(1, int(8 * decay_ms * SAMPLES_PER_MS) + 2) / SAMPLES_PER_MS
    return _trimmed((1 - np.exp(-t / rise_ms)) * np.exp(-t / decay_ms))


def hit_pulse(samples: int) -> Shape:
    """A cosmic ray or trapped particle in one photometer: a few samples, falling."""
    return np.exp(-np.arange(samples) / max(samples / 2, 1))


def _trimmed(shape: Shape) -> Shape:
    shape = shape / shape.max()
    return shape[: int(np.flatnonzero(shape > 0.01)[-1]) + 1]


def lightning(onset: int, light: float, rng: np.random.Generator) -> Pulse:
    """A cloud-scattered stroke: 337 and 777.4 nm together, 337 scattered more and so later and longer."""
    delay, loss = np.exp(rng.uniform(np.log([0.3, 0.3]), np.log([4.0, 1.5])))
    oxygen = diffusion_pulse(delay, loss)
    nitrogen = diffusion_pulse(delay * rng.uniform(1.1, 1.6), loss)
    ratio = np.exp(rng.normal(0.0, 0.5))
    return Pulse("lightning", onset, (light * ratio, 0.02 * light, light), (nitrogen, nitrogen, oxygen))


def corona(onset: int, light: float, rng: np.random.Generator) -> Pulse:
    """A blue corona discharge: 337 nm, at times with a little ultraviolet, no 777.4 nm to speak of."""
    shape = corona_pulse(rng.uniform(0.01, 0.1), np.exp(rng.uniform(np.log(0.1), np.log(1.0))))
    ultraviolet = rng.uniform(0, 0.2) if rng.random() < 0.3 else 0.0
    return Pulse("corona", onset, (light, ultraviolet * light, 0.02 * light), (shape, shape, shape))


def elve(onset: int, light: float, rng: np.random.Generator) -> Pulse:
    """An elve: ultraviolet and a little 337 nm, 0.1-0.5 ms."""
    shape = corona_pulse(0.05, rng.uniform(0.1, 0.5))
    return Pulse("elve", onset, (0.1 * light, light, 0.0), (shape, shape, shape))


def oxygen_pulse(onset: int, light: float, rng: np.random.Generator) -> Pulse:
    """Slow 777.4 nm light of a hot channel deep in the cloud, its 337 nm absorbed."""
    shape = diffusion_pulse(np.exp(rng.uniform(np.log(1.0), np.log(6.0))), rng.uniform(0.2, 0.6))
    return Pulse("oxygen", onset, (0.0, 0.0, light), (shape, shape, shape))


def hit(onset: int, light: float, rng: np.random.Generator) -> Pulse:
    """A particle in one photometer."""
    peak = [0.0, 0.0, 0.0]
    peak[int(rng.choice(3, p=(0.45, 0.1, 0.45)))] = light
    shape = hit_pulse(int(rng.integers(1, 7)))
    return Pulse("hit", onset, (peak[0], peak[1], peak[2]), (shape, shape, shape))


Maker = Callable[[int, float, np.random.Generator], Pulse]

_SCENES: dict[str, tuple[tuple[int, int], tuple[tuple[Maker, float], ...], tuple[float, float]]] = {
    "HCHA": ((7, 20), ((lightning, 0.85), (corona, 0.1), (hit, 0.05)), (4.0, 60.0)),
    "HCLA": ((1, 4), ((lightning, 1.0),), (4.0, 60.0)),
    "LCHA": ((8, 40), ((corona, 0.45), (hit, 0.45), (oxygen_pulse, 0.1)), (6.0, 55.0)),
    "LCLA": ((1, 4), ((corona, 0.55), (oxygen_pulse, 0.3), (elve, 0.15)), (4.0, 40.0)),
    "N": ((0, 3), ((hit, 1.0),), (3.0, 12.0)),
}
"""Of each class of frame: how many pulses, of which kinds with which probabilities, and the range of their light."""


def scene(aim: str, first: int, samples: int, rng: np.random.Generator) -> Iterator[Pulse]:
    """Pulses of a frame that is to look like class ``aim``, with onsets from sample ``first`` on."""
    (fewest, most), kinds, light = _SCENES[aim]
    makers, shares = zip(*kinds, strict=True)
    for onset in np.sort(rng.integers(first, first + int(0.95 * samples), rng.integers(fewest, most + 1))):
        maker: Maker = makers[int(rng.choice(len(makers), p=shares))]
        yield maker(int(onset), float(np.exp(rng.uniform(*np.log(light)))), rng)


def add_light(expected: NDArray[np.float64], pulse: Pulse) -> None:
    """Add a pulse to the expected counts (3, T); what lies beyond their end is lost."""
    for row, peak, shape in zip(expected, pulse.peak, pulse.shapes, strict=True):
        end = min(row.size, pulse.onset + shape.size)
        row[pulse.onset : end] += peak * shape[: end - pulse.onset]
