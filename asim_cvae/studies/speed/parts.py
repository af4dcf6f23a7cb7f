"""The parts of the benchmark: each compares the program with its references."""

import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from asim_cvae.frames.build import build_store
from asim_cvae.simulator.archive import Simulation, make_archive
from asim_cvae.studies.speed.measure import Result, Subject, measure
from asim_cvae.studies.speed.report import Report, growth_table, ratio_table
from asim_cvae.studies.speed.suite import Suite

_ON_PAGE = 200  # observations
_PLAIN, _ALLOCATOR, _SHIPPED = "plain", "plain, allocator kept", "shipped"


@dataclass(frozen=True)
class Growth:
    """Sizes at which growth is measured.

    Attributes:
        batches: frames per batch.
        files: files of an archive.
        frames: frames of an epoch.
    """

    batches: Sequence[int]
    files: Sequence[int]
    frames: Sequence[int]


@dataclass(frozen=True)
class Benchmark(Suite):
    """Benchmark of the program against references.

    Attributes:
        archive: settings of the simulated archives, except for their numbers of files and formats.
        rounds: measurements of each subject; half as many for growth.
        repeats: training steps in a process, whose median counts; encoding is repeated 20 times as often.
        batch: frames per batch.
        files: files of an archive.
        day: files that are triaged.
        growth: sizes at which growth is measured.
        folder: folder for archives and stores.
    """

    archive: Simulation
    rounds: int
    repeats: int
    batch: int
    files: int
    day: int
    growth: Growth
    folder: Path

    @property
    def parts(self) -> Mapping[str, Callable[[], Report]]:
        """Functions that measure each part, by name."""
        return {
            "training": self.training,
            "encoding": self.encoding,
            "files": self.reading,
            "triage": self.triage,
            "epochs": self.epochs,
            "startup": self.startup,
            "growth": self.sizes,
        }

    def training(self) -> Report:
        """Compare training steps of the thesis's network."""
        recorded = [(_SHIPPED, {"cuda_graph": True})] if torch.cuda.is_available() else []
        return self._network(
            "training",
            "A training step",
            "Forward, backward and Adam on a batch of simulated frames; plain: torch.nn and torch.distributions.",
            [(_PLAIN, {}), (_ALLOCATOR, {}), (_SHIPPED, {}), *recorded],
            self.repeats,
        )

    def encoding(self) -> Report:
        """Compare encoding in eval mode."""
        return self._network(
            "encoding",
            "Encoding",
            "Latents of a batch of simulated frames in eval mode.",
            [(_ALLOCATOR, {}), (_PLAIN, {}), (_SHIPPED, {})],
            20 * self.repeats,  # as each takes only a hundredth of a second
        )

    def _network(
        self, case: str, title: str, note: str, networks: Sequence[tuple[str, dict[str, Any]]], repeats: int
    ) -> Report:
        """Compare networks, given by name and further arguments, in one case."""
        common = {"batch": self.batch, "repeats": repeats}
        subjects = [
            Subject(f"{name}{', CUDA graphs' if more else ''}", case, {"network": name, **common, **more})
            for name, more in networks
        ]
        results = measure(subjects, self.rounds, case)
        return [ratio_table(title, f"{note} {self.batch} frames.", results, "frames", self.batch)], results

    def reading(self) -> Report:
        """Compare preparing an archive with only reading its files."""
        tables, all_results = [], []
        for form, library in (("fits", "astropy"), ("cdf", "cdflib")):
            root = str(self._archive(self.files, form))
            store = str(self.folder / f"{form}-store")
            common = {"root": root, "workers": os.cpu_count()}
            subjects = [
                Subject(f"{library} alone, the three light curves", "reading", common),
                Subject(
                    f"{library} alone, flags, times and fill values as well", "reading", {"everything": True, **common}
                ),
                Subject("prepare", "preparing", {"store": store, **common}),
                Subject("bytes, read", "copying", common),
            ]
            results = measure(subjects, self.rounds, f"{form} files")
            megabytes = results[0].median("megabytes")
            note = f"{self.files} simulated Level 1 files, {megabytes:,.0f} MB, on all cores, including process starts."
            tables.append(ratio_table(f"Files: {form.upper()}", note, results, "files", self.files))
            all_results += results
        return tables, all_results

    def triage(self) -> Report:
        """Compare the triage of a day's files with only reading them, and tell where its time goes."""
        root = str(self._archive(self.day, "fits"))
        common = {"root": root, "workers": os.cpu_count()}
        subjects = [
            Subject("astropy alone, the three light curves", "reading", common),
            Subject("triage", "triaging", {"out": str(self.folder / "triage"), **common}),
        ]
        results = self._grow(subjects)
        note = f"{self.day} simulated Level 1 files, as of a day, on all cores, including process starts."
        (parts,) = self._grow([Subject("stages", "stages", {"root": root, "files": min(self.day, 50)})])
        total = parts.median()
        names = ("reading", "pulses", "network", "heads", "misfit")
        stages = growth_table(
            "Triage by stages",
            "In one process; the rest is tables and words.",
            ("stage", "ms a file", "share of all, %"),
            [(name, 1e3 * parts.median(name), 100 * parts.median(name) / total) for name in names],
        )
        page, measured = self._page(self.folder / "triage")
        return [ratio_table("Triage", note, results, "files", self.day), stages, *page], [*results, parts, *measured]

    def _page(self, triage: Path) -> Report:
        """Measure the page of a triage in headless Chromium, where there is one."""
        if shutil.which("chromium") is None or importlib.util.find_spec("playwright") is None:
            return [], []
        (result,) = self._grow([Subject("page", "browsing", {"folder": str(triage), "observations": _ON_PAGE})])
        drawing = result.median("drawing")
        rows = [
            (words, 1e3 * result.median(name), result.median(name) / drawing)
            for name, words in (
                ("drawing", "the three light curves of an observation, drawn again"),
                ("showing", "an observation, until it is painted"),
                ("slow", "the same, the slowest tenth"),
                ("seconds", "the page, until it can be used"),
            )
        ]
        note = f"Headless Chromium, {_ON_PAGE} observations at most, {result.median('megabytes'):.1f} MB."
        return [growth_table("The page", note, ("", "ms", "ratio to the first"), rows)], [result]

    def epochs(self) -> Report:
        """Compare epochs whose frames are in memory or in the store."""
        store = str(self._store(self.files))
        places: dict[str, dict[str, Any]] = {
            "tensors in memory": {"cache": "tensors"},
            "data.cache=memory": {"cache": "memory"},
            "data.cache=store, cached by the system": {"cache": "store", "is_cached": True},
            "data.cache=store": {"cache": "store"},
        }
        subjects = [
            Subject(name, "epoch", {"store": store, "batch": self.batch, **place}) for name, place in places.items()
        ]
        results = measure(subjects, self.rounds, "epochs")
        frames = results[0].median("frames")
        note = f"Training steps on {frames:,.0f} simulated frames; no cache holds the store, unless the name says so."
        return [ratio_table("An epoch", note, results, "frames", frames)], results

    def startup(self) -> Report:
        """Compare the start-up time of commands that do very little."""
        root = self._archive(20, "fits")
        run = [
            *("-m", "asim_cvae.train", "data=mmia", f"data.root={root}", f"data.store={self.folder / 'start-store'}"),
            *("trainer.max_epochs=1", "+trainer.limit_train_batches=1", "+trainer.limit_val_batches=1"),
            *("data.batch_size=10", "figures=null", f"hydra.run.dir={self.folder}/start/${{now:%H-%M-%S-%f}}"),
        ]
        commands = {
            "import torch, pytorch_lightning": ["-c", "import torch, pytorch_lightning"],
            "import torch": ["-c", "import torch"],
            "train --help": ["-m", "asim_cvae.train", "--help"],
            "train, one step, scored": run,
        }
        subjects = [Subject(name, "command", {"arguments": arguments}) for name, arguments in commands.items()]
        results = measure(subjects, self.rounds, "start-up")
        return [ratio_table("Start-up", "From the start of a command to its end.", results, "")], results

    def sizes(self) -> Report:
        """Measure how times grow with sizes."""
        steps = self._grow(
            [
                Subject(f"batch {size}", "training", {"network": _SHIPPED, "batch": size, "repeats": self.repeats})
                for size in self.growth.batches
            ]
        )
        largest = self._archive(max(self.growth.files), "fits")
        prepared = self._grow(
            [
                Subject(
                    f"{count} files",
                    "preparing",
                    {
                        "root": str(self._part_of(largest, count)),
                        "store": str(self.folder / "growth-store"),
                        "workers": 1,
                    },
                )
                for count in self.growth.files
            ]
        )
        store = str(self._store(max(self.growth.files)))
        passed = self._grow(
            [
                Subject(
                    f"{count} frames",
                    "epoch",
                    {"store": store, "cache": "memory", "batch": self.batch, "frames": count},
                )
                for count in self.growth.frames
            ]
        )
        tables = [
            growth_table(
                "A training step against its batch",
                "Shipped network.",
                ("frames per batch", "ms per step", "ms per frame"),
                [(n, 1e3 * r.median(), 1e3 * r.median() / n) for n, r in zip(self.growth.batches, steps, strict=True)],
            ),
            growth_table(
                "Prepare against files",
                "Simulated FITS files, in one process.",
                ("files", "s", "ms per file", "MB of memory"),
                [
                    (n, r.median(), 1e3 * r.median() / n, r.median("memory_mb"))
                    for n, r in zip(self.growth.files, prepared, strict=True)
                ],
            ),
            growth_table(
                "An epoch against its frames",
                f"Batches of {self.batch} frames, cached in memory.",
                ("frames", "s", "ms per frame"),
                [(n, r.median(), 1e3 * r.median() / n) for n, r in zip(self.growth.frames, passed, strict=True)],
            ),
        ]
        return tables, [*steps, *prepared, *passed]

    def _grow(self, subjects: Sequence[Subject]) -> list[Result]:
        return measure(subjects, max(1, self.rounds // 2), "growth")

    def _archive(self, files: int, form: str) -> Path:
        """Make a simulated archive unless it exists, and return its folder."""
        root = self.folder / f"{form}-{files}"
        make_archive(root, replace(self.archive, observations=files, labelled=0, format=form))
        return root

    def _part_of(self, archive: Path, files: int) -> Path:
        """Make a folder of links to the first files of an archive, and return it."""
        part = self.folder / f"{archive.name}-first-{files}"
        part.mkdir(exist_ok=True)
        for path in sorted(archive.glob("*.fits"))[:files]:
            link = part / path.name
            if not link.exists():
                link.symlink_to(path.resolve())
        return part

    def _store(self, files: int) -> Path:
        """Make the frame store of an archive unless it exists, and return its path."""
        store = self.folder / f"fits-{files}-store"
        build_store(store, self._archive(files, "fits"))
        return store
