"""Draw the figures of a run, after figures 2, 4, 5, 6 and 7 of Joergensen 2021, into its folder ``figures/``."""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from asim_cvae.base.files import atomic_write
from asim_cvae.base.progress import track
from asim_cvae.figures.panels import (
    Groups,
    LatentMap,
    edges_figure,
    frames_figure,
    latent_maps_figure,
    observation_figure,
    reconstruction_figure,
    training_figure,
)
from asim_cvae.frames.representation import Representation
from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument.classes import CLASS_NAMES, CLASSES
from asim_cvae.instrument.photometers import PHOTOMETERS
from asim_cvae.model.module import CVAEModule
from asim_cvae.runs.folder import FIGURES, METRICS, read_metrics
from asim_cvae.scoring.evaluation import Evaluation, reconstruct
from asim_cvae.scoring.table import describe_data, is_simulated, percent

log = logging.getLogger(__name__)

_CURVES = {"log_px": "log p(x|z)", "kl": "KL", "elbo": "ELBO"}
_EDGES = ((20, 5), (10, 5), (10, 10))
"""Samples left out at start and end of each photometer, in the input's order of time (Joergensen 2021, fig. 6)."""

_PERPLEXITY = 30  # of t-SNE, the default of scikit-learn
_MOST_MAPPED = 5000  # frames, for which t-SNE takes about a minute


class Pictures:
    """The figures of an evaluation.

    Args:
        evaluation: the scored frames.
        module: the module that encoded them.
        representation: representation of its input.
        experiment: name of the experiment, for the titles.
    """

    def __init__(
        self, evaluation: Evaluation, module: CVAEModule, representation: Representation, experiment: str
    ) -> None:
        self.evaluation = evaluation
        self.frames = evaluation.frames
        self.module = module
        self.representation = representation
        simulated = is_simulated(self.frames.data)
        self.kind = "simulated" if simulated else "measured"
        self.prefix = "simulated_" if simulated else ""
        self.source = f"{experiment}\n{describe_data(self.frames.data)}"

    def write(self, folder: Path, most: int) -> list[Path]:
        """Draw all figures into ``folder/figures``, and delete the figures of an earlier evaluation there.

        Args:
            folder: the run folder.
            most: number of frames whose reconstructions are drawn if there are no labelled clusters.

        Returns:
            Paths of the figures.
        """
        for path in (folder / FIGURES).glob("*.png"):
            path.unlink()
        figures = track(list(self._figures(most)), "drawing", "picture")
        return [_save(folder / FIGURES / f"{self.prefix}{name}.png", draw()) for name, draw in figures]

    def write_training_curves(self, folder: Path) -> list[Path]:
        """Draw ``training.png`` from the folder's ``metrics.csv``, and return its path; [] if there are no metrics."""
        rows = read_metrics(folder / METRICS)
        if not rows:
            return []
        curves = {
            name: {
                split: [(int(row["epoch"]), float(row[key])) for row in rows if row.get(key)]
                for split in ("train", "val")
                for key in (f"{split}/{quantity}",)
            }
            for quantity, name in _CURVES.items()
        }
        figure = training_figure(curves, self.source)
        return [_save(folder / FIGURES / f"{self.prefix}training.png", figure)]

    def _figures(self, most: int) -> Iterator[tuple[str, Callable[[], Figure]]]:
        """Yield the name of each figure that can be drawn, and the function that draws it."""
        if len(self.frames.file):
            yield "observation", self._observation
            yield "reconstruction_edges", self._edges
        if self.frames.labels is not None:
            yield "classes", self._classes
        clustering = self.evaluation.clustering
        frames, latent_dim = self.evaluation.latents.shape
        if clustering is not None and frames > len(clustering.centres) > 1 and latent_dim > 1:
            yield "latent_map", self._latent_map
        for name, row in self._rows_to_draw(most).items():
            yield name, lambda row=row: self._reconstruction(row)  # type: ignore[misc]

    def _rows_to_draw(self, most: int) -> dict[str, int]:
        """Return the rows of the frames whose reconstructions are drawn, by the names of the figures.

        They are, for each labelled cluster, the frame nearest to its centre; without them, the first ``most`` frames.
        """
        frames = self.frames
        clustering = self.evaluation.clustering
        if frames.labels is None or clustering is None:
            if len(frames.file) > most:
                log.info("%d of %d frames drawn; figures=N draws more", most, len(frames.file))
            rows = range(min(most, len(frames.file)))
            return {f"{Path(frames.file[row]).stem}_frame{frames.frame[row]}": row for row in rows}
        return {
            f"cluster{number}_sample": self._nearest(self.evaluation.assignment == number, centre)
            for number, centre in enumerate(clustering.centres)
        }

    def _nearest(self, members: NDArray[np.bool_], centre: NDArray[np.floating[Any]]) -> int:
        """Return the row of the member whose latents are nearest to ``centre``."""
        distance = np.linalg.norm(self.evaluation.latents - centre, axis=1)
        return int(np.where(members, distance, np.inf).argmin())

    def _typical(self) -> dict[str, int]:
        """Return, for each label that occurs, the row of the frame nearest to the mean latents of that label."""
        label, latents = self.frames.label, np.nan_to_num(self.evaluation.latents)
        present = [name for name in CLASSES if (label == name).any()]
        return {name: self._nearest(label == name, latents[label == name].mean(axis=0)) for name in present}

    def _classes(self) -> Figure:
        """Draw a frame of each class (fig. 4)."""
        columns = {
            f"{name}: {CLASS_NAMES[name]}\n{self.kind}": self.frames.dataset.flux(row)
            for name, row in self._typical().items()
        }
        return frames_figure(columns, f"One frame of each class\n{self.source}")

    def _observation(self) -> Figure:
        """Draw the observation with the most different labels, or the first one if there are no labels (fig. 2)."""
        labels: dict[str, set[str]] = {}
        for file, label in zip(self.frames.file, self.frames.label, strict=True):
            labels.setdefault(str(file), set()).add(str(label))
        rows = np.flatnonzero(self.frames.file == max(labels, key=lambda file: len(labels[file])))
        numbers = self.frames.frame[rows]
        flux = np.full((len(PHOTOMETERS), (numbers.max() + 1) * FRAME_SAMPLES), np.nan, dtype=np.float32)
        names = [""] * (int(numbers.max()) + 1)
        for row, number in zip(rows, numbers, strict=True):
            flux[:, number * FRAME_SAMPLES : (number + 1) * FRAME_SAMPLES] = self.frames.dataset.flux(int(row))
            names[number] = f"{self.frames.label[row]}\ncluster {self.evaluation.assignment[row]}"
        title = f"A whole observation: {self.frames.file[rows[0]]}\n{self.source}"
        return observation_figure(flux, names, title)

    def _edges(self) -> Figure:
        """Draw a reconstruction with and without its edges (fig. 6)."""
        row = next(iter(self._typical().values()), 0)
        edges = [(last, first) if self.representation.time_reversed else (first, last) for first, last in _EDGES]
        reconstruction = reconstruct(self.module, self.frames.dataset[row], self.representation)
        return edges_figure(self.frames.dataset.flux(row), reconstruction, edges, self.kind, self._title(row))

    def _reconstruction(self, row: int) -> Figure:
        """Draw a frame beside its reconstruction (fig. 7)."""
        reconstruction = reconstruct(self.module, self.frames.dataset[row], self.representation)
        return reconstruction_figure(self.frames.dataset.flux(row), reconstruction, self.kind, self._title(row))

    def _title(self, row: int) -> str:
        frames, cluster = self.frames, int(self.evaluation.assignment[row])
        label = f", labelled {frames.label[row]}" if frames.label[row] else ""
        within = f", {self._cluster_names()[cluster]}" if cluster >= 0 else ""
        return f"{self.source}\n{frames.file[row]}\nframe {frames.frame[row]}{label}{within}"

    def _latent_map(self) -> Figure:
        """Draw the first two principal components and t-SNE of the latents, by cluster and by label (fig. 5)."""
        rows = self._rows_to_map()
        latents = self.evaluation.latents[rows].astype(np.float64)
        components = PCA(2, random_state=0).fit(latents)
        first, second = (f"component {i + 1} ({percent(r)} % of variance)"
                         for i, r in enumerate(components.explained_variance_ratio_))  # fmt: skip
        perplexity = min(_PERPLEXITY, (len(latents) - 1) / 3)
        neighbours = TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(latents)
        maps = [
            LatentMap("principal components", components.transform(latents), (first, second)),
            LatentMap("t-SNE", neighbours, ("t-SNE 1", "t-SNE 2")),
        ]
        title = f"Latents of {len(latents)} of {len(self.evaluation.latents)} frames\n{self.source}"
        return latent_maps_figure(maps, self._colourings(rows), title)

    def _rows_to_map(self) -> NDArray[np.int64]:
        """Return the rows of all frames, or of a random sample if t-SNE would take long."""
        frames = len(self.evaluation.latents)
        return np.sort(np.random.default_rng(0).permutation(frames)[:_MOST_MAPPED])

    def _colourings(self, rows: NDArray[np.int64]) -> Mapping[str, Groups]:
        assignment = self.evaluation.assignment[rows]
        clusters = {name: assignment == number for number, name in self._cluster_names().items()}
        if self.frames.labels is None:
            return {"cluster": clusters}
        labels = self.frames.labels[rows]
        return {"cluster": clusters, "label": {name: labels == name for name in CLASSES}}

    def _cluster_names(self) -> dict[int, str]:
        return {
            c.cluster: f"cluster {c.cluster}" + ("" if c.certainty is None else f": {c.label} {percent(c.certainty)} %")
            for c in self.evaluation.scores.clusters
        }


def _save(path: Path, figure: Figure) -> Path:
    with atomic_write(path) as partial:
        figure.savefig(partial, format="png", dpi=130)
    return path
