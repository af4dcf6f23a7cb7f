"""The GPU suite: parity, training steps, encoding and whole trainings on one GPU, within a time given beforehand."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from asim_cvae.runs.export import WEIGHTS
from asim_cvae.runs.folder import METRICS, read_metrics
from asim_cvae.studies.speed.cases import Measurement
from asim_cvae.studies.speed.measure import collect
from asim_cvae.studies.speed.report import Report, Table
from asim_cvae.studies.speed.suite import Suite

_RESERVE = 15.0  # seconds, for reports and for a training to save itself
_SMALL_EPOCHS = 3
_PROFILED = 1600  # frames, at most
_THESIS, _EVENTS = "relu_lr2e-4", "events"
_EVENTS_BATCH = 32  # frames, as it is trained


@dataclass
class GPUBenchmark(Suite):
    """Measurements on one GPU, within a given time.

    Args:
        seconds: after which the report is written and nothing more is begun.
        networks: which are compared: 'plain', 'layers', 'shipped'.
        batches: frames a training step.
        encoding_batches: frames encoded at a time.
        epoch_batches: frames a step of whole trainings, which divide the time that is left.
        measured_seconds: for each way of taking a step.
        observations: files of the simulated archive of whole trainings.
        small_observations: files of the archive on which a run is stopped and resumed.
        reference: folder of the thesis's weights and parity values; None leaves their parity out.
        folder: for archives, stores and runs.
    """

    seconds: float
    networks: Sequence[str]
    batches: Sequence[int]
    encoding_batches: Sequence[int]
    epoch_batches: Sequence[int]
    measured_seconds: float
    observations: int
    small_observations: int
    reference: str | None
    folder: Path
    _bandwidth: Measurement = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._end = time.monotonic() + self.seconds - _RESERVE
        self._making: subprocess.Popen[str] | None = None

    @property
    def parts(self) -> Mapping[str, Callable[[], Report]]:
        """Parts by name, the most important first."""
        parts = (self.checks, self.steps, self.judging, self.kernels, self.encoding, self.epochs)
        return {part.__name__: partial(self._guarded, part) for part in parts}

    def _guarded(self, part: Callable[[], Report]) -> Report:
        """Measure a part; an error becomes its table, and the parts after it are measured all the same."""
        if time.monotonic() > self._end:
            return [Table(part.__name__, "Not measured: the time was over.", ("",), [])], []
        begin = time.monotonic()
        try:
            tables, measured = part()
        except Exception as error:
            return [Table(part.__name__, f"Not measured: {error}.", ("",), [])], []
        return tables, [*measured, {"part_s": time.monotonic() - begin}]

    def checks(self) -> Report:
        """Check parity, gradients and resuming side by side, none being timed; meanwhile the archive is made."""
        self._begin_archive()
        with ThreadPoolExecutor() as threads:
            begun = [threads.submit(check) for check in (self._parity, self._gradients, self._resuming)]
        reports = [one.result() for one in begun]
        return [table for tables, _ in reports for table in tables], [m for _, measured in reports for m in measured]

    def _parity(self) -> tuple[list[Table], list[Measurement]]:
        """The ten published networks."""
        if self.reference is None:
            return [], []
        made, missing = self._collect("parity", {"reference": self.reference}, 150)
        columns = ("mu", "log_beta", "log_px", "kl")
        rows = [(m["network"], m["precision"], *(f"{m[name]:.1e}" for name in columns)) for m in made]
        note = "Largest difference from what the thesis's program computed in float64, over the largest value."
        return [
            _table("Parity of the published networks", note, ("network", "precision", *columns), rows, missing)
        ], made

    def _gradients(self) -> tuple[list[Table], list[Measurement]]:
        made, missing = self._collect("gradients", {"networks": list(self.networks), "batch": 20}, 150)
        rows = [(m["network"], m["precision"], f"{m['worst']:.1e}", f"{m['median']:.1e}") for m in made]
        note = "Difference from float64 gradients of the layers on the CPU, over their norm; 20 frames."
        heads = ("network", "precision", "worst weight", "median weight")
        return [_table("Parity of gradients", note, heads, rows, missing)], made

    def _resuming(self) -> tuple[list[Table], list[Measurement]]:
        """A run that is stopped and gone on with, and one that is not, twice."""
        root, store = self.folder / "small", self.folder / "small.h5"
        self._command("simulate", f"root={root}", f"observations={self.small_observations}", "labelled=0")
        self._command("prepare", "data=mmia", f"data.root={root}", f"data.store={store}")
        training = (*self._training(root, store), "data.batch_size=20", f"trainer.max_epochs={_SMALL_EPOCHS}")
        whole, again, halved = (self.folder / name for name in ("whole", "again", "halved"))
        undisturbed = [self._start("train", *training, f"hydra.run.dir={folder}") for folder in (whole, again)]
        with self._start("train", *training, f"hydra.run.dir={halved}") as process:
            while process.poll() is None and not (halved / "checkpoints" / "last.ckpt").exists():
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            process.wait()
        stopped_after = len(read_metrics(halved / METRICS))
        self._command("train", f"resume={halved}")
        for process in undisturbed:
            process.wait()
        largest = max(float(value.double().abs().max()) for value in load_file(whole / WEIGHTS).values())
        rows, measured = [], []
        for name, folder in (("made again", again), (f"stopped after {stopped_after}, resumed", halved)):
            distance = _distance(folder, whole)
            measured.append({"run": name, "epochs": _SMALL_EPOCHS, "distance": distance, "largest": largest})
            rows.append((name, str(_SMALL_EPOCHS), f"{distance:.1e}", f"{largest:.1f}"))
        columns = ("run", "epochs", "largest difference of a weight", "largest weight")
        note = "Runs beside an undisturbed one, on simulated frames, 20 a step; one was stopped by SIGTERM."
        return [_table("Resuming", note, columns, rows)], measured

    def steps(self) -> Report:
        """Training steps by network, batch, precision, and with and without a CUDA graph."""
        self._wait_for_archive()
        copied, missing = self._collect("bandwidth", {}, 30)
        if not copied:
            raise RuntimeError(f"no bandwidth, {missing}")
        self._bandwidth = copied[0]
        made, missing = self._collect("steps", self._stepped(), 150)
        rate = self._bandwidth["bytes_a_second"]
        note = (
            f"Forward, backward and Adam on simulated frames, 3 photometers x 5000 samples. Copies in this memory move "
            f"{rate / 1e9:,.0f} GB/s. A step has to move {self._bandwidth['bytes_a_frame'] / 1e6:.1f} MB a frame at "
            f"least, so that at most {rate / self._bandwidth['bytes_a_frame']:,.0f} frames/s are possible: the floor."
        )
        return [self._steps_table("Training steps", note, made, missing)], [self._bandwidth, *made]

    def judging(self) -> Report:
        """Compare what the weights that ship tell with what they tell on the CPU, and measure how fast."""
        arguments = {"batches": list(self.encoding_batches), "seconds": self.measured_seconds}
        made, missing = self._collect("judging", arguments, 60)
        if not made:
            raise RuntimeError(f"nothing is told, {missing}")
        same, *timed = made
        note = (
            f"Of {same['frames']} simulated frames {100 * same['same_class']:.2f} % have the class that they have on "
            f"the CPU; probabilities of classes differ by {same['class_probability']:.1e} at most, of kinds by "
            f"{same['kind_probability']:.1e}, log p(x|z) by {same['log_px']:.1e} of itself. Float32."
        )
        rows = [
            (str(m["batch"]), *(f"{m['batch'] / m[part]:,.0f}" for part in ("network_s", "heads_s"))) for m in timed
        ]
        columns = ("batch", "network, frames/s", "heads, frames/s")
        return [_table("The weights that ship", note, columns, rows, missing)], made

    def kernels(self) -> Report:
        """List the kernels in which a step's time is spent."""
        batch = min(_PROFILED, max(self.batches))
        made, missing = self._collect("kernels", {"networks": list(self.networks), "batch": batch, "count": 14}, 60)
        rows = [(m["network"], f"`{m['operation']}`", f"{m['ms']:.2f}", f"{100 * m['share']:.0f} %") for m in made]
        note = f"Longest operations of a step of {batch} frames, float32, launched one by one."
        return [_table("Where a step's time goes", note, ("network", "operation", "ms", "share"), rows, missing)], made

    def encoding(self) -> Report:
        """Latents in eval mode."""
        arguments = {"networks": list(self.networks), "batches": list(self.encoding_batches)}
        made, missing = self._collect("encodings", arguments | {"seconds": self.measured_seconds}, 40)
        rows = [(m["network"], str(m["batch"]), f"{m['batch'] / m['seconds']:,.0f}") for m in made]
        note = "Latents of simulated frames in eval mode, float32."
        return [_table("Encoding", note, ("network", "batch", "frames/s"), rows, missing)], made

    def epochs(self) -> Report:
        """Whole trainings of ``relu_lr2e-4`` and ``events``, each until its time is over."""
        self._wait_for_archive()
        made, rows = [], []
        trainings = [(_EVENTS, _EVENTS_BATCH), *((_THESIS, batch) for batch in self.epoch_batches)]
        for i, (experiment, batch) in enumerate(trainings):
            seconds = (self._end - time.monotonic()) / (len(trainings) - i)
            measured = self._train_for(seconds, experiment, batch)
            made.append(measured)
            rate = f"{measured['frames_a_second']:,.0f}" if measured["frames_a_second"] else "fewer than two epochs"
            elbo = measured["val_elbo"]
            rows.append((experiment, str(batch), str(measured["epochs"]), rate, f"{elbo:,.0f}" if elbo else ""))
        note = (
            "`train +experiment=...` on the simulated archive, frames held on the device: all that a training "
            "does, validation and checkpoints included, from the end of its first epoch on."
        )
        columns = ("experiment", "batch", "epochs", "frames/s", "validation ELBO")
        return [_table("Whole trainings", note, columns, rows)], made

    def _train_for(self, seconds: float, experiment: str, batch: int) -> Measurement:
        folder = self.folder / f"train-{experiment}-{batch}"
        arguments = (
            *self._training(self.folder / "archive", self.folder / "archive-store", experiment),
            f"data.batch_size={batch}",
        )
        begin, seen = time.monotonic(), [(0.0, 0)]
        with self._start("train", *arguments, f"hydra.run.dir={folder}") as process:
            while process.poll() is None and time.monotonic() < begin + seconds:
                epochs = len(read_metrics(folder / METRICS))
                if epochs > seen[-1][1]:
                    seen.append((time.monotonic(), epochs))
                time.sleep(0.02)
            process.terminate()
            process.wait()
        rows = read_metrics(folder / METRICS)
        (first_time, first), (last_time, last) = seen[min(1, len(seen) - 1)], seen[-1]
        frames = _frames_an_epoch(folder)
        return {
            "experiment": experiment,
            "batch": batch,
            "epochs": len(rows),
            "frames_an_epoch": frames,
            "frames_a_second": (last - first) * frames / (last_time - first_time) if last > first else 0.0,
            "val_elbo": float(rows[-1]["val/elbo"]) if rows else None,
        }

    def _begin_archive(self) -> None:
        """Simulate and prepare the archive of the whole trainings in a process beside this one."""
        root, store = self.folder / "archive", self.folder / "archive-store"
        made = (
            "from subprocess import check_call; from sys import argv, executable; "
            "[check_call([executable, '-m', *part.split(' ')]) for part in argv[1:]]"
        )
        commands = (
            f"asim_cvae.simulate root={root} observations={self.observations} labelled=0",
            f"asim_cvae.prepare data=mmia data.root={root} data.store={store}",
        )
        self._making = subprocess.Popen(
            [sys.executable, "-c", made, *commands], text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def _wait_for_archive(self) -> None:
        if self._making is None:
            self._begin_archive()
        assert self._making is not None
        if self._making.wait():
            raise RuntimeError("the archive of the whole trainings could not be made")

    def _training(self, root: Path, store: Path, experiment: str = _THESIS) -> tuple[str, ...]:
        return (
            *(f"+experiment={experiment}", "data=mmia", f"data.root={root}", f"data.store={store}"),
            *("figures=null", "trainer.enable_progress_bar=false"),
        )

    def _stepped(self) -> dict[str, Any]:
        return {
            "networks": list(self.networks),
            "batches": list(self.batches),
            "tf32": [False, True] if torch.cuda.is_available() else [False],
            "seconds": self.measured_seconds,
        }

    def _steps_table(self, title: str, note: str, made: Sequence[Measurement], missing: str) -> Table:
        floor = self._bandwidth.get("bytes_a_second", 0.0) / self._bandwidth.get("bytes_a_frame", 1.0)
        rows = []
        for m in made:
            way = (m["network"], str(m["batch"]), "TF32" if m["tf32"] else "float32", m["way"])
            if "error" in m:
                rows.append((*way, m["error"].splitlines()[0][:90], "", "", ""))
                continue
            rate = m["batch"] / m["seconds"]
            share = f"{100 * rate / floor:.0f} %" if floor else ""
            rows.append((*way, f"{1e3 * m['seconds']:.2f}", f"{rate:,.0f}", share, f"{m['peak_mb']:,.0f}"))
        columns = ("network", "batch", "products", "launched", "ms", "frames/s", "of the floor", "peak memory, MB")
        return _table(title, note, columns, rows, missing)

    def _collect(self, case: str, arguments: Mapping[str, Any], limit: float) -> tuple[list[Measurement], str]:
        return collect(case, arguments, min(limit, self._end - time.monotonic()))

    def _command(self, *arguments: str) -> None:
        with self._start(*arguments) as process:
            if process.wait():
                raise RuntimeError(f"{' '.join(arguments)}: ended with status {process.returncode}")

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", f"asim_cvae.{name}", *arguments], stdout=subprocess.DEVNULL)


def _distance(run: Path, other: Path) -> float:
    """Largest difference of a weight."""
    ours, theirs = load_file(run / WEIGHTS), load_file(other / WEIGHTS)
    return max(float((ours[name].double() - theirs[name].double()).abs().max()) for name in theirs)


def _table(title: str, note: str, columns: Sequence[str], rows: Sequence[Sequence[str]], missing: str = "") -> Table:
    return Table(title, f"{note} Not all was measured: {missing}." if missing else note, columns, rows)


def _frames_an_epoch(folder: Path) -> int:
    """As the run's log says it."""
    log = folder / "train.log"
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    told = next((line for line in lines if "frames to train on" in line), "")
    words = told.split()
    return int(words[words.index("frames") - 1]) if told else 0
