"""``python -m asim_cvae.realism``: compare simulated frames with real ones and with published results."""

import logging
from dataclasses import fields
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from asim_cvae.base.errors import SettingError
from asim_cvae.cli import command

log = logging.getLogger(__name__)


def _check(config: DictConfig) -> None:
    instantiate(config.rule)
    if len(set(config.seeds)) < len(config.seeds):
        raise SettingError(f"seeds={config.seeds}: give each seed once, as seeds=[0,1,2]")
    if config.reference is not None and not Path(config.reference).is_dir():
        raise SettingError(f"reference={config.reference}: no such folder; null leaves comparisons with it out")


@command("realism", _check)
def main(config: DictConfig) -> None:
    """Write the report. If the reference folder lacks data for a part, the report says so in its place."""
    from asim_cvae.simulator.archive import Simulation
    from asim_cvae.studies.realism.study import study_realism  # torch and scikit-learn take seconds to import

    names = [field.name for field in fields(Simulation) if field.name in config]
    light = {name: instantiate(config[name]) if OmegaConf.is_config(config[name]) else config[name] for name in names}
    page = study_realism(
        Path(config.out),
        None if config.reference is None else Path(config.reference),
        Simulation(**light),
        list(config.seeds),
    )
    log.info("%s", page)


if __name__ == "__main__":
    main()
