"""Write the page on the boundary issue, with its figure and its numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asim_cvae.base.files import atomic_write, write_json
from asim_cvae.base.markdown import markdown_table
from asim_cvae.figures.styles import PHOTOMETER_COLOURS
from asim_cvae.instrument.photometers import PHOTOMETERS
from asim_cvae.studies.boundary.errors import BIN, Errors, means_at_ends
from asim_cvae.studies.boundary.thesis import TRIALS, ThesisErrors

_NEAR = 50  # bins that the figure shows of each end
_NAMES = [photometer.band for photometer in PHOTOMETERS]

ErrorsOfModels = Mapping[str, Mapping[str, Errors]]


def write_report(
    out: Path, errors: ErrorsOfModels, plain: ErrorsOfModels, thesis: ThesisErrors | None, seeds: Sequence[int]
) -> Path:
    """Write ``boundary.md``, ``simulated_boundary.png`` and ``boundary.json`` into ``out``, and return the page."""
    _write_figure(out / "simulated_boundary.png", errors, thesis)
    write_json(out / "boundary.json", {"seeds": list(seeds), **_numbers(errors, thesis), "plain": _of_models(plain)})
    page = out / "boundary.md"
    with atomic_write(page) as partial:
        partial.write_text("\n".join(_lines(errors, plain, thesis, seeds)) + "\n", encoding="utf-8")
    return page


def _numbers(errors: ErrorsOfModels, thesis: ThesisErrors | None) -> dict[str, Any]:
    models = _of_models(errors)
    if thesis is None:
        return {"models": models, "thesis": None}
    trials = {trial: means_at_ends(profiles).tolist() for trial, profiles in thesis.profiles.items()}
    return {"models": models, "thesis": {"weights": list(thesis.names), "first, inside, last": trials}}


def _of_models(errors: ErrorsOfModels) -> dict[str, Any]:
    return {name: {kind: _without_profile(one) for kind, one in kinds.items()} for name, kinds in errors.items()}


def _without_profile(errors: Errors) -> dict[str, float]:
    return {name: value for name, value in vars(errors).items() if name != "profile"}


def _lines(
    errors: ErrorsOfModels, plain: ErrorsOfModels, thesis: ThesisErrors | None, seeds: Sequence[int]
) -> list[str]:
    lines = [
        "# The boundary issue (simulated)",
        "",
        "How far reconstructions lie from the rate that was simulated, at the ends of a frame and inside: the mean of",
        f"|reconstructed - simulated rate| / sqrt(simulated rate) over bins of {BIN} samples. Labelled frames of the",
        f"seeds {', '.join(map(str, seeds))}; background is what is labelled N.",
        "",
        "![errors by place in the frame](simulated_boundary.png)",
    ]
    head = ["model", "frames", "first 50 samples", "inside", "last 50 samples", "worse end / inside"]
    if errors:
        lines += ["", "## Models", "", *markdown_table(head, _model_rows(errors)), ""]
        lines += ["Deviations are those over archives of as many observations, drawn from these with replacement."]
    lines += ["", "## Plain estimates, which have no boundary issue", "", *markdown_table(head, _model_rows(plain))]
    if thesis is not None:
        lines += ["", "## The thesis's weights", "", *_thesis_lines(thesis)]
    return lines


def _model_rows(errors: ErrorsOfModels) -> list[list[str]]:
    return [
        [name, kind, f"{one.first:.3f}", f"{one.inside:.3f}", f"{one.last:.3f}", f"{one.ratio:.2f} ± {one.spread:.2f}"]
        for name, kinds in errors.items()
        for kind, one in kinds.items()
    ]


def _thesis_lines(thesis: ThesisErrors) -> list[str]:
    rows = []
    for trial in TRIALS:
        ends = means_at_ends(thesis.profiles[trial])  # (W, 3, 3)
        for photometer, mean, spread in zip(_NAMES, ends.mean(0), ends.std(0), strict=True):
            cells = [f"{m:.1f} ± {s:.1f}" for m, s in zip(mean, spread, strict=True)]
            rows.append([trial, photometer, *cells])
    head = ["trial", "photometer", "first 50 samples", "inside", "last 50 samples"]
    return [
        f"Background alone; mean and deviation over {len(thesis.names)} networks. Nothing is trained again:",
        "one thing is changed in the decoder, or in the frames.",
        "",
        *markdown_table(head, rows),
    ]


def _write_figure(path: Path, errors: ErrorsOfModels, thesis: ThesisErrors | None) -> None:
    profiles = {name: kinds["background"].profile for name, kinds in errors.items() if "background" in kinds}
    if thesis is not None:
        profiles |= {f"thesis, {trial}": thesis.profiles[trial].mean(0) for trial in TRIALS}
    rows = len(profiles) + 2 * (thesis is not None)
    figure = Figure(figsize=(11, 2.4 * rows), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False)
    for row, (name, profile) in zip(axes, profiles.items(), strict=False):
        _draw_ends(row, name, profile)
    if thesis is not None:
        for row, name, sequence in zip(axes[-2:], ("log alpha", "log beta"), thesis.parameters, strict=True):
            _draw_sequence(row, name, sequence)
    figure.suptitle("Errors at the ends of frames (simulated background)")
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=100, format="png")


def _draw_ends(axes: NDArray[Any], name: str, profile: NDArray[np.float64]) -> None:
    places = BIN * np.arange(profile.shape[1])
    for axis, cut in zip(axes, (slice(_NEAR), slice(-_NEAR, None)), strict=True):
        for photometer, colour, values in zip(_NAMES, PHOTOMETER_COLOURS, profile, strict=True):
            axis.plot(places[cut], values[cut], color=colour, label=photometer)
        axis.set(yscale="log", ylim=(profile.min() / 2, 2 * profile.max()), xlabel="sample of the frame")
    axes[0].set_ylabel("error / sqrt(rate)")
    axes[0].set_title(f"{name}: first samples", fontsize=9)
    axes[1].set_title("last samples", fontsize=9)
    axes[1].legend(fontsize=8)


def _draw_sequence(axes: NDArray[Any], name: str, sequence: NDArray[np.float64]) -> None:
    """Draw a parameter at the two ends of its half of the decoder's sequence."""
    near, values = BIN * _NEAR, sequence.ravel()
    places = np.arange(len(values))
    axis: Axes
    for axis, cut in zip(axes, (slice(near), slice(-near, None)), strict=True):
        axis.plot(places[cut], values[cut], color="black", linewidth=0.8)
        axis.set(xlabel="value of its half of the decoder's sequence", ylim=(values.min() - 0.5, values.max() + 0.5))
    axes[0].set_ylabel(name)
    axes[0].set_title(f"thesis, {name}: where its half begins (337 nm, the frame's last samples)", fontsize=9)
    axes[1].set_title("where it ends (777.4 nm, the frame's first samples)", fontsize=9)
