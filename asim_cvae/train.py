"""``python -m asim_cvae.train``: train, score and draw one experiment, or a sweep of them with ``-m``."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from asim_cvae.base.errors import InputError
from asim_cvae.cli import command, plain_config
from asim_cvae.runs.config import CONFIG
from asim_cvae.settings.places import check_places, check_targets
from asim_cvae.settings.schema import check_config, declared_settings, lacking_names


@command("train")
def main(config: DictConfig) -> None:
    """Train the configured experiment in a new run folder, or go on with a run in its folder."""
    # Imported here, as Lightning takes seconds, for which --help and a mistyped setting should not wait.
    from asim_cvae.runs.resume import resumed_config
    from asim_cvae.training import train

    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    if config.resume is None:
        config.name = hydra.runtime.choices.get("experiment") or config.name
    else:
        config = resumed_config(folder, config, hydra.overrides.task)
        check_saved(folder, config)
    train(config, folder)


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
        check_targets(config, config.trust)
        check_places(config)
    except InputError as error:
        raise InputError(f"{folder / CONFIG}: {error}") from error


if __name__ == "__main__":
    main()
