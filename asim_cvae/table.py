"""``python -m asim_cvae.table``: write finished runs as the thesis's Table 1."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from asim_cvae.base.errors import InputError, SettingError
from asim_cvae.base.files import atomic_write
from asim_cvae.cli import command
from asim_cvae.runs.folder import find_runs
from asim_cvae.scoring.published import PUBLISHED_TABLE, PublishedRow, read_published
from asim_cvae.scoring.table1 import FORMATS, any_simulated, as_markdown, build_table

log = logging.getLogger(__name__)


def _check(config: DictConfig) -> None:
    """Make sure that the folders are there."""
    if not Path(config.runs).is_dir():
        raise SettingError(f"runs={config.runs}: no such folder")
    if config.reference is not None and not Path(config.reference).is_dir():
        raise SettingError(f"reference={config.reference}: no such folder; give one that holds {PUBLISHED_TABLE}")


@command("table", _check)
def main(config: DictConfig) -> None:
    """Print the table, write it, and list the folders and runs that it excludes."""
    root, out = Path(config.runs), Path(config.out)
    runs, excluded = find_runs(root)
    if not runs:
        raise InputError(f"runs={root}: no finished run in it" + "".join(f"; {reason}" for reason in excluded))
    table = build_table(runs, _published(config.reference))
    name = f"{'simulated_' if any_simulated(runs) else ''}table1"
    for suffix, write in FORMATS.items():
        with atomic_write(out / f"{name}.{suffix}") as partial:
            partial.write_text(write(table), encoding="utf-8")
    log.info("%s", as_markdown(table))
    for reason in [*excluded, *table.excluded]:
        log.warning("excluded: %s", reason)
    log.info("written: %s.{%s}", out / name, ",".join(FORMATS))


def _published(reference: str | None) -> list[PublishedRow]:
    """Read the published table from the reference folder; [] if there is none."""
    if reference is None:
        return []
    path = Path(reference) / PUBLISHED_TABLE
    return read_published(path) if path.is_file() else []


if __name__ == "__main__":
    main()
