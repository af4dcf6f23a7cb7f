"""Cases that run in turn, each time in a new process, and how they compare with the first of them."""

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
    """A case with its arguments, under a name."""

    name: str
    case: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """What was measured of a subject, round by round, and its speed as a ratio to that of the first subject."""

    name: str
    measurements: Sequence[Measurement]
    ratios: Sequence[float]

    def median(self, quantity: str = "seconds") -> float:
        """Of what the case says."""
        return float(statistics.median(measurement[quantity] for measurement in self.measurements))


def measure(subjects: Sequence[Subject], rounds: int, doing: str) -> list[Result]:
    """Measure all subjects in turn, ``rounds`` times: machines drift, and only what runs side by side compares.

    Raises:
        subprocess.CalledProcessError: a case failed; what it said stands on the terminal.
    """
    found: list[list[Measurement]] = [[] for _ in subjects]
    with progress(rounds * len(subjects), f"measuring {doing}", "run") as advance:
        for _ in range(rounds):
            for subject, measurements in zip(subjects, found, strict=True):
                measurements.append(_run(subject))
                advance(1)
    reference = [measurement["seconds"] for measurement in found[0]]
    return [
        Result(
            subject.name,
            measurements,
            [first / own["seconds"] for first, own in zip(reference, measurements, strict=True)],
        )
        for subject, measurements in zip(subjects, found, strict=True)
    ]


def collect(case: str, arguments: Mapping[str, Any], seconds: float) -> tuple[list[Measurement], str]:
    """Measurements that a case makes within ``seconds``, and in a line why there are no more ('' if it ended well)."""
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
    return sys.executable, "-m", "asim_cvae.studies.speed.cases", case, json.dumps(dict(arguments))


def _run(subject: Subject) -> Measurement:
    command = _command(subject.case, subject.arguments)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    measurement: Measurement = json.loads(done.stdout.splitlines()[-1])
    return measurement
