"""Score detectors of pulses on simulated observations."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from asim_cvae.instrument.observation import Observation
from asim_cvae.pulses.catalogue import find_pulses
from asim_cvae.pulses.columns import NAMES, Table
from asim_cvae.pulses.kinds import PARTICLE
from asim_cvae.simulator.observation import SimulatedObservation
from asim_cvae.simulator.pulses import SAMPLES_PER_MS
from asim_cvae.studies.triage.observations import as_observation
from asim_cvae.studies.triage.pulse_truths import Detections, TruePulses, match

Detector = Callable[[Observation], Detections]

STROKE = "return stroke"
ISOLATED_PEAK, FLASH_PEAK = 8.0, 20.0
"""Counts per sample from which parameters of isolated strokes, and of pulses in flashes, are compared."""

_CHANCE_SHIFT = 3000.0  # samples by which the truth is shifted to count matches by chance

ERRORS = {
    "onset": "samples",
    "rise": "samples",
    "decay": "%",
    "width": "%",
    "peak": "%",
    "fluence": "%",
    "delay": "samples",
    "significance": "%",
}
"""Parameters of isolated strokes, and the unit of their errors."""


@dataclass
class Score:
    """What a detector made of some observations; lists hold an entry for each true pulse that has to be found.

    Attributes:
        observations: number of them.
        seconds: time that the detector took.
        kind: kinds of the true pulses.
        is_found: whether each is found.
        amplitude: their peaks in counts per sample.
        separation: their separations.
        false_light: detections that show no true pulse, but for hits.
        false_hits: such hits.
        below: detections that show a true pulse that need not be found.
        by_chance: detections that would match the truth shifted by 30 ms.
        detections: number of all detections.
        named: pairs of the kind by rule and the true kind, of pulses that have to be found.
        isolated: errors of isolated strokes by parameter.
        in_flashes: errors of the fluence of other pulses, in %, without and with the flag blend.
    """

    observations: int = 0
    seconds: float = 0.0
    kind: list[str] = field(default_factory=list)
    is_found: list[bool] = field(default_factory=list)
    amplitude: list[float] = field(default_factory=list)
    separation: list[float] = field(default_factory=list)
    false_light: int = 0
    false_hits: int = 0
    below: int = 0
    by_chance: int = 0
    detections: int = 0
    named: list[tuple[str, str]] = field(default_factory=list)
    isolated: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in ERRORS})
    in_flashes: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})

    def completeness(self, is_hit: bool | None = None) -> float:
        """Return the share that is found of hits, of light, or of both (None); NaN if there are none."""
        chosen = np.array(self.is_found, dtype=bool)[self._of(is_hit)]
        return float(chosen.mean()) if chosen.size else float("nan")

    def purity(self, is_hit: bool | None = None) -> float:
        """Return the share of true detections among those that are true and have to be, or false."""
        true = int(np.array(self.is_found, dtype=bool)[self._of(is_hit)].sum())
        false = {None: self.false_light + self.false_hits, True: self.false_hits, False: self.false_light}[is_hit]
        return true / (true + false) if true + false else float("nan")

    def _of(self, is_hit: bool | None) -> NDArray[np.bool_]:
        hits = np.array(self.kind) == PARTICLE if self.kind else np.zeros(0, dtype=bool)
        return np.ones(hits.size, dtype=bool) if is_hit is None else hits == is_hit


def score(observations: Iterable[SimulatedObservation], detector: Detector) -> Score:
    """Score a detector that tells no more than where pulses are."""
    total = Score()
    for simulated in observations:
        _add(total, simulated, detector)
    return total


def score_catalogue(observations: Iterable[SimulatedObservation]) -> Score:
    """Score the catalogue: where pulses are, their kinds and their parameters."""
    total = Score()
    for simulated in observations:
        table: list[Table] = []

        def detector(observation: Observation, table: list[Table] = table) -> Detections:
            table.append(find_pulses(observation))
            return as_detections(table[0])

        truth, shown = _add(total, simulated, detector)
        _add_parameters(total, truth, shown, table[0])
    return total


def as_detections(table: Table) -> Detections:
    """Return the detections of a catalogue."""
    lit = [[name in photometers.split("+") for name in NAMES] for photometers in table["photometers"].tolist()]
    is_hit = table["kind"] == PARTICLE
    return Detections(table["peak_ms"] * SAMPLES_PER_MS, np.array(lit, dtype=bool).reshape(-1, len(NAMES)), is_hit)


def _add(total: Score, simulated: SimulatedObservation, detector: Detector) -> tuple[TruePulses, NDArray[np.int64]]:
    """Add an observation to the score; returns its truth, and the true pulse that each detection shows."""
    observation, truth = as_observation(simulated), TruePulses.of(simulated)
    _ = observation.counts  # reading is not detecting
    start = time.process_time()
    found = detector(observation)
    total.seconds += time.process_time() - start
    shown = match(truth, found)
    is_shown = np.zeros(truth.kind.size, dtype=bool)
    is_shown[shown[shown >= 0]] = True
    fair = truth.is_fair
    total.observations += 1
    total.kind += truth.kind[fair].tolist()
    total.is_found += is_shown[fair].tolist()
    total.amplitude += truth.peak[fair].max(axis=1).tolist()
    total.separation += truth.separation[fair].tolist()
    total.below += int((is_shown & ~fair).sum())
    total.by_chance += int((match(truth.shifted(_CHANCE_SHIFT), found) >= 0).sum())
    total.detections += shown.size
    is_hit = found.is_hit if found.is_hit is not None else np.zeros(shown.size, dtype=bool)
    total.false_hits += int(((shown < 0) & is_hit).sum())
    total.false_light += int(((shown < 0) & ~is_hit).sum())
    return truth, shown


def _add_parameters(total: Score, truth: TruePulses, shown: NDArray[np.int64], table: Table) -> None:
    """Add the kinds and the errors of the pulses that are found."""
    for row, pulse in zip(table, shown.tolist(), strict=True):
        if pulse < 0:
            continue
        kind = str(truth.kind[pulse])
        if truth.is_fair[pulse]:
            total.named.append((str(row["kind"]), kind))
        brightest = int(truth.peak[pulse].argmax())
        peak, name = truth.peak[pulse, brightest], NAMES[brightest]
        fluence = _percent(row[f"fluence_{name}"], truth.fluence[pulse, brightest])
        if kind == STROKE and peak >= ISOLATED_PEAK and truth.is_isolated[pulse]:
            errors = {
                "onset": row["onset_ms"] * SAMPLES_PER_MS - truth.onset[pulse],
                "rise": row["rise_ms"] * SAMPLES_PER_MS - truth.rise[pulse],
                "decay": _percent(row["decay_ms"] * SAMPLES_PER_MS, truth.decay[pulse]),
                "width": _percent(row["width_ms"] * SAMPLES_PER_MS, truth.width[pulse]),
                "peak": _percent(row[f"peak_counts_{name}"], peak),
                "fluence": fluence,
                "delay": row["delay_ms"] * SAMPLES_PER_MS - truth.delay[pulse],
                "significance": _percent(row["significance"], truth.significance[pulse]),
            }
            for parameter, error in errors.items():
                if np.isfinite(error):
                    total.isolated[parameter].append(float(error))
        elif not truth.is_hit[pulse] and peak >= FLASH_PEAK and np.isfinite(fluence):
            total.in_flashes["blend" in str(row["flags"])].append(fluence)


def _percent(measured: float, true: float) -> float:
    return 100 * (float(measured) / float(true) - 1)


def median_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the median, and half of the range from 16 to 84 %; NaN without values."""
    if not values:
        return float("nan"), float("nan")
    low, middle, high = np.percentile(values, [16, 50, 84])
    return float(middle), float(high - low) / 2
