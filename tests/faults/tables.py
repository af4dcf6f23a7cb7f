"""Label tables with faults: whoever writes a table knows which labels it says."""

import csv
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl

from tests.faults.report import Case

CLASSES = ("HCHA", "HCLA", "LCHA", "LCLA", "N")
_HEADER = ["File Number", "File Name", "Frame Number", "Classification"]
_NAME, _FRAME, _CLASS = 1, 2, 3

Label = tuple[str, int]


@dataclass
class Table:
    """A table on its way to a file.

    Attributes:
        rows: cells, the header first.
        of: of each row, the label that it says, and None of other rows.
        spoiled: rows that no longer say what they said.
        also: classes that a label may have as well, where rows contradict each other.
        suffix: of the file.
        delimiter: of a csv file.
        form: changes of the whole file, which are made when it is written.
    """

    rows: list[list[Any]]
    of: list[tuple[Label, str] | None]
    suffix: str
    delimiter: str = ","
    spoiled: set[int] = field(default_factory=set)
    form: set[str] = field(default_factory=set)

    def said(self) -> dict[Label, set[str]]:
        """Give the classes of each label that rows say, spoiled ones included."""
        said: dict[Label, set[str]] = {}
        for entry in self.of:
            if entry:
                said.setdefault(entry[0], set()).add(entry[1])
        return said

    def kept(self, of_whole_files: bool) -> set[Label]:
        """Give the labels of unspoiled rows, or only those of files without a spoiled row or one that stands twice."""
        entries = [entry[0] for entry in self.of if entry]
        spoiled = {self.of[row][0] for row in self.spoiled} | {label for label in entries if entries.count(label) > 1}
        files = {label[0] for label in spoiled} if of_whole_files else set()
        return {label for label in entries if label not in spoiled and label[0] not in files}

    @property
    def header(self) -> int:
        """The number of the row that names the columns."""
        return next(row for row, cells in enumerate(self.rows) if "Classification" in cells)

    def labelled(self) -> list[tuple[list[Any], Label]]:
        """Give the cells and the label of each row that says one."""
        return [(cells, entry[0]) for cells, entry in zip(self.rows, self.of, strict=True) if entry]

    def spoil_name(self, row: int, name: Any) -> None:
        """Put something else in the place of a row's name, which spoils the rows from it up to the next name."""
        end = row + 1
        while end < len(self.rows) and not self.rows[end][_NAME]:
            end += 1
        self.spoiled.update(number for number in range(row, end) if self.of[number])
        self.rows[row][_NAME] = name

    def first(self, rng: np.random.Generator) -> int:
        """Choose the first row of an observation, but not of the first one."""
        files = [entry[0][0] if entry else None for entry in self.of]
        rows = [row for row in range(self.header + 2, len(files)) if files[row] and files[row] not in files[:row]]
        return int(rng.choice(rows))


def make_table(rng: np.random.Generator) -> Table:
    """Make an unharmed table of some observations, as the published one is laid out."""
    rows: list[list[Any]] = [list(_HEADER)]
    of: list[tuple[Label, str] | None] = [None]
    for number in range(int(rng.integers(3, 9))):
        day, identifier = int(rng.integers(1, 29)), int(rng.integers(10_000)) * 10 + number
        time = f"2019-01-{day:02}_14-08-00"
        name = f"mmiatriggeredobservationtmlevel1_observation_time_{time}_observation_id_{identifier}.fits"
        for frame in range(int(rng.integers(2, 12))):
            label = str(rng.choice(CLASSES))
            rows.append([number if frame == 0 else None, name if frame == 0 else None, frame, label])
            of.append(((name, frame), label))
    suffix = str(rng.choice(["xlsx", "csv"]))
    return Table(rows, of, suffix, str(rng.choice([",", ";", "\t"])))


def _labelled(table: Table, rng: np.random.Generator) -> int:
    return int(rng.choice([row for row, entry in enumerate(table.of) if entry]))


# --- what keeps the meaning ---------------------------------------------------------------------------------------


def spaces_around(table: Table, rng: np.random.Generator) -> None:
    for cells, _ in table.labelled():
        cells[_NAME] = f" {cells[_NAME]} " if cells[_NAME] else cells[_NAME]
        cells[_CLASS] = f"{cells[_CLASS]}  "


def frames_as_decimals(table: Table, rng: np.random.Generator) -> None:
    for cells, _ in table.labelled():
        cells[_FRAME] = float(cells[_FRAME]) if rng.random() < 0.5 else f"{cells[_FRAME]}.0"


def folders_before_names(table: Table, rng: np.random.Generator) -> None:
    before = str(rng.choice(["/data/mmia/", "C:\\data\\", "..\\x/y/"]))
    for cells, _ in table.labelled():
        cells[_NAME] = before + cells[_NAME].strip() if cells[_NAME] else cells[_NAME]


def names_in_every_row(table: Table, rng: np.random.Generator) -> None:
    for cells, label in table.labelled():
        cells[_NAME] = label[0]


def columns_in_another_order(table: Table, rng: np.random.Generator) -> None:
    order = rng.permutation(4)
    table.rows = [[cells[column] for column in order] for cells in table.rows]


def more_columns(table: Table, rng: np.random.Generator) -> None:
    notes = ["", "Possible classes", "HCHA: high correlation", 7, None]
    table.rows = [[*cells, None, notes[row % len(notes)]] for row, cells in enumerate(table.rows)]


def empty_rows(table: Table, rng: np.random.Generator) -> None:
    for row in sorted(rng.integers(table.header + 2, len(table.rows), 3).tolist(), reverse=True):
        table.rows.insert(row, [None] * 4)
        table.of.insert(row, None)


def a_title_above(table: Table, rng: np.random.Generator) -> None:
    table.rows.insert(0, ["Ground truth of 2019", None, None, None])
    table.of.insert(0, None)


def a_sheet_before(table: Table, rng: np.random.Generator) -> None:
    table.suffix = "xlsx"
    table.form.add("sheet before")


def a_mark_of_utf8(table: Table, rng: np.random.Generator) -> None:
    table.suffix = "csv"
    table.form.add("mark")


def windows_line_ends(table: Table, rng: np.random.Generator) -> None:
    table.suffix = "csv"
    table.form.add("crlf")


# --- what spoils rows ---------------------------------------------------------------------------------------------


def no_frame_number(table: Table, rng: np.random.Generator) -> None:
    row = _labelled(table, rng)
    bad = ("x", "-1", -3, 1.5, "1.5", None, "", "1e400", "nan", "1,5", "0x1", "#REF!", True)
    table.rows[row][_FRAME] = bad[int(rng.integers(len(bad)))]
    table.spoiled.add(row)


def no_class(table: Table, rng: np.random.Generator) -> None:
    row = _labelled(table, rng)
    bad = ("XYZ", "", None, 5, "HCHA/N", "H", "HCHAA", "#N/A", "\N{CYRILLIC CAPITAL LETTER EN}")
    table.rows[row][_CLASS] = bad[int(rng.integers(len(bad)))]
    table.spoiled.add(row)


def no_name(table: Table, rng: np.random.Generator) -> None:
    """Lose the name of an observation that is not the first: its rows are nobody's, and not those of the one above."""
    table.spoil_name(table.first(rng), None)


def no_name_at_all(table: Table, rng: np.random.Generator) -> None:
    table.spoil_name(next(row for row, entry in enumerate(table.of) if entry), None)


def a_name_by_formula(table: Table, rng: np.random.Generator) -> None:
    """Put a formula that nobody has computed where a name was."""
    table.suffix = "xlsx"
    table.spoil_name(table.first(rng), "=CONCATENATE(A1,B1)")


def a_number_for_a_name(table: Table, rng: np.random.Generator) -> None:
    """Write a number for a name: its labels are of a file of that name, which no archive holds."""
    row = table.first(rng)
    table.spoil_name(row, 10505)
    for spoiled in table.spoiled:
        (_, frame), label = table.of[spoiled]
        table.of[spoiled] = (("10505", frame), label)
    table.spoiled.clear()


def the_same_label_twice(table: Table, rng: np.random.Generator) -> None:
    row = _labelled(table, rng)
    table.rows.insert(row + 1, [None, None, *table.rows[row][2:]])
    table.of.insert(row + 1, table.of[row])


def contradicting_rows(table: Table, rng: np.random.Generator) -> None:
    row = _labelled(table, rng)
    label, old = table.of[row]
    new = str(rng.choice([name for name in CLASSES if name != old]))
    table.rows.insert(row + 1, [None, None, label[1], new])
    table.of.insert(row + 1, (label, new))


def deleted_rows(table: Table, rng: np.random.Generator) -> None:
    """Delete rows that hold no name: their labels are not said any more."""
    for _ in range(3):
        row = _labelled(table, rng)
        if not table.rows[row][_NAME]:
            del table.rows[row], table.of[row]


# --- what spoils the file -----------------------------------------------------------------------------------------


def no_column(table: Table, rng: np.random.Generator) -> None:
    table.rows[table.header][int(rng.integers(1, 4))] = str(rng.choice(["", "Frames", "class", "Name"]))
    table.form.add("refused")


def columns_twice(table: Table, rng: np.random.Generator) -> None:
    """Give a second column of a name, with other values: either of the two may be meant."""
    table.rows = [[*cells[:4], *cells[1:4]] for cells in table.rows]
    cells = table.labelled()[0][0]
    cells[-1] = "N" if cells[-1] != "N" else "HCHA"
    table.form |= {"may be refused", "columns twice"}


def cut_file(table: Table, rng: np.random.Generator) -> None:
    table.suffix = "xlsx"
    table.form |= {"cut", "may be refused"}


def flipped_file(table: Table, rng: np.random.Generator) -> None:
    table.suffix = "xlsx"
    table.form |= {"flipped", "may be refused"}


def nothing(table: Table, rng: np.random.Generator) -> None:
    table.form |= {"empty", "refused"}


def another_suffix(table: Table, rng: np.random.Generator) -> None:
    table.form |= {"another suffix", "may be refused"}


def zero_bytes(table: Table, rng: np.random.Generator) -> None:
    table.suffix = "csv"
    table.form |= {"zeros", "may be refused"}


_KEEP: tuple[Callable[..., None], ...] = (
    *(spaces_around, frames_as_decimals, folders_before_names, names_in_every_row, more_columns, empty_rows),
    *(a_mark_of_utf8, windows_line_ends, a_title_above, a_sheet_before),
)
_SPOIL: tuple[Callable[..., None], ...] = (
    *(no_frame_number, no_class, no_name, no_name_at_all, a_name_by_formula, contradicting_rows, deleted_rows),
    *(
        a_number_for_a_name,
        the_same_label_twice,
        no_column,
        columns_twice,
        cut_file,
        flipped_file,
        nothing,
        another_suffix,
        zero_bytes,
    ),
)


def content(table: Table, rng: np.random.Generator) -> tuple[str, bytes]:
    """Give the suffix and the bytes of a table's file."""
    if "empty" in table.form:
        return table.suffix, b""
    written = _as_xlsx(table) if table.suffix == "xlsx" else _as_csv(table)
    if "cut" in table.form:
        written = written[: int(rng.integers(len(written)))]
    if "flipped" in table.form:
        place = int(rng.integers(len(written)))
        written = written[:place] + bytes([written[place] ^ (1 << int(rng.integers(8)))]) + written[place + 1 :]
    if "zeros" in table.form:
        place = int(rng.integers(len(written)))
        written = written[:place] + bytes(int(rng.integers(1, 9))) + written[place:]
    other = "csv" if table.suffix == "xlsx" else "xlsx"
    return (other if "another suffix" in table.form else table.suffix), written


def _as_xlsx(table: Table) -> bytes:
    book = openpyxl.Workbook()
    if "sheet before" in table.form:
        book.active.append(["Notes", "made in 2019"])
        book.create_sheet("labels")
    sheet = book.worksheets[-1]
    for cells in table.rows:
        sheet.append(cells)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def _as_csv(table: Table) -> bytes:
    stream = io.StringIO()
    ends = "\r\n" if "crlf" in table.form else "\n"
    csv.writer(stream, delimiter=table.delimiter, lineterminator=ends).writerows(table.rows)
    return stream.getvalue().encode("utf-8-sig" if "mark" in table.form else "utf-8")


def run_case(seed: int, number: int) -> Case:
    """Make table ``number``, and say what the product makes of it."""
    rng = np.random.default_rng([seed, 3, number])
    table = make_table(rng)
    changes = [_KEEP[int(place)] for place in rng.permutation(len(_KEEP))[: int(rng.integers(3))]]
    harmless = rng.random() < 0.25
    if not harmless:
        changes.append(_SPOIL[int(rng.integers(len(_SPOIL)))])
    elif rng.random() < 0.3:
        changes.append(columns_in_another_order)
    if not changes:
        changes = [spaces_around]
    for change in changes:
        change(table, rng)
    suffix, written = content(table, rng)
    told = ", ".join(change.__name__.replace("_", " ") for change in changes)
    kind = "harmless" if harmless else changes[-1].__name__.replace("_", " ")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"labels.{suffix}"
        path.write_bytes(written)
        outcome, detail = _judge(table, path)
    return Case(kind, f"{suffix}: {told}", outcome, detail)


def _judge(table: Table, path: Path) -> tuple[str, str]:
    from asim_cvae.archive.labels import read_labels
    from asim_cvae.base.errors import InputError

    try:
        found = read_labels(path)
    except InputError as error:
        if "\n" in str(error) or path.name not in str(error):
            return "failed", f"no line that names the table: {error!s:.300}"
        refusable = {"refused", "may be refused"} & table.form or not table.kept(of_whole_files=False)
        return ("refused", "") if refusable else ("failed", f"refused: {error!s:.300}")
    except Exception as error:
        return "failed", f"raised {type(error).__name__}: {error!s:.300}"
    if "refused" in table.form:
        return "failed", "a table that lacks a column was read"
    said = table.said()
    labels = {(file, int(frame)): label for (file, frame), label in found.labels.items()}
    strange = [label for label in labels if not label[0].isprintable()]  # a name that no file has
    for label, value in labels.items():
        if value not in said.get(label, set()) and label not in strange and "columns twice" not in table.form:
            return "failed", f"gives {value} for {label}, and {said.get(label, 'nothing')} was written"
    problems = [str(problem) for problem in found.problems]
    if any("\n" in problem for problem in problems):
        return "failed", "a problem of more than one line"
    damaged = {"zeros", "cut", "flipped", "another suffix"} & table.form
    lost = [label for label in table.kept(of_whole_files=True) if label not in labels]
    if lost and not (damaged and (problems or strange)):
        return "failed", f"{len(lost)} labels of unharmed files lost, the first {lost[0]}; problems: {problems[:2]}"
    gone = [label for label in said if label not in labels]
    if gone and not problems and not strange:
        return "failed", f"no problem line, and no label for {gone[0]}"
    return "read", ""
