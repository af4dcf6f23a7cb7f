"""Make the page of a triage: one HTML file that needs no network, with the light curves of the first observations."""

import base64
import hashlib
import json
import string
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.colors import to_hex

from asim_cvae.base.errors import InputError
from asim_cvae.base.files import atomic_write
from asim_cvae.base.locks import held_lock
from asim_cvae.base.progress import progress
from asim_cvae.figures.styles import CLASS_STYLES, PHOTOMETER_COLOURS, cluster_style
from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument.classes import CLASS_NAMES, CLASSES, KINDS
from asim_cvae.instrument.photometers import PHOTOMETERS, SAMPLING_RATE
from asim_cvae.labelling.consensus import PAGE
from asim_cvae.labelling.suggesting import Suggestion
from asim_cvae.pulses.columns import NAMES
from asim_cvae.reviewing.curves import BIN, LOWEST, STEPS
from asim_cvae.reviewing.records import ranked_files
from asim_cvae.reviewing.shelf import Shelf, in_letters
from asim_cvae.triaging.columns import FRAMES, LEDGER, schema
from asim_cvae.triaging.gathering import Listed, files_that_count
from asim_cvae.triaging.ledger import Ledger

_WEB = Path(__file__).parent / "web"
_STYLES = ("vendor/uPlot.min.css", "page.css")
_SCRIPTS = ("vendor/uPlot.iife.min.js", *(f"{name}.js" for name in (
    "base", "curves", "labels", "plots", "maps", "list", "detail", "queue", "keys", "main"
)))  # fmt: skip
_MEGABYTE = 1_000_000
_CLUSTERS_DRAWN = 50
_POINTS = 20_000  # of the latent map that are frames of other observations
_MAP_STEPS = 65535
_ON_MAP = ("file", "map_x", "map_y", "class", "cluster", "interest")
_HEAD = 4096  # characters, within which a page names its policy


@dataclass(frozen=True)
class Contents:
    """What stands on the page.

    Attributes:
        observations: number of observations, the most interesting first.
        megabytes: size of the page from which on observations have no light curves.
        suggestions: number of frames to label, whose observations stand on the page too.
    """

    observations: int
    megabytes: float
    suggestions: int


def write_page(shelf: Shelf, contents: Contents) -> Path:
    """Write the page of a triage into its folder, and return its path.

    Light curves of suggested frames come first, then the most interesting ones, until the page is large enough.

    Raises:
        InputError: a batch of the ledger is damaged.
    """
    folder = shelf.ledger.folder
    ranks = {file: rank for rank, file in enumerate(ranked_files(folder, contents.observations), 1)}
    suggested = shelf.suggested((), contents.suggestions)
    files = list(dict.fromkeys([*(one.file for one in suggested), *ranks]))
    head = {**_head(shelf, suggested), "map": _map_of_others(shelf.ledger, set(files))}
    most = contents.megabytes * _MEGABYTE - sum(map(len, (_style(), _script(), json.dumps(head))))
    scripts: list[str] = []
    observations: list[dict[str, Any]] = []
    with progress(len(files), "page", "observation") as advance:
        for entry in shelf.entries(files):
            curves = entry.pop("curves", None)
            entry["rank"] = ranks.get(entry["file"])
            entry["simulated"] = curves is not None and curves["simulated"]
            most -= len(json.dumps(entry))
            script = "" if curves is None else data_script(f"curves-{len(observations)}", curves)
            if len(script) <= most:
                scripts.append(script)
                most -= len(script)
            observations.append(entry)
            advance(1)
    path = folder / PAGE
    with held_lock(folder / f".{PAGE}.lock"), atomic_write(path) as partial:
        partial.write_text(_html({**head, "observations": observations}, scripts), encoding="utf-8")
    return path


def _html(data: Mapping[str, Any], scripts: Sequence[str]) -> str:
    return string.Template((_WEB / "page.html").read_text(encoding="utf-8")).substitute(
        policy=content_policy(),
        style=_style(),
        script=_script(),
        data=data_script("data", data),
        curves="\n".join(filter(None, scripts)),
    )


def _head(shelf: Shelf, suggested: Sequence[Suggestion]) -> dict[str, Any]:
    """Return what the page says of the triage, and how things look."""
    ledger = shelf.ledger
    return {
        "folder": ledger.folder.resolve().name,
        "id": shelf.name,
        "model": shelf.model_digest,
        "program": ledger.identity.get("program", ""),
        "classes": [
            {"name": name, "about": CLASS_NAMES[name], "colour": CLASS_STYLES[name].colour} for name in CLASSES
        ],
        "kinds": list(KINDS),
        "photometers": [
            {"name": name, "band": photometer.band, "colour": to_hex(colour)}
            for name, photometer, colour in zip(NAMES, PHOTOMETERS, PHOTOMETER_COLOURS, strict=True)
        ],
        "cluster_colours": [cluster_style(number).colour for number in range(_CLUSTERS_DRAWN)],
        "frame_samples": FRAME_SAMPLES,
        "sampling_rate": SAMPLING_RATE,
        "rates": {"bin": BIN, "steps": STEPS, "lowest": LOWEST},
        "queue": [asdict(one) for one in suggested],
        "land": json.loads((_WEB / "land.json").read_text(encoding="utf-8")),
    }


def _map_of_others(ledger: Ledger, shown: set[str]) -> dict[str, Any] | None:
    """Return places, classes and clusters of frames that are not on the page, evenly chosen, packed."""
    counted = files_that_count(ledger)
    is_shown = pc.is_in(counted.files["file"], pa.array(shown, pa.string()))
    part = _evenly_chosen(replace(counted, files=counted.files.filter(pc.invert(is_shown))))
    if not len(part):
        return None
    coordinates = [part[name].to_numpy().astype(np.float64) for name in ("map_x", "map_y")]
    low = [float(values.min()) for values in coordinates]
    high = [float(values.max()) for values in coordinates]
    places = [
        np.rint((values - first) / max(last - first, 1e-12) * _MAP_STEPS).astype("<u2")
        for values, first, last in zip(coordinates, low, high, strict=True)
    ]
    numbers = {name: number for number, name in enumerate(CLASSES)}
    bytes_of = [
        np.array([numbers.get(name, 255) for name in part["class"].to_pylist()], "u1"),
        np.array([255 if number is None else number % 255 for number in part["cluster"].to_pylist()], "u1"),
        np.clip(np.nan_to_num(part["interest"].to_numpy(zero_copy_only=False)) * 20, 0, 255).astype("u1"),
    ]
    blob = b"".join(array.tobytes() for array in (*places, *bytes_of))
    return {"points": len(part), "low": low, "high": high, "packed": in_letters(zlib.compress(blob))}


def _evenly_chosen(files: Listed) -> pa.Table:
    """Return some 20,000 frames at most of files, those that have a place on the map; a batch at a time is read."""
    counts = files.tables("files", [column for column in LEDGER if column.name in ("file", "whole_frames")])
    step = max(1, -(-sum(pc.sum(rows["whole_frames"]).as_py() or 0 for rows in counts) // _POINTS))
    columns = [column for column in FRAMES if column.name in _ON_MAP]
    chosen, before = [schema(columns, {}).empty_table()], 0
    for rows in files.tables("frames", columns):
        placed = rows.filter(pc.and_(pc.is_finite(rows["map_x"]), pc.is_finite(rows["map_y"])))
        chosen.append(placed.take(np.arange(-before % step, len(placed), step)))
        before += len(placed)
    return pa.concat_tables(chosen)


def check_page(folder: Path) -> None:
    """Make sure that the page of a triage is there, and runs the scripts of this version of the program.

    Raises:
        InputError: it is missing, or of another version.
    """
    path = folder / PAGE
    if not path.is_file():
        raise InputError(f"folder={folder}: has no {PAGE}; run the triage again, with page.observations above 0")
    with path.open(encoding="utf-8", errors="replace") as stream:
        if content_policy() not in stream.read(_HEAD):
            raise InputError(f"{path}: was written by another version; run the triage again")


def content_policy() -> str:
    """Return the Content-Security-Policy of the page: its own script and style, and no other address."""
    return (
        f"default-src 'none'; script-src '{_hash(_script())}'; style-src '{_hash(_style())}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _style() -> str:
    return "\n".join((_WEB / name).read_text(encoding="utf-8") for name in _STYLES)


@cache
def _script() -> str:
    return "\n".join((_WEB / name).read_text(encoding="utf-8") for name in _SCRIPTS)


def data_script(name: str, content: Mapping[str, Any]) -> str:
    """Return a script element that holds data; ``<`` is escaped, so that nothing in it can end the element."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'
