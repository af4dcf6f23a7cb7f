"""``python -m asim_cvae.score``: score trained weights on a ground truth."""

import logging
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from asim_cvae.base.errors import InputError
from asim_cvae.cli import command, make_data, provide_archive
from asim_cvae.runs.folder import CONFIG

log = logging.getLogger(__name__)


@command("score")
def main(config: DictConfig) -> None:
    """Encode the ground truth, or all frames without one, and write scores, latents and figures into ``out``."""
    # These take seconds to import: --help and a mistyped setting do not wait for them.
    from asim_cvae.figures.pictures import Pictures
    from asim_cvae.runs.export import load_model, write_results
    from asim_cvae.scoring.evaluation import evaluate, score_saved
    from asim_cvae.scoring.table import closing_line, format_scores

    out = Path(config.out)
    if (out / CONFIG).exists():
        raise InputError(f"out={out}: is a run folder, whose own scores would be written over; choose another folder")
    model = load_model(Path(config.weights).expanduser(), config.trust)
    provide_archive(config.data)
    data = make_data(config.data, representation=model.representation)
    data.prepare_data()
    data.setup("predict")
    evaluation = score_saved(evaluate(model.module, data, instantiate(config.scoring)), model.clusters)
    if not len(evaluation.latents):
        raise InputError("no frames to score; what was rejected or excluded is said above")
    scores = write_results(out, evaluation, model.run_info)
    if config.figures is not None:
        pictures = Pictures(evaluation, model.module, model.representation, str(model.run_info["experiment"]))
        pictures.write(out, config.figures)
    log.info("%s\n%s", format_scores(scores), closing_line(scores, out))


if __name__ == "__main__":
    main()
