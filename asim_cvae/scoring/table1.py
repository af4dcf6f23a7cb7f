"""Compare the scores of many runs with the thesis's Table 1, in a table as Markdown, LaTeX and CSV."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

from asim_cvae.base.markdown import markdown_table
from asim_cvae.instrument.classes import NOISE
from asim_cvae.scoring.published import BEST_PUBLISHED, PublishedRow
from asim_cvae.scoring.scores import ScoreColumn, score_columns
from asim_cvae.scoring.table import DEAD, cut_digits, describe_data, is_simulated, percent

DEAD_MARK = "†"
"""Mark beside each run whose latents are all dead, and before the footnote that explains it."""


def table1_columns() -> list[ScoreColumn]:
    """Return the scores that the table shows after the clusters."""
    return [column for column in score_columns() if column.in_table1]


@dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    Attributes:
        folder: its folder.
        scores: content of its ``scores.json``.
        settings: its settings by dotted name.
    """

    folder: str
    scores: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def data(self) -> str:
        """Description of the scored data, with a digest of the frames."""
        data = self.scores["data"]
        return f"{describe_data(data)}, scored frames {data['digest']}"

    @property
    def compared(self) -> dict[str, float | None]:
        """Scores by the names of :func:`table1_columns`; None for a score without a value."""
        return {column.name: column.value(self.scores) for column in table1_columns()}

    @property
    def is_dead(self) -> bool:
        """Tell whether no latent of the run varies over the frames."""
        return bool(self.scores["dead"])


@dataclass(frozen=True)
class Cell:
    """One cluster of a line.

    Attributes:
        label: its class.
        certainty: share of its frames that are of this class.
        mdcc: mean Euclidean distance of its frames to its centre.
        best: whether it is the line's noise cluster with the highest certainty.
    """

    label: str
    certainty: float | None
    mdcc: float
    best: bool


PUBLISHED = "published"
"""Source of a line whose numbers are the thesis's own."""


@dataclass(frozen=True)
class Line:
    """One line of the table: a published experiment, a run, or the mean over the seeds of an experiment.

    Attributes:
        experiment: name of the experiment, with the settings that tell it from other experiments of that name.
        source: origin of the scores: :data:`PUBLISHED`, a run's seed, 'weights', or a mean.
        epochs: training epochs; 0 if they are unknown.
        data: description of the scored data.
        clusters: the clusters; none in a mean.
        scores: values by the names of :func:`table1_columns`.
        spread: standard deviations over the seeds of a mean, by the same names.
        counted: number of seeds that have a score, as '2 of 3', for the scores that some seeds of a mean lack.
        is_dead: whether no latent of the run varies over the frames.
    """

    experiment: str
    source: str
    epochs: int
    data: str
    clusters: Sequence[Cell]
    scores: Mapping[str, float | None]
    spread: Mapping[str, float | None] = field(default_factory=dict)
    counted: Mapping[str, str] = field(default_factory=dict)
    is_dead: bool = False


@dataclass(frozen=True)
class Table:
    """Table 1 before it is formatted.

    Attributes:
        lines: the lines in order.
        notes: sentences on all lines, without their full stops.
        excluded: a line on each run that was excluded because it repeats another.
        footnote: explanation of the mark beside dead runs; None if there are none.
    """

    lines: Sequence[Line]
    notes: Sequence[str]
    excluded: Sequence[str]
    footnote: str | None = None


def build_table(runs: Sequence[FinishedRun], published: Sequence[PublishedRow]) -> Table:
    """Sort runs by experiment in the published order, and average those that differ only in their seeds.

    If runs of an experiment differ in other settings too, their names say these settings. If runs do not differ at
    all, all but the first are excluded. Where none of the experiments was published, the thesis's best one comes first.

    Args:
        runs: finished runs.
        published: rows of the published table, which may be none.
    """
    groups: dict[tuple[str, int, str], dict[int | None, FinishedRun]] = {}
    excluded = []
    for run, name in zip(runs, _names(runs), strict=True):
        members = groups.setdefault((name, run.scores["epochs"] or 0, run.data), {})
        first = members.setdefault(run.scores["seed"], run)
        if first is not run:
            excluded.append(f"{run.folder}: the same run as {first.folder}")
    lines: list[Line] = []
    for key in sorted(groups, key=lambda key: (_place(key[0], published), key)):
        group = sorted(groups[key].values(), key=lambda run: (run.scores["seed"] is not None, run.scores["seed"]))
        lines += [_published_line(row) for row in published if group[0].scores["experiment"] in _known_as(row)]
        lines += [_run_line(key[0], run) for run in group]
        seeded = [run for run in group if run.scores["seed"] is not None]
        if len(seeded) > 1:
            lines.append(_mean_line(key[0], seeded))
    if not any(line.source == PUBLISHED for line in lines):
        lines.insert(0, _published_line(BEST_PUBLISHED))
    counted = [run for members in groups.values() for run in members.values()]
    return Table(lines, list(_notes(counted, published)), excluded, _footnote(counted))


def _known_as(row: PublishedRow) -> tuple[str, str]:
    """Return the names of a published experiment: its own, and that of its weights."""
    return row.experiment, row.weights


def _place(name: str, published: Sequence[PublishedRow]) -> int:
    """Return the number of an experiment's published row; one more than the last if it was not published."""
    experiment = name.split(" ", 1)[0]
    places = [place for place, row in enumerate(published) if experiment in _known_as(row)]
    return places[0] if places else len(published)


def _names(runs: Sequence[FinishedRun]) -> list[str]:
    """Return each run's experiment, followed by the settings in which runs of that experiment differ."""
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
    return Line(row.experiment, PUBLISHED, row.epochs, "MMIA data of the thesis", cells, {"noise_certainty": best})


def _run_line(name: str, run: FinishedRun) -> Line:
    noisy = [c for c in run.scores["clusters"] if c["label"] == NOISE]
    best = max(noisy, key=lambda c: (c["certainty"], c["size"]), default=None)
    cells = [Cell(c["label"] or "-", c["certainty"], c["mdcc"], c is best) for c in run.scores["clusters"]]
    seed = run.scores["seed"]
    source = "weights" if seed is None else f"seed {seed}"
    return Line(name, source, run.scores["epochs"] or 0, run.data, cells, run.compared, is_dead=run.is_dead)


def _mean_line(name: str, runs: Sequence[FinishedRun]) -> Line:
    """Average each score over the runs that have a value of it."""
    compared = [run.compared for run in runs]
    values = {name: [v for scores in compared if (v := scores[name]) is not None] for name in compared[0]}
    return Line(
        name,
        f"mean of {len(runs)} seeds",
        runs[0].scores["epochs"] or 0,
        runs[0].data,
        [],
        {key: mean(known) if known else None for key, known in values.items()},
        {key: stdev(known) if len(known) > 1 else None for key, known in values.items()},
        {key: f"{len(known)} of {len(runs)}" for key, known in values.items() if 0 < len(known) < len(runs)},
    )


def _notes(runs: Sequence[FinishedRun], published: Sequence[PublishedRow]) -> Iterator[str]:
    yield f"On {'; '.join(sorted({run.data for run in runs}))}"
    clustered = sorted({_clustered(run.scores) for run in runs})
    yield f"Clusters (class, its share, mean distance to the centre) are of {'; or of '.join(clustered)}"
    yield "The best noise cluster is marked; its recall is the share of all noise frames that it holds"
    yield "Published: Joergensen 2021, Table 1, on real labelled frames, one sample of each posterior"
    if not published:
        yield "Of the published table, its best row is quoted; reference=FOLDER or ASIM_CVAE_REFERENCE gives all"
    labelled = [run for run in runs if run.scores["purity"] is not None]
    without = sum(run.scores["noise"] is None for run in labelled)
    if without:
        yield f"Without a noise cluster, and not counted in the means of its scores: {without} of {len(runs)} runs"
    if len(labelled) < len(runs):
        yield f"Without labels, or diverged: {len(runs) - len(labelled)} of {len(runs)} runs"


def _clustered(scores: Mapping[str, Any]) -> str:
    """Say what of the frames was clustered."""
    is_sampled = scores["protocol"]["latent"] == "sample"
    return "posterior samples" if is_sampled else str(scores["described_by"])


def _footnote(runs: Sequence[FinishedRun]) -> str | None:
    dead = sum(run.is_dead for run in runs)
    if not dead:
        return None
    return f"{DEAD_MARK} {DEAD}: {dead} of {len(runs)} runs, counted in the means"


def as_markdown(table: Table) -> str:
    """Format as a Markdown table with the best noise clusters in bold."""
    footnote = [] if table.footnote is None else ["", table.footnote]
    head, rows = _cells(table, lambda text: f"**{text}**", "± ", lambda text: text.replace("|", r"\|"))
    return "\n".join([*(f"{note}.  " for note in table.notes), "", *markdown_table(head, rows), *footnote, ""])


def as_latex(table: Table) -> str:
    """Format as a LaTeX tabular, which needs no package, with the best noise clusters in bold."""
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
    """Escape the characters that LaTeX reads as commands."""
    for character in r"&%$#_{}":
        text = text.replace(character, rf"\{character}")
    return text.replace(DEAD_MARK, r"\dag{}")


def _cells(
    table: Table, bold: Callable[[str], str], plus_minus: str, escape: Callable[[str], str]
) -> tuple[list[str], list[list[str]]]:
    """Format headings and rows as text.

    Args:
        table: the table.
        bold: sets a text in bold.
        plus_minus: text before a standard deviation.
        escape: escapes the characters of a text that the format reserves.
    """
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
        origin = [line.experiment, str(line.epochs or "-"), source, *([line.data] if several else [])]
        rows.append([*map(escape, origin), *cells, *scores])
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
    deviation = "" if spread is None else f" {plus_minus}{spread:.{column.places}f}"
    return cut_digits(value, column.places) + deviation + counted


def as_csv(table: Table) -> str:
    """Format as CSV with exact values; standard deviations have columns of their own, ``NAME_sd``."""
    clusters = max((len(line.clusters) for line in table.lines), default=0)
    names = [column.name for column in table1_columns()]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["experiment", "epochs", "source", "data", "dead",
         *(f"cluster{k}_{quantity}" for k in range(clusters) for quantity in ("class", "certainty", "mdcc")),
         *names, *(f"{name}_sd" for name in names)]
    )  # fmt: skip
    for line in table.lines:
        origin = [line.experiment, line.epochs or "", line.source, line.data, "dead" if line.is_dead else ""]
        cells = [value for c in line.clusters for value in (c.label, c.certainty, c.mdcc)]
        cells += [""] * (3 * clusters - len(cells))
        values = [_or_empty(scores.get(name)) for scores in (line.scores, line.spread) for name in names]
        writer.writerow([*origin, *cells, *values])
    return stream.getvalue()


def _or_empty(value: float | None) -> float | str:
    return "" if value is None else value


FORMATS: Mapping[str, Callable[[Table], str]] = {"md": as_markdown, "csv": as_csv, "tex": as_latex}
"""Functions that format a table, by the suffix of their files."""


def any_simulated(runs: Iterable[FinishedRun]) -> bool:
    """Tell whether any run was scored on simulated data; the table's file name has to say so."""
    return any(is_simulated(run.scores["data"]) for run in runs)
