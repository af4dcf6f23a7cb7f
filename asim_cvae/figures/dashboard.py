"""Show in TensorBoard, beside a run's curves, its scores by setting, its figures, and its latents with thumbnails."""

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

from asim_cvae.figures.styles import PHOTOMETER_COLOURS
from asim_cvae.instrument.photometers import FLUX_PER_COUNT
from asim_cvae.scoring.evaluation import Evaluation
from asim_cvae.scoring.scores import score_columns

_CHARTS = {
    "ELBO": ("train/elbo", "val/elbo"),
    "log p(x|z)": ("train/log_px", "val/log_px"),
    "KL": ("train/kl", "val/kl"),
}
_OF_SEVERAL_TYPES = ("trainer.devices", "trainer.precision")  # numbers or text
_THUMBNAIL = 36  # pixels per side; each photometer has a band of a third of the height
_FULL_HEIGHT = 200.0  # counts per sample that fill a band


def add_layout(writer: SummaryWriter) -> None:
    """Lay out charts of the Custom Scalars tab that show training and validation together."""
    charts = {name: ["Multiline", [f"^{tag}$" for tag in tags]] for name, tags in _CHARTS.items()}
    writer.add_custom_scalars({"training and validation": charts})


def add_scores(logger: TensorBoardLogger, settings: Mapping[str, Any], scores: Mapping[str, Any]) -> None:
    """Write a run's settings and scores for the HPARAMS tab.

    The tab cannot show a missing score: if no cluster of labelled frames is noise, noise certainty and recall are 0. It
    sorts runs by a setting only where all have values of one type, or none: null is left out, and lists are text.
    """
    known = {column.name: column.value(scores) for column in score_columns()}
    if scores["purity"] is not None and scores["noise"] is None:  # the frames have labels, but no cluster is noise
        known |= {name: 0.0 for name in known if name.startswith("noise_")}
    # Epochs are written as a score: TensorBoard keeps the first values of settings, and a resumed run may be longer.
    known["epochs"] = scores["epochs"]
    params = {name: _sortable(name, value) for name, value in settings.items() if value is not None}
    logger.log_hyperparams(
        params, {f"score/{name}": float(value) for name, value in known.items() if value is not None}
    )


def _sortable(name: str, value: Any) -> bool | float | str:
    """Return a setting's value as one of the types that TensorBoard has: text where it may be a list or a number."""
    return value if isinstance(value, bool | int | float) and name not in _OF_SEVERAL_TYPES else str(value)


def add_pictures(writer: SummaryWriter, paths: Sequence[Path], step: int) -> None:
    """Write figures, drawn after ``step``, for the Images tab."""
    for path in paths:
        writer.add_image(path.stem, imread(path)[..., :3], step, dataformats="HWC")


def add_projector(writer: SummaryWriter, evaluation: Evaluation) -> None:
    """Write latents with labels, clusters and thumbnails for the Projector tab.

    Nothing is written if the frames have no labels or their latents were not clustered.
    """
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
    """Draw a frame's flux (3, 5000) in uW/m^2 as a small picture (3, 36, 36) of colours from 0 to 1.

    Each photometer has a band, in which heights are logarithms of counts per sample.
    """
    band = _THUMBNAIL // len(flux)
    picture = np.ones((3, _THUMBNAIL, _THUMBNAIL), dtype=np.float32)
    heights = np.arange(band, 0, -1)[:, None] / band
    for number, (light, quantum, colour) in enumerate(zip(flux, FLUX_PER_COUNT, PHOTOMETER_COLOURS, strict=True)):
        columns = np.array([part.max() for part in np.array_split(light / quantum, _THUMBNAIL)])
        lit = heights <= np.log1p(columns) / np.log1p(_FULL_HEIGHT)
        rows = picture[:, number * band : (number + 1) * band]
        rows[:, lit] = np.array(to_rgb(colour), dtype=np.float32)[:, None]
    return picture
