"""Read damaged files with the product, beside the oracle."""

import gzip
import re
import tempfile
import warnings
from functools import cache
from pathlib import Path

import numpy as np

from tests.faults.bases import Base, make_bases
from tests.faults.mutations import KINDS, Kind
from tests.faults.oracle import Reading, Undefined, readings
from tests.faults.report import Case

BASES = 99
"""Number of unharmed files."""


@cache
def _bases(seed: int) -> list[Base]:
    return make_bases(seed)


def prepare(seed: int) -> None:
    """Make the unharmed files, and import and use what reads files, so that no case pays for it."""
    assert len(_bases(seed)) == BASES
    for number in range(0, BASES, 10):
        run_base(seed, number)


def _choose(rng: np.random.Generator, bases: list[Base]) -> tuple[Base, Kind, bytes, str]:
    """Choose a file, and damage it; a small share is left as it is."""
    while True:
        base = bases[int(rng.integers(len(bases)))]
        form = "fits" if "FITS" in base.layout else "cdf"
        kinds = [kind for kind in KINDS if kind.format in ("", form)]
        weights = np.array([kind.weight for kind in kinds])
        kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
        content = base.content
        if base.name.endswith(".gz"):
            content = gzip.decompress(content)
        elif kind.packs and form == "cdf":
            continue
        if kind.harmless and "summed" in base.layout:
            continue  # its checksum would no longer hold
        changed = kind.change(content, rng)
        if changed is not None and changed[0] != content:
            return base, kind, changed[0], changed[1]


def run_case(seed: int, number: int) -> Case:
    """Make file ``number`` of the campaign ``seed``, and say how the product reads it."""
    rng = np.random.default_rng([seed, 2, number])
    base, kind, content, told = _choose(rng, _bases(seed))
    name = base.name
    if kind.packs and not name.endswith(".gz"):
        name += ".gz"
    elif not kind.packs and name.endswith(".gz"):
        content = gzip.compress(content, 6, mtime=0)
    return judge(content, name, kind.name, f"{base.layout}: {told}", kind.harmless)


def run_base(seed: int, number: int) -> Case:
    """Read an unharmed file."""
    base = _bases(seed)[number]
    return judge(base.content, base.name, "unharmed", base.layout, harmless=True)


def judge(content: bytes, name: str, kind: str, told: str, harmless: bool) -> Case:
    """Read a file with the product and with the oracle, and compare."""
    from asim_cvae.archive.reader import read_observation
    from asim_cvae.instrument.observation import RejectedFileError

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a library's warning is no line for users
                seen = read_observation(path)
        except RejectedFileError as error:
            wrong = _wrong_rejection(error, name)
            if wrong:
                return Case(kind, told, "failed", f"{wrong}: {error!s:.300}")
            if harmless:
                return Case(kind, told, "failed", f"rejected, though nothing is wrong: {error!s:.300}")
            return Case(kind, told, "rejected", str(error)[-200:])
        except Exception as error:
            return Case(kind, told, "failed", f"raised {type(error).__name__}: {error!s:.300}")
    differences = []
    for reading in readings(content, name):
        if isinstance(reading, Undefined):
            differences.append(f"undefined ({reading})")
            continue
        difference = compare(reading, seen)
        if difference is None:
            return Case(kind, told, "read", "")
        differences.append(difference)
    return Case(kind, told, "failed", f"read, but the file says otherwise: {'; or '.join(dict.fromkeys(differences))}")


def _wrong_rejection(error: Exception, name: str) -> str | None:
    text = str(error)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            return "asked for too much memory"
        cause = cause.__cause__ or cause.__context__
    if name not in text:
        return "the line does not name the file"
    if "\n" in text or not text.isprintable():
        return "not one line that can be printed"
    if not re.sub(re.escape(name), "", text).strip(" :"):
        return "no reason"
    return None


def compare(reading: Reading, seen: object) -> str | None:
    """Say in what the product's observation ``seen`` differs from a ``reading``; None if in nothing."""
    flux = np.asarray(seen.flux, dtype=np.float64)
    if flux.shape != reading.flux.shape:
        return f"flux of shape {flux.shape}, not {reading.flux.shape}"
    gaps = np.isnan(flux) != np.isnan(reading.flux)
    if gaps.any():
        where = tuple(int(place) for place in np.argwhere(gaps)[0])
        return f"{gaps.sum()} gaps differ, first at {where}: {flux[where]}, not {reading.flux[where]}"
    with np.errstate(invalid="ignore"):
        wrong = np.abs(flux - reading.flux) > 2e-6 * np.abs(reading.flux) + 1e-9
    if wrong.any():
        where = tuple(int(place) for place in np.argwhere(wrong)[0])
        return f"{wrong.sum()} samples differ, first at {where}: {flux[where]}, not {reading.flux[where]}"
    if seen.row_sample.tolist() != reading.row_sample.tolist():
        return f"rows begin at {seen.row_sample.tolist()}, not {reading.row_sample.tolist()}"
    late = np.abs(seen.row_start - reading.row_start)
    unlike = (np.isnat(seen.row_start) != np.isnat(reading.row_start)) | (late > np.timedelta64(reading.error_us, "us"))
    if unlike.any():
        return f"times of rows {seen.row_start.tolist()}, not {reading.row_start.tolist()}"
    if abs(seen.start - reading.start) > np.timedelta64(reading.error_us, "us"):
        return f"start {seen.start}, not {reading.start}"
    if (seen.observation_id, seen.level) != (reading.observation_id, reading.level):
        return f"id {seen.observation_id} and level {seen.level}, not {reading.observation_id} and {reading.level}"
    return None
