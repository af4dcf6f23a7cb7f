"""``python -m asim_cvae.accuracy``: measure how heads recognise classes and kinds, on archives kept for evaluation."""

import logging
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from asim_cvae.base.errors import SettingError
from asim_cvae.cli import command
from asim_cvae.runs.pretrained import located

log = logging.getLogger(__name__)


def _check(config: DictConfig) -> None:
    from asim_cvae.recognition.heads import has_heads

    for archive in config.archives.values():
        instantiate(archive)
    for weights in config.weights:
        if not has_heads(located(Path(weights))):
            raise SettingError(
                f"weights={weights}: holds no heads; python -m asim_cvae.heads out={weights} trains them"
            )
    if config.reference is not None and not Path(config.reference).is_dir():
        raise SettingError(f"reference={config.reference}: no such folder; null leaves real frames out")


@command("accuracy", _check)
def main(config: DictConfig) -> None:
    """Write the page."""
    from asim_cvae.studies.accuracy.sets import Archives, real_flux, simulate_labelled  # torch takes seconds to import
    from asim_cvae.studies.accuracy.study import study_accuracy

    made = {name: instantiate(archive) for name, archive in config.archives.items()}
    archives = Archives(
        simulate_labelled(made["evaluation"], config.seeds.evaluation),
        simulate_labelled(made["shifted"], config.seeds.shifted),
        made["rare"],
        made["natural"],
    )
    real = real_flux(None if config.reference is None else Path(config.reference))
    weights = [Path(path) for path in config.weights]
    log.info("%s", study_accuracy(Path(config.out), weights, archives, instantiate(config.scoring), real))


if __name__ == "__main__":
    main()
