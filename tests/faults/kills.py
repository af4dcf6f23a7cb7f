"""Kill commands at random times, and give them again: they end as if nothing had happened."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

from tests.faults.report import Case

_PROJECT = Path(__file__).resolve().parent.parent.parent
_TIMEOUT_S = 600
_LEFT = ("model.safetensors", "scores.json", "latents.npz", "metrics.csv")
_COMMANDS = ("simulate", "prepare", "train")

Outcome = dict[str, str]
"""Digests of the files that a command leaves, by name."""


def prepare(seed: int, folder: Path) -> Callable[[int], Case]:
    return partial(run_case, seed, folder)


def run_case(seed: int, folder: Path, number: int) -> Case:
    """Kill a command once or several times, give it again, and compare what it leaves with an undisturbed one's."""
    rng = random.Random(f"{seed} 6 {number}")
    command = _COMMANDS[number % len(_COMMANDS)]
    expected, seconds = _undisturbed(command, folder)
    told = []
    with tempfile.TemporaryDirectory(dir=folder) as place:
        groups = []
        for _ in range(rng.choice([1, 1, 2, 3])):
            after, whole = rng.uniform(0.0, 1.1 * seconds), rng.random() < 0.5
            process = _start(command, folder, Path(place))
            groups.append(process.pid)
            time.sleep(after)
            _kill(process, whole)
            told.append(f"{after:.1f} of {seconds:.1f} s{'' if whole else ', without its workers'}")
        process = _start(command, folder, Path(place))
        output, _ = process.communicate(timeout=_TIMEOUT_S)
        for group in [*groups, process.pid]:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        found = _digests(command, Path(place))
    what = f"killed after {'; '.join(told)}"
    if process.returncode:
        return Case(command, what, "failed", f"exit status {process.returncode} when given again: {output[-300:]}")
    differing = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    if differing:
        return Case(command, what, "failed", f"{len(differing)} files differ: {', '.join(differing[:3])}")
    return Case(command, what, "same")


@cache
def _undisturbed(command: str, folder: Path) -> tuple[Outcome, float]:
    """Give what a command leaves that nobody disturbs, and the seconds that it takes."""
    if command != "simulate" and not (folder / "archive" / "GroundTruth_Table.xlsx").exists():
        _run("simulate", folder, folder)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        begun = time.monotonic()
        _run(command, folder, Path(place))
        return _digests(command, Path(place)), time.monotonic() - begun


def _run(command: str, folder: Path, place: Path) -> None:
    process = _start(command, folder, place)
    output, _ = process.communicate(timeout=_TIMEOUT_S)
    assert process.returncode == 0, output


def _start(command: str, folder: Path, place: Path) -> subprocess.Popen[str]:
    """Start a command that writes into ``place``; ``prepare`` and ``train`` read the archive in ``folder``."""
    archive = folder / "archive"
    table = f"data.ground_truth.table={archive / 'GroundTruth_Table.xlsx'}"
    data = ["data=mmia", f"data.root={archive}", table, f"data.store={place / 'store'}"]
    arguments = {
        "simulate": [f"root={place / 'archive'}", "observations=12", "labelled=4", "missing_rows=0.1", "seed=3"],
        "prepare": [*data, "data.file_workers=2"],
        "train": [*data, "+experiment=relu_lr2e-4", "data.batch_size=20", "figures=null", "trainer.max_epochs=4"],
    }[command]
    arguments += [f"hydra.run.dir={place / 'run'}"] if command == "train" else []
    environment = {**os.environ, "PYTHONPATH": str(_PROJECT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", f"asim_cvae.{command}", *arguments],
        **{"cwd": place, "env": environment, "text": True, "start_new_session": True},
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT},
    )


def _kill(process: subprocess.Popen[str], whole: bool) -> None:
    """Kill a command, with its workers if the ``whole`` group is meant."""
    if whole:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.stdout.close()
    process.wait()


def _digests(command: str, place: Path) -> Outcome:
    if command == "train":
        paths = [place / "run" / name for name in _LEFT]
    else:
        folder = place / ("archive" if command == "simulate" else "store")
        paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    there = {str(path.relative_to(place)): path for path in paths if path.is_file()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in there.items()}
