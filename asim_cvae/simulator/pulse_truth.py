"""Describe the truth of every pulse of a simulated observation, as rows of a table."""

from collections.abc import Iterator
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from asim_cvae.instrument.photometers import PHOTOMETERS, SAMPLE_PERIOD_US
from asim_cvae.simulator.events import HIT_SHAPES, Pulse
from asim_cvae.simulator.labelling import Peaks, find_light_peaks
from asim_cvae.simulator.observation import SimulatedObservation
from asim_cvae.simulator.pulses import SAMPLES_PER_MS, Shape
from asim_cvae.simulator.scenes import Scene

PULSE_COLUMNS = (
    "file", "kind", "onset_ms", "rise_ms", "decay_ms", "width_ms", "delay_ms",
    *(f"peak_counts_{p.name}" for p in PHOTOMETERS),
    *(f"fluence_counts_{p.name}" for p in PHOTOMETERS),
    *(f"fluence_uj_m2_{p.name}" for p in PHOTOMETERS),
    "significance", "separation",
)  # fmt: skip
"""Columns of the table of pulses. All but the last two are of the whole pulse, also where the observation cuts it.

- kind: of the event.
- onset_ms, rise_ms, decay_ms, width_ms: in the photometer with the highest peak, to whole samples. The onset is the
  first sample of 10 % of the peak or more, counted from the observation's first sample; the rise lasts from there to
  the first of 90 %, the decay from the last of 90 % to the last of 10 %, the width from the first of 50 % to the end of
  the last.
- delay_ms: of 777.4 after 337 nm, between the samples at which half of the fluence has come; empty unless the pulse
  lights both.
- peak_counts: peak in expected counts per sample without dead time; fluence_counts: sum of the expected counts;
  fluence_uj_m2: that in uJ/m^2.
- significance: what a filter that knows the pulse's shape finds within the observation, in standard deviations: the
  root of the sum of s^2 / r over photometers and samples, s the pulse's expected counts and r those of all light.
- separation: significance (see :class:`~asim_cvae.simulator.labelling.Peaks`) of the maximum of the noise-free light
  over the background that the pulse owns, the highest if it owns several; 0 if it owns none. A maximum's owner is the
  pulse with the most light there: a pulse that is hidden on the flank of another owns none.
"""

PARTICLE = "particle"
"""Kind of a particle hit."""

_MIN_PROMINENCE = 0.02  # counts per sample; a weak glow of 200 ms is significant from there on


def pulse_rows(file: str, observation: SimulatedObservation) -> list[tuple[str, ...]]:
    """Return a row of ``PULSE_COLUMNS`` for each pulse and particle hit, in order of onset."""
    scene, light = observation.scene, observation.light
    background = scene.background.rate
    separations = _separations(scene, find_light_peaks(light[None], background[None], _MIN_PROMINENCE))
    uj_m2 = observation.flux_per_count * SAMPLE_PERIOD_US * 1e-6
    rows = [*_particle_rows(scene, light, uj_m2, separations), *_light_rows(scene, light, uj_m2, separations)]
    rows.sort(key=itemgetter(0))
    return [(file, *row) for _, row in rows]


def _light_rows(
    scene: Scene, light: NDArray[np.float64], uj_m2: NDArray[np.float64], separations: NDArray[np.float64]
) -> Iterator[tuple[float, tuple[str, ...]]]:
    """Yield the onset and the row, without the file, of each pulse of light."""
    for pulse, separation in zip(scene.pulses, separations.tolist(), strict=False):  # particles follow the pulses
        first, *times = _times(pulse.shapes[pulse.brightest])
        onset = (pulse.onset + first) / SAMPLES_PER_MS
        fluence = np.array(pulse.peak) * [shape.sum() for shape in pulse.shapes]
        yield (
            onset,
            (
                pulse.kind,
                *map(_MS, (onset, *(time / SAMPLES_PER_MS for time in times))),
                _delay(pulse),
                *map(_COUNTS, (*pulse.peak, *fluence.tolist())),
                *map(_DIGITS, (fluence * uj_m2).tolist()),
                *map(_COUNTS, (_significance(pulse, light), separation)),
            ),
        )


def _particle_rows(
    scene: Scene, light: NDArray[np.float64], uj_m2: NDArray[np.float64], separations: NDArray[np.float64]
) -> Iterator[tuple[float, tuple[str, ...]]]:
    """Yield the onset and the row, without the file, of each particle hit."""
    hits = scene.particles
    particle, sample, counts = hits.light(scene.samples)
    squares = counts**2 / light[hits.photometer[particle], sample]
    significance = np.sqrt(np.bincount(particle, squares, hits.onset.size))
    fluence = hits.height * np.array([shape.sum() for shape in HIT_SHAPES])[hits.length - 1]
    columns = (
        (hits.onset / SAMPLES_PER_MS).tolist(),
        hits.length.tolist(),
        hits.photometer.tolist(),
        map(_COUNTS, hits.height.tolist()),
        map(_COUNTS, fluence.tolist()),
        map(_DIGITS, (fluence * uj_m2[hits.photometer]).tolist()),
        map(_COUNTS, significance.tolist()),
        map(_COUNTS, separations[len(scene.pulses) :].tolist()),
    )
    for onset, length, photometer, *values, significant, separation in zip(*columns, strict=True):
        times = (_MS(onset), *_HIT_TIMES[length - 1], "")
        before, after = _NONE[:photometer], _NONE[photometer + 1 :]
        of_photometers = [cell for value in values for cell in (*before, value, *after)]
        yield onset, (PARTICLE, *times, *of_photometers, significant, separation)


_MS = _COUNTS = "{:.2f}".format
_DIGITS = "{:.4g}".format
_NONE = (_COUNTS(0.0),) * len(PHOTOMETERS)


def _times(shape: Shape) -> tuple[int, int, int, int]:
    """Return first sample of 10 % of the peak, and rise, decay and width in samples, see ``PULSE_COLUMNS``."""
    first, last = zip(*(_ends(shape >= level) for level in (0.1, 0.5, 0.9)), strict=True)
    return first[0], first[2] - first[0], last[0] - last[2], last[1] - first[1] + 1


def _ends(above: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the numbers of the first and the last sample that is true."""
    return int(above.argmax()), above.size - 1 - int(above[::-1].argmax())


_HIT_TIMES = tuple(tuple(_MS(time / SAMPLES_PER_MS) for time in _times(shape)[1:]) for shape in HIT_SHAPES)


def _delay(pulse: Pulse) -> str:
    """Return the delay of 777.4 nm after 337 nm in ms, '' unless the pulse lights both."""
    blue, _, oxygen = pulse.shapes
    if not (pulse.peak[0] and pulse.peak[2]):
        return ""
    return _MS((_half_time(oxygen) - _half_time(blue)) / SAMPLES_PER_MS) if oxygen is not blue else _MS(0.0)


def _half_time(shape: Shape) -> int:
    """Return the first sample by the end of which half of the fluence has come."""
    total = np.cumsum(shape)
    return int(np.searchsorted(total, total[-1] / 2))


def _significance(pulse: Pulse, light: NDArray[np.float64]) -> float:
    """Return a pulse's significance in all light (3, T), see ``PULSE_COLUMNS``."""
    squares = 0.0
    for photometer, row in enumerate(light):
        if pulse.peak[photometer]:
            window, values = pulse.light(photometer, 0, row.size)
            squares += float(values @ (values / row[window]))
    return float(np.sqrt(squares))


def _separations(scene: Scene, peaks: Peaks) -> NDArray[np.float64]:
    """Return the separation of each pulse, then of each particle hit, see ``PULSE_COLUMNS``."""
    separations = np.zeros(len(scene.pulses) + scene.particles.onset.size)
    for photometer in range(len(PHOTOMETERS)):
        chosen = peaks.photometer == photometer
        owner = _owners(scene, photometer, peaks.position[chosen])
        np.maximum.at(separations, owner, peaks.significance[chosen])
    return separations


def _owners(scene: Scene, photometer: int, position: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pulse with the most light at each of the ascending positions (n,), numbered as in ``_separations``."""
    owner, most = np.zeros(position.size, dtype=np.int64), np.zeros(position.size)
    particle, sample, counts = scene.particles.light(scene.samples)
    at = np.searchsorted(position, sample)
    hit = scene.particles.photometer[particle] == photometer
    hit &= position[np.minimum(at, position.size - 1)] == sample if position.size else False
    for k in np.flatnonzero(hit)[np.argsort(counts[hit])]:  # the brightest last
        owner[at[k]], most[at[k]] = len(scene.pulses) + particle[k], counts[k]
    lit = [pulse.onset + (pulse.shapes[photometer].size if pulse.peak[photometer] else 0) for pulse in scene.pulses]
    first, last = (np.searchsorted(position, edge).tolist() for edge in ([p.onset for p in scene.pulses], lit))
    for number, (pulse, begin, end) in enumerate(zip(scene.pulses, first, last, strict=True)):
        if end > begin:
            counts_there = pulse.peak[photometer] * pulse.shapes[photometer][position[begin:end] - pulse.onset]
            brighter = counts_there > most[begin:end]
            owner[begin:end][brighter], most[begin:end][brighter] = number, counts_there[brighter]
    return owner
