"""Scores of many runs as the thesis's Table 1, beside what it published: as Markdown, LaTeX and CSV."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

from asim_cvae.base.markdown import markdown_table
from asim_cvae.instrument.classes import NOISE
from asim_cvae.scoring.published import PublishedRow
from asim_cvae.scoring.scores import ScoreColumn, score_columns
from asim_cvae.scoring.table import DEAD, cut_digits, describe_data, is_simulated, percent

DEAD_MARK = "†"
"""Stands beside a run whose latents are all dead, and before the note that says so."""


def table1_columns() -> list[ScoreColumn]:
    """What is compared beyond the clusters."""
    return [column for column in score_columns() if column.in_table1]


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, what its ``scores.json`` holds, and its settings by dotted name."""

    folder: str
    scores: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def data(self) -> str:
        """Its data in words."""
        data = self.scores["data"]
        return f"{describe_data(data)}, scored frames {data['digest']}"

    @property
    def compared(self) -> dict[str, float | None]:
        """Its scores by the names of :func:`table1_columns`, None where it has no such score."""
        return {column.name: column.value(self.scores) for column in table1_columns()}

    @property
    def is_dead(self) -> bool:
        """Whether none of its latents varies over frames."""
        return bool(self.scores["dead"])


@dataclass(frozen=True)
class Cell:
    """One cluster; ``best`` marks the noise cluster with the highest certainty."""

    label: str
    certainty: float | None
    mdcc: float
    best: bool


@dataclass(frozen=True)
class Line:
    """One line: ``source`` says whether it was published, is a run's, or a mean over seeds with its ``spread``."""

    experiment: str
    source: str
    epochs: int
    data: str
    clusters: Sequence[Cell]
    scores: Mapping[str, float | None]
    spread: Mapping[str, float | None] = field(default_factory=dict)
    counted: Mapping[str, str] = field(default_factory=dict)
    """Of a mean, how many of the seeds have the score, where not all do."""
    is_dead: bool = False


@dataclass(frozen=True)
class Table:
    """Lines in order, and what is to be known of all."""

    lines: Sequence[Line]
    notes: Sequence[str]
    excluded: Sequence[str]
    """Runs that are another's repetition."""
    footnote: str | None = None
    """What the mark beside dead runs means, where there are any."""


def build_table(runs: Sequence[Run], published: Sequence[PublishedRow]) -> Table:
    """Runs by experiment in the published order, those that differ in their seeds alone together.

    ``published`` may be empty. Runs of one experiment that differ in other settings are named by these; of runs that
    differ in nothing the first counts.
    """
    groups: dict[tuple[str, int, str], dict[int | None, Run]] = {}
    excluded = []
    for run, name in zip(runs, _names(runs), strict=True):
        members = groups.setdefault((name, run.scores["epochs"] or 0, run.data), {})
        first = members.setdefault(run.scores["seed"], run)
        if first is not run:
            excluded.append(f"{run.folder}: the same run as {first.folder}")
    lines: list[Line] = []
    for key in sorted(groups, key=lambda key: (_place(key[0], published), key)):
        found = sorted(groups[key].values(), key=lambda run: (run.scores["seed"] is not None, run.scores["seed"]))
        lines += [_published_line(row) for row in published if found[0].scores["experiment"] in _known_as(row)]
        lines += [_run_line(key[0], run) for run in found]
        seeded = [run for run in found if run.scores["seed"] is not None]
        if len(seeded) > 1:
            lines.append(_mean_line(key[0], seeded))
    counted = [run for members in groups.values() for run in members.values()]
    return Table(lines, list(_notes(counted, published)), excluded, _footnote(counted))


def _known_as(row: PublishedRow) -> tuple[str, str]:
    return row.experiment, row.weights


def _place(name: str, published: Sequence[PublishedRow]) -> int:
    experiment = name.split(" ", 1)[0]
    places = [place for place, row in enumerate(published) if experiment in _known_as(row)]
    return places[0] if places else len(published)


def _names(runs: Sequence[Run]) -> list[str]:
    """Each run's experiment, with the settings in which runs of that experiment differ."""
    values: dict[tuple[str, str], set[str]] = {}
    for run in runs:
        for key, value in run.settings.items():
            values.setdefault((run.scores["experiment"], key), set()).add(str(value))
    return [
        " ".join([name, *(f"{key}={value}" for key, value in run.settings.items() if len(values[name, key]) > 1)])
        for run in runs
        for name in (run.scores["experiment"],)
    ]


def _published_line(row: PublishedRow) -> Line:
    best = row.noise_certainty
    cells = [
        Cell(c.label, c.certainty / 100, c.mdcc, c.label == NOISE and c.certainty / 100 == best) for c in row.clusters
    ]
    return Line(row.experiment, "published", row.epochs, "MMIA data of the thesis", cells, {"noise_certainty": best})


def _run_line(name: str, run: Run) -> Line:
    noisy = [c for c in run.scores["clusters"] if c["label"] == NOISE]
    best = max(noisy, key=lambda c: (c["certainty"], c["size"]), default=None)
    cells = [Cell(c["label"] or "-", c["certainty"], c["mdcc"], c is best) for c in run.scores["clusters"]]
    seed = run.scores["seed"]
    source = "weights" if seed is None else f"seed {seed}"
    return Line(name, source, run.scores["epochs"] or 0, run.data, cells, run.compared, is_dead=run.is_dead)


def _mean_line(name: str, runs: Sequence[Run]) -> Line:
    """Means and standard deviations over the seeds that have a score."""
    compared = [run.compared for run in runs]
    values = {name: [v for scores in compared if (v := scores[name]) is not None] for name in compared[0]}
    return Line(
        name,
        f"mean of {len(runs)} seeds",
        runs[0].scores["epochs"] or 0,
        runs[0].data,
        [],
        {key: mean(found) if found else None for key, found in values.items()},
        {key: stdev(found) if len(found) > 1 else None for key, found in values.items()},
        {key: f"{len(found)} of {len(runs)}" for key, found in values.items() if 0 < len(found) < len(runs)},
    )


def _notes(runs: Sequence[Run], published: Sequence[PublishedRow]) -> Iterator[str]:
    yield f"On {'; '.join(sorted({run.data for run in runs}))}"
    latents = sorted({run.scores["protocol"]["latent"] for run in runs})
    yield f"Clusters (class, its share, mean distance to the centre) of each frame's posterior {' or '.join(latents)}"
    yield "The best noise cluster is marked; its recall is the share of all noise frames that it holds"
    if published:
        yield "Published: Joergensen 2021, Table 1, on real labelled frames, one sample of each posterior"
    else:
        yield "The published table is not at hand: reference=FOLDER or ASIM_CVAE_REFERENCE may name its folder"
    labelled = [run for run in runs if run.scores["purity"] is not None]
    without = sum(run.scores["noise"] is None for run in labelled)
    if without:
        yield f"Without a noise cluster, and left out of the means of its scores: {without} of {len(runs)} runs"
    if len(labelled) < len(runs):
        yield f"Without labels, or diverged: {len(runs) - len(labelled)} of {len(runs)} runs"


def _footnote(runs: Sequence[Run]) -> str | None:
    dead = sum(run.is_dead for run in runs)
    if not dead:
        return None
    return f"{DEAD_MARK} {DEAD}: {dead} of {len(runs)} runs, counted in the means"


def as_markdown(table: Table) -> str:
    """A table in pipes, the best noise clusters bold."""
    footnote = [] if table.footnote is None else ["", table.footnote]
    head, rows = _cells(table, lambda text: f"**{text}**", "± ", lambda text: text.replace("|", r"\|"))
    return "\n".join([*(f"{note}.  " for note in table.notes), "", *markdown_table(head, rows), *footnote, ""])


def as_latex(table: Table) -> str:
    """A tabular for any class, the best noise clusters bold."""
    head, rows = _cells(table, lambda text: rf"\textbf{{{text}}}", r"$\pm$ ", _latex)
    body = [rf"{' & '.join(row)} \\" for row in rows]
    below = [] if table.footnote is None else [rf"\multicolumn{{{len(head)}}}{{l}}{{{_latex(table.footnote)}}} \\"]
    return "\n".join(
        [
            *(f"% {note}." for note in table.notes),
            rf"\begin{{tabular}}{{{'l' * len(head)}}}",
            r"\hline",
            rf"{' & '.join(head)} \\",
            r"\hline",
            *body,
            r"\hline",
            *below,
            r"\end{tabular}",
            "",
        ]
    )


def _latex(text: str) -> str:
    for character in r"&%$#_{}":
        text = text.replace(character, rf"\{character}")
    return text.replace(DEAD_MARK, r"\dag{}")


def _cells(
    table: Table, bold: Callable[[str], str], plus_minus: str, escape: Callable[[str], str]
) -> tuple[list[str], list[list[str]]]:
    clusters = max((len(line.clusters) for line in table.lines), default=0)
    several = len({line.data for line in table.lines if line.source != "published"}) > 1
    columns = table1_columns()
    head = ["experiment", "epochs", "source", *(["data"] if several else []),
            *(f"cluster {k}" for k in range(clusters)), *(column.heading for column in columns)]  # fmt: skip
    rows = []
    for line in table.lines:
        cells = [_cluster(cell, bold, escape) for cell in line.clusters] + [""] * (clusters - len(line.clusters))
        scores = [_score(line, column, plus_minus) for column in columns]
        source = f"{line.source} {DEAD_MARK}" if line.is_dead else line.source
        told = [line.experiment, str(line.epochs or "-"), source, *([line.data] if several else [])]
        rows.append([*map(escape, told), *cells, *scores])
    return [escape(name) for name in head], rows


def _cluster(cell: Cell, bold: Callable[[str], str], escape: Callable[[str], str]) -> str:
    share = "" if cell.certainty is None else f" {percent(cell.certainty)} %"
    text = escape(f"{cell.label}{share}, {cell.mdcc:.2f}")
    return bold(text) if cell.best else text


def _score(line: Line, column: ScoreColumn, plus_minus: str) -> str:
    value, spread = line.scores.get(column.name), line.spread.get(column.name)
    if value is None:
        return "-"
    counted = f" ({line.counted[column.name]})" if column.name in line.counted else ""
    around = "" if spread is None else f" {plus_minus}{spread:.{column.places}f}"
    return cut_digits(value, column.places) + around + counted


def as_csv(table: Table) -> str:
    """Exact fractions: a row a line, the spread of means in columns of its own."""
    clusters = max((len(line.clusters) for line in table.lines), default=0)
    names = [column.name for column in table1_columns()]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["experiment", "epochs", "source", "data", "dead",
         *(f"cluster{k}_{what}" for k in range(clusters) for what in ("class", "certainty", "mdcc")),
         *names, *(f"{name}_sd" for name in names)]
    )  # fmt: skip
    for line in table.lines:
        told = [line.experiment, line.epochs or "", line.source, line.data, "dead" if line.is_dead else ""]
        cells = [value for c in line.clusters for value in (c.label, c.certainty, c.mdcc)]
        cells += [""] * (3 * clusters - len(cells))
        values = [_known(found.get(name)) for found in (line.scores, line.spread) for name in names]
        writer.writerow([*told, *cells, *values])
    return stream.getvalue()


def _known(value: float | None) -> float | str:
    return "" if value is None else value


FORMATS: Mapping[str, Callable[[Table], str]] = {"md": as_markdown, "csv": as_csv, "tex": as_latex}
"""Writers by suffix."""


def any_simulated(runs: Iterable[Run]) -> bool:
    """Whether any run is of simulated data, which is to be said in the table's file name."""
    return any(is_simulated(run.scores["data"]) for run in runs)
