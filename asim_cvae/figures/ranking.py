"""Draw the most interesting frames of a triage, each with its reason."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asim_cvae.archive.reader import read_observation
from asim_cvae.archive.remote import Place
from asim_cvae.base.files import atomic_write
from asim_cvae.base.locks import held_lock
from asim_cvae.figures.styles import PHOTOMETER_COLOURS, in_degrees
from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument.observation import Observation, RejectedFileError
from asim_cvae.instrument.photometers import PHOTOMETERS, SAMPLING_RATE

_MS = 1000 / SAMPLING_RATE
_ROW = 2.1  # inches
_DPI = 110
_LETTERS = 150  # of a line of a title


@dataclass(frozen=True)
class Ranked:
    """A frame to draw.

    Attributes:
        counts: (3, 5000) photon counts.
        frame: its number in its observation.
        title: rank, reason and observation.
    """

    counts: NDArray[np.floating]
    frame: int
    title: str


def draw_top(
    rows: Sequence[Mapping[str, Any]],
    places: Mapping[str, Place],
    out: Path,
    is_judged: Callable[[Observation], bool],
) -> Path | None:
    """Draw the most interesting frames of observations, and return the picture; None if there is nothing to draw.

    Files are read again, as light curves are not kept; those that are no longer there, or are others now, are left out.

    Args:
        rows: observations, rows of the ledger, the most interesting first.
        places: of the files, by name.
        out: folder of the picture.
        is_judged: tells whether an observation that is read again is the one that was judged.
    """
    ranked, simulated = [], False
    for rank, row in enumerate(rows, 1):
        file = row["file"]
        if file in places and row["frame"] is not None:
            with suppress(RejectedFileError):
                observation = read_observation(places[file])
                if is_judged(observation):
                    simulated |= bool(observation.simulator)
                    ranked.append(_ranked(rank, row, observation))
    if not ranked:
        return None
    path = out / f"{'simulated_' if simulated else ''}top.png"
    figure = ranking_figure(ranked, f"The most interesting observations{' (simulated)' if simulated else ''}")
    with held_lock(out / f".{path.name}.lock"), atomic_write(path) as partial:
        figure.savefig(partial, dpi=_DPI, format="png")
    return path


def _ranked(rank: int, row: Mapping[str, Any], observation: Observation) -> Ranked:
    frame = int(row["frame"])
    signs = (("latitude", "NS"), ("longitude", "EW"))
    place = "".join(f", {in_degrees(row[name], both)}" for name, both in signs if row[name] is not None)
    title = f"{rank}. observation {observation.observation_id}, {observation.start}Z{place}: {row['why']}"
    first = frame * FRAME_SAMPLES
    return Ranked(observation.counts[:, first : first + FRAME_SAMPLES], frame, title)


def ranking_figure(frames: Sequence[Ranked], title: str) -> Figure:
    """Draw frames, the most interesting first: a row each, a panel a photometer."""
    figure = Figure(figsize=(13, _ROW * len(frames) + 0.8), layout="constrained")
    rows = figure.subfigures(len(frames), 1, squeeze=False)[:, 0]
    for row, ranked in zip(rows, frames, strict=True):
        row.suptitle("\n".join(textwrap.wrap(ranked.title, _LETTERS)), fontsize=9, x=0.01, ha="left")
        panels = zip(row.subplots(1, len(PHOTOMETERS)), PHOTOMETERS, PHOTOMETER_COLOURS, ranked.counts, strict=True)
        for axis, photometer, colour, counts in panels:
            _draw(axis, counts, ranked.frame, colour)
            axis.set_ylabel(f"{photometer.band}, counts", fontsize=7)
    figure.suptitle(title, fontsize=11)
    return figure


def _draw(axis: Axes, counts: NDArray[np.floating], frame: int, colour: str) -> None:
    """Draw the counts of a frame over its time in the observation."""
    first = frame * FRAME_SAMPLES * _MS
    axis.plot(first + np.arange(counts.size) * _MS, counts, color=colour, linewidth=0.6)
    axis.set_xlim(first, first + counts.size * _MS)
    axis.set_ylim(0, max(1.05 * float(counts.max()), 4.0))
    axis.set_xlabel("time in the observation (ms)", fontsize=7)
    axis.tick_params(labelsize=7)
