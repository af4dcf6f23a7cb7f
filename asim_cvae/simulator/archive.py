"""Write a simulated archive: observation files, a label table in the published layout, and tables of the truth."""

import csv
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from asim_cvae.archive.layout import FileName, has_known_suffix
from asim_cvae.base.documents import checked, parse_json, read_text
from asim_cvae.base.engine import Engine
from asim_cvae.base.errors import InputError, first_line, shown
from asim_cvae.base.files import atomic_write, remove_leftovers, write_json
from asim_cvae.base.locks import held_lock
from asim_cvae.base.parallel import HERE, map_batches
from asim_cvae.instrument.photometers import DEAD_TIME
from asim_cvae.simulator.faults import FAULTS, remaining_frames, spoil_file, spoil_rows
from asim_cvae.simulator.labelling import LabelRule
from asim_cvae.simulator.observation import SimulatedObservation, simulate_observation
from asim_cvae.simulator.orbit import start_time
from asim_cvae.simulator.photometer import recorded_light
from asim_cvae.simulator.pulse_truth import PULSE_COLUMNS, pulse_rows
from asim_cvae.simulator.scenes import Rare, Scene
from asim_cvae.simulator.tables import csv_lines, write_label_table
from asim_cvae.simulator.truth import FILE_COLUMNS, FRAME_COLUMNS, file_row, frame_rows
from asim_cvae.simulator.variation import Variation
from asim_cvae.simulator.writer import WRITERS, observation_rows

SIMULATOR = "asim_cvae 5"
"""Name and version of the simulator, written into every file. Another version may make other files from a seed."""

BENCHMARKS = {
    "a20b685de41f81042a1fefffc173bb2c159c358a600b3b699142a75071b90bd9": "asim-sim-small",
    "5b95b4a6078b410da49d2f6992e62c59a83117b885293fa5d5e9e16fb5d6a3fa": "asim-sim-full",
    "d5bcfe17b97bafcba49409b1bfd93f1884d89cafb4ae816293748c00fbd973f2": "asim-sim-randomised",
    "19c1858700f5f7a705e0e4d6b2ede88fc4112a1145e59675d47a1cdce04eb5d5": "asim-sim-evaluation-101",
    "cda48e9f22f4a312e22bef876a2b2c02db4a5ea388d6a39fdcbac9ea7bc5e563": "asim-sim-evaluation-102",
    "4a7973ddf127442bf06fb4daa505848f102d379ca10ea7a3ddbccff283222d9a": "asim-sim-evaluation-103",
    "7a664f58dab128004621dcbe4ac7792587103e4dab40408ce69ace22de9f840f": "asim-sim-shifted-201",
    "3acb093cef97d982026f1698f06052dff8bf52ec16d91ed215d182576ddca095": "asim-sim-shifted-202",
    "4dcbfbdbcbce588063b6316afc115c6d11b47da42d9892dc573e5c3b4b0603b0": "asim-sim-shifted-203",
    "87cfce98e081326e2a27010110c31760cf69acbb687b365bfe910839a56f5c63": "asim-sim-rare",
}
"""Names of the benchmark archives, by the digest of all their photon counts and labels."""

TABLE_NAME = "GroundTruth_Table.xlsx"
PULSES_NAME = "truth.csv"
FRAMES_NAME = "truth_frames.csv"
FILES_NAME = "truth_files.csv"
_TRUTH = {PULSES_NAME: PULSE_COLUMNS, FRAMES_NAME: FRAME_COLUMNS, FILES_NAME: FILE_COLUMNS}
SETTINGS_NAME = "simulation.json"

_PARTS = ".parts"
_BATCH = 10
_MOST_SETTINGS = 100_000  # bytes of simulation.json
_FIRST_ID = 10_000
_YEAR = np.arange("2019-01-03", "2020-01-01", dtype="datetime64[D]")
_EVERY_SEVENTH_DAY = _YEAR[::7]  # the days of the thesis's unlabelled files; its labelled ones are from any day
_GROUPS_FROM = np.datetime64("2019-09-20")  # from this day on, some published file names have a group id


@dataclass(frozen=True)
class Simulation:
    """Settings that determine a simulated archive.

    Args:
        observations: number of files without labels.
        labelled: number of files with labels.
        rule: rule that labels the frames.
        seed: seed of all random numbers.
        format: 'fits' or 'cdf'.
        level: 1 for files of flux, 0 for files of photon counts.
        missing_rows: probability that a readout row is missing, which leaves a gap.
        faults: share of the files without labels that have one of ``faults.FAULTS``.
        drift: largest drift of the background of 337 nm, in Poisson standard deviations of its counts in 10 ms.
        rare: numbers of files without labels that surely hold an event of a kind; they are the last ones.
        variation: ranges of the factors by which light and calibration differ from the default ones.

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
    drift: float = 0.0
    rare: Rare = field(default_factory=Rare)
    variation: Variation = field(default_factory=Variation)

    def __post_init__(self) -> None:
        if self.format not in WRITERS:
            raise InputError(f"format={self.format}: must be one of {', '.join(WRITERS)}")
        if self.level not in (0, 1):
            raise InputError(f"level={self.level}: must be 1 (flux) or 0 (photon counts)")
        if min(self.observations, self.labelled, self.seed) < 0 or self.observations + self.labelled == 0:
            raise InputError(
                "observations, labelled and seed must be 0 or more, and observations or labelled at least 1"
            )
        if not (0 <= self.missing_rows < 1 and 0 <= self.faults <= 1 and self.drift >= 0):
            raise InputError("missing_rows must be at least 0 and below 1, faults from 0 to 1, drift 0 or more")
        if min(asdict(self.rare).values()) < 0 or len(self.rare.kinds) > self.observations:
            raise InputError(
                f"rare: {len(self.rare.kinds)} observations in all; numbers must be 0 or more, and their sum at most "
                f"observations={self.observations}"
            )

    @property
    def files(self) -> int:
        """Number of files; those with labels come first."""
        return self.labelled + self.observations

    def observation(self, number: int) -> SimulatedObservation:
        """Simulate the observation of file ``number``, from 0, without writing it."""
        first_rare = self.files - len(self.rare.kinds)
        rare = self.rare.kinds[number - first_rare] if number >= first_rare else ""
        return simulate_observation(self.seed, number, self.missing_rows, self.drift, self.variation, rare)


def make_archive(root: Path, simulation: Simulation, workers: int | None = None, engine: Engine = HERE) -> bool:
    """Write a simulated archive into ``root``, or complete one that was interrupted.

    Each file depends on the seed and its own number alone, not on the number of workers.

    Args:
        root: folder of the archive; it is made if it does not exist.
        simulation: what to simulate.
        workers: number of workers; None for one per core.
        engine: where they work.

    Returns:
        True if files were written, False if the archive was complete already.

    Raises:
        InputError: ``root`` holds another archive, or files that are not known to be simulated.
    """
    settings = _all_settings(simulation)
    if _is_complete(root, settings) and not (root / _PARTS).exists():
        return False  # without a lock, as its folder may be read-only
    root.mkdir(parents=True, exist_ok=True)
    with held_lock(root / ".lock"):
        if _is_complete(root, settings):
            shutil.rmtree(root / _PARTS, ignore_errors=True)  # left by a run that was killed just before it ended
            return False
        write_json(root / SETTINGS_NAME, {**settings, "complete": False})
        work = partial(_make_part, root=root, simulation=simulation)
        parts = sorted(map_batches(work, range(simulation.files), _BATCH, workers, "simulating", engine=engine))
        digest = _write_tables(root, parts, simulation.labelled)
        identity = {"benchmark": BENCHMARKS.get(digest), "sha256": digest}
        write_json(root / SETTINGS_NAME, {**settings, **identity, "complete": True})
        shutil.rmtree(root / _PARTS)
        remove_leftovers(root, 0.0)
    return True


def refuse_other_archive(root: Path, simulation: Simulation) -> None:
    """Make sure that ``root`` holds no other simulated archive, and no files that are not known to be simulated.

    Raises:
        InputError: it holds one.
    """
    _is_complete(root, _all_settings(simulation))


def _all_settings(simulation: Simulation) -> dict[str, Any]:
    return {"simulator": SIMULATOR, **asdict(simulation)}


def noise_free_light(root: Path, file: str | int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Simulate a file's noise-free light again, particle hits included.

    Args:
        root: folder of a simulated archive of this version of the simulator.
        file: the file's name, or its number in the archive, from 0; those with labels come first.

    Returns:
        Expected counts per sample without dead time, (3, T), and as recorded, (3, T): the mean of the counts in the
        file, but for the counter's limit, missing rows and faults.

    Raises:
        InputError: the folder holds no archive of this version, or the archive has no such file.
    """
    simulation = read_simulation(root)
    name = FileName.parse(file) if isinstance(file, str) else None
    number = name.observation_id - _FIRST_ID if name else file
    if isinstance(number, int) and 0 <= number < simulation.files:
        observation = simulation.observation(number)
        if name is None or name.key == _circumstances(number, observation.scene, simulation).name.key:
            return observation.light, recorded_light(observation.light, DEAD_TIME[:, None])
    raise InputError(f"{root}: its simulated archive has no file {file}")


def read_simulation(root: Path) -> Simulation:
    """Read the settings of the simulated archive in ``root``.

    Raises:
        InputError: the folder holds no archive of this version of the simulator, or its settings are damaged.
    """
    path = root / SETTINGS_NAME
    if not path.is_file():
        raise InputError(f"{path}: no such file, so that this is no simulated archive")
    text = read_text(path, _MOST_SETTINGS)
    try:
        stored = parse_json(text)
        if stored.get("simulator") != SIMULATOR:
            raise InputError(
                f"made by {shown(stored.get('simulator'))}, this is {SIMULATOR}; simulate the archive again"
            )
        return checked(stored, Simulation)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _is_complete(root: Path, settings: dict[str, Any]) -> bool:
    """Return whether ``root`` holds the complete archive; raises InputError if it holds anything else."""
    path = root / SETTINGS_NAME
    if not path.exists():
        if any(has_known_suffix(path.name) for path in root.rglob("*")):
            raise InputError(f"{root}: holds observation files that are not simulated; choose another folder")
        return False
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        complete = bool(stored.pop("complete", False))
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path}: not written by simulate ({first_line(error)}); choose another folder") from error
    differing = [name for name, value in settings.items() if stored.get(name) != value]
    if differing:
        name = differing[0]
        raise InputError(
            f"{root}: holds another simulated archive ({name} is {stored.get(name)} there, not {settings[name]}); "
            "choose another folder or delete it"
        )
    return complete and _all_files_exist(root)


def _all_files_exist(root: Path) -> bool:
    """Return whether every file listed in the truth still exists."""
    table = root / FILES_NAME
    if not table.exists():
        return False
    with table.open(newline="", encoding="utf-8") as stream:
        return all((root / row["file"]).exists() for row in csv.DictReader(stream))


def _make_part(numbers: Sequence[int], root: Path, simulation: Simulation) -> Path:
    """Write a batch of observations, then a part: a JSON file with their rows of the tables, which marks them done."""
    part = root / _PARTS / f"{numbers[0]:08d}.json"
    if not (part.exists() and all((root / entry["file"]).exists() for entry in _read_part(part))):
        entries = json.dumps([_make_file(number, root, simulation) for number in numbers])
        with atomic_write(part, shared=True) as partial_path:
            partial_path.write_text(entries, encoding="utf-8")
    return part


def _read_part(part: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(part.read_text(encoding="utf-8"))
    return entries


def _make_file(number: int, root: Path, simulation: Simulation) -> dict[str, Any]:
    """Simulate and write one observation; returns its rows of the tables. Labelled observations come first."""
    observation = simulation.observation(number)
    name, position, fault = _circumstances(number, observation.scene, simulation)
    rows = observation_rows(observation, name)
    path = root / name.format(simulation.format)
    with atomic_write(path, shared=True) as partial_path:  # a node that is taken for lost may write the same file
        WRITERS[simulation.format](partial_path, spoil_rows(rows, fault), SIMULATOR)
        spoil_file(partial_path, fault)
    remaining = remaining_frames(observation.whole_frames, fault)
    frames = frame_rows(path.name, observation.scene, observation.light, remaining, simulation.rule)
    return {
        "number": number,
        "file": path.name,
        "counts_sha256": hashlib.sha256(observation.counts.astype(np.uint8).data).hexdigest(),
        "labels": [(path.name, int(frame), label) for _, frame, label, *_ in frames],
        "truth": {
            PULSES_NAME: csv_lines(pulse_rows(path.name, observation)),
            FRAMES_NAME: csv_lines(frames),
            FILES_NAME: csv_lines([file_row(path.name, observation, position, fault)]),
        },
    }


class _Circumstances(NamedTuple):
    """What of a file does not change its light: name, position of the station in degrees, and fault."""

    name: FileName
    position: tuple[float, float]
    fault: str


def _circumstances(number: int, scene: Scene, simulation: Simulation) -> _Circumstances:
    """Draw the circumstances of a file, by a generator of their own: these settings do not change the light."""
    rng = np.random.default_rng((simulation.seed, number, 1))
    labelled = number < simulation.labelled
    fault = "" if labelled or rng.random() >= simulation.faults else str(rng.choice(FAULTS))
    days = _YEAR if labelled else _EVERY_SEVENTH_DAY
    start, *position = start_time(days, scene.sky == "day side", scene.anomaly, rng)
    group = int(rng.integers(100_000, 300_000)) if start >= _GROUPS_FROM and rng.random() < 0.5 else None
    name = FileName(simulation.level, start, _FIRST_ID + number, group)
    return _Circumstances(name, (position[0], position[1]), fault)


def _write_tables(root: Path, parts: Iterable[Path], labelled: int) -> str:
    """Write the label table and the truth from the parts; returns the digest of all photon counts and labels."""
    digest = hashlib.sha256()
    labels = []
    with ExitStack() as stack:
        truth = {name: stack.enter_context(_csv_file(root / name, columns)) for name, columns in _TRUTH.items()}
        for part in parts:
            for entry in _read_part(part):
                for name, lines in entry["truth"].items():
                    truth[name].write(lines)
                digest.update(f"{entry['counts_sha256']}{[label for *_, label in entry['labels']]}".encode())
                if entry["number"] < labelled:
                    labels += entry["labels"]
    if labelled:
        write_label_table(root / TABLE_NAME, labels)
    return digest.hexdigest()


@contextmanager
def _csv_file(path: Path, columns: Sequence[str]) -> Iterator[TextIO]:
    """Open a CSV file with these column names for adding lines; the file appears when the block ends."""
    with atomic_write(path) as partial_path, partial_path.open("w", newline="", encoding="utf-8") as stream:
        stream.write(csv_lines([columns]))
        yield stream
