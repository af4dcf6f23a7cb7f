"""Draw a scene, which is all that happens during one observation: the trigger's cause, the sky, and every pulse."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument.classes import RADIATION
from asim_cvae.instrument.photometers import READOUT_SAMPLES, SAMPLING_RATE
from asim_cvae.simulator.events import (
    Cloud,
    Particles,
    Pulse,
    blue_jet,
    channel,
    cloud_pulse,
    continuing_current,
    corona,
    elve,
    expected_light,
    log_normal,
    log_uniform,
    particles,
    return_stroke,
    sprite,
)
from asim_cvae.simulator.photometer import SKIES, Background, background_counts
from asim_cvae.simulator.pulses import SAMPLES_PER_MS
from asim_cvae.simulator.variation import Factors

CAUSES: dict[str, dict[int, int]] = {
    "flash": {14: 25, 12: 2, 11: 1, 10: 1, 9: 4, 5: 1},
    "stroke": {7: 1, 5: 4},
    RADIATION: {14: 3, 12: 1, 6: 1, 5: 3},
    "false trigger": {6: 2, 5: 1},
}
"""Causes of a trigger, each with the number of observations (of 50 in all) by their number of whole frames.

The lengths are those of the published label table; the causes are inferred from the order of classes in it.
"""

_ANOMALY_SHARE = 0.02  # share of observations with another cause that are over the Anomaly too (assumed)

QUIET_PARTICLES = (5.0, 60.0)
"""Lowest and highest rate of particle hits per second. Published frames of 50 ms show two hits in a quiet one."""

ANOMALY_PARTICLES = (600.0, 6000.0)
"""The same over the South Atlantic Anomaly. A published frame with many hits shows some 30 of 10 counts or more at
337 nm."""

# A flash is busy or quiet, as frames of high activity follow each other in the published label table: share of busy
# flashes, then the range of pulses per frame in a busy and in a quiet one.
_BUSY_STROKES, _STROKES, _QUIET_STROKES = 0.33, (8.0, 20.0), (0.7, 3.0)
_BUSY_WEAK, _WEAK, _QUIET_WEAK = 0.03, (8.0, 20.0), (0.8, 3.0)
_WEAK_PEAKS = (1.0, 40.0)  # counts per sample
_CONTINUING_SHARE = 0.25  # share of flashes with continuing current


@dataclass(frozen=True)
class Scene:
    """All that happens during one observation.

    Attributes:
        cause: one of ``CAUSES``.
        sky: one of ``SKIES``.
        anomaly: whether the station is over the South Atlantic Anomaly.
        background: background light.
        samples: length of the observation.
        particles: particle hits.
        pulses: pulses of light, in order of onset.
        factors: by what it differs from the default scenes.
        rare: kind of event that it surely holds, one of those of :class:`Rare`, or ''.
    """

    cause: str
    sky: str
    anomaly: bool
    background: Background
    samples: int
    particles: Particles
    pulses: list[Pulse]
    factors: Factors
    rare: str

    def light(self) -> NDArray[np.float64]:
        """Return its noise-free light (3, T), in expected counts per sample of a counter without dead time."""
        light = expected_light(self.pulses, self.background.rate)
        particle, sample, hits = self.particles.light(self.samples)
        np.add.at(light, (self.particles.photometer[particle], sample), hits)
        return light


_NO_FACTORS = Factors()


def draw_scene(rng: np.random.Generator, factors: Factors = _NO_FACTORS, drift: float = 0.0, rare: str = "") -> Scene:
    """Draw the scene of an observation that MMIA may trigger on.

    Args:
        rng: random numbers.
        factors: by what it differs from the default scenes.
        drift: largest drift of the background, see :class:`Background`.
        rare: kind of event that it surely holds, one of those of :class:`Rare`; '' for any.
    """
    cause = _draw(rng, {name: sum(lengths.values()) for name, lengths in CAUSES.items()})
    if rare:
        cause = RADIATION if rare == RADIATION else "flash"
    frames = _draw(rng, CAUSES[cause])
    samples = _length(_RARE_FRAMES if rare in _FOLLOWING else frames, rng)
    anomaly = cause == RADIATION or rng.random() < _ANOMALY_SHARE
    sky = _draw(rng, {name: sky.share for name, sky in SKIES.items()})
    rate = log_uniform(rng, *(ANOMALY_PARTICLES if anomaly else QUIET_PARTICLES))
    hits = particles(samples, rate, SAMPLING_RATE, rng)
    pulses: list[Pulse] = []
    if cause == "flash":
        pulses += flash(samples, rng, factors.rate)
    elif cause == "stroke":
        pulses += lone_pulses(int(rng.uniform(0.3, 0.6) * samples), rng)
    if rare in _FOLLOWING:
        pulses += strokes_and_events(rare, samples, rng)
    pulses = [pulse.scaled(factors.width, factors.brightness) for pulse in pulses]
    within = [pulse for pulse in pulses if pulse.onset < samples and pulse.end > 0]
    within.sort(key=lambda pulse: pulse.onset)
    background = Background.draw(factors.background * background_counts(sky, rng), drift, samples, rng)
    return Scene(cause, sky, anomaly, background, samples, hits, within, factors, rare)


def _length(frames: int, rng: np.random.Generator) -> int:
    """Return the samples of an observation with a number of whole frames.

    It is a whole number of readout rows if one fits; otherwise the last row is partly filled.
    """
    rows = -(-frames * FRAME_SAMPLES // READOUT_SAMPLES)
    samples = rows * READOUT_SAMPLES
    if samples // FRAME_SAMPLES == frames:
        return samples
    return frames * FRAME_SAMPLES + int(rng.integers(0, FRAME_SAMPLES))


def flash(samples: int, rng: np.random.Generator, rate_factor: float = 1.0) -> Iterator[Pulse]:
    """Draw a flash of 200-600 ms: strokes, in-cloud pulses, continuing current, weak pulses, rarely events above.

    Durations follow Rakov and Uman 2003, *Lightning*, ch. 4. Rates, which ``rate_factor`` multiplies, and peaks were
    fitted to published label tables, frames and scores.
    """
    begin = int(rng.uniform(-50, 150) * SAMPLES_PER_MS)
    end = begin + int(rng.uniform(200, 600) * SAMPLES_PER_MS)
    cloud = Cloud.draw(rng)
    rate = rate_factor * _rate(rng, _BUSY_STROKES, _STROKES, _QUIET_STROKES)
    median_peak = log_normal(rng, 6.5, 1.3) / np.sqrt(max(rate, 1.0))  # flashes of many pulses have smaller ones
    strokes = [
        _bright_pulse(onset, log_normal(rng, median_peak, 0.9), cloud, rng) for onset in _onsets(begin, end, rate, rng)
    ]
    yield from strokes
    if strokes:
        strongest = max(strokes, key=lambda pulse: pulse.peak[2])
        if rng.random() < _CONTINUING_SHARE:
            peak = rng.uniform(0.05, 0.3) * strongest.peak[2]
            yield continuing_current(strongest.peak_sample, peak, cloud, rng)
        yield from above_the_cloud(strongest, rng)
    # Most weak pulses belong to the storm, not to the flash, so that they begin before it and last beyond it.
    first, last = begin if rng.random() < 0.2 else 0, end if rng.random() < 0.2 else samples
    yield from _weak_pulses(first, last, rate_factor, rng)


def _weak_pulses(begin: int, end: int, rate_factor: float, rng: np.random.Generator) -> Iterator[Pulse]:
    """Draw corona discharges (337 nm) and channels (777.4 nm), some of them too faint to stand out from the noise."""
    corona_share = rng.uniform()
    for onset in _onsets(begin, end, rate_factor * _rate(rng, _BUSY_WEAK, _WEAK, _QUIET_WEAK), rng):
        kind = corona if rng.random() < corona_share else channel
        yield kind(onset, log_uniform(rng, *_WEAK_PEAKS), rng)


def _bright_pulse(onset: int, peak: float, cloud: Cloud, rng: np.random.Generator) -> Pulse:
    kind = return_stroke if rng.random() < 0.5 else cloud_pulse
    return kind(onset, peak, cloud, rng)


def above_the_cloud(strongest: Pulse, rng: np.random.Generator) -> Iterator[Pulse]:
    """Draw the events above the cloud that a flash's strongest pulse may cause.

    Only return strokes cause elves and sprites. Each kind is assumed to accompany one or two flashes in a hundred.
    """
    if strongest.kind == "return stroke":
        if rng.random() < 0.04:
            yield from _FOLLOWING["elve"](strongest.peak_sample, rng)
        if rng.random() < 0.02:
            yield from _FOLLOWING["sprite"](strongest.peak_sample, rng)
    if rng.random() < 0.01:
        yield from _FOLLOWING["blue jet"](strongest.peak_sample, rng)


_FOLLOWING: dict[str, Callable[[int, np.random.Generator], Sequence[Pulse]]] = {
    "elve": lambda at, rng: [elve(at, log_uniform(rng, 3, 40), rng)],
    "sprite": lambda at, rng: [sprite(_soon_after(at, rng), log_uniform(rng, 5, 60), rng)],
    "blue jet": lambda at, rng: blue_jet(at, log_uniform(rng, 10, 100), rng),
    "corona": lambda at, rng: [corona(_soon_after(at, rng), log_uniform(rng, 3, 60), rng)],
}
"""Events that may follow a stroke whose peak is at a sample, by their kind."""


def _soon_after(at: int, rng: np.random.Generator) -> int:
    return at + int(rng.uniform(1, 20) * SAMPLES_PER_MS)


@dataclass(frozen=True)
class Rare:
    """Numbers of observations that surely hold an event of a kind, see :func:`strokes_and_events`."""

    elve: int = 0
    sprite: int = 0
    blue_jet: int = 0
    corona: int = 0
    radiation: int = 0

    @property
    def kinds(self) -> list[str]:
        """Kind of event of each of these observations."""
        return [kind.replace("_", " ") for kind, number in asdict(self).items() for _ in range(number)]


_RARE_FRAMES = 5  # whole frames of an observation that surely holds an event of a kind
_EVENT_SHARE = 0.6  # share of its strong strokes that an event follows


def strokes_and_events(kind: str, samples: int, rng: np.random.Generator) -> Iterator[Pulse]:
    """Draw a strong return stroke for each frame, and events of a kind that follow some of them.

    At least one has an event, and only one a blue jet, whose light lasts. The others are what it may be mistaken for.
    """
    frames = samples // FRAME_SAMPLES
    has_event = (rng.random(frames) < _EVENT_SHARE) & (kind != "blue jet")
    has_event[rng.integers(frames)] = True
    cloud = Cloud.draw(rng)
    latest = (frames - 0.5) * FRAME_SAMPLES  # an event that follows begins in the last whole frame at the latest
    for onset, event in zip(rng.uniform(0, latest, frames).astype(int).tolist(), has_event, strict=True):
        stroke = return_stroke(onset, log_uniform(rng, 10, 200), cloud, rng)
        yield stroke
        if event:
            yield from _FOLLOWING[kind](stroke.peak_sample, rng)


def lone_pulses(onset: int, rng: np.random.Generator) -> Iterator[Pulse]:
    """Draw a lone corona discharge, or one to three strokes close together."""
    if rng.random() < 0.3:
        yield corona(onset, log_uniform(rng, 3, 60), rng)
        return
    cloud = Cloud.draw(rng)
    for _ in range(int(rng.integers(1, 4))):
        yield _bright_pulse(onset + int(rng.exponential(3 * SAMPLES_PER_MS)), log_uniform(rng, 2, 60), cloud, rng)


def _rate(rng: np.random.Generator, busy_share: float, busy: tuple[float, float], quiet: tuple[float, float]) -> float:
    """Draw a rate of pulses per frame."""
    return log_uniform(rng, *(busy if rng.random() < busy_share else quiet))


def _onsets(begin: int, end: int, per_frame: float, rng: np.random.Generator) -> list[int]:
    """Draw onsets in bursts: half of them follow another within some 10 ms. Returns ascending sample numbers."""
    count = rng.poisson(per_frame * max(end - begin, 0) / FRAME_SAMPLES)
    onsets = rng.uniform(begin, end, count)
    if count > 1:
        following = rng.choice(onsets, count) + rng.exponential(10 * SAMPLES_PER_MS, count)
        onsets = np.where(rng.random(count) < 0.5, following, onsets)
    return [int(onset) for onset in np.sort(onsets)]


Name = TypeVar("Name", str, int)


def _draw(rng: np.random.Generator, shares: Mapping[Name, float]) -> Name:
    """Draw a key with a probability in proportion to its value."""
    weights = np.array(list(shares.values()), dtype=np.float64)
    return list(shares)[int(rng.choice(len(weights), p=weights / weights.sum()))]
