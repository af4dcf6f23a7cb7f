"""A campaign: which parts it has, and how many cases of each."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from tests.faults import artefacts, files, kills, misuses, tables, triages
from tests.faults.commands import forget_server
from tests.faults.report import Case
from tests.faults.workers import Limits, RunCase, run_guarded


@dataclass(frozen=True)
class Part:
    """A part of the campaign.

    Attributes:
        count: its cases.
        prepare: makes what all of its cases need, from the campaign's seed and a folder, and returns what runs a case.
        limits: of each case.
        whole: whether a short campaign runs all of its cases.
    """

    count: int
    prepare: Callable[[int, Path], RunCase]
    limits: Limits = field(default_factory=Limits)
    whole: bool = False


def _prepare_bases(seed: int, folder: Path) -> RunCase:
    files.prepare(seed)
    return partial(files.run_base, seed)


def _prepare_files(seed: int, folder: Path) -> RunCase:
    files.prepare(seed)
    return partial(files.run_case, seed)


def _prepare_tables(seed: int, folder: Path) -> RunCase:
    tables.run_case(seed, 0)  # imports what reads tables
    return partial(tables.run_case, seed)


_OF_COMMANDS = Limits(cpu_s=60.0, wall_s=900.0, memory=None)

PARTS: Mapping[str, Part] = {
    "bases": Part(files.BASES, _prepare_bases, whole=True),
    "files": Part(4000, _prepare_files),
    "tables": Part(300, _prepare_tables),
    "artefacts": Part(300, artefacts.prepare, Limits(cpu_s=30.0, wall_s=600.0, memory=2_000_000_000)),
    "triages": Part(48, triages.prepare, _OF_COMMANDS),
    "misuses": Part(100, misuses.prepare, _OF_COMMANDS),
    "kills": Part(30, kills.prepare, _OF_COMMANDS),
}
"""The parts by name."""


def run_campaign(
    seed: int, share: float = 1.0, only: Sequence[str] = (), number: int | None = None, processes: int = 1
) -> Iterator[Case]:
    """Yield the cases of a campaign, as they end.

    Args:
        seed: of all that is random; a case is one of seed, part and number alone.
        share: of each part's cases, from the first on.
        only: the parts to run, all by default.
        number: the only case to run.
        processes: number of cases that run at a time.
    """
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        for name in only or PARTS:
            part = PARTS[name]
            count = part.count if part.whole else max(1, round(part.count * share))
            numbers = range(count) if number is None else [number]
            place = Path(folder) / name
            place.mkdir()
            run_case = part.prepare(seed, place)
            if processes > 1:
                forget_server()
            for case in run_guarded(numbers, run_case, part.limits, processes):
                yield replace(case, part=name)
