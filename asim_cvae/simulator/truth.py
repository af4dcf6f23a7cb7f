"""Describe the truth behind a simulated observation, as rows of three tables: files, pulses and frames."""

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
"""Columns of the table of files: cause of the trigger, sky, whether over the South Atlantic Anomaly, position in
degrees, length in samples, readout row and photometer that triggered, missing rows, fault of the file, background rate
in counts per sample, and q in uW/m^2 per count."""

PULSE_COLUMNS = ("file", "kind", "onset_ms", "width_ms", *(f"peak_counts_{p.name}" for p in PHOTOMETERS))
"""Columns of the table of pulses: kind, onset, time above half of the peak in the brightest photometer, and the peak in
each photometer in expected counts per sample."""

FRAME_COLUMNS = ("file", "frame", "class", "ambiguous", "type", "kinds")
"""Columns of the table of frames: class; whether it is ambiguous; type, which is the brightest detectable kind above
the cloud, or else the kind with most of the frame's detectable light ("noise" if the class is N, "unresolved" if no
kind is detectable); and all detectable kinds, joined by +."""

ABOVE_THE_CLOUD = ("blue jet", "elve", "sprite")
"""Kinds of events above the cloud, which are rare."""

PARTICLE = "particle"
"""Kind of a particle hit."""

_DETECTION = 5.0  # standard deviations from which a pulse is detectable


def file_row(
    file: str, observation: SimulatedObservation, position: tuple[float, float], fault: str
) -> tuple[str, ...]:
    """Return a row of ``FILE_COLUMNS``; ``position`` is latitude and longitude in degrees."""
    scene, (row, photometer) = observation.scene, observation.trigger
    return (
        file,
        scene.cause,
        scene.sky,
        str(int(scene.anomaly)),
        *(f"{degrees:.3f}" for degrees in position),
        str(scene.samples),
        str(row),
        PHOTOMETERS[photometer].name,
        " ".join(map(str, np.flatnonzero(observation.missing))),
        fault,
        *(f"{level:.4f}" for level in scene.background),
        *(f"{q:.6f}" for q in observation.flux_per_count),
    )


def pulse_rows(file: str, scene: Scene) -> list[tuple[str, ...]]:
    """Return a row of ``PULSE_COLUMNS`` for each pulse and particle hit, in order of onset."""
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
    """Return a row of ``FRAME_COLUMNS`` for each of the frames numbered ``frames``.

    ``light`` (3, T) is the observation's noise-free light in expected counts per sample.
    """
    labels, ambiguous = (array.tolist() for array in rule.label_frames(frame_peaks(light, scene.background)))
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
    """Return the expected counts of each detectable kind in each whole frame.

    A pulse is detectable in a frame if its counts there, in its brightest photometer and where it is above a tenth of
    its peak, exceed five standard deviations of all light in those samples.
    """
    hits = _detectable_particles(scene.particles, light)
    kinds = [{PARTICLE: counts} if counts else {} for counts in hits.tolist()]
    for pulse in scene.pulses:
        photometer = pulse.brightest
        if pulse.peak[photometer] * pulse.shapes[photometer].size <= _DETECTION**2:
            continue  # so few counts are not detectable even without background
        for frame in range(max(pulse.onset // FRAME_SAMPLES, 0), min(-(-pulse.end // FRAME_SAMPLES), len(kinds))):
            window, pulse_light = pulse.light(photometer, frame * FRAME_SAMPLES, FRAME_SAMPLES)
            bright = pulse_light > 0.1 * pulse.peak[photometer]
            counts = pulse_light[bright].sum()
            all_light = light[photometer, frame * FRAME_SAMPLES :][window]
            if counts > _DETECTION * np.sqrt(all_light[bright].sum()):
                kinds[frame][pulse.kind] = kinds[frame].get(pulse.kind, 0.0) + float(counts)
    return kinds


def _detectable_particles(particles: Particles, light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the expected counts of the detectable particle hits in each whole frame, (frames,)."""
    frames = light.shape[1] // FRAME_SAMPLES
    particle, sample, hits = particles.light(frames * FRAME_SAMPLES)
    particle_and_frame = particle * frames + sample // FRAME_SAMPLES
    counts, all_light = (
        np.bincount(particle_and_frame, values, particles.onset.size * frames).reshape(-1, frames)
        for values in (hits, light[particles.photometer[particle], sample])
    )
    detectable: NDArray[np.float64] = np.where(counts > _DETECTION * np.sqrt(all_light), counts, 0.0).sum(axis=0)
    return detectable
