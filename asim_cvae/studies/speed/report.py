"""Report measurements as Markdown and JSON."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from asim_cvae.base.files import atomic_write, write_json
from asim_cvae.base.markdown import markdown_table
from asim_cvae.studies.speed.cases import Measurement
from asim_cvae.studies.speed.measure import Result


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        title: its title.
        note: sentences on how it was measured.
        columns: headings of the columns.
        rows: rows of text.
    """

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


Report = tuple[list[Table], list[Result] | list[Measurement]]
"""Tables of a part of the benchmark, and the measurements behind them."""


def ratio_table(title: str, note: str, results: Sequence[Result], unit: str, amount: float = 1.0) -> Table:
    """Make a table of times, rates and ratios.

    Args:
        title: title of the table.
        note: sentences on how it was measured.
        results: results, the reference first.
        unit: unit of the work, such as "frames".
        amount: work of a case in this unit; with 1, rates are not shown.
    """
    rows = []
    for result in results:
        seconds, ratios = result.median(), result.ratios
        rate = f"{amount / seconds:,.1f}" if amount != 1 else ""
        ratio, spread = f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f}-{max(ratios):.2f}"
        rows.append((result.name, f"{1e3 * seconds:,.1f}", rate, ratio, spread))
    return Table(title, note, ("", "ms", f"{unit}/s", "speed, ratio to the first", "spread"), rows)


def growth_table(title: str, note: str, columns: Sequence[str], rows: Sequence[Sequence[float | str]]) -> Table:
    """Make a table of numbers, one row per size, or per stage that a word names."""
    return Table(title, note, columns, [[_cell(value) for value in row] for row in rows])


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.4g}"


def machine() -> str:
    """Describe processor, GPU and software in one line."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        name = models[0] if models else name
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    software = f"{platform.system()}, Python {platform.python_version()}, torch {torch.__version__}"
    return f"{os.cpu_count()} cores, {name}; {device}; {software}"


def as_markdown(tables: Sequence[Table], where: str) -> str:
    """Format the report in Markdown; ``where`` describes the machine."""
    lines = ["# Speed", "", f"Measured on {where}.", ""]
    for table in tables:
        lines += [f"## {table.title}", "", table.note, "", *markdown_table(table.columns, table.rows), ""]
    return "\n".join(lines)


def write_report(folder: Path, tables: Sequence[Table], results: Mapping[str, Sequence[Result | Measurement]]) -> None:
    """Write ``bench.md``, and ``bench.json`` with every measurement, into ``folder``."""
    where = machine()
    with atomic_write(folder / "bench.md") as partial:
        partial.write_text(as_markdown(tables, where), encoding="utf-8")
    measured: dict[str, Any] = {
        part: [asdict(one) if isinstance(one, Result) else one for one in own] for part, own in results.items()
    }
    write_json(folder / "bench.json", {"machine": where, "measurements": measured})
