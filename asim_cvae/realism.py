"""``python -m asim_cvae.realism``: compare simulated frames with real ones and with published results."""

import logging
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from asim_cvae.base.errors import SettingError
from asim_cvae.cli import command
from asim_cvae.sources import make_simulation

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
    from asim_cvae.studies.realism.study import study_realism  # torch and scikit-learn take seconds to import

    page = study_realism(
        Path(config.out),
        None if config.reference is None else Path(config.reference),
        make_simulation(config),
        list(config.seeds),
    )
    log.info("%s", page)


if __name__ == "__main__":
    main()
