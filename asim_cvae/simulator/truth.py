"""What was put into a simulated observation, as rows of three tables: itself, its pulses, and its frames."""

from collections.abc import Mapping, Sequence
from itertools import repeat
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument.classes import NOISE
from asim_cvae.instrument.photometers import PHOTOMETERS
from asim_cvae.simulator.events import Particles
from asim_cvae.simulator.labelling import LabelRule, frame_peaks
from asim_cvae.simulator.observation import SimulatedObservation
from asim_cvae.simulator.pulses import SAMPLES_PER_MS
from asim_cvae.simulator.scenes import Scene

FILE_COLUMNS = (
    "file", "cause", "sky", "anomaly", "latitude", "longitude", "samples", "trigger_row", "trigger_photometer",
    "missing_rows", "fault",
    *(f"background_counts_{p.name}" for p in PHOTOMETERS),
    *(f"flux_per_count_{p.name}" for p in PHOTOMETERS),
)  # fmt: skip
"""A file: why MMIA triggered, under which sky, whether over the South Atlantic Anomaly, where; its length; the row and
photometer that triggered; rows that are missing; what is wrong with it; background a sample; and q in uW/m^2."""

PULSE_COLUMNS = ("file", "kind", "onset_ms", "width_ms", *(f"peak_counts_{p.name}" for p in PHOTOMETERS))
"""A pulse: time above half of its peak in its brightest photometer, and its light at the peak in each."""

FRAME_COLUMNS = ("file", "frame", "class", "ambiguous", "type", "kinds")
"""A frame: its class; whether that hangs on a threshold; its fine type, which is what is detectable above the cloud, or
else the kind of event with most of its detectable light; and all detectable kinds."""

ABOVE_THE_CLOUD = ("blue jet", "elve", "sprite")
"""The rare kinds."""

PARTICLE = "particle"
"""The kind of a particle's hit."""

_DETECTION = 5.0  # standard deviations, for the kinds that a frame shows


def file_row(file: str, made: SimulatedObservation, position: tuple[float, float], fault: str) -> tuple[str, ...]:
    """A row of ``FILE_COLUMNS``."""
    scene, (row, photometer) = made.scene, made.trigger
    return (
        file,
        scene.cause,
        scene.sky,
        str(int(scene.anomaly)),
        *(f"{degrees:.3f}" for degrees in position),
        str(scene.samples),
        str(row),
        PHOTOMETERS[photometer].name,
        " ".join(map(str, np.flatnonzero(made.missing))),
        fault,
        *(f"{level:.4f}" for level in scene.background),
        *(f"{q:.6f}" for q in made.flux_per_count),
    )


def pulse_rows(file: str, scene: Scene) -> list[tuple[str, ...]]:
    """A row of ``PULSE_COLUMNS`` for each pulse, particles among them, in order of onset."""
    hits = scene.particles
    columns = (hits.onset.tolist(), hits.width_ms.tolist(), hits.peak.tolist())
    pulses = [*zip(repeat(PARTICLE, hits.onset.size), *columns, strict=True)]
    pulses += [(pulse.kind, pulse.onset, pulse.width_ms, pulse.peak) for pulse in scene.pulses]
    pulses.sort(key=itemgetter(1))
    return [
        (file, kind, *map(_TWO_DECIMALS, (onset / SAMPLES_PER_MS, width_ms, *peak)))
        for kind, onset, width_ms, peak in pulses
    ]


_TWO_DECIMALS = "{:.2f}".format


def frame_rows(
    file: str, scene: Scene, light: NDArray[np.float64], frames: Sequence[int], rule: LabelRule
) -> list[tuple[str, ...]]:
    """A row of ``FRAME_COLUMNS`` for each of ``frames`` of an observation with noise-free ``light`` (3, T)."""
    labels, ambiguous = (found.tolist() for found in rule.label_frames(frame_peaks(light, scene.background)))
    kinds = _detectable_kinds(scene, light)
    return [
        (
            file,
            str(frame),
            labels[frame],
            str(int(ambiguous[frame])),
            _type(labels[frame], kinds[frame]),
            "+".join(sorted(kinds[frame])),
        )
        for frame in frames
    ]


def _type(label: str, kinds: Mapping[str, float]) -> str:
    rare = [kind for kind in kinds if kind in ABOVE_THE_CLOUD]
    return "noise" if label == NOISE else max(rare or kinds, key=lambda kind: kinds[kind], default="unresolved")


def _detectable_kinds(scene: Scene, light: NDArray[np.float64]) -> list[dict[str, float]]:
    """Of each whole frame, the counts of each kind of pulse that stands out there in its brightest photometer."""
    hits = _detectable_particles(scene.particles, light)
    kinds = [{PARTICLE: counts} if counts else {} for counts in hits.tolist()]
    for pulse in scene.pulses:
        photometer = pulse.brightest
        if pulse.peak[photometer] * pulse.shapes[photometer].size <= _DETECTION**2:
            continue  # fewer counts do not stand out even of nothing
        for frame in range(max(pulse.onset // FRAME_SAMPLES, 0), min(-(-pulse.end // FRAME_SAMPLES), len(kinds))):
            where, own = pulse.light(photometer, frame * FRAME_SAMPLES, FRAME_SAMPLES)
            bright = own > 0.1 * pulse.peak[photometer]
            counts = own[bright].sum()
            here = light[photometer, frame * FRAME_SAMPLES :][where]
            if counts > _DETECTION * np.sqrt(here[bright].sum()):
                kinds[frame][pulse.kind] = kinds[frame].get(pulse.kind, 0.0) + float(counts)
    return kinds


def _detectable_particles(particles: Particles, light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each whole frame, (frames,), the counts of the particles that stand out there."""
    frames = light.shape[1] // FRAME_SAMPLES
    particle, sample, hits = particles.light(frames * FRAME_SAMPLES)
    place = particle * frames + sample // FRAME_SAMPLES
    counts, everything = (
        np.bincount(place, values, particles.onset.size * frames).reshape(-1, frames)
        for values in (hits, light[particles.photometer[particle], sample])
    )
    seen: NDArray[np.float64] = np.where(counts > _DETECTION * np.sqrt(everything), counts, 0.0).sum(axis=0)
    return seen
