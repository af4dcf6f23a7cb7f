"""``python -m asim_cvae.heads``: train heads for classes and kinds of events on simulated truth."""

import logging
from dataclasses import fields, replace
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from asim_cvae.base.errors import InputError, SettingError
from asim_cvae.cli import command

log = logging.getLogger(__name__)


def _check(config: DictConfig) -> None:
    from asim_cvae.recognition.heads import DESCRIPTION, check_network, has_heads
    from asim_cvae.triaging.reference import read_reference

    for name in ("simulation", "natural"):
        instantiate(config[name])
    try:
        check_network(instantiate(config.network), instantiate(config.representation))
    except InputError as error:
        raise SettingError(f"network: {error}") from error
    if has_heads(Path(config.out)) and read_reference(Path(config.out)).heads is not None:
        raise SettingError(f"out={config.out}: holds heads already; delete its {DESCRIPTION} to train others")


@command("heads", _check)
def main(config: DictConfig) -> None:
    """Train, calibrate, and write the heads into the folder ``out``, and what frames usually look like to them."""
    from asim_cvae.recognition.heads import DESCRIPTION, has_heads, read_heads  # torch takes seconds to import
    from asim_cvae.recognition.learning import Plan, learn_heads
    from asim_cvae.recognition.training import HeadsModule
    from asim_cvae.triaging.learning import learn_of_heads
    from asim_cvae.triaging.reference import read_reference, write_reference

    def module() -> HeadsModule:
        return HeadsModule(instantiate(config.network), instantiate(config.optimizer))

    plan = Plan(**{field.name: config[field.name] for field in fields(Plan)})
    out = Path(config.out)
    if has_heads(out):
        log.info("%s: trained already, learns what is usual", out)
        heads = read_heads(out, config.trust)
    else:
        heads = learn_heads(instantiate(config.simulation), instantiate(config.representation), module, plan, out)
    of_heads = learn_of_heads(heads, instantiate(config.natural))
    write_reference(out, replace(read_reference(out), heads=of_heads))
    log.info("written: %s", out / DESCRIPTION)


if __name__ == "__main__":
    main()
