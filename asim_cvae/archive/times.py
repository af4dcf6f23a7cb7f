"""Read times: texts as files have them, and the times of CDF. All results are UTC to the microsecond.

A text without a clock is no time, and times outside the mission are fill: they become NaT.
"""

import re
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FORMATS = (
    *("%d-%b-%Y %H:%M:%S.%f", "%d-%b-%Y %H:%M:%S"),  # as CDF's tools write an EPOCH
    *("%Y-%jT%H:%M:%S.%f", "%Y-%jT%H:%M:%S", "%Y/%m/%d %H:%M:%S.%f", "%Y/%m/%d %H:%M:%S"),
)
"""Ways to write a time that are read beside those of ISO 8601."""

_CLOCK = re.compile(r"\d[T ]\d\d:?\d\d")
_LEAP_SECOND = re.compile(r"(?<=\d\d:\d\d:)60(?!\d)")
_MISSION = (np.datetime64("2018-01-01", "us"), np.datetime64("2100-01-01", "us"))
_EPOCH_OF_1970 = 62_167_219_200  # seconds from the year 0 on, where EPOCH and EPOCH16 begin
_J2000 = np.datetime64("2000-01-01T12:00:00", "us")
_TT_MINUS_UTC = np.timedelta64(69_184_000, "us")  # 32.184 s, and 37 leap seconds since 2017 (IERS Bulletin C 52)


def from_text(texts: NDArray[Any]) -> NDArray[np.datetime64]:
    """Return the times that texts (R,) give, (R,)."""
    decoded = (text.decode("ascii", "replace") if isinstance(text, bytes) else str(text) for text in texts)
    return _within_mission(np.array([_parse(text.strip(" \0")) for text in decoded], "datetime64[us]"))


def _parse(text: str) -> datetime | None:
    """Return the time in UTC that a text gives; second 60 is the beginning of the next minute."""
    text, leap_seconds = _LEAP_SECOND.subn("59", text)
    time = _parse_usual(text) if _CLOCK.search(text) else None
    if time is None:
        return None
    try:
        return (time - (time.utcoffset() or timedelta()) + timedelta(seconds=leap_seconds)).replace(tzinfo=None)
    except OverflowError:
        return None


def _parse_usual(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    for form in _FORMATS:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None


def from_epoch(values: NDArray[Any]) -> NDArray[np.datetime64]:
    """Return the times of CDF_EPOCH: milliseconds since the beginning of the year 0."""
    return _from_1970(np.rint((values.astype(np.float64) - 1e3 * _EPOCH_OF_1970) * 1e3))


def from_epoch16(values: NDArray[Any]) -> NDArray[np.datetime64]:
    """Return the times of CDF_EPOCH16 (..., 2): seconds since the beginning of the year 0, and picoseconds more."""
    seconds, picoseconds = np.moveaxis(values.astype(np.float64), -1, 0)
    return _from_1970((seconds - _EPOCH_OF_1970) * 1e6 + np.rint(picoseconds / 1e6))


def _from_1970(microseconds: NDArray[np.float64]) -> NDArray[np.datetime64]:
    known = np.isfinite(microseconds) & (np.abs(microseconds) < 2**62)
    whole = np.where(known, microseconds, 0).astype(np.int64)
    return _within_mission(np.where(known, whole.astype("datetime64[us]"), np.datetime64("NaT")))


def from_tt2000(values: NDArray[Any]) -> NDArray[np.datetime64]:
    """Return the times of CDF_TIME_TT2000: nanoseconds of Terrestrial Time since J2000."""
    microseconds = (values.astype(np.int64) // 1000).astype("timedelta64[us]")
    return _within_mission(_J2000 + microseconds - _TT_MINUS_UTC)


def _within_mission(times: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    first, end = _MISSION
    return np.where((times >= first) & (times < end), times, np.datetime64("NaT", "us"))
