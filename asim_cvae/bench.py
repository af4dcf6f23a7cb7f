"""``python -m asim_cvae.bench``: how fast the program is, as ratios to references that run beside it."""

import logging
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from asim_cvae.base.errors import InputError
from asim_cvae.cli import command

log = logging.getLogger(__name__)


@command("bench")
def main(config: DictConfig) -> None:
    """Measure the wanted parts, print their tables and write them into ``out``."""
    from asim_cvae.studies.speed.parts import PARTS, Benchmark, Growth  # torch takes seconds to import
    from asim_cvae.studies.speed.report import as_markdown, machine, write_report

    unknown = [part for part in config.parts if part not in PARTS]
    if unknown or not config.parts:
        raise InputError(f"parts={config.parts}: some of {', '.join(PARTS)}, as parts=[training,encoding]")
    if min(config.rounds, config.repeats, config.batch, config.files) < 1:
        raise InputError("rounds, repeats, batch and files must be 1 or more")
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    benchmark = Benchmark(
        instantiate(config.archive), config.rounds, config.repeats, config.batch, config.files,
        Growth(**config.growth), out,
    )  # fmt: skip
    tables, results = [], {}
    for part in config.parts:
        found, results[part] = PARTS[part](benchmark)
        tables += found
        write_report(out, tables, results)  # after each part: what is measured is not lost
    log.info("%s\nthe report is in %s", as_markdown(tables, machine()), out)


if __name__ == "__main__":
    main()
