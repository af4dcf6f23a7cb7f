"""Write the report on the tools that sift observations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from asim_cvae.base.files import atomic_write, write_json
from asim_cvae.studies.triage.pulse_figures import draw_pulses
from asim_cvae.studies.triage.pulse_page import pulse_lines
from asim_cvae.studies.triage.pulse_study import PulseResults


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        name: of the part.
        numbers: what was measured, as plain values.
        lines: Markdown.
        draw: writes the figures into a folder.
    """

    name: str
    numbers: Any
    lines: Sequence[str]
    draw: Callable[[Path], None]


def pulse_section(pulses: PulseResults) -> Section:
    """Return the section on the catalogue of pulses."""
    scores = {
        archive: {name: {seed: asdict(one) for seed, one in by_seed.items()} for name, by_seed in each.items()}
        for archive, each in pulses.scores.items()
    }
    numbers = plain({"scores": scores, "quiet": dict(pulses.quiet)})
    return Section("pulses", numbers, pulse_lines(pulses, ""), lambda out: draw_pulses(out, pulses))


def write_report(out: Path, sections: Sequence[Section]) -> Path:
    """Write ``triage.md``, its numbers ``triage.json`` and its figures into the folder ``out``; returns the page."""
    lines = ["# How well observations are sifted (simulated)"]
    for section in sections:
        section.draw(out)
        lines += ["", *section.lines]
    numbers = {section.name: section.numbers for section in sections}
    write_json(out / "triage.json", {"simulated": True, **numbers})
    page = out / "triage.md"
    with atomic_write(page) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return page


def draw(figures: Mapping[str, Figure]) -> Callable[[Path], None]:
    """Return what writes figures into a folder, by the names of their files."""

    def into(out: Path) -> None:
        for name, figure in figures.items():
            with atomic_write(out / name) as partial:
                figure.savefig(partial, dpi=100, format="png")

    return into


def plain(value: Any) -> Any:
    """Return a value as JSON holds it: keys are text, arrays lists, and what is not a number None."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    return None if isinstance(value, float) and not np.isfinite(value) else value


def mean_and_spread(values: Sequence[float | None], decimals: int = 3) -> str:
    """Write a mean, and of several values their deviation; '-' where none is a number."""
    known = np.array([value for value in values if value is not None and np.isfinite(value)])
    if not known.size:
        return "-"
    mean = f"{known.mean():.{decimals}f}"
    return mean if known.size == 1 else f"{mean} ± {known.std():.{decimals}f}"
