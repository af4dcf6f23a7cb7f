"""The columns of a catalogue of pulses, each declared once: type, unit and meaning."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asim_cvae.instrument.photometers import PHOTOMETERS

Table = NDArray[np.void]
"""A structured array, a row a pulse."""

NAMES = ("337", "uv", "777")
"""The photometers in names of columns, in the order of :data:`~asim_cvae.instrument.photometers.PHOTOMETERS`."""


@dataclass(frozen=True)
class Column:
    """A column of the catalogue.

    Attributes:
        name: its name.
        type: NumPy type; text as ``U``, UTC times as ``M8[us]``.
        unit: unit of its values, '' without one.
        about: what it holds.
    """

    name: str
    type: str
    unit: str
    about: str


def of_photometers(name: str, type_: str, unit: str, about: str) -> tuple[Column, ...]:
    """Return a column for each photometer; its band stands in place of {} in what the column is about."""
    return tuple(
        Column(f"{name}_{short}", type_, unit, about.format(photometer.band))
        for short, photometer in zip(NAMES, PHOTOMETERS, strict=True)
    )


COLUMNS = (
    Column("pulse", "i4", "", "number of the pulse in its observation, from 0, in order of onset"),
    Column("onset_utc", "M8[us]", "UTC", "time of the onset"),
    Column("onset_ms", "f8", "ms", "first sample of 10 % of the peak, from the observation's first sample, in the "
           "photometer with the highest peak, as the next four"),
    Column("peak_ms", "f8", "ms", "middle of the brightest samples"),
    Column("rise_ms", "f8", "ms", "from the onset to the first sample of 90 % of the peak"),
    Column("decay_ms", "f8", "ms", "from the last sample of 90 % of the peak to the last of 10 %"),
    Column("width_ms", "f8", "ms", "from the first sample of 50 % of the peak to the end of the last"),
    Column("delay_ms", "f8", "ms", "of 777.4 after 337 nm, between the samples at which half of the light has come; "
           "NaN unless the pulse is found in both"),
    Column("photometers", "U", "", "photometers in which it is found: 337, uv and 777, joined by +"),
    *of_photometers("peak_counts", "f8", "counts", "peak over the background, in counts a sample without dead time at "
                     "{}; NaN where it is missing"),
    *of_photometers("peak_flux", "f8", "uW/m2", "the same as flux at {}; NaN where it is missing"),
    *of_photometers("fluence", "f8", "uJ/m2", "light over the background from the onset to the end at {}; NaN where "
                     "it is missing"),
    Column("ratio_337_777", "f8", "", "fluence at 337 nm divided by that at 777.4 nm; NaN where that is 0 or less"),
    *of_photometers("background", "f8", "counts", "background in counts a sample at {}; NaN where it is missing"),
    Column("significance", "f8", "", "in standard deviations of all light: the root of the sum of s^2 / r over "
           "photometers and parts of the pulse, s its counts and r all counts"),
    Column("kind", "U", "", "kind of event by rule: particle, corona, blue jet, correlated, channel or other"),
    Column("flags", "U", "", "what limits the values, joined by +: gap, end, missing, saturated, blend"),
)  # fmt: skip


def make_table(values: Mapping[str, ArrayLike]) -> Table:
    """Return the table of the values of each column, (n,)."""
    columns = {column.name: np.array(values[column.name], dtype=column.type) for column in COLUMNS}
    table = np.empty(len(columns["pulse"]), dtype=[(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        table[name] = column
    return table
