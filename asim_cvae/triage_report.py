"""``python -m asim_cvae.triage_report``: measure how well observations are sifted: pulses found, measured and told."""

import logging
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from asim_cvae.base.errors import SettingError
from asim_cvae.cli import command

log = logging.getLogger(__name__)


def _check(config: DictConfig) -> None:
    for archive in config.archives.values():
        instantiate(archive)
    if config.reference is not None and not Path(config.reference).is_dir():
        raise SettingError(f"reference={config.reference}: no such folder; null leaves real frames out")


@command("triage_report", _check)
def main(config: DictConfig) -> None:
    """Write the page."""
    from asim_cvae.studies.triage.pulse_study import study_pulses  # SciPy and matplotlib take seconds to import
    from asim_cvae.studies.triage.report import write_report

    archives = {str(name): instantiate(archive) for name, archive in config.archives.items()}
    seeds = {name: list(config.seeds[name]) for name in archives}
    reference = None if config.reference is None else Path(config.reference)
    log.info("%s", write_report(Path(config.out), study_pulses(archives, seeds, config.quiet, reference)))


if __name__ == "__main__":
    main()
