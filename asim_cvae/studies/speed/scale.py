"""How work spreads over workers, and what very many files cost: what an estimate for a cluster is made from."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from astropy.io import fits

from asim_cvae.base.errors import SettingError
from asim_cvae.simulator.archive import Simulation, make_archive
from asim_cvae.studies.speed.measure import Subject, measure
from asim_cvae.studies.speed.report import Report, growth_table, ratio_table
from asim_cvae.studies.speed.suite import Suite

_ENGINES = ("local", "ray")


@dataclass(frozen=True)
class ScaleBenchmark(Suite):
    """Benchmark of engines.

    Attributes:
        archive: settings of the simulated archive, except for its number of files.
        rounds: measurements of each subject.
        files: files that are triaged.
        workers: numbers of workers.
        tasks: tasks that do nothing.
        many: numbers of short files over which memory is measured.
        folder: folder for archives.

    Raises:
        SettingError: Ray is not installed.
    """

    archive: Simulation
    rounds: int
    files: int
    workers: Sequence[int]
    tasks: int
    many: Sequence[int]
    folder: Path

    def __post_init__(self) -> None:
        if importlib.util.find_spec("ray") is None:
            raise SettingError("suite=scale: Ray is not installed; pip install '.[ray]' in a clone")

    @property
    def parts(self) -> Mapping[str, Callable[[], Report]]:
        """Functions that measure each part, by name."""
        return {"triage": self.triage, "tasks": self.empty_tasks, "memory": self.memory}

    def triage(self) -> Report:
        """Compare triage by engines and numbers of workers."""
        common = {"root": str(self._archive()), "out": str(self.folder / "triage")}
        subjects = [
            Subject(
                f"{engine}, {count} worker{'s' if count > 1 else ''}",
                "engine_triaging",
                {"engine": engine, "workers": count, **common},
            )
            for engine in _ENGINES
            for count in self.workers
        ]
        results = measure(subjects, self.rounds, "triage")
        note = f"{self.files} simulated Level 1 files, from the start to the tables, with the start of the cluster."
        return [ratio_table("Triage by engines", note, results, "files", self.files)], results

    def empty_tasks(self) -> Report:
        """Compare tasks that do nothing."""
        subjects = [
            Subject(engine, "tasks", {"engine": engine, "workers": max(self.workers), "count": self.tasks})
            for engine in _ENGINES
        ]
        results = measure(subjects, self.rounds, "tasks")
        note = f"{self.tasks} tasks by {max(self.workers)} workers that run already."
        return [ratio_table("A task that does nothing", note, results, "")], results

    def memory(self) -> Report:
        """Measure memory over many short files."""
        names = ("seconds", "again", "megabytes", "program", "worker_first", "worker_last", "worker_most", "of_ray")
        common = {"out": str(self.folder / "crowd"), "engine": "ray", "workers": max(self.workers)}
        results = [
            measure([Subject(f"{n} files", "crowd", {"root": str(self._crowd(n)), **common})], 1, f"{n} files")[0]
            for n in self.many
        ]
        rows = [(n, *(result.median(name) for name in names)) for n, result in zip(self.many, results, strict=True)]
        columns = (
            "files",
            "s",
            "s, nothing new",
            "MB written",
            "program",
            "worker, first tenth",
            "worker, last tenth",
            "most",
            "Ray's process beside it",
        )
        note = "Files of one readout row, each a link to one of ten; memory in MB."
        return [growth_table("Memory over many files", note, columns, rows)], results

    def _archive(self) -> Path:
        root = self.folder / f"fits-{self.files}"
        make_archive(root, replace(self.archive, observations=self.files, labelled=0))
        return root

    def _crowd(self, files: int) -> Path:
        """Make a folder of hard links, each with a name of its own, to the first rows of ten files; return it."""
        sources = sorted(self._archive().glob("*.fits"))[:10]
        short = [_first_row(path, self.folder / "rows") for path in sources]
        folder = self.folder / f"crowd-{files}"
        folder.mkdir(exist_ok=True)
        for number in range(files):
            source = short[number % len(short)]
            link = folder / source.name.replace("_id_", f"_id_{number + 1}", 1)
            if not link.exists():
                link.hardlink_to(source)
        return folder


def _first_row(path: Path, folder: Path) -> Path:
    """Write the first readout row of a file into a folder, and return where it is."""
    folder.mkdir(exist_ok=True)
    short = folder / path.name
    with fits.open(path) as file:
        row = fits.BinTableHDU(file[1].data[:1], header=file[1].header)
        fits.HDUList([fits.PrimaryHDU(header=file[0].header), row]).writeto(short, overwrite=True)
    return short
