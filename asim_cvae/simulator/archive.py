"""A whole simulated archive: observation files, a label table in the published layout, and the truth."""

import csv
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from asim_cvae.archive.layout import FileName
from asim_cvae.base.errors import InputError
from asim_cvae.base.files import atomic_write, write_json
from asim_cvae.base.parallel import map_batches
from asim_cvae.simulator.faults import FAULTS, held_frames, spoil_file, spoil_rows
from asim_cvae.simulator.labelling import LabelRule
from asim_cvae.simulator.observation import simulate_observation
from asim_cvae.simulator.orbit import start_time
from asim_cvae.simulator.scenes import Scene
from asim_cvae.simulator.tables import csv_lines, write_label_table
from asim_cvae.simulator.truth import FILE_COLUMNS, FRAME_COLUMNS, PULSE_COLUMNS, file_row, frame_rows, pulse_rows
from asim_cvae.simulator.writer import WRITERS, observation_rows

SIMULATOR = "asim_cvae 3"
"""Name and version, written into every file: another version may make other files of the same seed."""

BENCHMARKS = {
    "be17403ec3987a35e825b7b5cee09fbeb5f602379b38917f1461ffcdad4dbd84": "asim-sim-small",
    "37789b368d56fdeac36428ebdc14e61b1faf8a61eada9145ede3452b8b495961": "asim-sim-full",
}
"""Archives to quote: the digest of all photon counts and labels, and the name."""

TABLE_NAME = "GroundTruth_Table.xlsx"
PULSES_NAME = "truth.csv"
FRAMES_NAME = "truth_frames.csv"
FILES_NAME = "truth_files.csv"
_TRUTH = {PULSES_NAME: PULSE_COLUMNS, FRAMES_NAME: FRAME_COLUMNS, FILES_NAME: FILE_COLUMNS}
SETTINGS_NAME = "simulation.json"

_PARTS = ".parts"
_BATCH = 10
_FIRST_ID = 10_000
_YEAR = np.arange("2019-01-03", "2020-01-01", dtype="datetime64[D]")
_EVERY_SEVENTH_DAY = _YEAR[::7]  # of the thesis's unlabelled files; its labelled ones are of any day
_GROUPS_FROM = np.datetime64("2019-09-20")  # from when on some published names have a group id


@dataclass(frozen=True)
class Simulation:
    """What to simulate: ``observations`` without and ``labelled`` with labels, from ``seed``, as files of ``format``.

    Args:
        observations: files without labels.
        labelled: files with labels.
        rule: how frames are labelled.
        seed: of everything.
        format: 'fits' or 'cdf'.
        level: 1 (flux) or 0 (counts).
        missing_rows: probability of a readout row to be missing, which leaves a gap.
        faults: share of the files without labels that have one of ``faults.FAULTS``.

    Raises:
        InputError: a number, the format or the level is out of range.
    """

    observations: int
    labelled: int
    rule: LabelRule
    seed: int = 0
    format: str = "fits"
    level: int = 1
    missing_rows: float = 0.0
    faults: float = 0.0

    def __post_init__(self) -> None:
        if self.format not in WRITERS:
            raise InputError(f"format={self.format}: a simulated archive is one of {', '.join(WRITERS)}")
        if self.level not in (0, 1):
            raise InputError(f"level={self.level}: there are Level 0 and Level 1 files")
        if min(self.observations, self.labelled, self.seed) < 0 or self.observations + self.labelled == 0:
            raise InputError("observations, labelled and seed must be 0 or more, and one file at least be wanted")
        if not (0 <= self.missing_rows < 1 and 0 <= self.faults <= 1):
            raise InputError("missing_rows must lie from 0 to below 1, faults from 0 to 1")


def make_archive(root: Path, simulation: Simulation, workers: int | None = None) -> bool:
    """Write a simulated archive into ``root``; False where it is there already.

    Each file depends on the seed and its own number alone, whatever the number of workers. Interrupted, it goes on with
    the files that are missing.

    Raises:
        InputError: ``root`` holds another archive, or files that are not known to be simulated.
    """
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        settings = {"simulator": SIMULATOR, **asdict(simulation)}
        if _is_made(root, settings):
            shutil.rmtree(root / _PARTS, ignore_errors=True)  # of a run that was killed at its very end
            return False
        write_json(root / SETTINGS_NAME, {**settings, "complete": False})
        numbers = range(simulation.labelled + simulation.observations)
        work = partial(_make_part, root=root, simulation=simulation)
        parts = sorted(map_batches(work, numbers, _BATCH, workers, "simulating"))
        digest = _write_tables(root, parts, simulation.labelled)
        found = {"benchmark": BENCHMARKS.get(digest), "sha256": digest}
        write_json(root / SETTINGS_NAME, {**settings, **found, "complete": True})
        shutil.rmtree(root / _PARTS)
    return True


def _is_made(root: Path, settings: dict[str, Any]) -> bool:
    path = root / SETTINGS_NAME
    if not path.exists():
        if any(root.rglob("*.fits")) or any(root.rglob("*.cdf")):
            raise InputError(f"{root}: holds observation files that are not simulated; choose another folder")
        return False
    found = json.loads(path.read_text(encoding="utf-8"))
    complete = bool(found.pop("complete", False))
    for made in ("benchmark", "sha256"):
        found.pop(made, None)
    if found != settings:
        raise InputError(f"{root}: holds another simulated archive ({found}); choose another folder or delete it")
    return complete and _are_there(root)


def _are_there(root: Path) -> bool:
    """Whether no file of a complete archive has been deleted."""
    table = root / FILES_NAME
    if not table.exists():
        return False
    with table.open(newline="", encoding="utf-8") as stream:
        return all((root / row["file"]).exists() for row in csv.DictReader(stream))


def _make_part(numbers: Sequence[int], root: Path, simulation: Simulation) -> Path:
    """Write some observations, then what they add to the tables: with that, these are done."""
    part = root / _PARTS / f"{numbers[0]:08d}.json"
    if not (part.exists() and all((root / made["file"]).exists() for made in _read_part(part))):
        made = json.dumps([_make_file(number, root, simulation) for number in numbers])
        with atomic_write(part) as unfinished:
            unfinished.write_text(made, encoding="utf-8")
    return part


def _read_part(part: Path) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = json.loads(part.read_text(encoding="utf-8"))
    return made


def _make_file(number: int, root: Path, simulation: Simulation) -> dict[str, Any]:
    """Simulate and write one observation; the labelled ones have the first numbers."""
    made = simulate_observation(simulation.seed, number, simulation.missing_rows)
    rng = np.random.default_rng((simulation.seed, number, 1))  # of what does not touch the light
    labelled = number < simulation.labelled
    fault = "" if labelled or rng.random() >= simulation.faults else str(rng.choice(FAULTS))
    name, position = _name_and_position(made.scene, number, _YEAR if labelled else _EVERY_SEVENTH_DAY, simulation, rng)
    rows = observation_rows(made.counts, made.flux_per_count, name, position, made.missing, made.trigger)
    path = root / name.format(simulation.format)
    WRITERS[simulation.format](path, spoil_rows(rows, fault), SIMULATOR)
    spoil_file(path, fault)
    frames = frame_rows(path.name, made.scene, made.light, held_frames(made.whole_frames, fault), simulation.rule)
    return {
        "number": number,
        "file": path.name,
        "counts_sha256": hashlib.sha256(made.counts.astype(np.uint8).data).hexdigest(),
        "labels": [(path.name, int(frame), label) for _, frame, label, *_ in frames],
        "truth": {
            PULSES_NAME: csv_lines(pulse_rows(path.name, made.scene)),
            FRAMES_NAME: csv_lines(frames),
            FILES_NAME: csv_lines([file_row(path.name, made, position, fault)]),
        },
    }


def _name_and_position(
    scene: Scene, number: int, days: NDArray[np.datetime64], simulation: Simulation, rng: np.random.Generator
) -> tuple[FileName, tuple[float, float]]:
    start, *position = start_time(days, scene.sky == "day side", scene.anomaly, rng)
    group = int(rng.integers(100_000, 300_000)) if start >= _GROUPS_FROM and rng.random() < 0.5 else None
    return FileName(simulation.level, start, _FIRST_ID + number, group), (position[0], position[1])


def _write_tables(root: Path, parts: Iterable[Path], labelled: int) -> str:
    """Write the label table and the truth from what the observations added; returns the digest of counts and labels."""
    digest = hashlib.sha256()
    labels = []
    with ExitStack() as stack:
        truth = {name: stack.enter_context(_csv_file(root / name, columns)) for name, columns in _TRUTH.items()}
        for part in parts:
            for made in _read_part(part):
                for name, lines in made["truth"].items():
                    truth[name].write(lines)
                digest.update(f"{made['counts_sha256']}{[label for *_, label in made['labels']]}".encode())
                if made["number"] < labelled:
                    labels += made["labels"]
    if labelled:
        write_label_table(root / TABLE_NAME, labels)
    return digest.hexdigest()


@contextmanager
def _csv_file(path: Path, columns: Sequence[str]) -> Iterator[TextIO]:
    """A CSV file with a row of names, to write lines to; it appears when all are written."""
    with atomic_write(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as stream:
        stream.write(csv_lines([columns]))
        yield stream
