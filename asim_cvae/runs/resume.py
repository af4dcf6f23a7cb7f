"""Find out whether and from where a run goes on in its folder, and whether its files are those of one run."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from asim_cvae.base.errors import InputError, SettingError
from asim_cvae.runs.checkpoints import latest_checkpoint
from asim_cvae.runs.config import CONFIG, read_config, resolved
from asim_cvae.runs.folder import CHECKPOINTS, METRICS, SCORES, read_metrics, read_scores
from asim_cvae.runs.settings import CHANGEABLE, flat_settings
from asim_cvae.runs.weights import check_weights, sketched
from asim_cvae.settings.schema import declared_settings

log = logging.getLogger(__name__)


def resumed_config(folder: Path, config: DictConfig, default: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Return the configuration of a resumed run: the one saved in its folder, with changes from the command line.

    Args:
        folder: the run folder.
        config: configuration of the command that resumes the run, which holds the changed values.
        default: configuration of the command without any overrides.
        overrides: overrides of the command.

    Raises:
        SettingError: ``folder`` holds no run, or the command gives another value to a setting that must not change.
    """
    if not (folder / CONFIG).is_file():
        raise SettingError(f"resume={folder}: no run to resume, there is no {CONFIG} in it")
    resumed = read_config(folder)
    named = {override.split("=", 1)[0].lstrip("+~") for override in overrides}
    groups = set(declared_settings()["train"].groups)
    ours, usual, theirs = (flat_settings(_plain(part)) for part in (config, default, resumed))
    for name in ("name", *sorted(ours.keys() | theirs.keys() - {"name"})):
        value, present = ours.get(name), theirs.get(name)
        # Of what may change, as the number of epochs, whoever names a group gives only what is its own.
        naming = named - groups if name in CHANGEABLE else named
        is_given = value != usual.get(name) or any(f"{name}.".startswith(f"{key}.") for key in naming)
        if value == present or not is_given or name in ("resume", "trust"):
            continue
        if name not in CHANGEABLE:
            raise SettingError(
                f"{name}={value} cannot be changed in a resumed run, where it is {present}; "
                f"only {', '.join(CHANGEABLE)} can"
            )
        OmegaConf.update(resumed, name, value)
    resumed.trust = config.trust  # only the user decides whom to trust, never a run folder
    return resumed


def refuse_other_config(folder: Path, config: DictConfig) -> None:
    """Make sure that ``folder`` holds no run of another configuration.

    Raises:
        SettingError: it holds one.
    """
    if (folder / CONFIG).is_file() and _fixed(read_config(folder)) != _fixed(resolved(config)):
        raise SettingError(f"{folder}: holds a run of another configuration; choose another folder")


def _plain(config: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def _fixed(config: DictConfig) -> object:
    """Return the settings of a configuration that must not change when its run is resumed."""
    fixed = config.copy()
    for key in (*CHANGEABLE, "resume", "trust"):
        if OmegaConf.select(fixed, key) is not None:
            OmegaConf.update(fixed, key, None)
    return OmegaConf.to_container(fixed)


def is_finished(folder: Path, max_epochs: int) -> bool:
    """Tell whether the folder's run was scored after ``max_epochs`` epochs or more.

    Raises:
        InputError: its scores are damaged.
    """
    path = folder / SCORES
    if not path.is_file():
        return False
    try:
        epochs = read_scores(path)["epochs"]
    except InputError as error:
        raise InputError(f"{error}; delete the file, and the run is scored again") from error
    return epochs is not None and epochs >= max_epochs


def resume_point(folder: Path, config: DictConfig) -> tuple[Path | None, int]:
    """Find the checkpoint from which the folder's run goes on, and make sure that its files belong together.

    Args:
        folder: the run folder.
        config: the run's configuration.

    Returns:
        The checkpoint, and the number of restarts before it; (None, 0) if the run has to start over.

    Raises:
        InputError: its metrics are damaged, or the checkpoint is not that of a model of this configuration.
        SettingError: the run has more than ``trainer.max_epochs`` epochs already.
    """
    read_metrics(folder / METRICS)  # later it is read within the training
    checkpoints = folder / CHECKPOINTS
    begun = checkpoints.is_dir()
    latest = latest_checkpoint(checkpoints)
    if latest is None:
        if begun:
            log.warning("%s: no undamaged checkpoint; training starts over", checkpoints)
        return None, 0
    path, content = latest
    run_info, max_epochs = content.description.run_info, config.trainer.max_epochs
    if (run_info.epochs or 0) > max_epochs:
        raise SettingError(
            f"{folder}: has {run_info.epochs} epochs already, more than trainer.max_epochs={max_epochs}; raise it"
        )
    try:
        check_weights(content.weights, sketched(lambda: instantiate(config.model)))
    except InputError as error:
        raise InputError(f"{path}: is no checkpoint of the network in {CONFIG}: {error}") from error
    log.info("going on from %s, after %s epochs", path, run_info.epochs)
    return path, run_info.restarts
