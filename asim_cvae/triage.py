"""``python -m asim_cvae.triage``: rank the observations of a folder, list their pulses, drop noise."""

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.utils import instantiate
from omegaconf import DictConfig

from asim_cvae.base.errors import InputError, SettingError
from asim_cvae.cli import command

if TYPE_CHECKING:
    from asim_cvae.triaging.running import Job

log = logging.getLogger(__name__)


def _check(config: DictConfig) -> None:
    """Make sure that there are files and weights, that a promise can be made, and that the folder takes the results."""
    from asim_cvae.archive.discover import find_root
    from asim_cvae.triaging.origin import saved_clusters  # torch takes seconds to import

    try:
        find_root(config.root)
    except InputError as error:
        raise SettingError(f"root={error}") from error
    instantiate(config.filter)
    _check_device(config)
    job, _ = _job(config)
    if job.origin.clusters is not None:
        try:
            saved_clusters(job.origin.clusters, job.origin.weights)
        except InputError as error:
            raise SettingError(str(error)) from error
    job.ledger.check()


@command("triage", _check)
def main(config: DictConfig) -> None:
    """Judge the files in ``root`` that are new, and write the tables into ``out``."""
    from asim_cvae.archive.remote import as_root
    from asim_cvae.figures.ranking import draw_top  # matplotlib takes seconds to import
    from asim_cvae.reviewing.page import Contents, write_page
    from asim_cvae.reviewing.records import agrees_with, read_records
    from asim_cvae.reviewing.shelf import Shelf, find_files
    from asim_cvae.triaging.running import tell, triage

    job, promise = _job(config)
    log.info("%s", promise)
    root, out = as_root(config.root), Path(config.out)
    here = str(root.resolve() if isinstance(root, Path) else root)
    provenance = {"weights": str(job.origin.weights.resolve()), "roots": [here], "promise": promise}
    chosen, engine = instantiate(config.filter), instantiate(config.engine)
    gathered = triage(root, job, config.file_workers, chosen, config.top, provenance, engine)
    for line in tell(gathered, out):
        log.info("%s", line)
    if not config.pictures and not config.page.observations:
        return
    paths = find_files([one for one in job.ledger.roots() if one != here], [root])
    top = gathered.listed[: config.pictures]
    is_judged = partial(agrees_with, read_records(job.ledger, [row["file"] for row in top]))
    if picture := draw_top(top, paths, out, is_judged):
        log.info("drawn: %s", picture)
    if config.page.observations:
        shelf = Shelf.open(out, paths, job.origin.trust)
        log.info("to look at and label: %s", write_page(shelf, Contents(**config.page)))


def _check_device(config: DictConfig) -> None:
    """Make sure that the workers have the device that runs the networks."""
    import torch  # takes seconds to import

    engine = instantiate(config.engine)
    if config.accelerator == "cpu":
        return
    if engine.is_here and not torch.cuda.is_available():
        raise SettingError("accelerator=cuda: there is no GPU here")
    if not engine.is_here and not config.engine.get("gpus"):
        raise SettingError("accelerator=cuda: workers on a cluster take no GPU unless engine.gpus is above 0")


def _job(config: DictConfig) -> "tuple[Job, str]":
    """Return what is to be done, and the promise in words.

    Raises:
        SettingError: there are no such weights, or the promise cannot be made.
    """
    from asim_cvae.runs.export import weights_file  # torch takes seconds to import
    from asim_cvae.triaging.ledger import Ledger
    from asim_cvae.triaging.origin import Origin, choose_threshold
    from asim_cvae.triaging.running import Job

    try:
        weights = weights_file(Path(config.weights))
    except InputError as error:
        raise SettingError(f"weights={error}") from error
    clusters = None if config.clusters is None else Path(config.clusters)
    if weights.suffix == ".pth" and clusters is None:
        raise SettingError(f"weights={weights}: holds no clusters; give clusters=FOLDER that score wrote with them")
    trust: tuple[str, ...] = tuple(config.trust)
    threshold, promise = choose_threshold(weights, trust, config.keep_recall, config.confidence)
    origin = Origin(weights, clusters, trust, threshold, tuple(config.rare))
    return Job(origin, Ledger(Path(config.out), origin.identity()), config.accelerator), promise


if __name__ == "__main__":
    main()
