"""``python -m asim_cvae.boundary``: measure how much worse frames are reconstructed at their ends than inside."""

import logging
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from asim_cvae.base.errors import SettingError
from asim_cvae.cli import command
from asim_cvae.runs.pretrained import located
from asim_cvae.sources import make_simulation

log = logging.getLogger(__name__)


def _check(config: DictConfig) -> None:
    instantiate(config.rule)
    if not config.weights and config.reference is None:
        raise SettingError("weights=[]: nothing to measure; give weights=[RUN], or reference=FOLDER")
    for path in config.weights:
        if not located(Path(path)).exists():
            raise SettingError(f"weights={path}: no such weights; give a run folder, or a file of weights")
    if config.reference is not None and not Path(config.reference).is_dir():
        raise SettingError(f"reference={config.reference}: no such folder; null leaves the thesis's weights out")


@command("boundary", _check)
def main(config: DictConfig) -> None:
    """Write the page."""
    from asim_cvae.studies.boundary.study import study_boundary  # torch takes seconds to import

    reference = None if config.reference is None else Path(config.reference)
    weights = [Path(path) for path in config.weights]
    simulations = [make_simulation(config, seed=seed) for seed in config.seeds]
    log.info("%s", study_boundary(Path(config.out), weights, reference, simulations))


if __name__ == "__main__":
    main()
