"""``python -m asim_cvae.train``: train, score and draw one experiment, or a sweep of them with ``-m``."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from asim_cvae.base.errors import InputError, SettingError
from asim_cvae.cli import command, plain_config
from asim_cvae.runs.config import CONFIG
from asim_cvae.settings.composing import composed
from asim_cvae.settings.places import check_places, check_targets
from asim_cvae.settings.schema import CONF, check_config, declared_settings, lacking_names


def _check(config: DictConfig) -> None:
    """Make sure that the run can be made, and that its folder takes it."""
    # Imported here, as Lightning takes seconds, for which --help and a mistyped setting should not wait.
    from asim_cvae.training import check_folder, check_run

    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        if config.resume is not None:
            raise SettingError("resume: not in a sweep; the same sweep goes on in its folder by hydra.sweep.dir=FOLDER")
        check_run(config)
        return
    folder = Path(hydra.run.dir)
    config = _run_config(config, folder)
    check_folder(folder, config)
    check_run(config)


@command("train", _check)
def main(config: DictConfig) -> None:
    """Train the configured experiment in a new run folder, or go on with a run in its folder."""
    from asim_cvae.training import train

    folder = Path(HydraConfig.get().runtime.output_dir)
    train(_run_config(config, folder), folder)


def _run_config(config: DictConfig, folder: Path) -> DictConfig:
    """Return the configuration of the run in ``folder``, which is that of the command unless a run is resumed."""
    hydra = HydraConfig.get()
    experiment = hydra.runtime.choices.get("experiment")
    if experiment and any(override.startswith("name=") for override in hydra.overrides.task):
        raise SettingError(
            f"name={config.name}: a run of an experiment has its name, {experiment}; leave one of them out"
        )
    config.name = experiment or config.name
    if config.resume is None:
        return config
    from asim_cvae.runs.resume import resumed_config

    if Path(config.resume).resolve() != folder.resolve():
        raise SettingError(f"resume={config.resume}: hydra.run.dir={folder} is another folder; leave one of them out")
    default = OmegaConf.masked_copy(composed("train", CONF, []), list(declared_settings()["train"].entries))
    resumed = resumed_config(folder, config, default, hydra.overrides.task)
    check_saved(folder, resumed)
    return resumed


def check_saved(folder: Path, config: DictConfig) -> None:
    """Make sure that this version of the program can resume a run with the saved configuration ``config``.

    Raises:
        InputError: a setting is missing, or a value or class is not allowed.
    """
    section, settings = declared_settings()["train"], plain_config(config)
    if lacking_names(section, settings):
        raise InputError(f"{folder}: this run was made by an earlier version; start another")
    try:
        check_config(section, settings)
        check_targets(config, config.trust, section)
        check_places(config)
    except InputError as error:
        raise InputError(f"{folder / CONFIG}: {error}") from error


if __name__ == "__main__":
    main()
