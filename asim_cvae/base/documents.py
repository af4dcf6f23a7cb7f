"""Read documents of plain values that anyone may have written: bounded in size, checked against what they may hold."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from asim_cvae.base.errors import InputError, first_line

Count = Annotated[int, msgspec.Meta(ge=0)]
"""A whole number, 0 or more."""

Share = Annotated[float, msgspec.Meta(ge=0, le=1 + 1e-9)]
"""A number from 0 to 1, which rounding may exceed in its last bits."""

Name = Annotated[str, msgspec.Meta(max_length=1000, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]
"""Text of one line, without control characters."""

Kind = TypeVar("Kind")

DIGEST = "sha256"
"""Key of a signed document under which the digest of all its other values stands."""

_INTEGERS = 2**63  # whole numbers beyond are no counts, and Python takes long over thousands of digits


def read_bounded(path: Path, most: int) -> bytes:
    """Read a file of ``most`` bytes or fewer.

    Raises:
        InputError: there is no such file, or it is larger; then none of it is read.
        OSError: it cannot be read.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    size = path.stat().st_size
    if size > most:
        raise InputError(f"{path}: {size:,} bytes, at most {most:,} are read; it is damaged, or not what its name says")
    with path.open("rb") as stream:
        return stream.read(most)


def read_text(path: Path, most: int) -> str:
    """Read a text of ``most`` bytes or fewer.

    Raises:
        InputError: as :func:`read_bounded`, or the text is no UTF-8.
        OSError: it cannot be read.
    """
    try:
        return read_bounded(path, most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no UTF-8 text; it is damaged ({first_line(error)})") from error


def parse_json(text: str) -> dict[str, Any]:
    """Parse a JSON object, strictly: each key once, numbers finite, as deep as Python's stack allows.

    Raises:
        InputError: ``text`` is anything else.
    """
    try:
        content = json.loads(
            text, object_pairs_hook=_once, parse_constant=_finite, parse_float=_finite, parse_int=_bounded
        )
    except RecursionError as error:
        raise InputError("its JSON is nested too deeply") from error
    except ValueError as error:
        raise InputError(f"no JSON that this program writes ({first_line(error)})") from error
    if not isinstance(content, dict):
        raise InputError(f"its JSON has to be an object, not {type(content).__name__}")
    return content


def checked(content: Any, kind: type[Kind]) -> Kind:
    """Make a dataclass from plain values, as its annotations declare them; keys that it does not declare are left out.

    Raises:
        InputError: a value is missing, or has another type or range.
    """
    try:
        return msgspec.convert(content, kind)
    except (msgspec.ValidationError, OverflowError, RecursionError) as error:
        what, _, place = first_line(error).partition(" - at `$")
        place = place.strip(".`")
        raise InputError(f"{place}: {what}" if place else what) from error


def signed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with the digest that tells damage to it."""
    return {**content, DIGEST: _digest(content)}


def unsigned(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a signed document without its digest.

    Raises:
        InputError: the digest is another than that of the other values, or is not there.
    """
    rest = {name: value for name, value in content.items() if name != DIGEST}
    if content.get(DIGEST) != _digest(rest):
        raise InputError(f"damaged or changed: {DIGEST} is not that of its content")
    return rest


def _digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of values, whatever the order of their keys and the spaces between them."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in content if names.count(name) > 1)!r} stands there twice")
    return content


def _finite(text: str) -> float:
    value = float(text)
    if not abs(value) < float("inf"):
        raise ValueError(f"{text} is no finite number")
    return value


def _bounded(text: str) -> int:
    if len(text) > len(str(_INTEGERS)) or abs(int(text)) >= _INTEGERS:
        raise ValueError(f"{text[:30]} is beyond 64 bits")
    return int(text)
