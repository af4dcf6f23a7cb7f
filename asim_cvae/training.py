"""Train one run: assemble what its configuration names, restart failed trainings, resume, use several devices."""

import logging
import shutil
import sys
from pathlib import Path

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from tqdm.contrib.logging import logging_redirect_tqdm

from asim_cvae.base.errors import InputError
from asim_cvae.base.progress import on_terminal
from asim_cvae.base.seeds import derived_seed
from asim_cvae.callbacks.health import FailedTrainingError
from asim_cvae.callbacks.run import Run, RunCallback
from asim_cvae.callbacks.signals import StoppedError, StopSignal
from asim_cvae.cli import make_data, provide_archive
from asim_cvae.data.datamodule import MMIADataModule
from asim_cvae.runs.config import write_config
from asim_cvae.runs.contract import check_model
from asim_cvae.runs.folder import CHECKPOINTS
from asim_cvae.runs.resume import is_finished, refuse_other_config, resume_point
from asim_cvae.runs.settings import experiment_settings, named_settings

_SPACE = 100_000_000  # bytes, for checkpoints of 12 MB each, the export and figures

log = logging.getLogger(__name__)
for _library in ("pytorch_lightning", "lightning_fabric"):
    logging.getLogger(_library).setLevel(logging.WARNING)  # importing them sets it to INFO


def train(config: DictConfig, folder: Path) -> None:
    """Train, score and draw a run into ``folder``, or go on with the run that it holds.

    A finished run is left as it is. If training fails, it starts over from other initial weights.

    Raises:
        InputError: the folder holds another run or lacks space, or training failed with all initial weights.
    """
    data = make_data(config.data, representation=instantiate(config.representation), seed=config.seed)
    is_first = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # each device has a process of its own
    if is_first:
        _check_space(folder)
        refuse_other_config(folder, config)
    if is_finished(folder, config.trainer.max_epochs):
        log.info("%s: this run is finished", folder)
        return
    checkpoint, restart = resume_point(folder, config)
    if is_first:  # the other processes start later, and find all files in place
        write_config(folder, config)
        provide_archive(config.data)
        data.prepare_data()
    else:
        logging.getLogger().setLevel(logging.ERROR)  # only the first process logs
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = bool(config.get("tf32"))
    with StopSignal() as stop:
        while restart <= config.max_restarts:
            try:
                _fit(config, data, folder, restart, checkpoint, stop)
                return
            except StoppedError as stopped:
                log.warning("%s; go on with: python -m asim_cvae.train resume=%s", stopped, folder)
                sys.exit(stopped.exit_status if is_first else 0)  # Lightning would kill the first if another failed
            except FailedTrainingError as error:
                log.warning("training failed: %s (restarts so far: %d)", error, restart)
                restart, checkpoint = restart + 1, None
                _forget(folder)
    raise InputError(f"training failed with all initial weights, max_restarts={config.max_restarts}; try another seed")


def _check_space(folder: Path) -> None:
    """Raise InputError if the disk lacks space for a run: a run that fills it fails only after hours."""
    free = shutil.disk_usage(folder).free
    if free < _SPACE:
        raise InputError(f"{folder}: {free / 1e6:.0f} MB free, {_SPACE / 1e6:.0f} MB are needed for checkpoints")


@rank_zero_only
def _forget(folder: Path) -> None:
    """Delete the checkpoints and curves of a failed training, which would mix with those of the next one."""
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    for events in folder.glob("events.out.tfevents.*"):
        events.unlink()


def _fit(
    config: DictConfig,
    data: MMIADataModule,
    folder: Path,
    restart: int,
    checkpoint: Path | None,
    stop: StopSignal,
) -> None:
    """Train once, from a checkpoint or from the initial weights that belong to the number of restarts.

    Raises:
        FailedTrainingError: the network cannot be trained from these weights.
        StoppedError: a signal ended the training.
    """
    stop.raise_if_stopped()
    # Each restart has other initial weights, but a repeated run has the same ones.
    seed = config.seed if restart == 0 else derived_seed(config.seed, restart)
    pl.seed_everything(seed, workers=True, verbose=False)
    module = instantiate(config.model)
    if not checkpoint:
        check_model(module, data.representation, config.trust)
    settings = named_settings(experiment_settings(OmegaConf.to_container(config, resolve=True)))  # type: ignore[arg-type]
    info = {"experiment": config.name, "seed": config.seed, "restarts": restart}
    run = Run(folder, seed, info, settings, instantiate(config.scoring), config.figures, stop)
    trainer = instantiate(
        config.trainer,
        default_root_dir=str(folder),
        enable_progress_bar=on_terminal() and config.trainer.get("enable_progress_bar", True),
        callbacks=_callbacks(config.callbacks, run),
        logger=TensorBoardLogger(folder, name="", version=""),
    )
    if trainer.world_size > 1 and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise InputError("trainer=ddp: not in a sweep, which each device's process would start again; leave out -m")
    with logging_redirect_tqdm():  # log lines appear above the progress bar
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)


def _callbacks(group: DictConfig, run: Run) -> list[pl.Callback]:
    """Make the callbacks of a group, and hand them the run."""
    callbacks = [instantiate(callback) for callback in group.values() if callback is not None]
    for callback in callbacks:
        if isinstance(callback, RunCallback):
            callback.run = run
    return callbacks
