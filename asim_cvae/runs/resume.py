"""Find out whether and from where a run goes on in its folder, and keep its configuration."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from asim_cvae.base.errors import SettingError
from asim_cvae.base.files import atomic_write
from asim_cvae.runs.checkpoints import CHECKPOINT_KEY, latest_checkpoint
from asim_cvae.runs.folder import CHECKPOINTS, CONFIG, SCORES
from asim_cvae.runs.settings import CHANGEABLE, flat_settings

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
    saved = folder / CONFIG
    if not saved.is_file():
        raise SettingError(f"resume={folder}: no run to resume, there is no {CONFIG} in it")
    resumed = OmegaConf.load(saved)
    assert isinstance(resumed, DictConfig)
    named = {override.split("=", 1)[0].lstrip("+~") for override in overrides}
    ours, usual, theirs = (flat_settings(_plain(part)) for part in (config, default, resumed))
    for name in ("name", *sorted(ours.keys() | theirs.keys() - {"name"})):
        value, present = ours.get(name), theirs.get(name)
        is_given = value != usual.get(name) or any(f"{name}.".startswith(f"{key}.") for key in named)
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
    path = folder / CONFIG
    if path.is_file() and _fixed(OmegaConf.load(path)) != _fixed(_resolved(config)):
        raise SettingError(f"{folder}: holds a run of another configuration; choose another folder")


def write_config(folder: Path, config: DictConfig) -> None:
    """Write the resolved configuration as ``config.yaml``, without the packages that the user trusts."""
    saved = _resolved(config)
    saved.trust = []  # whoever resumes the run decides anew whom to trust
    with atomic_write(folder / CONFIG) as partial:
        OmegaConf.save(saved, partial)


def _resolved(config: DictConfig) -> DictConfig:
    return OmegaConf.create(_plain(config))


def _plain(config: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def _fixed(config: object) -> object:
    """Return the settings of a configuration that must not change when its run is resumed."""
    assert isinstance(config, DictConfig)
    fixed = config.copy()
    for key in (*CHANGEABLE, "resume", "trust"):
        if OmegaConf.select(fixed, key) is not None:
            OmegaConf.update(fixed, key, None)
    return OmegaConf.to_container(fixed)


def is_finished(folder: Path, max_epochs: int) -> bool:
    """Tell whether the folder's run was scored after ``max_epochs`` epochs or more."""
    path = folder / SCORES
    return path.is_file() and int(json.loads(path.read_text(encoding="utf-8"))["epochs"]) >= max_epochs


def resume_point(folder: Path, max_epochs: int) -> tuple[Path | None, int]:
    """Find the checkpoint from which the folder's run goes on.

    Returns:
        The checkpoint, and the number of restarts before it; (None, 0) if the run has to start over.

    Raises:
        SettingError: the run has more than ``max_epochs`` epochs already.
    """
    checkpoints = folder / CHECKPOINTS
    begun = checkpoints.is_dir()
    latest = latest_checkpoint(checkpoints)
    if latest is None:
        if begun:
            log.warning("%s: no undamaged checkpoint; training starts over", checkpoints)
        return None, 0
    path, content = latest
    run_info = content[CHECKPOINT_KEY]["run_info"]
    if int(run_info["epochs"]) > max_epochs:
        raise SettingError(
            f"{folder}: has {run_info['epochs']} epochs already, more than trainer.max_epochs={max_epochs}; raise it"
        )
    log.info("going on from %s, after %s epochs", path, run_info["epochs"])
    return path, int(run_info["restarts"])
