"""Triage a folder: judge its new files batch by batch in several processes, then write the tables."""

import logging
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from asim_cvae.archive.remote import Root
from asim_cvae.base.engine import Engine
from asim_cvae.base.errors import first_line
from asim_cvae.base.parallel import HERE, map_batches
from asim_cvae.base.workers import WorkerDiedError
from asim_cvae.frames.reading import deadly
from asim_cvae.nn.precision import use_tf32
from asim_cvae.triaging.gathering import Filter, Gathered, gather
from asim_cvae.triaging.ledger import Folder, Ledger
from asim_cvae.triaging.origin import Origin, make_judge
from asim_cvae.triaging.processing import GPU_ERRORS, File, Rows, judge_observation, rejected

_LARGEST, _SMALLEST = 50, 5  # observations of a batch
_SHARE = 8  # a batch is no larger than this part of what comes after it
_TOLD = 5  # observations

log = logging.getLogger(__name__)

Observation = Sequence[File]


@dataclass(frozen=True)
class Job:
    """What a worker process needs to judge files: it makes the judge itself.

    Attributes:
        origin: of the rows.
        ledger: where they are written.
        device: device of the networks.
    """

    origin: Origin
    ledger: Ledger
    device: str = "cpu"


def triage(
    root: Root,
    job: Job,
    workers: int | None,
    chosen: Filter,
    top: int,
    provenance: Mapping[str, Any],
    engine: Engine = HERE,
) -> Gathered:
    """Judge the files of a folder that are new, and write the tables of all that were ever judged.

    Several programs may work on one folder of results at the same time; the last to end writes the tables of all.

    Args:
        root: folder of the files.
        job: what to do with them.
        workers: number of workers; None for one per core.
        chosen: which observations stand in the tables for people.
        top: number of frames in ``frames.csv``.
        provenance: more of what ``provenance.json`` says, see :func:`~asim_cvae.triaging.gathering.gather`.
        engine: where the workers are.

    Raises:
        InputError: there is no such folder, or a batch that was written is damaged.
        SettingError: the folder of the results holds something else, see :meth:`Ledger.check`.
    """
    ledger = job.ledger
    ledger.claim()
    folder = Folder.look(root)
    pending = folder.pending(ledger.done())
    log.info("%d observations, %d of them new", len(folder.observations), len(pending))
    work, lost = partial(_judge_batch, job=job), partial(_give_up, job=job)
    results = map_batches(work, pending, batch_sizes(len(pending)), workers, "triaging", lost, engine)
    held = [batch for batch in results if batch]
    # Another program had begun these. It may be killed, so that whoever writes the tables waits for them.
    left, sizes = [one for batch in held for one in batch], [len(batch) for batch in held]
    work = partial(_judge_batch, job=job, wait=True)
    for _ in map_batches(work, left, sizes, workers, "waiting for other programs", lost, engine):
        pass
    ledger.clean()
    with ledger.locked():
        while True:
            known = ledger.names()
            gathered = gather(ledger, folder.rejected, chosen, top, provenance)
            if ledger.names() == known:  # else another program has ended a batch meanwhile
                return gathered


def batch_sizes(observations: int) -> list[int]:
    """Return how many observations each batch has, in order.

    The last batches are small, so that all processes are busy to the end. Sizes depend on what comes after a batch, and
    on nothing else: to a program that is called while others work, the first batches are done, and it cuts the rest as
    they did. Were a file added meanwhile, it would cut otherwise and judge some observations once more, to equal rows.
    """
    sizes: list[int] = []
    after = 0
    while after < observations:
        sizes.append(min(max(after // _SHARE, _SMALLEST), _LARGEST, observations - after))
        after += sizes[-1]
    return sizes[::-1]


def _judge_batch(observations: Sequence[Observation], job: Job, wait: bool = False) -> Sequence[Observation]:
    """Judge a batch, unless it is there; returns what another program judges just now, if that is not waited for."""
    torch.set_num_threads(1)  # a process a core
    use_tf32(False)  # so that probabilities are close to those of a CPU

    def rows() -> Rows:
        try:
            judge = make_judge(job.origin, job.device)
            return Rows.joined(judge_observation(files, judge) for files in observations)
        except GPU_ERRORS as error:
            log.error("%s; another process tries again", first_line(error))
            signal.raise_signal(signal.SIGKILL)  # nothing that this process computes on the GPU can be trusted now
            raise

    files = [file for files in observations for file in files]
    return [] if job.ledger.write(files, rows, wait) else observations


def _give_up(observation: Observation, death: WorkerDiedError, job: Job) -> Sequence[Observation]:
    """Reject the files of an observation that ends each process that reads it."""
    errors = [deadly(file.path, death) for file in observation]
    rows = [rejected(file, error.reason, error.transient) for file, error in zip(observation, errors, strict=True)]
    job.ledger.write(observation, lambda: Rows([], [], rows), wait=True)
    return []


def tell(gathered: Gathered, out: Path) -> list[str]:
    """Say in lines what was found."""
    dropped = gathered.frames - gathered.noise_frames
    lines = [f"{gathered.rejected} files rejected, see {out / 'rejected.csv'}"] if gathered.rejected else []
    return [
        *lines,
        f"{gathered.observations} observations, {gathered.frames} frames, {dropped} of them kept",
        *(f"{rank}. {row['why']} ({row['file']})" for rank, row in enumerate(gathered.listed[:_TOLD], 1)),
        f"ranked: {len(gathered.listed)} observations in {out / 'observations.csv'}",
    ]
