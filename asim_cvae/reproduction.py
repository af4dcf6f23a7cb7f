"""``python -m asim_cvae.reproduction``: make the thesis's Table 1 and figures again, beside the published ones."""

import logging
from collections.abc import Iterator
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from asim_cvae.base.errors import InputError, SettingError
from asim_cvae.cli import command
from asim_cvae.runs.pretrained import located
from asim_cvae.scoring.published import BEST_PUBLISHED, PUBLISHED_TABLE, PublishedRow, read_published
from asim_cvae.sources import check_data, make_data, provide_archive

log = logging.getLogger(__name__)

_WEIGHTS = "thesis_weights"  # folder of the reference


def _check(config: DictConfig) -> None:
    check_data(config.data)
    if config.reference is None or not (Path(config.reference) / PUBLISHED_TABLE).is_file():
        raise SettingError(
            f"reference={config.reference}: give a folder with the thesis's {PUBLISHED_TABLE} and {_WEIGHTS}, "
            "here or as ASIM_CVAE_REFERENCE"
        )
    for path in config.weights:
        if not located(Path(path)).exists():
            raise SettingError(f"weights={path}: no such weights; give run folders, or pretrained")


@command("reproduction", _check)
def main(config: DictConfig) -> None:
    """Write the page."""
    from asim_cvae.figures.pictures import Pictures  # torch takes seconds to import
    from asim_cvae.runs.export import load_model
    from asim_cvae.scoring.evaluation import evaluate
    from asim_cvae.scoring.table1 import FinishedRun
    from asim_cvae.studies.reproduction.page import write_page

    reference, protocol = Path(config.reference), instantiate(config.scoring)
    published = read_published(reference / PUBLISHED_TABLE)
    provide_archive(config.data)
    runs, pictures = [], None
    ours = [(located(Path(path)), None) for path in config.weights]
    for path, experiment in [*_published_weights(reference, published), *ours]:
        model = load_model(path)
        data = make_data(config.data, representation=model.representation)
        data.prepare_data()
        data.setup("predict")
        evaluation = evaluate(model.module, data, protocol)
        runs.append(FinishedRun(str(path), evaluation.as_dict({**model.run_info, **_named(experiment)}), {}))
        if path.stem == BEST_PUBLISHED.weights:
            pictures = Pictures(evaluation, model.module, model.representation, BEST_PUBLISHED.experiment)
    if not runs:
        raise InputError(f"{reference / _WEIGHTS}: holds none of the weights of {PUBLISHED_TABLE}")
    training = None if config.training is None else Path(config.training)
    log.info("%s", write_page(Path(config.out), runs, published, pictures, training))


def _named(experiment: str | None) -> dict[str, str]:
    return {} if experiment is None else {"experiment": experiment}


def _published_weights(reference: Path, published: list[PublishedRow]) -> Iterator[tuple[Path, str]]:
    """Yield paths and experiments of the published weights that are there."""
    for row in published:
        path = reference / _WEIGHTS / f"{row.weights}.pth"
        if path.is_file():
            yield path, row.experiment
        else:
            log.warning("%s: not there, left out", path)


if __name__ == "__main__":
    main()
