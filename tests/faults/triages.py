"""Damage the folder of a triage: it is refused in one line, or the tables become what they were."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tests.faults.artefacts import damage_bytes, damage_json
from tests.faults.commands import run_command, wrong_refusal
from tests.faults.report import Case

_TABLES = ("observations.csv", "frames.csv", "pulses.csv", "rejected.csv")
_SUFFIXES = (".files.parquet", ".frames.parquet", ".pulses.parquet", ".sha256")

Damaged = tuple[str, str]
"""Name of what is damaged, and what was done."""


class Triage:
    """A triage of two batches, and what it gives while it is unharmed.

    Args:
        folder: where archive and triage are made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.archive, self.out = folder, folder / "archive", folder / "out"
        given = ["observations=4", "labelled=0", "seed=3"]
        made = folder / "made"
        assert run_command("simulate", f"root={made}", *given, folder=folder).returncode == 0
        self.archive.mkdir()
        first, *others = sorted(made.glob("*.fits"))
        for files in ([first], others):  # a batch each
            for path in files:
                path.rename(self.archive / path.name)
            done = self.judge(self.out)
            assert done.returncode == 0, done.stderr
        self.tables = self.content(self.out)
        self.frames = self.rows(self.out)

    def judge(self, out: Path) -> subprocess.CompletedProcess[str]:
        """Run the command."""
        given = [f"root={self.archive}", f"out={out}", "filter.noise=true"]
        quick = ["pictures=0", "page.observations=0", "file_workers=1"]
        return run_command("triage", *given, *quick, folder=self.folder)

    def content(self, out: Path) -> list[str]:
        """Return the tables for people, and the digest of all rows."""
        digest = json.loads((out / "provenance.json").read_text())["digest"]
        return [*((out / name).read_text() for name in _TABLES), digest]

    def rows(self, out: Path) -> list[tuple[str, int]]:
        """Return the frames in all files of frames, as people read them."""
        tables = [pq.read_table(path, columns=["file", "frame"]) for path in out.glob("shards/*.frames.parquet")]
        return sorted((row["file"], row["frame"]) for table in tables for row in table.to_pylist())


def prepare(seed: int, folder: Path) -> Callable[[int], Case]:
    """Make the triage; what is returned damages a copy of it."""
    return partial(run_case, seed, Triage(folder))


def run_case(seed: int, triage: Triage, number: int) -> Case:
    """Damage something in the folder, and give the command again."""
    rng = np.random.default_rng([seed, 7, number])
    damage = _DAMAGES[number % len(_DAMAGES)]
    with tempfile.TemporaryDirectory(dir=triage.folder) as place:
        out = Path(place) / "out"
        shutil.copytree(triage.out, out)
        name, told = damage(out, rng)
        outcome, detail = _judge(triage, out, name)
    return Case(damage.__name__.removeprefix("_").replace("_", " "), f"{name}: {told}", outcome, detail)


def _judge(triage: Triage, out: Path, name: str) -> tuple[str, str]:
    done = triage.judge(out)
    if done.returncode:
        wrong = wrong_refusal(done, [name])
        return ("failed", wrong) if wrong else ("refused", "")
    if "Traceback" in done.stdout + done.stderr:
        return "failed", f"a traceback: {done.stderr[-300:]}"
    if triage.content(out) != triage.tables:
        return "failed", f"other tables: {done.stdout[-300:]}"
    if triage.rows(out) != triage.frames:
        return "failed", "other frames in the ledger"
    judged_again = "observations, 0 of them new" not in done.stdout
    if judged_again and name in {path.name for path in triage.out.glob("shards/*")} and name not in done.stdout:
        return "failed", f"no line names what is judged again: {done.stdout[-300:]}"
    return "same", ""


# --- damage -------------------------------------------------------------------------------------------------------


def _file_of_a_batch(out: Path, rng: np.random.Generator) -> Path:
    batch = str(rng.choice(sorted(path.stem for path in out.glob("shards/*.sha256"))))
    return out / "shards" / f"{batch}{_SUFFIXES[int(rng.integers(len(_SUFFIXES)))]}"


def _bytes_of_a_batch(out: Path, rng: np.random.Generator) -> Damaged:
    path = _file_of_a_batch(out, rng)
    content, told = damage_bytes(path.read_bytes(), rng)
    path.write_bytes(content)
    return path.name, told


def _no_file_of_a_batch(out: Path, rng: np.random.Generator) -> Damaged:
    path = _file_of_a_batch(out, rng)
    path.unlink()
    told = ".sha256" if path.suffix == ".sha256" else path.name  # without digests it is what a killed program left
    return told, "deleted"


def _folder_for_a_file_of_a_batch(out: Path, rng: np.random.Generator) -> Damaged:
    path = _file_of_a_batch(out, rng)
    path.unlink()
    path.mkdir()
    if rng.random() < 0.5:
        (path / "notes.txt").write_text("mine")
    return path.name, "a folder"


def _tables_of_two_batches_swapped(out: Path, rng: np.random.Generator) -> Damaged:
    suffix = _SUFFIXES[int(rng.integers(len(_SUFFIXES)))]
    one, other = sorted(out.glob(f"shards/*{suffix}"))
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    return one.name.split(".")[0], f"{suffix} swapped with the other batch's"


def _provenance(out: Path, rng: np.random.Generator) -> Damaged:
    path = out / "provenance.json"
    content, told = (damage_json if rng.random() < 0.5 else damage_bytes)(path.read_bytes(), rng)
    path.write_bytes(content)
    return str(out), told


def _no_provenance(out: Path, rng: np.random.Generator) -> Damaged:
    path = out / "provenance.json"
    path.unlink()
    if rng.random() < 0.5:
        path.mkdir()
    return str(out), "a folder" if path.exists() else "deleted"


def _table_for_people(out: Path, rng: np.random.Generator) -> Damaged:
    path = out / str(rng.choice(_TABLES))
    path.write_bytes(damage_bytes(path.read_bytes(), rng)[0])
    if rng.random() < 0.3:
        path.unlink()
        path.mkdir()
    return path.name, "a folder" if path.is_dir() else "damaged"


def _leftovers_of_a_kill(out: Path, rng: np.random.Generator) -> Damaged:
    """Leave what a kill leaves: parts of a batch without digests, locks, and temporary files."""
    shards = out / "shards"
    batch = sorted(shards.glob("*.sha256"))[int(rng.integers(2))].stem
    whole = rng.random() < 0.5  # a batch of files that were cut otherwise, beside all that were judged
    left = f"{int(rng.integers(2**60)):016x}" if whole else batch
    suffixes = _SUFFIXES[1 : int(rng.integers(2, 4))]
    for suffix in suffixes:
        content = (shards / f"{batch}{suffix}").read_bytes()
        (shards / f"{left}{suffix}").write_bytes(content)
    if not whole:
        (shards / f"{batch}.sha256").unlink()
        for suffix in set(_SUFFIXES[:3]) - set(suffixes):
            (shards / f"{batch}{suffix}").unlink()
    (shards / f".{left}.lock").touch()
    (shards / f".partial-0a1b2c3d-{left}.files.parquet").write_bytes(content[: len(content) // 2])
    (out / ".partial-observations.csv").write_text("rank,inter")
    return left, f"{len(suffixes)} tables without digests"


def _no_shards(out: Path, rng: np.random.Generator) -> Damaged:
    """Kill the command before its first batch."""
    shutil.rmtree(out / "shards")
    if rng.random() < 0.5:
        (out / "shards").mkdir()
    for name in _TABLES:
        (out / name).unlink()
    return "shards", "empty or gone"


_DAMAGES: Sequence[Callable[[Path, np.random.Generator], Damaged]] = (
    *(_bytes_of_a_batch, _leftovers_of_a_kill, _provenance, _folder_for_a_file_of_a_batch, _bytes_of_a_batch),
    *(_no_file_of_a_batch, _tables_of_two_batches_swapped, _bytes_of_a_batch, _no_provenance, _table_for_people),
    *(_bytes_of_a_batch, _no_shards),
)
