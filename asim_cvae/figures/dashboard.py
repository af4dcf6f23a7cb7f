"""What of a run stands in TensorBoard beside its curves: scores by setting, figures, latents with thumbnails."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from numpy.typing import NDArray
from pytorch_lightning.loggers import TensorBoardLogger
from torch import from_numpy
from torch.utils.tensorboard import SummaryWriter

from asim_cvae.figures.panels import PHOTOMETER_COLOURS
from asim_cvae.instrument.photometers import FLUX_PER_COUNT
from asim_cvae.scoring.evaluation import Evaluation
from asim_cvae.scoring.scores import score_columns

_TOGETHER = {
    "ELBO": ("train/elbo", "val/elbo"),
    "log p(x|z)": ("train/log_px", "val/log_px"),
    "KL": ("train/kl", "val/kl"),
}
_THUMBNAIL = 36  # pixels a side, a third for each photometer
_FULL_HEIGHT = 200.0  # counts


def add_layout(writer: SummaryWriter) -> None:
    """Charts of training and validation together, in the Custom Scalars tab."""
    charts = {name: ["Multiline", [f"^{tag}$" for tag in tags]] for name, tags in _TOGETHER.items()}
    writer.add_custom_scalars({"training and validation": charts})


def add_scores(logger: TensorBoardLogger, settings: Mapping[str, Any], scores: Mapping[str, Any]) -> None:
    """Settings and scores of a run, for the HPARAMS tab; noise certainty and recall are 0 without a noise cluster."""
    known = {column.name: column.value(scores) for column in score_columns()}
    if scores["purity"] is not None and scores["noise"] is None:  # there are labels, and no cluster is noise
        known |= {name: 0.0 for name in known if name.startswith("noise_")}
    # Epochs stand among the scores: TensorBoard keeps the settings that it saw first, and a run may be made longer.
    known["epochs"] = scores["epochs"]
    params = {name: "none" if value is None else value for name, value in settings.items()}
    logger.log_hyperparams(
        params, {f"score/{name}": float(value) for name, value in known.items() if value is not None}
    )


def add_pictures(writer: SummaryWriter, paths: Sequence[Path], step: int) -> None:
    """The figures as they are after ``step``, for the Images tab."""
    for path in paths:
        writer.add_image(path.stem, imread(path)[..., :3], step, dataformats="HWC")


def add_projector(writer: SummaryWriter, evaluation: Evaluation) -> None:
    """Latents of labelled frames with labels, clusters and thumbnails, for the Projector tab."""
    frames = evaluation.frames
    if frames.labels is None or evaluation.clustering is None:
        return
    columns = (frames.label, evaluation.assignment, frames.file, frames.frame)
    writer.add_embedding(
        evaluation.latents,
        metadata=[[str(value) for value in row] for row in zip(*columns, strict=True)],
        metadata_header=["label", "cluster", "file", "frame"],
        label_img=from_numpy(np.stack([thumbnail(frames.dataset.flux(row)) for row in range(len(frames.file))])),
        tag="latents",
    )


def thumbnail(flux: NDArray[np.float32]) -> NDArray[np.float32]:
    """A small picture (3, 36, 36) of a frame's flux (3, 5000) in uW/m^2: a band a photometer, logarithmic in counts."""
    band = _THUMBNAIL // len(flux)
    picture = np.ones((3, _THUMBNAIL, _THUMBNAIL), dtype=np.float32)
    heights = np.arange(band, 0, -1)[:, None] / band
    for number, (light, quantum, colour) in enumerate(zip(flux, FLUX_PER_COUNT, PHOTOMETER_COLOURS, strict=True)):
        columns = np.array([part.max() for part in np.array_split(light / quantum, _THUMBNAIL)])
        lit = heights <= np.log1p(columns) / np.log1p(_FULL_HEIGHT)
        rows = picture[:, number * band : (number + 1) * band]
        rows[:, lit] = np.array(to_rgb(colour), dtype=np.float32)[:, None]
    return picture
