"""Tests of reading label tables, and of matching the names in them to files."""

import base64
import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

from asim_cvae.archive.labels import LabelTableError, read_labels, read_reviewers
from asim_cvae.archive.matching import match_files
from asim_cvae.archive.sheets import MAX_BYTES
from tests.mmia_files import NAME, NAME_LEVEL0
from tests.tables import write_table

ROWS = [
    ("File Number", "File Name", "Frame Number", "Classification", None, "Possible Classes"),
    (0, "some/folder/a.fits", 0, "HCHA", None, "a legend"),
    (None, None, 1.0, "N", None, "that goes on"),
    (None, None, 2, "XYZ", None, None),
    (1, "b.fits", 3, "LCLA", None, None),
    (None, None, "x", "LCLA", None, None),
    (None, None, -1, "LCLA", None, None),
    (None, "b.fits", 3, "N", None, None),
    (None, None, None, None, None, "and on"),
]


def _write(path: Path, rows: list[tuple]) -> Path:
    return write_table(path, rows, encoding="utf-8-sig")  # as Excel does


@pytest.mark.parametrize("suffix", ["xlsx", "csv"])
def test_names_are_filled_down_and_problems_named(tmp_path: Path, suffix: str) -> None:
    table = read_labels(_write(tmp_path / f"t.{suffix}", ROWS))
    assert table.labels == {("a.fits", 0): "HCHA", ("a.fits", 1): "N", ("b.fits", 3): "LCLA"}
    assert table.files == {"a.fits", "b.fits"}
    told = "\n".join(table.problems)
    assert "row 4: frame 2 of a.fits: unknown class 'XYZ'" in told
    assert "row 6: frame x of b.fits: the frame number" in told
    assert "row 7: frame -1 of b.fits: the frame number" in told
    assert "row 8: frame 3 of b.fits: labelled N, but LCLA" in told
    assert len(table.problems) == 4


LABELS = [("a.fits", 0, "HCLA"), (None, 1, "N"), ("b.fits", 2, "LCLA")]
PLAIN = [("File Name", "Frame Number", "Classification"), *LABELS]
READ = {("a.fits", 0): "HCLA", ("a.fits", 1): "N", ("b.fits", 2): "LCLA"}


def _text(delimiter: str, encoding: str, above: str = "") -> bytes:
    lines = [delimiter.join("" if cell is None else str(cell) for cell in row) for row in PLAIN]
    return "\r\n".join([*above.splitlines(), *lines, ""]).encode(encoding)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_text_is_read_in_any_encoding_and_with_any_delimiter(tmp_path: Path, delimiter: str, encoding: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(_text(delimiter, encoding, "Frames, seen by Jørgen; März"))
    table = read_labels(path)
    assert (table.labels, table.problems) == (READ, ())


def test_the_delimiter_that_a_text_states_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(_text("|", "utf-8", "sep=|"))
    assert read_labels(path).labels == READ


@pytest.mark.parametrize(
    "header",
    [
        ("FILE NAME", "frame number", "classification"),
        ("file_name", "Frame_Number", " Classification "),
        ("FileName", "Frame  Number", "CLASSIFICATION"),
        ("Observation ID", "Frame\nNumber", "Classification"),
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", ["xlsx", "csv"])
def test_the_header_may_be_written_in_many_ways(tmp_path: Path, header: tuple, suffix: str) -> None:
    title = [("Labels of January",), ()]
    assert read_labels(_write(tmp_path / f"t.{suffix}", [*title, header, *LABELS])).labels == READ


def _sheet(book: openpyxl.Workbook, title: str, rows: list[tuple]) -> None:
    sheet = book.create_sheet(title)
    for row in rows:
        sheet.append(row)


def _with_chart(book: openpyxl.Workbook) -> None:
    book.create_chartsheet("Chart")
    _sheet(book, "Labels", PLAIN)


def _with_notes(book: openpyxl.Workbook) -> None:
    _sheet(book, "Notes", [("see the other sheet",)])
    _sheet(book, "Labels", PLAIN)


def _with_two(book: openpyxl.Workbook) -> None:
    _sheet(book, "Labels", PLAIN)
    _sheet(book, "Old labels", [PLAIN[0], ("c.fits", 0, "N")])


def _far_from_the_corner(book: openpyxl.Workbook) -> None:
    _sheet(book, "Labels", [(), (), *((None, None, *row) for row in PLAIN)])


def _as_text(book: openpyxl.Workbook) -> None:
    rows = [(name, number, label) for (name, _, label), number in zip(LABELS, ("0", "1.0", " 2 "), strict=True)]
    _sheet(book, "Labels", [PLAIN[0], *rows])


@pytest.mark.parametrize("suffix", ["xlsx", "xlsm", "csv"])  # what the file is, its content says
@pytest.mark.parametrize("fill", [_with_chart, _with_notes, _with_two, _far_from_the_corner, _as_text])
def test_the_first_sheet_with_the_columns_is_read(
    tmp_path: Path, fill: Callable[[openpyxl.Workbook], None], suffix: str
) -> None:
    book = openpyxl.Workbook()
    book.remove(book.active)
    fill(book)
    content = io.BytesIO()
    book.save(content)
    path = tmp_path / f"t.{suffix}"
    path.write_bytes(content.getvalue())
    table = read_labels(path)
    assert (table.labels, table.problems) == (READ, ())


XLS = (
    b"c-rk)J!lj`6#i!KKO~n+ya<U9mVi-X5Y)ydo-vqM#3R}$BIsT+AxAEEvU?U<=xMxC5UdoNKpLB<jX!9iorMt5LJ)*RODjRaBDwX=+ui(mMGj&x"
    b"vfnaqX5PGS-|WnrncaOi+cY=zxNRP5a2Nqp>=?o;bb?aMt0X|}wyla@9;Iaa*iwi^X(GcRyl8kEQFEx~dmb7d1z(c{zEC=ci%1vpQr|=z<vtif"
    b"^`S=uDfTqnrxZsk_p6!ZFw1Q$AF}OBmPc4~i)9bl&WW>_O{KdIxp90(>)^IHNr9)#`NW$2Xu%s5$JcHP$2NpsGi&7j&4%`1J*Gi3Hz4!UG;(uD"
    b"(iBePr>z4&ytVpD_w}2r7a;ww)%r*k{T(d`lwe;FDiF(PKvz(;glNGPrB$W~ErpzQIcQ{L&RT$pI;z)k+{2PmFOEsQK*H3mF)53*L-%KMQcoKb"
    b"vYyH&<$C(kL`Ir%pf6`wR(3QyY!tJFJgs(P-)OdIk<;USgS`}7Y0_m_N0kGlA0)l<=Ij)SRXarkub+C7BWUDu6R)BKodpXIzP~?_8A_dJO^Htj"
    b"=M34Y9vU{TD+ZC{OD&G<V#Z#UH~6kQxZK7vNrOXq=TM7V=$~Ypo7~z-ehxA|q;{<+@1}D3+sS9`<*%tdRGt}_zmlB!n3_TdooOS)SJx!EMYp(j"
    b"SK)ce%Z0n!d}i7D$IcVg5^mpZ_n>UVBF_+LJoq%#n(;)L($2Ju%@|dVCOXTv?x+T;j;eZMr{;~0Q`4vxaM_{?TQFOV%2ln7d$-IM%nrG1Z4F!5"
    b"J980s?KQR!yY_)9-U93`;@St89bKv^cFc<oRErKDK79D_;lqcIjfdcOCg%+?$R8fgJ7~oHud_(0;{PW3Z*d9*x{CB!dJK8WO<b-iezqedynBgt"
    b"a=ibA3a81tiE(7OALBL0FMUIZmCv(oVq)W#P_6zewe<5Z`~MB1un(3"
)
"""Deflated, in base 85: an xls file that xlwt 1.3.0 wrote, of two sheets: notes, and the rows ``PLAIN``."""


def test_xls_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.xls"
    path.write_bytes(zlib.decompress(base64.b85decode(XLS)))
    table = read_labels(path)
    assert (table.labels, table.problems) == (READ, ())


def _cut_at(size: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:size]


def _in_a_circle(content: bytes) -> bytes:
    """Let the first sector of the file follow itself: whoever goes on from sector to sector takes all memory."""
    place = 512 * (int.from_bytes(content[76:80], "little") + 1)
    return content[:place] + bytes(4) + content[place + 4 :]


@pytest.mark.parametrize("damage", [_cut_at(1024), _cut_at(4096), _cut_at(5600), _in_a_circle])
def test_a_damaged_xls_costs_one_line(
    tmp_path: Path, damage: Callable[[bytes], bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.xls"
    path.write_bytes(damage(zlib.decompress(base64.b85decode(XLS))))
    with pytest.raises(LabelTableError, match="cannot be read as a label table") as error:
        read_labels(path)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("written", "label"),
    [
        *((text, "HCLA") for text in ("hcla", " HC LA ", "HC-LA", "High Correlation, Low Activity")),
        *((text, "HCHA") for text in ("high correlation high activity", "High_correlation / high_activity")),
        *((text, "N") for text in ("n", "Noise", "NOISE ")),
        *((text, None) for text in ("HCLA?", "N/A", "N1", "high activity", "1")),
    ],
)
def test_classes_may_be_spelt_out(tmp_path: Path, written: str, label: str | None) -> None:
    table = read_labels(_write(tmp_path / "t.csv", [PLAIN[0], ("a.fits", 0, written)]))
    assert table.labels == ({("a.fits", 0): label} if label else {})
    told = [f"t.csv, row 2: frame 0 of a.fits: unknown class '{written}', not one of HCHA, HCLA, LCHA, LCLA, N"]
    assert [problem.split("; did")[0] for problem in table.problems] == ([] if label else told)


@pytest.mark.parametrize("written", ["folder/a.fits", r"C:\data\a.fits", r"..\x/a.fits", " a.fits "])
def test_folders_of_a_name_are_left_out(tmp_path: Path, written: str) -> None:
    assert read_labels(_write(tmp_path / "t.csv", [PLAIN[0], (written, 0, "N")])).files == {"a.fits"}


FORMULA = '=CONCATENATE("b",".fits")'
AGAIN = "the frame numbers start again, but the file name is missing"
TWICE = "a frame number stands twice below one file name"
OTHER = "the file number is another one, but the file name is missing"
LOST = "the cell of the file name holds an error, or a formula without a value"


@pytest.mark.parametrize(
    ("rows", "kept", "told"),
    [
        ([("", "a", 0), ("", "", 1), ("", "", 0), ("", "", 1), ("", "b", 5)], "a0 a1 b5", (4, 0, AGAIN, 5)),
        ([("", "a", 4), ("", "", 5), ("", "", 3), ("", "b", 0)], "a4 a5 b0", (4, 3, AGAIN, 4)),
        ([("", "a", 0), ("", "a", 1), ("", "", 0), ("", "b", 1)], "a0 a1 b1", (4, 0, AGAIN, 4)),
        ([("", "a", 0), ("", "b", 0), ("", "", 1), ("", "", 1), ("", "", 2)], "a0 b0", (4, 1, TWICE, 6)),
        ([(0, "a", 0), ("", "", 1), (1, "", 7), ("", "", 8), (2, "b", 0)], "a0 a1 b0", (4, 7, OTHER, 5)),
        ([("", "a", 0), ("", FORMULA, 1), ("", "", 2), ("", "c", 0)], "a0 c0", (3, 1, LOST, 4)),
        ([("", "a", 0), ("", "=#REF!", 1), ("", "", 2), ("", "c", 0)], "a0 c0", (3, 1, LOST, 4)),
        ([("", "a", 0), ("", "", 2), ("", "", 1), ("", "", 9)], "a0 a2 a1 a9", None),
        ([("", "b", 1), ("", "a", 1), ("", "b", 0), ("", "a", 0)], "b1 a1 b0 a0", None),
        ([("", "a", ""), ("", "", 0), ("", "", 1), ("", "b", 0)], "a0 a1 b0", None),
        ([(3, "a", 0), (3, "", 1), (4, "b", 0)], "a0 a1 b0", None),
    ],
    ids=str,
)
def test_rows_that_lost_their_name_count_for_nothing(
    tmp_path: Path, rows: list[tuple], kept: str, told: tuple | None
) -> None:
    header = ("File Number", *PLAIN[0])
    cells = [(number or None, name or None, frame, None if frame == "" else "N") for number, name, frame in rows]
    cells = [(0 if row[0] == 0 else cell[0], *cell[1:]) for row, cell in zip(rows, cells, strict=True)]
    table = read_labels(_write(tmp_path / "t.xlsx", [header, *cells]))
    assert [f"{file}{frame}" for file, frame in table.labels] == kept.split()
    lines = []
    if told:
        row, frame, why, last = told
        below = f"; rows {row} to {last} are ignored" if last > row else ""
        lines = [f"t.xlsx, row {row}: frame {frame} of no file: {why}{below}; write the file name there"]
    assert list(table.problems) == lines


def test_errors_and_formulas_without_a_value_are_told(tmp_path: Path) -> None:
    rows = [
        PLAIN[0],
        ("a.fits", 0, "=A1"),
        (None, "=1+1", "N"),
        (None, "=1+1", "=A1"),
        (None, 4, "#N/A"),
        (None, 5, "N"),
    ]
    table = read_labels(_write(tmp_path / "t.xlsx", rows))
    assert table.labels == {("a.fits", 5): "N"}
    assert [problem.split(":")[0] for problem in table.problems] == [f"t.xlsx, row {row}" for row in range(2, 6)]
    assert all("a cell holds an error, or a formula without a value" in problem for problem in table.problems)


def test_a_formula_that_gives_no_text_is_an_empty_cell(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.xlsx", [*PLAIN[:2], ('=IF(A2="","b","")', 1, "N")])
    _edit_sheet(path, b'<c r="A3">', b'<c r="A3" t="str">')
    assert read_labels(path).labels == {("a.fits", 0): "HCLA", ("a.fits", 1): "N"}


def _edit_sheet(path: Path, old: bytes, new: bytes) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    assert old in parts[sheet]
    parts[sheet] = parts[sheet].replace(old, new)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def test_dates_are_no_frame_numbers(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in PLAIN:
        book.active.append(row)
    for cell in ("B2", "B3"):
        book.active[cell].number_format = "yyyy-mm-dd"
    book.save(tmp_path / "t.xlsx")
    table = read_labels(tmp_path / "t.xlsx")
    assert table.labels == {("b.fits", 2): "LCLA"}
    assert [problem.split(":")[0] for problem in table.problems] == ["t.xlsx, row 2", "t.xlsx, row 3"]


def test_problem_lines_are_few_short_and_printable(tmp_path: Path) -> None:
    rows = [(f"{'f' * 300}\x1b[2J{k}.fits", k, "\x07\n" + "?" * 5000) for k in range(30)]
    rows += [("a.fits", "9" * 5000, "N") for _ in range(3)]
    problems = read_labels(_write(tmp_path / "t.csv", [PLAIN[0], *rows])).problems
    assert [problem.split(":")[0] for problem in problems] == [
        *(f"t.csv, row {row}" for row in range(2, 12)),
        "and 20 more",
        *(f"t.csv, row {row}" for row in range(32, 35)),
    ]
    assert problems[10] == "and 20 more: unknown class"
    assert all(problem.isprintable() and len(problem) <= 500 for problem in problems)


def test_a_label_before_any_file_is_a_problem(tmp_path: Path) -> None:
    table = read_labels(_write(tmp_path / "t.csv", [ROWS[0], ("", "", 0, "N")]))
    assert not table.labels
    assert "no file name" in table.problems[0]


FITS, CDF, LEVEL0, OTHER_DAY = (
    f"{NAME}.fits",
    f"{NAME}.cdf",
    f"{NAME_LEVEL0}.fits",
    f"{NAME}.fits".replace("01-03", "01-09"),
)
REVIEWED = ("File Name", "Frame Number", "Classification", "Kinds", "Chosen", "Reviewer", "Note")


@pytest.mark.parametrize("suffix", ["xlsx", "csv"])
def test_rows_of_kinds_or_notes_label_no_frame_and_are_no_problem(tmp_path: Path, suffix: str) -> None:
    rows = [
        REVIEWED,
        ("a.fits", 0, "N", None, "random", "anna", None),
        ("a.fits", 1, None, "Elve + blue_jet", None, "anna", None),
        ("a.fits", 2, None, None, None, "anna", "look again"),
        ("a.fits", 3, "N", "elf", None, "anna", None),
        ("a.fits", 4, None, None, "random", "anna", None),
        ("a.fits", 1, None, "elve", None, "ben", None),
        ("a.fits", 1, None, "sprite", None, "ben", None),
    ]
    path = _write(tmp_path / f"t.{suffix}", rows)
    table = read_labels(path)
    assert (table.labels, table.chosen) == ({("a.fits", 0): "N"}, {("a.fits", 0): "random"})
    assert [problem.split(": ")[-1] for problem in table.problems] == [
        "Kinds are 'elf', not of corona, blue jet, elve, sprite, radiation, joined by +",
        "its kinds are others than in an earlier row, which is kept",
        "no Classification yet in 1 of its rows, which label nothing",
    ]
    reviewers = read_reviewers(path).reviewers
    assert reviewers["anna"].kinds == {("a.fits", 0): (), ("a.fits", 1): ("blue jet", "elve"), ("a.fits", 2): ()}
    assert reviewers["ben"].kinds == {("a.fits", 1): ("elve",)}
    assert not read_reviewers(_write(tmp_path / f"plain.{suffix}", PLAIN)).reviewers[""].kinds


def test_a_frame_to_which_reviewers_agree_counts_once(tmp_path: Path) -> None:
    ways = [("random", "random"), ("random", "hand"), ("margin", ""), ("", "random"), ("", "")]
    rows = [
        ("a.fits", frame, "N", None, way, reviewer, None)
        for frame, both in enumerate(ways)
        for reviewer, way in zip(("anna", "ben"), both, strict=True)
    ]
    table = read_labels(_write(tmp_path / "t.csv", [REVIEWED, *rows, ("a.fits", 9, "HCHA", None, "random", "ben", "")]))
    assert table.labels == {**{("a.fits", frame): "N" for frame in range(5)}, ("a.fits", 9): "HCHA"}
    assert table.problems == ()
    assert table.chosen == {
        ("a.fits", frame): way for frame, way in ((0, "random"), (1, "hand"), (2, "margin"), (9, "random"))
    }


@pytest.mark.parametrize("other", [FITS, LEVEL0, CDF], ids=["same file", "other level", "other format"])
def test_a_table_whose_reviewers_differ_asks_for_their_consensus(tmp_path: Path, other: str) -> None:
    rows = [
        (FITS, 0, "N", None, None, "anna", None),
        (FITS, 1, "N", None, None, "anna", None),
        (FITS, 2, "N", None, None, "anna", None),
        (other, 0, "N", None, None, "ben", None),
        (other, 1, "HCHA", None, None, "ben", None),
        (other, 2, "HCHA", None, None, "ben", None),
    ]
    path = _write(tmp_path / "t.csv", [REVIEWED, *rows])
    with pytest.raises(LabelTableError) as error:
        read_labels(path)
    assert str(error.value) == (
        f"{path}: its reviewers differ about the class of 2 frame(s), frame 1 of {other} among them; python -m "
        "asim_cvae.agreement tables=[TABLE] out=FOLDER makes a consensus.csv, to be given in its place"
    )


def test_unusable_tables_are_refused_in_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.xlsx"
    broken.write_bytes(b"PK\x03\x04 no workbook")
    encrypted = tmp_path / "encrypted.xlsx"
    encrypted.write_bytes(b"\xd0\xcf\x11\xe0 no workbook")
    binary = tmp_path / "binary.csv"
    binary.write_bytes(bytes(range(256)) * 8)
    headless = _write(tmp_path / "headless.csv", [("File Name", "Frame")])
    sheets = _write(tmp_path / "sheets.xlsx", [("File Name", "Frame Number")])
    empty = _write(tmp_path / "empty.csv", [])
    twice = _write(tmp_path / "twice.xlsx", [(*PLAIN[0], "classification")])
    for path, told in (
        (tmp_path / "gone.csv", "no such label table"),
        (broken, "cannot be read as a label table"),
        (encrypted, "cannot be read as a label table"),
        (binary, "is neither text nor a workbook"),
        (headless, "no column Frame Number, Classification; a label"),
        (sheets, "no column Classification in the first 20 rows of sheet Sheet; a label"),
        (empty, "no column File Name, Frame Number, Classification"),
        (twice, "has 2 columns Classification; delete or rename all but one"),
    ):
        with pytest.raises(LabelTableError, match=told) as error:
            read_labels(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def _of_many_bytes(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)


def _of_many_cells(path: Path) -> None:
    path.write_bytes(b"File Name,Frame Number,Classification\n" + b",,,\n" * 500_001)


def _with_a_far_cell(path: Path) -> None:
    book = openpyxl.Workbook()
    for row in PLAIN:
        book.active.append(row)
    book.active.cell(1_048_576, 16_384, "x")
    book.save(path)


def _unpacking_to_much(path: Path) -> None:
    _write(path.with_suffix(".xlsx"), PLAIN).rename(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("x", "w") as member:
        for _ in range(250):
            member.write(bytes(1_000_000))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (_of_many_bytes, "holds 50000001 bytes, and at most 50000000 are read; save the labels alone"),
        (_of_many_cells, "has more than 2000000 cells; delete those that are no labels"),
        (
            _with_a_far_cell,
            "sheet Sheet reaches to row 1048576 and column 16384, and at most 2000000 cells are read; "
            "delete all rows and columns that hold no labels",
        ),
        (_unpacking_to_much, "unpacks to more than 250000000 bytes; save the sheet of the labels alone"),
    ],
)
def test_tables_that_are_too_large_are_refused(tmp_path: Path, make: Callable[[Path], None], told: str) -> None:
    path = tmp_path / "t.table"
    make(path)
    with pytest.raises(LabelTableError) as error:
        read_labels(path)
    assert str(error.value) == f"{path}: {told}"


NEXT = FITS.replace("id_77", "id_78")


@pytest.mark.parametrize(
    ("name", "files", "file"),
    [
        (FITS, [FITS, NEXT], FITS),
        (FITS.upper(), [FITS, NEXT], FITS),
        (NAME, [FITS, NEXT], FITS),
        (NAME, [CDF, FITS], FITS),
        (FITS, [CDF, NEXT], CDF),
        (FITS, [LEVEL0, NEXT], LEVEL0),
        (LEVEL0, [LEVEL0, FITS], LEVEL0),
        (NAME_LEVEL0.replace("id_77", "id_77_group_id_5"), [LEVEL0, FITS, CDF], FITS),
        ("77", [LEVEL0, FITS, NEXT], FITS),
        ("observation_id_77", [FITS, NEXT], FITS),
        ("Observation ID 77", [FITS, NEXT], FITS),
        (FITS.replace("08-00", "08-01"), [FITS, NEXT], FITS),
        ("77", [FITS, OTHER_DAY], "may be one of 2 files"),
        (OTHER_DAY, [FITS, NEXT], None),
        ("79", [FITS, NEXT], None),
        ("7", [FITS, NEXT], None),
        ("A", ["a.fits", "b.fits"], "a.fits"),
        ("A.fits", ["a.FITS", "A.FITS"], "may be one of 2 files"),
    ],
)
def test_names_are_matched_to_files(name: str, files: list[str], file: str | None) -> None:
    matches = match_files([name], files)
    if file is None:
        assert (matches.files, matches.ambiguous) == ({}, {})
    elif file in files:
        assert (matches.files, matches.ambiguous) == ({name: file}, {})
    else:
        assert matches.files == {}
        assert matches.ambiguous[name].startswith(file)


def test_the_published_table(reference: Path) -> None:
    table = read_labels(reference / "GroundTruth_Table.xlsx")
    assert not table.problems
    labels, file = {}, ""
    sheet = openpyxl.load_workbook(reference / "GroundTruth_Table.xlsx").active
    for _, name, frame, label, *_ in sheet.iter_rows(min_row=2, values_only=True):
        file = name or file
        if label is not None:
            labels[file, int(frame)] = label
    assert table.labels == labels
    assert len(labels) > 500


def test_a_table_may_say_how_frames_were_chosen(tmp_path: Path) -> None:
    rows = [
        ("File Name", "Frame Number", "Classification", "chosen"),
        ("a.fits", 0, "N", "Margin"),
        (None, 1, "HCLA", None),
        (None, 2, "HCLA", " RANDOM "),
        (None, 3, "HCLA", "by hand"),
        (None, None, None, "random"),
        ("b.fits", 0, "N", "anomaly"),
        ("b.fits", 0, "N", "random"),
        ("b.fits", 0, "N", "margin"),
    ]
    for suffix in ("xlsx", "csv"):
        table = read_labels(_write(tmp_path / f"t.{suffix}", rows))
        assert table.labels == {("a.fits", 0): "N", ("a.fits", 1): "HCLA", ("a.fits", 2): "HCLA", ("b.fits", 0): "N"}
        assert table.chosen == {("a.fits", 0): "margin", ("a.fits", 2): "random", ("b.fits", 0): "random"}
        (problem,) = table.problems
        assert problem.endswith("frame 3 of a.fits: Chosen is 'by hand', not one of random, margin, anomaly, hand")
    assert read_labels(_write(tmp_path / "t.csv", ROWS)).chosen == {}
    with pytest.raises(LabelTableError, match="has 2 columns Chosen"):
        read_labels(_write(tmp_path / "t.csv", [(*row, *row[3:]) for row in rows]))
