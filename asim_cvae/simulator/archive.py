"""A whole simulated archive: observation files, a label table in the published layout, and the truth."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import openpyxl
from filelock import FileLock

from asim_cvae.archive.labels import COLUMNS
from asim_cvae.archive.layout import FileName
from asim_cvae.classes import CLASS_NAMES
from asim_cvae.errors import InputError
from asim_cvae.files import whole_file, write_json
from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument import MAX_READOUTS, PHOTOMETERS, READOUT_SAMPLES
from asim_cvae.parallel import map_batches
from asim_cvae.simulator.flashes import SAMPLES_PER_MS, Pulse, add_light, scene
from asim_cvae.simulator.labelling import frame_class
from asim_cvae.simulator.photometer import background_counts, file_flux_per_count, photon_counts
from asim_cvae.simulator.writer import WRITERS, observation_rows

SIMULATOR = "asim_cvae 1"
"""Name and version, written into every file: another version may make other files of the same seed."""

TABLE_NAME = "GroundTruth_Table.xlsx"
TRUTH_NAME = "truth.csv"
SETTINGS_NAME = "simulation.json"

_CLASS_FRAMES = {"HCHA": 85, "HCLA": 115, "LCHA": 92, "LCLA": 143, "N": 120}  # of the published label table
_FRAMES_OF_FILES = {5: 9, 6: 3, 7: 1, 9: 4, 10: 1, 11: 1, 12: 3, 14: 28}  # whole frames of its 50 observations
_PERSISTENCE = 0.43  # with it 55 % of frames are followed by one of their class, as there
_FIRST_DAY = np.datetime64("2019-01-03T00:00:00", "us")
_BATCH = 8


@dataclass(frozen=True)
class Simulation:
    """What to simulate: ``observations`` without and ``labelled`` with labels, from ``seed``, as files of ``format``.

    Raises:
        InputError: a number, the format ('fits', 'cdf') or the level (0, 1) is out of range.
    """

    observations: int = 300
    labelled: int = 50
    seed: int = 0
    format: str = "fits"
    level: int = 1

    def __post_init__(self) -> None:
        if self.format not in WRITERS:
            raise InputError(f"format={self.format}: a simulated archive is one of {', '.join(WRITERS)}")
        if self.level not in (0, 1):
            raise InputError(f"level={self.level}: there are Level 0 and Level 1 files")
        if min(self.observations, self.labelled, self.seed) < 0 or self.observations + self.labelled == 0:
            raise InputError("observations, labelled and seed must be 0 or more, and one file at least be wanted")


@dataclass(frozen=True)
class _Made:
    """What one file adds to the label table and to the truth."""

    number: int
    file: str
    classes: Sequence[str]
    pulses: Sequence[Pulse]


def make_archive(root: Path, simulation: Simulation, workers: int | None = None) -> bool:
    """Write a simulated archive into ``root``; False where it is there already.

    Each file depends on the seed and its own number alone, whatever the number of workers.

    Raises:
        InputError: ``root`` holds another archive, or files that are not known to be simulated.
    """
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        settings = {"simulator": SIMULATOR, **asdict(simulation)}
        if _is_made(root, settings):
            return False
        write_json(root / SETTINGS_NAME, {**settings, "complete": False})
        numbers = range(simulation.labelled + simulation.observations)
        work = partial(_make_files, root=root, simulation=simulation)
        made = [file for batch in map_batches(work, numbers, _BATCH, workers, "simulating files") for file in batch]
        made.sort(key=lambda file: file.number)
        if simulation.labelled:
            _write_table(root / TABLE_NAME, made[: simulation.labelled])
        _write_truth(root / TRUTH_NAME, made)
        write_json(root / SETTINGS_NAME, {**settings, "complete": True})
    return True


def _is_made(root: Path, settings: dict[str, str | int]) -> bool:
    path = root / SETTINGS_NAME
    if not path.exists():
        if any(root.rglob("*.fits")) or any(root.rglob("*.cdf")):
            raise InputError(f"{root}: holds observation files that are not simulated; choose another folder")
        return False
    found = json.loads(path.read_text(encoding="utf-8"))
    complete = bool(found.pop("complete", False))
    if found != settings:
        raise InputError(f"{root}: holds another simulated archive ({found}); choose another folder or delete it")
    return complete


def _make_files(numbers: Sequence[int], root: Path, simulation: Simulation) -> list[_Made]:
    return [_make_file(number, root, simulation) for number in numbers]


def _make_file(number: int, root: Path, simulation: Simulation) -> _Made:
    """Simulate and write one observation; the labelled ones have the first numbers."""
    rng = np.random.default_rng((simulation.seed, number))
    frames = int(rng.choice(list(_FRAMES_OF_FILES), p=np.array(list(_FRAMES_OF_FILES.values())) / 50))
    samples = min(frames * FRAME_SAMPLES + int(rng.integers(0, FRAME_SAMPLES)), MAX_READOUTS * READOUT_SAMPLES)
    background = background_counts(rng)
    pulses = [
        pulse for k, aim in enumerate(_aims(frames, rng)) for pulse in scene(aim, k * FRAME_SAMPLES, FRAME_SAMPLES, rng)
    ]
    expected = np.repeat(background[:, None], samples, axis=1)
    for pulse in pulses:
        add_light(expected, pulse)
    start = _start_time(number, rng)
    name = FileName(simulation.level, start, 10000 + number).format(simulation.format)
    rows = observation_rows(
        photon_counts(expected, rng), file_flux_per_count(rng), start, 10000 + number, simulation.level
    )
    WRITERS[simulation.format](root / name, rows, SIMULATOR)
    classes = [frame_class(pulses, background, k * FRAME_SAMPLES, FRAME_SAMPLES) for k in range(frames)]
    return _Made(number, name, classes, pulses)


def _aims(frames: int, rng: np.random.Generator) -> Iterator[str]:
    """A class to aim at for each frame, in the published proportions and with the published persistence."""
    names, shares = list(_CLASS_FRAMES), np.array(list(_CLASS_FRAMES.values())) / sum(_CLASS_FRAMES.values())
    aim = ""
    for _ in range(frames):
        if not aim or rng.random() > _PERSISTENCE:
            aim = str(rng.choice(names, p=shares))
        yield aim


def _start_time(number: int, rng: np.random.Generator) -> np.datetime64:
    """A time on one of every seventh day of 2019, as the thesis chose its files."""
    day = _FIRST_DAY + np.timedelta64(7 * (number % 52), "D")
    return day + np.timedelta64(int(rng.integers(0, 86_400_000_000)), "us")


def _write_table(path: Path, made: Sequence[_Made]) -> None:
    """The published layout: a file's name on its first row only, and a legend of the classes beside the table."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["File Number", *COLUMNS, None, "Possible Classes", "Acronym"])
    legend = [[None, name.title(), acronym] for acronym, name in CLASS_NAMES.items()]
    rows = [
        [file.number if k == 0 else None, file.file if k == 0 else None, k, label]
        for file in made
        for k, label in enumerate(file.classes)
    ]
    for i, row in enumerate(rows):
        sheet.append(row + (legend[i] if i < len(legend) else []))
    with whole_file(path) as unfinished:
        book.save(unfinished)


def _write_truth(path: Path, made: Sequence[_Made]) -> None:
    """Every pulse that was put in: its file, frame, kind, onset, width and light in each photometer."""
    light = [f"peak_counts_{p.name}" for p in PHOTOMETERS]
    with whole_file(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "frame", "class", "kind", "onset_ms", "width_ms", *light])
        for file in made:
            for pulse in file.pulses:
                frame = pulse.onset // FRAME_SAMPLES
                place = [f"{pulse.onset / SAMPLES_PER_MS:.2f}", f"{pulse.width_ms:.2f}"]
                peaks = [f"{peak:.2f}" for peak in pulse.peak]
                writer.writerow([file.file, frame, file.classes[frame], pulse.kind, *place, *peaks])
