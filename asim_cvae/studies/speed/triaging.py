"""Cases that measure triage: a folder of files by the weights that ship, and where the time goes."""

import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from asim_cvae.archive.reader import read_observation
from asim_cvae.base.allocator import keep_large_blocks
from asim_cvae.base.engine import Engine
from asim_cvae.base.parallel import HERE
from asim_cvae.frames.slicing import slice_frames
from asim_cvae.instrument.photometers import FLUX_PER_COUNT, flux_to_counts
from asim_cvae.pulses.catalogue import find_pulses
from asim_cvae.runs.export import weights_file
from asim_cvae.studies.speed.cases import Measurement
from asim_cvae.triaging.gathering import Filter
from asim_cvae.triaging.ledger import Folder, Ledger
from asim_cvae.triaging.misfit import misfit
from asim_cvae.triaging.origin import Judge, Origin, choose_threshold, make_judge
from asim_cvae.triaging.processing import judge_observation
from asim_cvae.triaging.running import Job, triage

Result = TypeVar("Result")

_RARE = ("blue jet", "elve", "sprite")


def triaging(root: str, out: str, workers: int | None = None, engine: Engine = HERE, anew: bool = True) -> Measurement:
    """Measure a triage of a folder from its beginning to its tables, with the start of its processes.

    ``anew``: whether what is in ``out`` is removed before.
    """
    if anew:
        shutil.rmtree(out, ignore_errors=True)
    origin = shipped_origin()
    job = Job(origin, Ledger(Path(out), origin.identity()))
    begin = time.perf_counter()
    provenance = {"weights": str(origin.weights), "roots": [root]}
    gathered = triage(Path(root), job, workers, Filter(), 1000, provenance, engine)
    return {"seconds": time.perf_counter() - begin, "files": gathered.observations, "frames": gathered.frames}


def stages(root: str, files: int) -> Measurement:
    """Measure the stages of a triage in one process, one after the other, in seconds a file."""
    keep_large_blocks()
    torch.set_num_threads(1)
    judge = make_judge(shipped_origin())
    observations = Folder.look(Path(root)).observations[:files]
    judge_observation(observations[0], judge)  # warms up
    spent: dict[str, float] = {}
    for one in observations:
        observation = _timed(spent, "reading", partial(read_observation, one[0].path))
        _timed(spent, "pulses", partial(find_pulses, observation))
        flux = slice_frames(observation.flux)
        flux = np.ascontiguousarray(flux[~np.isnan(flux.max(axis=(1, 2)))])
        _measure_frames(spent, flux, judge)
        _timed(spent, "seconds", partial(judge_observation, one, judge))  # all of it together
    return {name: seconds / len(observations) for name, seconds in spent.items()}


def _measure_frames(spent: dict[str, float], flux: np.ndarray, judge: Judge) -> None:
    """Measure what model, heads and misfit take for frames (n, 3, 5000)."""
    model, heads = judge.model, judge.heads
    assert heads is not None

    @torch.inference_mode()
    def encode() -> np.ndarray:
        x = torch.from_numpy(model.representation.apply(flux))
        return model.representation.invert(model.module.infer(x).p_x.mean.numpy())

    reconstructed = _timed(spent, "network", encode)
    _timed(spent, "heads", lambda: heads.recognize(flux))
    counts, rate = (flux_to_counts(values, FLUX_PER_COUNT) for values in (flux, reconstructed))
    _timed(spent, "misfit", lambda: misfit(np.rint(counts), rate))


def _timed(spent: dict[str, float], name: str, work: Callable[[], Result]) -> Result:
    begin = time.perf_counter()
    result = work()
    spent[name] = spent.get(name, 0.0) + time.perf_counter() - begin
    return result


def shipped_origin() -> Origin:
    """Return the origin of a triage by the weights that ship."""
    weights = weights_file(Path("pretrained"))
    return Origin(weights, None, (), choose_threshold(weights, (), None, 0.95)[0], _RARE)
