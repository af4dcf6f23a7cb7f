"""``python -m asim_cvae.boundary``: measure how much worse frames are reconstructed at their ends than inside."""

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
    if not config.weights and config.reference is None:
        raise SettingError("weights=[]: nothing to measure; give weights=[RUN], or reference=FOLDER")
    for path in config.weights:
        if not Path(path).expanduser().exists():
            raise SettingError(f"weights={path}: no such weights; give a run folder, or a file of weights")
    if config.reference is not None and not Path(config.reference).is_dir():
        raise SettingError(f"reference={config.reference}: no such folder; null leaves the thesis's weights out")


@command("boundary", _check)
def main(config: DictConfig) -> None:
    """Write the page."""
    from asim_cvae.simulator.archive import Simulation
    from asim_cvae.studies.boundary.study import study_boundary  # torch takes seconds to import

    names = [field.name for field in fields(Simulation) if field.name in config]
    light = {name: instantiate(config[name]) if OmegaConf.is_config(config[name]) else config[name] for name in names}
    reference = None if config.reference is None else Path(config.reference)
    weights = [Path(path).expanduser() for path in config.weights]
    simulations = [Simulation(seed=seed, **light) for seed in config.seeds]
    log.info("%s", study_boundary(Path(config.out), weights, reference, simulations))


if __name__ == "__main__":
    main()
