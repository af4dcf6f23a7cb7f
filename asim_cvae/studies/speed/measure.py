"""Run cases in turn, each time in a new process, and compare their speed with that of the first."""

import json
import statistics
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asim_cvae.base.progress import progress
from asim_cvae.studies.speed.cases import Measurement


@dataclass(frozen=True)
class Subject:
    """A case to measure.

    Attributes:
        name: its name in tables.
        case: a name in :data:`asim_cvae.studies.speed.cases.CASES`.
        arguments: arguments of the case.
    """

    name: str
    case: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """Measurements of a subject.

    Attributes:
        name: name of the subject.
        measurements: one measurement per round.
        ratios: speed of each round, as a ratio to that of the first subject.
    """

    name: str
    measurements: Sequence[Measurement]
    ratios: Sequence[float]

    def median(self, quantity: str = "seconds") -> float:
        """Return the median of a measured quantity over the rounds."""
        return float(statistics.median(measurement[quantity] for measurement in self.measurements))


def measure(subjects: Sequence[Subject], rounds: int, doing: str) -> list[Result]:
    """Measure all subjects in turn, ``rounds`` times.

    A machine's speed drifts, so that only measurements side by side can be compared.

    Args:
        subjects: cases to measure; the first is the reference.
        rounds: measurements of each.
        doing: what is measured, for the line of progress.

    Raises:
        subprocess.CalledProcessError: a case failed; its errors are on the terminal.
    """
    by_subject: list[list[Measurement]] = [[] for _ in subjects]
    with progress(rounds * len(subjects), f"measuring {doing}", "run") as advance:
        for _ in range(rounds):
            for subject, measurements in zip(subjects, by_subject, strict=True):
                measurements.append(_run(subject))
                advance(1)
    reference = [measurement["seconds"] for measurement in by_subject[0]]
    return [
        Result(
            subject.name,
            measurements,
            [first / own["seconds"] for first, own in zip(reference, measurements, strict=True)],
        )
        for subject, measurements in zip(subjects, by_subject, strict=True)
    ]


def collect(case: str, arguments: Mapping[str, Any], seconds: float) -> tuple[list[Measurement], str]:
    """Run a case for at most ``seconds``.

    Returns:
        The measurements; and a line on why the case did not complete, '' if it did.
    """
    with subprocess.Popen(_command(case, arguments), stdout=subprocess.PIPE, text=True) as process:
        timer = threading.Timer(max(0.0, seconds), process.kill)
        timer.start()
        assert process.stdout is not None
        measurements = [json.loads(line) for line in process.stdout if line.startswith("{")]
        status = process.wait()
        timed_out = timer.finished.is_set()
        timer.cancel()
    if status == 0:
        return measurements, ""
    return measurements, f"stopped after {seconds:.0f} s" if timed_out else f"ended with status {status}"


def _command(case: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the command line that runs a case in a process of its own."""
    return sys.executable, "-m", "asim_cvae.studies.speed.cases", case, json.dumps(dict(arguments))


def _run(subject: Subject) -> Measurement:
    command = _command(subject.case, subject.arguments)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    measurement: Measurement = json.loads(done.stdout.splitlines()[-1])
    return measurement
