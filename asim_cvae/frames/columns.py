"""The columns of the frame store, each declared once: what is written and read, and the tables of docs/store.md."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asim_cvae.archive.layout import FileName
from asim_cvae.instrument.observation import Observation

Table = NDArray[np.void]
"""A structured array, a row an entry: text as ``U``, times as ``datetime64[us]``."""

TEXT, TIME = "U", "M8[us]"


@dataclass(frozen=True)
class Column:
    """A column of a table of the store.

    Attributes:
        name: its name.
        type: NumPy type, ``TEXT``, or ``TIME`` (UTC).
        about: what it holds, with its unit.
        value: what it is of an observation; None where the store itself knows it.
        shape: shape of an entry.
        missing: value where a file has none; None where every file has one.
        only_index: whether the index alone has it.
        is_content: whether it belongs to the content that the store's digest tells from another.
    """

    name: str
    type: str
    about: str
    value: Callable[[Observation], Any] | None = None
    shape: tuple[int, ...] = ()
    missing: Any = None
    only_index: bool = False
    is_content: bool = True


def _key(observation: Observation) -> str:
    name = FileName.parse(observation.source)
    return (name or FileName(1, observation.start, observation.observation_id)).key


def _first(values: NDArray[np.floating[Any]]) -> float:
    known = values[~np.isnan(values)]
    return float(known[0]) if known.size else float("nan")


_FILE = (
    Column("file", TEXT, "name of the file"),
    Column("size", "i8", "size of the file in bytes", is_content=False),
    Column("mtime_ns", "i8", "time of its last modification, ns since 1970", is_content=False),
    Column("ctime_ns", "i8", "time of its last change of status, ns since 1970", is_content=False),
)

_OBSERVATION = Column("observation", "i4", "row of its observation in `observations`")

_SHARD = Column("shard", "i4", "row of its shard in `shards`", missing=-1, only_index=True, is_content=False)

OBSERVATIONS = (
    *_FILE,
    Column("key", TEXT, "identifies the observation: all its files, of whatever level, have the same", _key),
    Column("observation_id", "i8", "MMIA's number of the observation, 0 if unknown", lambda o: o.observation_id),
    Column("level", "i1", "processing level of the file: 0 (counts) or 1 (flux)", lambda o: o.level),
    Column("start", TIME, "UTC time of the first sample", lambda o: o.start),
    Column("samples", "i8", "samples of each photometer", lambda o: o.flux.shape[1]),
    Column("simulator", TEXT, "program that simulated the file, '' for a measured one", lambda o: o.simulator),
    Column("flux_per_count", "f8", "q of each photometer in uW/m^2 per count", lambda o: o.flux_per_count, (3,)),
    Column("q_fitted", "?", "whether q was fitted to the flux; else it is nominal", lambda o: o.q_fitted, (3,)),
    Column("latitude", "f8", "of the ISS in degrees, in the first row that has it", lambda o: _first(o.latitude),
           missing=np.nan),
    Column("longitude", "f8", "of the ISS in degrees, likewise", lambda o: _first(o.longitude), missing=np.nan),
    Column("altitude", "f8", "of the ISS in km, likewise", lambda o: _first(o.altitude), missing=np.nan),
    Column("mxgs_trigger", "i1", "whether the gamma-ray instrument triggered in any row, 0 or 1",
           lambda o: o.mxgs_trigger.max(initial=-1), missing=-1),
    Column("photometer_trigger", "i1", "whether each photometer triggered in any row, 0 or 1",
           lambda o: o.photometer_trigger.max(axis=0, initial=-1), (3,), missing=-1),
    Column("priority", "i2", "MMIA's priority, the highest of its rows", lambda o: o.priority.max(initial=-1),
           missing=-1),
    Column("notes", TEXT, "what was odd about the file, which was taken all the same, a line each",
           lambda o: "\n".join(o.notes)),
    Column("ground_truth", "?", "whether it is scored on, and kept out of training", only_index=True),
    _SHARD,
)  # fmt: skip

ROWS = (
    _OBSERVATION,
    Column("sample", "i8", "first sample of the readout row", lambda o: o.row_sample),
    Column("start", TIME, "UTC time of that sample", lambda o: o.row_start, missing="NaT"),
    Column("latitude", "f8", "of the ISS in degrees", lambda o: o.latitude, missing=np.nan),
    Column("longitude", "f8", "of the ISS in degrees", lambda o: o.longitude, missing=np.nan),
    Column("altitude", "f8", "of the ISS in km", lambda o: o.altitude, missing=np.nan),
    Column("mxgs_trigger", "i1", "whether the gamma-ray instrument triggered, 0 or 1", lambda o: o.mxgs_trigger,
           missing=-1),
    Column("photometer_trigger", "i1", "whether each photometer triggered, 0 or 1", lambda o: o.photometer_trigger,
           (3,), missing=-1),
    Column("priority", "i2", "MMIA's priority", lambda o: o.priority, missing=-1),
)  # fmt: skip

FRAMES = (
    _OBSERVATION,
    Column("frame", "i4", "number of the frame: samples 5000 k to 5000 (k + 1) - 1 of its observation"),
    Column("time", TIME, "UTC time of its first sample, from its own readout row where that has a time"),
    Column("checksum", "u4", "CRC-32 of its 60,000 bytes of flux"),
    Column("label", TEXT, "its label, '' where there is none", only_index=True),
    Column("chosen", TEXT, "how it was chosen to be labelled: random, margin, anomaly, hand, '' where not stated",
           only_index=True),
    Column("position", "i4", "its place in the `flux` of its observation's shard", only_index=True, is_content=False),
)  # fmt: skip

EXCLUDED = (
    _OBSERVATION,
    Column("frame", "i4", "number of a frame that is left out"),
    Column("reason", TEXT, "why it is"),
)

REJECTED = (*_FILE, Column("reason", TEXT, "why the file gave no observation"), _SHARD)

SHARDS = (
    Column("name", TEXT, "name of the file in `shards/`, without .h5"),
    Column("size", "i8", "its size in bytes"),
    Column("offset", "i8", "byte at which its `flux` begins"),
    Column("files", "i8", "files that it is of, whether all of them count or not"),
)

TABLES: Mapping[str, Sequence[Column]] = {
    "observations": OBSERVATIONS,
    "rows": ROWS,
    "frames": FRAMES,
    "excluded": EXCLUDED,
    "rejected": REJECTED,
}
"""The tables that a shard has; the index has them of all shards together, and ``SHARDS``."""


def make_table(columns: Sequence[Column], length: int, values: Mapping[str, ArrayLike]) -> Table:
    """A table of ``length`` rows; columns that ``values`` lacks are missing in all of them."""
    arrays = {}
    for column in columns:
        shape = (length, *column.shape)
        empty = np.zeros((), column.type) if column.missing is None else column.missing
        given = np.asarray(values.get(column.name, empty), dtype=column.type)
        arrays[column.name] = np.broadcast_to(given, shape)
    return _join(length, arrays)


def with_column(table: Table, columns: Sequence[Column], name: str, values: ArrayLike) -> Table:
    """The table with other values in a column, text of any length."""
    return make_table(columns, len(table), {**{column.name: table[column.name] for column in columns}, name: values})


def observed(columns: Sequence[Column], observation: Observation) -> dict[str, Any]:
    """The values that an observation gives to columns, by name."""
    return {column.name: column.value(observation) for column in columns if column.value is not None}


def to_stored(table: Table, columns: Sequence[Column]) -> Table:
    """A table as HDF5 takes it: text as bytes of UTF-8 of fixed length, times in us since 1970."""
    kept = {column.name: table[column.name] for column in columns}
    return _join(len(table), {name: _stored(values) for name, values in kept.items()})


def from_stored(stored: Table, columns: Sequence[Column]) -> Table:
    """The inverse of :func:`to_stored`; columns that are not stored are missing in all rows.

    Raises:
        ValueError: a column is stored with another type or shape.
    """
    names = stored.dtype.names or ()
    return make_table(columns, len(stored), {c.name: _read(stored[c.name], c) for c in columns if c.name in names})


def _join(length: int, arrays: Mapping[str, NDArray[Any]]) -> Table:
    table = np.empty(length, dtype=[(name, values.dtype, values.shape[1:]) for name, values in arrays.items()])
    for name, values in arrays.items():
        table[name] = values
    return table


def _stored(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "M":
        return np.ascontiguousarray(values).view(np.int64)
    if values.dtype.kind != "U":
        return values
    try:
        return values.astype("S")  # ten times as fast, where all of it is ASCII
    except UnicodeEncodeError:
        return np.char.encode(values, "utf-8", "backslashreplace")


def _read(stored: NDArray[Any], column: Column) -> NDArray[Any]:
    if column.type == TIME:
        return np.ascontiguousarray(stored).view(TIME)
    if column.type != TEXT:
        return stored
    try:
        return stored.astype("U")
    except UnicodeDecodeError:
        return np.char.decode(stored, "utf-8")
