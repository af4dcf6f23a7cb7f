"""Draw the figures of a run, most after figures 2, 4, 5, 6 and 7 of Joergensen 2021, into its folder ``figures/``."""

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
from asim_cvae.figures.averages import aligned_mean
from asim_cvae.figures.panels import (
    Column,
    Group,
    Groups,
    LatentMap,
    Tag,
    edges_figure,
    frames_figure,
    latent_maps_figure,
    observation_figure,
    reconstruction_figure,
    training_figure,
)
from asim_cvae.figures.styles import CLASS_STYLES, cluster_style, in_degrees
from asim_cvae.frames.representation import Representation
from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument.classes import CLASS_NAMES, CLASSES
from asim_cvae.instrument.photometers import PHOTOMETERS, SAMPLE_PERIOD_US
from asim_cvae.model.module import CVAEModule
from asim_cvae.runs.curves import read_curve, tell_overfitting
from asim_cvae.runs.folder import FIGURES, METRICS, read_metrics
from asim_cvae.scoring.evaluation import Evaluation, reconstruct
from asim_cvae.scoring.table import describe_data, is_simulated, percent

log = logging.getLogger(__name__)

_CURVES = {"log_px": "log p(x|z)", "kl": "KL", "elbo": "ELBO"}
_EDGES = ((20, 5), (10, 5), (10, 10))
"""Samples left out at start and end of each photometer, in the input's order of time (Joergensen 2021, fig. 6)."""

_PERPLEXITY = 30  # of t-SNE, the default of scikit-learn
_MOST_MAPPED = 5000  # frames, for which t-SNE takes about a minute
_MOST_AVERAGED = 1000  # frames of a cluster, which are read one by one
_FRAME = np.timedelta64(FRAME_SAMPLES * SAMPLE_PERIOD_US, "us")


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
        self.source = f"experiment {experiment}, {describe_data(self.frames.data)}"

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
                split: read_curve(rows, f"{prefix}/{quantity}")
                for prefix, split in {"train": "training", "val": "validation"}.items()
            }
            for quantity, name in _CURVES.items()
        }
        told = tell_overfitting(rows)
        figure = training_figure(curves, f"Training\n{self.source}" + (f"\n{told}" if told else ""))
        return [_save(folder / FIGURES / f"{self.prefix}training.png", figure)]

    def _figures(self, most: int) -> Iterator[tuple[str, Callable[[], Figure]]]:
        """Yield the name of each figure that can be drawn, and the function that draws it."""
        if len(self.frames.file):
            yield "observation", self._observation
            yield "reconstruction_edges", self._edges
        if self.frames.labels is not None:
            yield "classes", self._classes
        if self.evaluation.scores.clusters:
            yield "clusters", self._clusters
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
        columns = [
            Column(
                self.frames.dataset.flux(row),
                "\n".join([f"{name}: {CLASS_NAMES[name]}", self._short_name(row), *self._when_and_where(row)]),
                CLASS_STYLES[name],
            )
            for name, row in self._typical().items()
        ]
        title = (
            f"A frame of each class, {self.kind}: the one nearest to the mean description of its class\n{self.source}"
        )
        return frames_figure(columns, title)

    def _clusters(self) -> Figure:
        """Draw the mean frame of each cluster."""
        columns = []
        for number, name in self._cluster_names().items():
            members = np.flatnonzero(self.evaluation.assignment == number)
            rows = np.sort(np.random.default_rng(0).permutation(members)[:_MOST_AVERAGED])
            mean = aligned_mean(self.frames.dataset.flux(int(row)) for row in rows)
            count = f"{len(members)} frames" if len(rows) == len(members) else f"{len(rows)} of {len(members)} frames"
            columns.append(Column(mean, f"{name}\n{count}", cluster_style(number)))
        title = (
            f"Mean frame of each cluster, {self.kind}: frames are shifted so that the brightest millisecond of the sum "
            f"of the photometers,\neach divided by its standard deviation, lies at 0\n{self.source}"
        )
        first_ms = -FRAME_SAMPLES // 2 * SAMPLE_PERIOD_US / 1000
        return frames_figure(columns, title, "time from the brightest ms (ms)", first_ms)

    def _observation(self) -> Figure:
        """Draw the observation with the most different labels, or the first one if there are no labels (fig. 2)."""
        labels: dict[str, set[str]] = {}
        for file, label in zip(self.frames.file, self.frames.label, strict=True):
            labels.setdefault(str(file), set()).add(str(label))
        rows = np.flatnonzero(self.frames.file == max(labels, key=lambda file: len(labels[file])))
        numbers = self.frames.frame[rows]
        flux = np.full((len(PHOTOMETERS), (numbers.max() + 1) * FRAME_SAMPLES), np.nan, dtype=np.float32)
        frames = int(numbers.max()) + 1
        labels_drawn, clusters_drawn = [Tag("", None)] * frames, [Tag("", None)] * frames
        for row, number in zip(rows, numbers, strict=True):
            flux[:, number * FRAME_SAMPLES : (number + 1) * FRAME_SAMPLES] = self.frames.dataset.flux(int(row))
            labels_drawn[number] = _label_tag(str(self.frames.label[row]))
            clusters_drawn[number] = _cluster_tag(int(self.evaluation.assignment[row]))
        tags = {"frame": [Tag(str(k), None) for k in range(frames)]}
        if self.frames.labels is not None:
            tags["label"] = labels_drawn
        tags["cluster"] = clusters_drawn
        since = self._when_and_where(int(rows[0]), self.frames.time_utc[rows[0]] - numbers[0] * _FRAME)
        title = "\n".join([str(self.frames.file[rows[0]]), ", ".join(["whole observation", *since]), self.source])
        return observation_figure(flux, tags, title)

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
        lines = [f"{frames.file[row]}", f"frame {frames.frame[row]}{label}{within}"]
        return "\n".join([*lines, *filter(None, [", ".join(self._when_and_where(row))]), self.source])

    def _short_name(self, row: int) -> str:
        """Name a frame by its observation's number, or its file if that has none."""
        number = self.frames.observation_id[row]
        observation = f"observation {number}" if number else Path(self.frames.file[row]).stem
        return f"{observation}, frame {self.frames.frame[row]}"

    def _when_and_where(self, row: int, time: np.datetime64 | None = None) -> list[str]:
        """Return, as far as they are known, the time of a frame's first sample, or another, and where the ISS was."""
        time = self.frames.time_utc[row] if time is None else time
        latitude, longitude = float(self.frames.latitude[row]), float(self.frames.longitude[row])
        when = [] if np.isnat(time) else [f"{np.datetime_as_string(time, unit='ms').replace('T', ' ')} UTC"]
        where = [f"ISS at {in_degrees(latitude, 'NS')}, {in_degrees(longitude, 'EW')}"]
        return [*when, *(where if np.isfinite([latitude, longitude]).all() else [])]

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
        described = self.evaluation.described_by
        title = f"{len(latents)} of {len(self.evaluation.latents)} frames, described by: {described}\n{self.source}"
        return latent_maps_figure(maps, self._colourings(rows), title)

    def _rows_to_map(self) -> NDArray[np.int64]:
        """Return the rows of all frames, or of a random sample if t-SNE would take long."""
        frames = len(self.evaluation.latents)
        return np.sort(np.random.default_rng(0).permutation(frames)[:_MOST_MAPPED])

    def _colourings(self, rows: NDArray[np.int64]) -> Mapping[str, Groups]:
        assignment = self.evaluation.assignment[rows]
        names = self._cluster_names()
        clusters = {name: Group(assignment == number, cluster_style(number)) for number, name in names.items()}
        if self.frames.labels is None:
            return {"cluster": clusters}
        labels = self.frames.labels[rows]
        return {"cluster": clusters, "label": {name: Group(labels == name, CLASS_STYLES[name]) for name in CLASSES}}

    def _cluster_names(self) -> dict[int, str]:
        return {
            c.cluster: f"cluster {c.cluster}" + ("" if c.certainty is None else f": {c.label} {percent(c.certainty)} %")
            for c in self.evaluation.scores.clusters
        }


def _label_tag(label: str) -> Tag:
    return Tag(label, CLASS_STYLES.get(label))


def _cluster_tag(number: int) -> Tag:
    return Tag(str(number), cluster_style(number)) if number >= 0 else Tag("", None)


def _save(path: Path, figure: Figure) -> Path:
    """Save a figure; its title is kept as text in the PNG."""
    with atomic_write(path) as partial:
        figure.savefig(partial, format="png", dpi=130, metadata={"Title": figure.get_suptitle()})
    return path
