"""``python -m asim_cvae.bench``: measure speed, as ratios to references that run beside it."""

import logging
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from asim_cvae.base.errors import SettingError, did_you_mean
from asim_cvae.cli import command

log = logging.getLogger(__name__)


def _check(config: DictConfig) -> None:
    """Make sure that the suite has the parts."""
    suite = instantiate(config.suite, folder=Path(config.out))
    for part in config.parts or ():
        if part not in suite.parts:
            near = did_you_mean(part, suite.parts)
            raise SettingError(f"parts={config.parts}: {part} is not one of {', '.join(suite.parts)}{near}")


@command("bench", _check)
def main(config: DictConfig) -> None:
    """Measure parts of a suite, print their tables and write the report into ``out``."""
    from asim_cvae.studies.speed.report import as_markdown, machine, write_report  # torch takes seconds to import

    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    suite = instantiate(config.suite, folder=out)
    parts = list(suite.parts) if config.parts is None else list(config.parts)
    tables, measured = [], {}
    for part in parts:
        part_tables, measured[part] = suite.parts[part]()
        tables += part_tables
        write_report(out, tables, measured)  # after each part, so that no measurement is lost if a later one fails
    log.info("%s\nthe report is in %s", as_markdown(tables, machine()), out)


if __name__ == "__main__":
    main()
