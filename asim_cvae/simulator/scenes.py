"""What happens during one observation: why MMIA triggered, under which sky, and every pulse of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from asim_cvae.frames.slicing import FRAME_SAMPLES
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
from asim_cvae.simulator.photometer import SKIES, background_counts
from asim_cvae.simulator.pulses import SAMPLES_PER_MS

RADIATION = "radiation"
"""The cause of a trigger by particles, over the South Atlantic Anomaly."""

CAUSES: dict[str, dict[int, int]] = {
    "flash": {14: 25, 12: 2, 11: 1, 10: 1, 9: 4, 5: 1},
    "stroke": {7: 1, 5: 4},
    RADIATION: {14: 3, 12: 1, 6: 1, 5: 3},
    "false trigger": {6: 2, 5: 1},
}
"""Why MMIA triggers, and how many of 50 observations hold how many whole frames then.

The lengths are those of the published label table; the causes are read off the order of classes in it.
"""

_ANOMALY_SHARE = 0.02  # of the other causes' observations that are over the Anomaly too, as assumed

_QUIET_PARTICLES = (5.0, 60.0)  # a second; two stray samples in 50 ms were measured on a published quiet frame
_ANOMALY_PARTICLES = (600.0, 6000.0)  # some 30 spikes of 10 counts and more in 337 nm in 50 ms were

# Flashes are quiet or busy: frames of high activity come in runs in the published label table.
_BUSY_STROKES, _STROKES, _QUIET_STROKES = 0.33, (8.0, 20.0), (0.7, 3.0)
_BUSY_WEAK, _WEAK, _QUIET_WEAK = 0.03, (8.0, 20.0), (0.8, 3.0)
_WEAK_LIGHT = (1.0, 40.0)
_CONTINUING_SHARE = 0.25  # of flashes


@dataclass(frozen=True)
class Scene:
    """One observation of ``samples`` samples: ``background`` (3,) in counts a sample, particles and other pulses.

    Both are in order of onset. ``anomaly``: it is over the South Atlantic Anomaly.
    """

    cause: str
    sky: str
    anomaly: bool
    background: NDArray[np.float64]
    samples: int
    particles: Particles
    pulses: list[Pulse]

    def light(self) -> NDArray[np.float64]:
        """All its light without noise, (3, T), in counts a sample of a counter without dead time."""
        light = expected_light(self.pulses, self.background, self.samples)
        particle, sample, hits = self.particles.light(self.samples)
        np.add.at(light, (self.particles.photometer[particle], sample), hits)
        return light


def draw_scene(rng: np.random.Generator) -> Scene:
    """An observation such as MMIA may trigger on."""
    cause = _draw(rng, {name: sum(lengths.values()) for name, lengths in CAUSES.items()})
    samples = _length(_draw(rng, CAUSES[cause]), rng)
    anomaly = cause == RADIATION or rng.random() < _ANOMALY_SHARE
    sky = _draw(rng, {name: sky.share for name, sky in SKIES.items()})
    rate = log_uniform(rng, *(_ANOMALY_PARTICLES if anomaly else _QUIET_PARTICLES))
    hits = particles(samples, rate, SAMPLING_RATE, rng)
    pulses: list[Pulse] = []
    if cause == "flash":
        pulses += flash(samples, rng)
    elif cause == "stroke":
        pulses += lone_pulses(int(rng.uniform(0.3, 0.6) * samples), rng)
    seen = [pulse for pulse in pulses if pulse.onset < samples and pulse.end > 0]
    seen.sort(key=lambda pulse: pulse.onset)
    return Scene(cause, sky, anomaly, background_counts(sky, rng), samples, hits, seen)


def _length(frames: int, rng: np.random.Generator) -> int:
    """Samples of whole readout rows that hold so many whole frames, of a part-filled last row where none do."""
    rows = -(-frames * FRAME_SAMPLES // READOUT_SAMPLES)
    whole = rows * READOUT_SAMPLES
    if whole // FRAME_SAMPLES == frames:
        return whole
    return frames * FRAME_SAMPLES + int(rng.integers(0, FRAME_SAMPLES))


def flash(samples: int, rng: np.random.Generator) -> Iterator[Pulse]:
    """A flash of 200-600 ms: strokes and in-cloud pulses, continuing current, small pulses, rarely what is above.

    Durations after Rakov and Uman 2003, *Lightning*, ch. 4; rates and lights were fitted to published label tables,
    frames and scores.
    """
    begin = int(rng.uniform(-50, 150) * SAMPLES_PER_MS)
    end = begin + int(rng.uniform(200, 600) * SAMPLES_PER_MS)
    cloud = Cloud.draw(rng)
    rate = _rate(rng, _BUSY_STROKES, _STROKES, _QUIET_STROKES)
    brightness = log_normal(rng, 6.5, 1.3) / np.sqrt(max(rate, 1.0))  # many pulses are small ones
    strokes = [
        _bright_pulse(onset, log_normal(rng, brightness, 0.9), cloud, rng) for onset in _onsets(begin, end, rate, rng)
    ]
    yield from strokes
    if strokes:
        strongest = max(strokes, key=lambda pulse: pulse.peak[2])
        if rng.random() < _CONTINUING_SHARE:
            light = rng.uniform(0.05, 0.3) * strongest.peak[2]
            yield continuing_current(strongest.peak_sample, light, cloud, rng)
        yield from above_the_cloud(strongest, rng)
    yield from _weak_pulses(
        begin if rng.random() < 0.2 else 0, end if rng.random() < 0.2 else samples, rng
    )  # most often of the storm, not of the flash alone


def _weak_pulses(begin: int, end: int, rng: np.random.Generator) -> Iterator[Pulse]:
    """Corona discharges and channels, down into the noise, each seen in one of 337 and 777.4 nm."""
    corona_share = rng.uniform()
    for onset in _onsets(begin, end, _rate(rng, _BUSY_WEAK, _WEAK, _QUIET_WEAK), rng):
        kind = corona if rng.random() < corona_share else channel
        yield kind(onset, log_uniform(rng, *_WEAK_LIGHT), rng)


def _bright_pulse(onset: int, light: float, cloud: Cloud, rng: np.random.Generator) -> Pulse:
    kind = return_stroke if rng.random() < 0.5 else cloud_pulse
    return kind(onset, light, cloud, rng)


def above_the_cloud(strongest: Pulse, rng: np.random.Generator) -> Iterator[Pulse]:
    """What a flash's strongest pulse may cause above: each in one or two of a hundred flashes, as assumed.

    Elves and sprites are of return strokes.
    """
    onset = strongest.peak_sample
    if strongest.kind == "return stroke":
        if rng.random() < 0.04:
            yield elve(onset, log_uniform(rng, 3, 40), rng)
        if rng.random() < 0.02:
            yield sprite(onset + int(rng.uniform(1, 20) * SAMPLES_PER_MS), log_uniform(rng, 5, 60), rng)
    if rng.random() < 0.01:
        yield from blue_jet(onset, log_uniform(rng, 10, 100), rng)


def lone_pulses(onset: int, rng: np.random.Generator) -> Iterator[Pulse]:
    """A corona discharge, or one to three strokes close together, and nothing else."""
    if rng.random() < 0.3:
        yield corona(onset, log_uniform(rng, 3, 60), rng)
        return
    cloud = Cloud.draw(rng)
    for _ in range(int(rng.integers(1, 4))):
        yield _bright_pulse(onset + int(rng.exponential(3 * SAMPLES_PER_MS)), log_uniform(rng, 2, 60), cloud, rng)


def _rate(rng: np.random.Generator, busy_share: float, busy: tuple[float, float], quiet: tuple[float, float]) -> float:
    return log_uniform(rng, *(busy if rng.random() < busy_share else quiet))


def _onsets(begin: int, end: int, per_frame: float, rng: np.random.Generator) -> list[int]:
    """Onsets in bursts: half of them follow another within some 10 ms."""
    count = rng.poisson(per_frame * max(end - begin, 0) / FRAME_SAMPLES)
    onsets = rng.uniform(begin, end, count)
    if count > 1:
        after = rng.choice(onsets, count) + rng.exponential(10 * SAMPLES_PER_MS, count)
        onsets = np.where(rng.random(count) < 0.5, after, onsets)
    return [int(onset) for onset in np.sort(onsets)]


Name = TypeVar("Name", str, int)


def _draw(rng: np.random.Generator, shares: Mapping[Name, float]) -> Name:
    weights = np.array(list(shares.values()), dtype=np.float64)
    return list(shares)[int(rng.choice(len(weights), p=weights / weights.sum()))]
