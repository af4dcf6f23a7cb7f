"""``python -m asim_cvae.calibrate``: fit the heads of a model to observations that you labelled."""

import logging
import shutil
from pathlib import Path

from omegaconf import DictConfig

from asim_cvae.base.errors import InputError, SettingError
from asim_cvae.base.files import atomic_write
from asim_cvae.cli import command
from asim_cvae.runs.pretrained import located
from asim_cvae.sources import check_data, make_data, provide_archive

log = logging.getLogger(__name__)


def _check(config: DictConfig) -> None:
    from asim_cvae.recognition.heads import has_heads, read_heads

    check_data(config.data)
    try:
        weights, out = located(Path(config.weights)), Path(config.out)
    except InputError as error:
        raise SettingError(f"weights={error}") from error
    if not has_heads(weights):
        raise SettingError(f"weights={weights}: holds no heads; python -m asim_cvae.heads out={weights} trains them")
    if out.is_dir() and any(out.iterdir()):
        raise SettingError(f"out={out}: holds files already; choose another folder")
    if config.refit and read_heads(weights, config.trust).calibrated_on is not None:
        raise SettingError(
            f"weights={weights}: heads that were fitted to labels already, by which they would be measured; "
            "give the model that they came from, and all labels"
        )


@command("calibrate", _check)
def main(config: DictConfig) -> None:
    """Write a new model into the folder ``out``: that in ``weights``, with its heads fitted to the labelled frames."""
    from asim_cvae.recognition.fitting import fit_to_labels
    from asim_cvae.recognition.heads import DESCRIPTION, read_heads, write_heads
    from asim_cvae.runs import export  # torch takes seconds to import
    from asim_cvae.triaging.reference import REFERENCE

    weights, out = located(Path(config.weights)), Path(config.out)
    heads = read_heads(weights, config.trust)
    provide_archive(config.data)
    data = make_data(config.data, representation=heads.representation)
    data.prepare_data()
    data.setup("predict")
    frames = data.scored_frames()
    if frames.labels is None:
        raise InputError("no labelled frames; give data.ground_truth.table=TABLE")
    fitted = fit_to_labels(heads, frames, config.refit)
    out.mkdir(parents=True, exist_ok=True)
    for name in (export.WEIGHTS, export.DESCRIPTION, REFERENCE):
        if (weights / name).is_file():
            with atomic_write(out / name) as partial:
                shutil.copyfile(weights / name, partial)
    write_heads(out, fitted)
    log.info("written: %s", out / DESCRIPTION)


if __name__ == "__main__":
    main()
