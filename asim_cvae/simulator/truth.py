"""Describe the truth behind a simulated observation, as rows of two tables: files and frames."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields

import numpy as np
from numpy.typing import NDArray

from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument.classes import NOISE
from asim_cvae.instrument.photometers import PHOTOMETERS
from asim_cvae.simulator.events import Particles
from asim_cvae.simulator.labelling import LabelRule
from asim_cvae.simulator.observation import SimulatedObservation
from asim_cvae.simulator.pulse_truth import PARTICLE
from asim_cvae.simulator.scenes import Scene
from asim_cvae.simulator.variation import Factors

FILE_COLUMNS = (
    "file", "cause", "sky", "anomaly", "latitude", "longitude", "samples", "trigger_row", "trigger_photometer",
    "missing_rows", "fault",
    *(f"background_counts_{p.name}" for p in PHOTOMETERS),
    *(f"background_drift_{p.name}" for p in PHOTOMETERS),
    *(f"flux_per_count_{p.name}" for p in PHOTOMETERS),
    "rare", *(f"factor_{field.name}" for field in fields(Factors)),
)  # fmt: skip
"""Columns of the table of files: cause of the trigger, sky, whether over the South Atlantic Anomaly, position in
degrees, length in samples, readout row and photometer that triggered, missing rows, fault of the file, lowest rate of
the background in counts per sample, its largest rise in Poisson standard deviations of its counts in 10 ms, q in uW/m^2
per count, the kind of event that it was made to hold, and the factors by which it differs from default observations."""

FRAME_COLUMNS = ("file", "frame", "class", "ambiguous", "type", "kinds")
"""Columns of the table of frames: class; whether it is ambiguous; type, which is the brightest detectable kind above
the cloud, or else the kind with most of the frame's detectable light ("noise" if the class is N, "unresolved" if no
kind is detectable); and all detectable kinds, joined by +."""

ABOVE_THE_CLOUD = ("blue jet", "elve", "sprite")
"""Kinds of events above the cloud, which are rare."""

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
        *(f"{level:.4f}" for level in scene.background.level),
        *(f"{drift:.3f}" for drift in scene.background.drift),
        *(f"{q:.6f}" for q in observation.flux_per_count),
        scene.rare,
        *(f"{factor:.4f}" for factor in asdict(scene.factors).values()),
    )


def frame_rows(
    file: str, scene: Scene, light: NDArray[np.float64], frames: Sequence[int], rule: LabelRule
) -> list[tuple[str, ...]]:
    """Return a row of ``FRAME_COLUMNS`` for each of the frames numbered ``frames``.

    ``light`` (3, T) is the observation's noise-free light in expected counts per sample.
    """
    labels, ambiguous = (array.tolist() for array in rule.label_light(light, scene.background.rate))
    kinds = detectable_kinds(scene, light)
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


def detectable_kinds(scene: Scene, light: NDArray[np.float64]) -> list[dict[str, float]]:
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
