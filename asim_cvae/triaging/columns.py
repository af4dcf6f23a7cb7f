"""The columns of the tables of triage, each declared once, and the Arrow tables that hold them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from asim_cvae.instrument.classes import CLASSES, KINDS
from asim_cvae.pulses.columns import COLUMNS as PULSE
from asim_cvae.pulses.columns import Column, of_photometers

VECTOR = "f4[]"
"""Type of a column of vectors."""


def kind_column(kind: str) -> str:
    """Name of the column of a kind's probability."""
    return kind.replace(" ", "_")


_FILE = Column("file", "U", "", "name of the file")
_OBSERVATION = Column("observation_id", "i8", "", "MMIA's number of the observation, 0 if unknown")

FRAMES = (
    _FILE,
    _OBSERVATION,
    Column("frame", "i4", "", "number of the frame: samples 5000 k to 5000 (k + 1) - 1 of its observation"),
    Column("time_utc", "M8[us]", "UTC", "time of its first sample"),
    Column("class", "U", "", "likeliest class by the heads"),
    Column("probability", "f4", "", "calibrated probability of that class"),
    Column("margin", "f4", "", "probability of that class less that of the second likeliest"),
    *(Column(f"p_{name}", "f4", "", f"calibrated probability of {name}") for name in CLASSES),
    *(
        Column(kind_column(kind), "f4", "", f"calibrated probability that the frame holds an event of the kind {kind}")
        for kind in KINDS
    ),
    Column("cluster", "i4", "", "number of the nearest of the clusters that were saved with the model"),
    Column("cluster_class", "U", "", "class of that cluster"),
    Column("distance", "f4", "", "distance of the description from its centre"),
    Column("log_px", "f4", "nats", "log-likelihood of the frame at the posterior mean"),
    Column("kl", "f4", "nats", "KL divergence of the posterior from the prior"),
    Column("misfit", "f8", "", "probability that chance alone makes counts stand out from the reconstruction as much"),
    *of_photometers("misfit", "f8", "", "the same at {}"),
    Column("unusual", "f4", "", "share of the model's reference frames that are more usual"),
    Column("interest", "f4", "", "-log10 of the smallest share of reference frames that are as odd"),
    *of_photometers("peak_flux", "f4", "uW/m2", "largest flux of a sample at {}"),
    *of_photometers("peak_ms", "f4", "ms", "its time from the observation's first sample, at {}"),
    Column("gap", "?", "", "whether the frame touches a gap: then the model's values are missing"),
    Column("kept", "?", "", "whether its probability of noise is at or below the threshold"),
    Column("why", "U", "", "what is most interesting about it"),
    Column("description", VECTOR, "", "vector by which the model describes it"),
    Column("map_x", "f4", "", "place of the description on the model's map"),
    Column("map_y", "f4", "", "likewise"),
)

PULSES = (_FILE, _OBSERVATION, *PULSE)

OBSERVED = (
    Column("interest", "f4", "", "that of its most interesting frame"),
    Column("why", "U", "", "what is most interesting about that frame"),
    _FILE,
    _OBSERVATION,
    Column("frame", "i4", "", "number of that frame"),
    Column("start_utc", "M8[us]", "UTC", "time of the first sample"),
    Column("latitude", "f8", "degrees", "of the ISS, in the first row that has it"),
    Column("longitude", "f8", "degrees", "of the ISS, likewise"),
    Column("level", "i1", "", "processing level of the file: 0 (counts) or 1 (flux)"),
    Column("mxgs_trigger", "i1", "", "whether the gamma-ray instrument triggered in any row: 1, 0, or -1 if unknown"),
    Column("phot_triggers", "U", "", "photometers that triggered in any row, joined by +"),
    Column("priority", "i2", "", "MMIA's priority, the highest of its rows; -1 if unknown"),
    Column("frames", "i4", "", "number of its frames of 50 ms, with or without gaps"),
    Column("whole_frames", "i4", "", "number of those without a gap, which the model could judge"),
    Column("kept_frames", "i4", "", "number of these that are no noise"),
    Column("class", "U", "", "class of that frame"),
    Column("kinds", "U", "", "kinds of events whose probability is 1/2 or more in a frame, joined by +"),
    Column("pulses", "i4", "", "number of its pulses in the catalogue, without particle hits"),
    Column("misfit", "f8", "", "the smallest of its frames"),
    Column("unusual", "f4", "", "the largest of its frames"),
    Column("notes", "U", "", "what was odd about the file, which was taken all the same"),
)

OBSERVATIONS = (Column("rank", "i4", "", "place by interest, from 1"), *OBSERVED)
"""Columns of ``observations.csv``."""

LEDGER = (
    *OBSERVED,
    Column("size", "i8", "bytes", "size of the file"),
    Column("mtime_ns", "i8", "ns", "time of its last modification since 1970"),
    Column("ctime_ns", "i8", "ns", "time of its last change of status since 1970"),
    Column("key", "U", "", "identifies the observation: all its files, of whatever level, have the same"),
    Column("rejected", "U", "", "why the file gave no observation; '' if it did"),
    Column("digest", "U", "", "digest of its rows of frames and pulses"),
)
"""Columns of the ledger, a row a file that was looked at."""

REJECTED = (_FILE, Column("reason", "U", "", "why the file gave no observation"))

_ARROW = {
    "U": pa.string(),
    "M8[us]": pa.timestamp("us", tz="UTC"),
    "?": pa.bool_(),
    "i1": pa.int8(),
    "i2": pa.int16(),
    "i4": pa.int32(),
    "i8": pa.int64(),
    "f4": pa.float32(),
    "f8": pa.float64(),
    VECTOR: pa.list_(pa.float32()),
}


def schema(columns: Sequence[Column], metadata: Mapping[str, str]) -> pa.Schema:
    """Return the Arrow schema of columns; each field says what it holds, and in what unit."""
    fields = [
        pa.field(column.name, _ARROW[column.type], metadata={"about": column.about, "unit": column.unit})
        for column in columns
    ]
    return pa.schema(fields, metadata=dict(metadata))


def make_table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], metadata: Mapping[str, str]) -> pa.Table:
    """Make a table of rows, each with a value for each column; NaN and None are missing."""
    arrays = [_array(column, [row[column.name] for row in rows]) for column in columns]
    return pa.Table.from_arrays(arrays, schema=schema(columns, metadata))


def _array(column: Column, values: list[Any]) -> pa.Array:
    wanted = _ARROW[column.type]
    if column.type == "M8[us]":  # Arrow takes times without a zone alone, which are UTC here
        return pa.array(np.array(values, dtype="M8[us]")).cast(wanted)
    return pa.array(values, type=wanted, from_pandas=True)
