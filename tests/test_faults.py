"""Tests of the campaign of faults: of its oracles and guards, and a short form of it."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.faults.bases import make_bases
from tests.faults.campaign import PARTS, run_campaign
from tests.faults.files import compare
from tests.faults.oracle import readings
from tests.faults.report import Case, as_table, failures, write_report
from tests.faults.workers import Limits, run_guarded

ORACLES = ("oracle", "oracle_fits", "oracle_cdf")


def test_oracles_read_unharmed_files_as_they_were_made() -> None:
    for base in make_bases(1):
        assert compare(next(readings(base.content, base.name)), base.truth) is None, base.layout


@pytest.mark.parametrize("oracle", ORACLES)
def test_oracles_share_nothing_with_the_product(oracle: str) -> None:
    text = (Path(__file__).parent / "faults" / f"{oracle}.py").read_text()
    assert not any(name in text for name in ("import asim_cvae", "from asim_cvae", "astropy", "cdflib"))


def test_guards_count_what_ends_a_process() -> None:
    def run_case(number: int) -> Case:
        if number == 1:
            os.kill(os.getpid(), signal.SIGUSR1)  # as a crash does, but quietly
        if number == 2:
            while True:
                pass
        if number == 3:
            time.sleep(300)
        try:
            np.ones(3 * 10**8 if number == 4 else 10)
        except MemoryError:
            return Case("asked for memory", "", "failed")
        return Case("harmless", "", "read")

    busy, asleep = Limits(cpu_s=0.5, wall_s=300.0, memory=10**9), Limits(cpu_s=300.0, wall_s=0.5, memory=10**9)
    done = [*run_guarded([0, 1, 2, 4, 5, 6], run_case, busy, processes=2), *run_guarded([3], run_case, asleep, 1)]
    cases = {case.number: case for case in done}
    assert sorted(cases) == list(range(7))
    assert [number for number, case in sorted(cases.items()) if not case.survived] == [1, 2, 3, 4]
    details = (cases[1].detail, cases[2].detail, cases[3].detail)
    assert details == (f"exit status -{int(signal.SIGUSR1)}", "more than 0.5 s of CPU", "more than 0.5 s")


def test_a_report_names_what_failed(tmp_path: Path) -> None:
    cases = [Case("cut", "at 3", "read", part="files", number=0), Case("cut", "at 4", "failed", "so", "files", 1)]
    assert as_table(cases).splitlines()[2] == "| files | cut | 2 | 1 | 1 | 1 |"
    line = "files 1, cut: at 4: so (python -m tests.faults --seed 5 --only files --case 1)"
    assert failures(cases, 5) == [line]
    write_report(tmp_path, cases, 5, 1.0, 2.0)
    assert line in (tmp_path / "faults.md").read_text()


STARTS_PROCESSES = ("artefacts", "triages", "misuses", "kills")


@pytest.mark.parametrize(
    "part", [pytest.param(part, marks=pytest.mark.processes if part in STARTS_PROCESSES else ()) for part in PARTS]
)
def test_a_short_campaign_survives(part: str) -> None:
    cases = list(run_campaign(seed=0, share=0.025, only=[part]))
    assert not failures(cases, 0)
    assert part == "misuses" or any(case.outcome in ("read", "same") for case in cases)
