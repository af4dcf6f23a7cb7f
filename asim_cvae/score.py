"""``python -m asim_cvae.score``: score trained weights on a ground truth."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from asim_cvae.base.errors import InputError, SettingError
from asim_cvae.base.files import file_digest
from asim_cvae.cli import command
from asim_cvae.runs.config import CONFIG
from asim_cvae.runs.folder import SCORES, read_scores
from asim_cvae.sources import check_data, make_data, provide_archive

log = logging.getLogger(__name__)


def _check(config: DictConfig) -> None:
    """Make sure that there are weights and data, and that nothing else would be overwritten in ``out``."""
    from asim_cvae.runs.export import weights_file

    check_data(config.data)
    make_data(config.data, representation=None)
    out = Path(config.out)
    if (out / CONFIG).exists():
        raise SettingError(f"out={out}: is a run folder, whose own scores would be overwritten; choose another folder")
    try:
        weights = weights_file(Path(config.weights))
    except InputError as error:
        raise SettingError(f"weights={error}") from error
    _refuse_other_scores(out, _origin(weights, instantiate(config.scoring)))


@command("score", _check)
def main(config: DictConfig) -> None:
    """Encode the ground truth, or all frames without one, and write scores, latents and figures into ``out``."""
    # Imported here, as they take seconds, for which --help and a mistyped setting should not wait.
    from asim_cvae.figures.pictures import Pictures
    from asim_cvae.recognition.evaluation import score_heads
    from asim_cvae.recognition.heads import has_heads, read_heads
    from asim_cvae.runs.export import load_model, weights_file, write_results
    from asim_cvae.scoring.evaluation import evaluate, score_saved
    from asim_cvae.scoring.table import closing_line, format_scores

    out = Path(config.out)
    weights = weights_file(Path(config.weights))
    protocol = instantiate(config.scoring)
    origin = _origin(weights, protocol)
    model = load_model(weights, config.trust)
    provide_archive(config.data)
    data = make_data(config.data, representation=model.representation)
    data.prepare_data()
    data.setup("predict")
    evaluation = score_saved(evaluate(model.module, data, protocol, model.clusters), model.clusters)
    if has_heads(weights.parent) and evaluation.frames.labels is not None:
        heads = score_heads(read_heads(weights.parent, config.trust), evaluation.frames)
        evaluation = replace(evaluation, scores=replace(evaluation.scores, heads=heads))
    if not len(evaluation.latents):
        raise InputError("no frames to score; see above which files were rejected and which frames excluded")
    _refuse_other_scores(out, {**origin, "data": dict(evaluation.frames.data)})
    source = {
        "weights": {"path": str(weights), "sha256": origin["weights"], "heads": origin["heads"]},
        "store": str(data.store_path),
    }
    scores = write_results(out, evaluation, {**model.run_info, **source})
    if config.figures is not None:
        pictures = Pictures(evaluation, model.module, model.representation, str(model.run_info["experiment"]))
        pictures.write(out, config.figures)
    log.info("%s\n%s", format_scores(scores), closing_line(scores, out))


def _origin(weights: Path, protocol: Any) -> dict[str, Any]:
    """Return what scores come from, as far as it is known before any frame is read."""
    from asim_cvae.recognition.heads import DESCRIPTION

    heads = weights.parent / DESCRIPTION
    digest = file_digest(heads) if heads.is_file() else None
    return {"weights": file_digest(weights), "heads": digest, "protocol": asdict(protocol)}


def _refuse_other_scores(out: Path, origin: Mapping[str, Any]) -> None:
    """Make sure that no scores of another origin would be overwritten.

    Args:
        out: folder that may hold scores.
        origin: digests of weights and heads, protocol and data of the new scores, as far as they are known.

    Raises:
        SettingError: the folder holds scores of another origin, or scores that cannot be read.
    """
    path = out / SCORES
    if not path.exists():
        return
    try:
        scores = read_scores(path)
    except InputError as error:
        raise SettingError(f"{error}; choose another folder") from error
    if not scores.get("weights"):
        raise SettingError(f"{path}: not written by score; choose another folder")
    present = {**scores, "weights": scores["weights"]["sha256"], "heads": scores["weights"].get("heads")}
    differing = [name for name, value in origin.items() if present.get(name) != value]
    if differing:
        raise SettingError(f"out={out}: holds scores of other {' and '.join(differing)}; choose another folder")


if __name__ == "__main__":
    main()
