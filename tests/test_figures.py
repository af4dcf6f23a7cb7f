"""Tests of the figures: what is drawn, in which colours, and what the pictures say."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from asim_cvae.data.datamodule import ScoredFrames
from asim_cvae.figures.averages import aligned_mean, brightest_millisecond
from asim_cvae.figures.panels import (
    Group,
    LatentMap,
    Tag,
    edges_figure,
    latent_maps_figure,
    observation_figure,
    reconstruction_figure,
)
from asim_cvae.figures.pictures import Pictures
from asim_cvae.figures.styles import CLASS_STYLES, PHOTOMETER_COLOURS, cluster_style
from asim_cvae.frames.representation import LinearScaling
from asim_cvae.instrument.classes import CLASSES
from asim_cvae.runs.folder import write_metrics
from asim_cvae.scoring.clusters import ClusteringProtocol, score_clusters
from asim_cvae.scoring.evaluation import Evaluation, FramePosteriors
from asim_cvae.scoring.scores import Scores

SAMPLES = 5000


def test_no_colour_or_mark_stands_for_a_class_and_a_cluster() -> None:
    classes, clusters = list(CLASS_STYLES.values()), [cluster_style(number) for number in range(56)]
    assert tuple(CLASS_STYLES) == CLASSES
    for name, repeated in (("colour", 8), ("marker", 7)):
        of_classes, of_clusters = ({getattr(style, name) for style in group} for group in (classes, clusters))
        assert len(of_classes) == len(CLASSES)
        assert len(of_clusters) == repeated
        assert not of_classes & of_clusters
    assert len(set(clusters)) == 56


def test_a_map_draws_each_group_in_its_style() -> None:
    points = np.arange(10.0).reshape(5, 2)
    labels = {name: Group(np.arange(5) == i, CLASS_STYLES[name]) for i, name in enumerate(CLASSES)}
    clusters = {"cluster 3": Group(np.arange(5) < 2, cluster_style(3))}
    figure = latent_maps_figure([LatentMap("map", points, ("x", "y"))], {"cluster": clusters, "label": labels}, "t")
    by_cluster, by_label = figure.axes
    drawn = {c.get_label(): (to_hex(c.get_facecolor()[0]), c.get_offsets().tolist()) for c in by_label.collections}
    assert drawn == {name: (CLASS_STYLES[name].colour.lower(), [[2 * i, 2 * i + 1]]) for i, name in enumerate(CLASSES)}
    assert to_hex(by_cluster.collections[0].get_facecolor()[0]) == cluster_style(3).colour.lower()
    assert by_cluster.collections[0].get_offsets().tolist() == [[0, 1], [2, 3]]


def _frame() -> np.ndarray:
    flux = np.zeros((3, SAMPLES))
    flux[:, 1000] = 10.0, 0.05, 2.0
    return flux


def test_a_reconstruction_lies_over_its_frame_and_says_where_it_leaves_the_axis() -> None:
    flux = _frame()
    reconstruction = np.stack([np.full(SAMPLES, 112.0), np.full(SAMPLES, 0.01), np.full(SAMPLES, np.nan)])
    reconstruction[0, 7] = 1230.4
    figure = reconstruction_figure(flux, reconstruction, "measured", "title")
    rows = np.array(figure.axes).reshape(3, 2)
    for (left, right), light, decoded, colour in zip(rows, flux, reconstruction, PHOTOMETER_COLOURS, strict=True):
        assert left.get_ylim() == right.get_ylim() == pytest.approx((0, 1.1 * light.max()))
        np.testing.assert_array_equal(left.lines[0].get_ydata(), light)
        below, above = right.lines
        np.testing.assert_array_equal(below.get_ydata(), light)
        np.testing.assert_array_equal(above.get_ydata(), decoded)
        assert (below.get_color(), above.get_color()) == ("0.75", colour)
    assert [right.get_title() for _, right in rows] == [
        "reconstruction: median 112, largest 1,230 µW/m²; the axis ends at 11",
        "",
        "reconstruction: not finite",
    ]


def test_a_reconstruction_without_its_edges_has_the_axis_of_its_frame() -> None:
    reconstruction = np.full((3, SAMPLES), 0.01)
    reconstruction[:, :20] = 500.0
    figure = edges_figure(_frame(), reconstruction, [(20, 5), (20, 5), (10, 5)], "measured", "title")
    (_, whole, cut), _, (_, _, short) = np.array(figure.axes).reshape(3, 3)
    assert whole.get_ylim()[1] == pytest.approx(550)
    assert cut.get_ylim()[1] == pytest.approx(11)
    drawn = cut.lines[1].get_ydata()
    np.testing.assert_array_equal(np.isfinite(drawn), (np.arange(SAMPLES) >= 20) & (np.arange(SAMPLES) < SAMPLES - 5))
    assert cut.get_title() == "20 samples left out at the start, 5 at the end"
    assert short.get_title().splitlines()[1] == ("reconstruction: median 0.01, largest 500 µW/m²; the axis ends at 2.2")


def test_frames_of_an_observation_carry_the_marks_of_their_class_and_cluster() -> None:
    tags = {
        "label": [Tag("N", CLASS_STYLES["N"]), Tag("", None)],
        "cluster": [Tag("4", cluster_style(4)), Tag("", None)],
    }
    figure = observation_figure(np.ones((3, 2 * SAMPLES)), tags, "title")
    assert [text.get_text() for text in figure.axes[0].texts] == ["cluster ", "4", "", "label ", "N", ""]
    marks = [(line.get_color(), line.get_marker()) for line in figure.axes[0].lines if line.get_marker() != "None"]
    assert marks == [(style.colour, style.marker) for style in (cluster_style(4), CLASS_STYLES["N"])]


def _pulses() -> tuple[list[np.ndarray], list[int]]:
    """Three noisy frames with a pulse of a millisecond in one photometer each, and the middles of the pulses."""
    rng = np.random.default_rng(5)
    middles, heights = [400, 2500, 4100], [3.0, 0.05, 60.0]
    frames = []
    for photometer, (middle, height) in enumerate(zip(middles, heights, strict=True)):
        flux = rng.poisson(2.0, (3, SAMPLES)) * np.array([[0.1], [0.002], [2.0]])
        flux[photometer, middle - 50 : middle + 50] += height
        frames.append(flux)
    return frames, middles


def test_the_brightest_millisecond_is_found_in_whichever_photometer_it_is() -> None:
    frames, middles = _pulses()
    assert [brightest_millisecond(flux) for flux in frames] == pytest.approx(middles, abs=3)
    assert brightest_millisecond(np.ones((3, SAMPLES))) == SAMPLES // 2


def test_frames_are_averaged_over_what_is_there_once_they_are_shifted() -> None:
    frames, _ = _pulses()
    wide = np.full((3, 3, 3 * SAMPLES), np.nan)  # frame, photometer, sample
    for row, flux in zip(wide, frames, strict=True):
        first = SAMPLES + SAMPLES // 2 - brightest_millisecond(flux)
        row[:, first : first + SAMPLES] = flux
    expected = np.nanmean(wide[:, :, SAMPLES : 2 * SAMPLES], axis=0)
    np.testing.assert_allclose(aligned_mean(iter(frames)), expected)
    alone = aligned_mean(frames[:1])
    np.testing.assert_array_equal(np.isnan(alone).all(axis=0), np.arange(SAMPLES) < 2500 - _middle_of(frames[0]))
    with pytest.raises(ValueError, match="no frame to average"):
        aligned_mean([])


def _middle_of(flux: np.ndarray) -> int:
    """The middle of the brightest 100 samples, found by trying all."""
    scaled = (flux / flux.std(axis=1, keepdims=True)).sum(axis=0)
    return 50 + max(range(SAMPLES - 99), key=lambda first: scaled[first : first + 100].sum())


class _Frames:
    """Stands for a dataset whose frames need no store."""

    def __init__(self, fluxes: list[np.ndarray]) -> None:
        self.fluxes = fluxes

    def flux(self, row: int) -> np.ndarray:
        return self.fluxes[row]

    def __getitem__(self, row: int) -> np.ndarray:
        return self.fluxes[row]


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> Pictures:
    """Pictures of six labelled frames of two observations, of which one has neither time nor place."""
    monkeypatch.setattr("asim_cvae.figures.pictures.reconstruct", lambda module, x, representation: x)
    labels = np.array(["N", "N", "N", "HCHA", "HCHA", "N"])
    latents = np.repeat([[0.0], [5.0]], 3, axis=0) + np.arange(6)[:, None] / 100
    frames = ScoredFrames(
        dataset=_Frames(_pulses()[0] * 2),
        file=np.repeat(["a.fits", "b.fits"], 3),
        observation_id=np.repeat([17, 0], 3),
        frame=np.array([1, 2, 3, 0, 1, 2], dtype=np.int32),
        time_utc=np.array(["2019-01-03T14:08:00.050", "2019-01-03T14:08:00.100", *["NaT"] * 4], dtype="M8[us]"),
        latitude=np.repeat([-12.34, np.nan], 3),
        longitude=np.repeat([345.0, np.nan], 3),
        label=labels,
        data={"kind": "mmia", "name": "real", "version": "", "digest": "0123abcd"},
    )
    protocol = ClusteringProtocol(clusters=2)
    clustering = protocol.cluster(latents)
    scores = Scores(**vars(score_clusters(latents, clustering, labels)))
    posterior = FramePosteriors(latents, latents, latents, np.zeros(6), np.zeros(6))
    evaluation = Evaluation(frames, posterior, latents, clustering, scores, protocol, "cpu", "one number")
    return Pictures(evaluation, None, LinearScaling(), "mine")


def _titles(paths: list[Path]) -> dict[str, list[str]]:
    """The lines of the titles of pictures, by their names."""
    titles = {}
    for path in paths:
        with Image.open(path) as image:
            titles[path.stem] = image.info["Title"].splitlines()
    return titles


def test_titles_begin_with_the_frame_and_end_with_the_data(pictures: Pictures, tmp_path: Path) -> None:
    titles = _titles(pictures.write(tmp_path, 3))
    noise, events = pictures.evaluation.assignment[[0, 3]]
    samples = {f"cluster{noise}_sample", f"cluster{events}_sample"}
    assert set(titles) == {"observation", "reconstruction_edges", "classes", "clusters"} | samples  # one latent: no map
    source = "experiment mine, MMIA data real"
    assert {lines[-1] for lines in titles.values()} == {source}
    assert titles[f"cluster{noise}_sample"] == [
        "a.fits",
        f"frame 2, labelled N, cluster {noise}: N 100 %",
        "2019-01-03 14:08:00.100 UTC, ISS at 12.3° S, 15.0° W",
        source,
    ]
    assert titles[f"cluster{events}_sample"] == [
        *("b.fits", f"frame 1, labelled HCHA, cluster {events}: HCHA 66 %", source),
    ]
    assert titles["observation"] == ["b.fits", "whole observation", source]


def test_an_observation_has_the_time_of_its_first_sample(pictures: Pictures, tmp_path: Path) -> None:
    pictures.frames.label[3:] = "N"  # so that the first observation is drawn, whose first frame is missing
    titles = _titles(pictures.write(tmp_path, 3))
    time = "whole observation, 2019-01-03 14:08:00.000 UTC, ISS at 12.3° S, 15.0° W"
    assert titles["observation"][:2] == ["a.fits", time]


def test_mean_frames_are_headed_by_cluster_label_and_number_of_frames(pictures: Pictures) -> None:
    figure = dict(pictures._figures(3))["clusters"]()
    first, second = np.array(figure.axes).reshape(3, 2)[0]
    names = {cluster.cluster: f"{cluster.label}" for cluster in pictures.evaluation.scores.clusters}
    shares = {"N": "100", "HCHA": "66"}
    for number, axis in enumerate((first, second)):
        assert axis.get_title() == f"cluster {number}: {names[number]} {shares[names[number]]} %\n3 frames"
        members = np.flatnonzero(pictures.evaluation.assignment == number)
        mean = aligned_mean(pictures.frames.dataset.flux(row) for row in members)
        time, light = axis.lines[0].get_data()
        np.testing.assert_array_equal(light, mean[0])
        assert time[SAMPLES // 2] == pytest.approx(0)
        assert axis.lines[-1].get_marker() == cluster_style(number).marker
    assert "frames are shifted so that the brightest millisecond" in figure.get_suptitle()


def test_training_curves_say_where_validation_falls(pictures: Pictures, tmp_path: Path) -> None:
    rows = [
        {"epoch": str(epoch), "train/elbo": str(epoch), "val/elbo": str(-abs(epoch - 11)), "val/kl": ""}
        for epoch in range(30)
    ]
    write_metrics(tmp_path / "metrics.csv", rows)
    told = "validation is best after epoch 12 and falls since, while training rises: "
    told += "the network learns its training frames by heart"
    source = "experiment mine, MMIA data real"
    assert _titles(pictures.write_training_curves(tmp_path)) == {"training": ["Training", source, told]}
    write_metrics(tmp_path / "metrics.csv", rows[:14])  # the best epochs are among the last
    assert _titles(pictures.write_training_curves(tmp_path)) == {"training": ["Training", source]}
