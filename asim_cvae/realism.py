"""``python -m asim_cvae.realism``: compare simulated frames with real ones and with published results."""

import logging
from dataclasses import fields
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from asim_cvae.base.errors import InputError
from asim_cvae.cli import command

log = logging.getLogger(__name__)


@command("realism")
def main(config: DictConfig) -> None:
    """Write the report. If the reference folder lacks data for a part, the report says so in its place."""
    from asim_cvae.simulator.archive import Simulation
    from asim_cvae.studies.realism.study import study_realism  # torch and scikit-learn take seconds to import

    seeds = list(config.seeds)
    if len(set(seeds)) < len(seeds):
        raise InputError(f"seeds={config.seeds}: give each seed once, as seeds=[0,1,2]")
    reference = None if config.reference is None else Path(config.reference)
    settings = OmegaConf.masked_copy(config, ["_target_", *(field.name for field in fields(Simulation))])
    page = study_realism(Path(config.out), reference, instantiate(settings), seeds)
    log.info("%s", page)


if __name__ == "__main__":
    main()
