"""Train one run: assemble what its configuration names, restart failed trainings, resume, use several devices."""

import logging
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from tqdm.contrib.logging import logging_redirect_tqdm

from asim_cvae.base.errors import InputError, SettingError, first_line, is_machines_fault
from asim_cvae.base.files import can_be_folder
from asim_cvae.base.locks import HeldError, held_lock
from asim_cvae.base.progress import on_terminal
from asim_cvae.base.seeds import derived_seed
from asim_cvae.callbacks.ground_truth import GroundTruthScoring
from asim_cvae.callbacks.health import FailedTrainingError
from asim_cvae.callbacks.run import Run, RunCallback
from asim_cvae.callbacks.signals import StoppedError, StopSignal
from asim_cvae.data.datamodule import MMIADataModule
from asim_cvae.nn.precision import use_tf32
from asim_cvae.runs.config import write_config
from asim_cvae.runs.contract import check_model, check_protocol
from asim_cvae.runs.folder import CHECKPOINTS
from asim_cvae.runs.resume import is_finished, refuse_other_config, resume_point
from asim_cvae.runs.settings import experiment_settings, named_settings
from asim_cvae.runs.slurm import cluster_plugins, requeue_job
from asim_cvae.settings.quoting import pasteable
from asim_cvae.sources import check_data, make_data, provide_archive

_LOCK = ".lock"
_SPACE = 100_000_000  # bytes, for checkpoints of 12 MB each, the export and figures

log = logging.getLogger(__name__)
for _library in ("pytorch_lightning", "lightning_fabric"):
    logging.getLogger(_library).setLevel(logging.WARNING)  # importing them sets it to INFO


def check_run(config: DictConfig) -> None:
    """Make all that a run is made of, and try its model, so that what does not fit is refused before anything begins.

    Raises:
        SettingError: a folder is not there, a device is not there, or the model breaks its contract.
        InstantiationException: a class refuses its settings.
    """
    check_data(config.data, is_training=True)
    representation = instantiate(config.representation)
    make_data(config.data, representation=representation)
    try:
        check_protocol(instantiate(config.scoring))
    except InputError as error:
        raise SettingError(f"scoring: {error}") from error
    for callback in config.callbacks.values():
        instantiate(callback)
    trainer = _trainer(config, Path(), [], None)
    if trainer.world_size > 1 and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise SettingError("trainer=ddp: not in a sweep, which each device's process would start again; leave out -m")
    module = instantiate(config.model)
    try:
        check_model(module, representation, config.trust)
    except InputError as error:
        raise SettingError(f"model: {error}") from error
    try:
        module.configure_optimizers()
    except Exception as error:  # an optimiser refuses its settings only once it has parameters
        raise SettingError(f"model.optimizer: {first_line(error)}") from error


def check_folder(folder: Path, config: DictConfig) -> None:
    """Make sure that ``folder`` holds no run of another configuration, and that no other program trains in it.

    Raises:
        SettingError: it holds one, or one does; or it cannot be a folder.
    """
    if not can_be_folder(folder):
        raise SettingError(f"hydra.run.dir={folder}: is or lies in a file; give a folder")
    refuse_other_config(folder, config)
    if (folder / _LOCK).exists() and _is_first():
        with _locked(folder):
            pass


def train(config: DictConfig, folder: Path) -> None:
    """Train, score and draw a run into ``folder``, or go on with the run that it holds.

    A finished run is left as it is. If training fails, it starts over from other initial weights.

    Raises:
        InputError: the folder holds another run or lacks space, or training failed with all initial weights.
    """
    with _locked(folder) if _is_first() else nullcontext():
        _train(config, folder)


def _is_first() -> bool:
    """Tell whether this is the first of the processes of a run; each device has its own."""
    return bool(rank_zero_only.rank == 0)  # type: ignore[attr-defined]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other programs from training in ``folder`` meanwhile."""
    try:
        with held_lock(folder / _LOCK, wait=False):
            yield
    except HeldError as error:
        raise SettingError(f"{folder}: another program trains in it; wait for it, or choose another folder") from error


def _train(config: DictConfig, folder: Path) -> None:
    data = make_data(config.data, representation=instantiate(config.representation), seed=config.seed)
    if _is_first():
        _check_space(folder)
        refuse_other_config(folder, config)
    if is_finished(folder, config.trainer.max_epochs):
        log.info("%s: this run is finished", folder)
        return
    checkpoint, restart = resume_point(folder, config)
    use_tf32(bool(config.get("tf32")))
    try:
        with StopSignal() as stop:
            if _is_first():  # the other processes start later, and find all files in place
                write_config(folder, config)
                provide_archive(config.data)
                data.prepare_data()
            else:
                logging.getLogger().setLevel(logging.ERROR)  # only the first process logs
            _fit_until_it_succeeds(config, data, folder, restart, checkpoint, stop)
    except StoppedError as stopped:
        _end(stopped, folder, config)


def _fit_until_it_succeeds(
    config: DictConfig, data: MMIADataModule, folder: Path, restart: int, checkpoint: Path | None, stop: StopSignal
) -> None:
    """Train from a checkpoint or from initial weights, and from others wherever training fails.

    Raises:
        InputError: training failed with all initial weights.
    """
    while restart <= config.max_restarts:
        try:
            _fit(config, data, folder, restart, checkpoint, stop)
            return
        except FailedTrainingError as error:
            log.warning("training failed: %s (restarts so far: %d)", error, restart)
            restart, checkpoint = restart + 1, None
            _forget(folder)
    raise InputError(f"training failed with all initial weights, max_restarts={config.max_restarts}; try another seed")


def _end(stopped: StoppedError, folder: Path, config: DictConfig) -> NoReturn:
    """End the program after a signal, and say how the run goes on."""
    if not _is_first():
        sys.exit(0)  # Lightning would kill the first process if another failed
    command = pasteable("train", {"resume": str(folder)}, [f"trust={list(config.trust)}"] if config.trust else [])
    log.warning("%s; go on with: %s", stopped, command)
    if config.requeue and stopped.number == signal.SIGUSR1:
        requeue_job()
    sys.exit(stopped.code)


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
        StoppedError: a signal ended the run.
        InputError: the checkpoint holds what the run cannot go on with.
    """
    stop.raise_if_stopped()
    # Each restart has other initial weights, but a repeated run has the same ones.
    seed = config.seed if restart == 0 else derived_seed(config.seed, restart)
    pl.seed_everything(seed, workers=True, verbose=False)
    module = instantiate(config.model)
    settings = named_settings(experiment_settings(OmegaConf.to_container(config, resolve=True)))  # type: ignore[arg-type]
    info = {"experiment": config.name, "seed": config.seed, "restarts": restart}
    run = Run(folder, seed, info, settings, instantiate(config.scoring), config.figures, stop)
    logger = TensorBoardLogger(folder, name="", version="")
    begun = _Begun()
    callbacks = _callbacks(config.callbacks, run)
    if not any(isinstance(callback, GroundTruthScoring) for callback in callbacks):
        log.warning("no callback scores this run: it ends without scores, and without weights for score")
    trainer = _trainer(config, folder, [*callbacks, begun], logger)
    try:
        with logging_redirect_tqdm():  # log lines appear above the progress bar
            trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    except (FailedTrainingError, InputError):
        raise
    except Exception as error:  # Lightning and optimisers look at what they restore only as they come to it
        if checkpoint is None or begun.is_past_a_step or is_machines_fault(error):
            raise
        reason = f"cannot be gone on with ({first_line(error)}); delete it, and resume"
        raise InputError(f"{checkpoint}: {reason}") from error


class _Begun(pl.Callback):
    """Tells whether a step was taken: an error before may come from what a checkpoint holds."""

    is_past_a_step = False

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Raise ValueError if a fused optimiser's values are not those of its weights: it would read past their end."""
        for optimizer in (one for one in trainer.optimizers if one.defaults.get("fused")):
            for weight, state in optimizer.state.items():
                for name, value in state.items():
                    if name != "step" and isinstance(value, torch.Tensor) and value.shape != weight.shape:
                        raise ValueError(f"its {name} {tuple(value.shape)} is that of no weight {tuple(weight.shape)}")

    def on_train_batch_end(self, *_: Any) -> None:
        self.is_past_a_step = True


def _trainer(
    config: DictConfig, folder: Path, callbacks: Sequence[pl.Callback], logger: TensorBoardLogger | None
) -> pl.Trainer:
    """Make the trainer.

    Raises:
        SettingError: there are no such devices, or it refuses other settings.
    """
    group = config.trainer
    wanted = f"trainer.accelerator={group.get('accelerator')}, trainer.devices={group.get('devices')}"
    try:
        trainer: pl.Trainer = instantiate(
            group,
            default_root_dir=str(folder),
            enable_progress_bar=on_terminal() and group.get("enable_progress_bar", True),
            callbacks=list(callbacks),
            logger=logger or False,
            plugins=cluster_plugins(),
        )
    except InstantiationException as error:
        raise SettingError(f"{wanted}: {' '.join(str(error.__cause__ or error).split())}") from error
    if trainer.world_size > 1 and isinstance(trainer.accelerator, CPUAccelerator) and group.accelerator == "auto":
        raise SettingError(
            f"{wanted}: there is no GPU here; trainer.accelerator=cpu takes several processes of the CPU"
        )
    return trainer


def _callbacks(group: DictConfig, run: Run) -> list[pl.Callback]:
    """Make the callbacks of a group, and hand them the run."""
    callbacks = [instantiate(callback) for callback in group.values() if callback is not None]
    for callback in callbacks:
        if isinstance(callback, RunCallback):
            callback.run = run
    return callbacks
