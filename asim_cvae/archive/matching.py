"""Match the names in a label table to the files of an archive."""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np

from asim_cvae.archive.layout import FileName, has_known_suffix, observation_key, preference, without_suffix

_ID = re.compile(r"(?:.*observation[_\s-]*id[_\s-]*)?([0-9]{1,18})(?:\.0+)?(?:_group_id_[0-9]+)?", re.IGNORECASE)
_SAME_START = np.timedelta64(60, "s")
"""Times in two names that differ by more are of two observations. Observation ids occur again after days."""


@dataclass(frozen=True)
class Matches:
    """Files that names stand for.

    Attributes:
        files: file of each name that stands for one.
        ambiguous: reason of each name that may stand for files of several observations.
    """

    files: dict[str, str]
    ambiguous: dict[str, str]


def match_files(names: Iterable[str], files: Collection[str]) -> Matches:
    """Find which of ``files`` each of ``names`` stands for.

    In this order: the file of that name; of that name in another case, or without suffix; any file of the same
    observation; the file with that observation id, if all files with it are of one observation, and the name states no
    other time. Of several files of one observation it is that to be used first.
    """
    found: dict[str, str] = {}
    ambiguous: dict[str, str] = {}
    finders = _finders(files)
    for name in names:
        candidates = next(filter(None, (find(name) for find in finders)), [])
        if len({observation_key(file) for file in candidates}) > 1:
            shown = ", ".join(sorted(candidates)[:2])
            ambiguous[name] = f"may be one of {len(candidates)} files, {shown} among them; give the whole file name"
        elif candidates:
            found[name] = min(candidates, key=preference)
    return Matches(found, ambiguous)


def observation_keys(names: Collection[str]) -> dict[str, str]:
    """Identify the observation of each name: names that stand for a file among them have that file's key."""
    files = match_files(names, {name for name in names if has_known_suffix(name)}).files
    return {name: observation_key(files.get(name, name)) for name in names}


def _finders(files: Collection[str]) -> list[Callable[[str], list[str]]]:
    """Functions that give the files that a name may stand for, the surest way first."""
    by_name, by_stem, by_key, by_id = (defaultdict[object, list[str]](list) for _ in range(4))
    for file in files:
        by_name[file.casefold()].append(file)
        by_stem[_stem(file)].append(file)
        by_key[observation_key(file)].append(file)
        if parts := FileName.parse(file):
            by_id[parts.observation_id].append(file)

    def with_id(name: str) -> list[str]:
        parts = FileName.parse(f"{_stem(name)}.fits")
        number = _ID.fullmatch(_stem(name))
        same = by_id.get(int(number[1]), []) if number else []
        return same if parts is None else [file for file in same if _starts_together(parts, file)]

    return [
        lambda name: [name] if name in files else [],
        lambda name: by_name.get(name.casefold(), []),
        lambda name: by_stem.get(_stem(name), []),
        lambda name: by_key.get(observation_key(f"{_stem(name)}.fits"), []),
        with_id,
    ]


def _stem(name: str) -> str:
    return without_suffix(name).casefold()


def _starts_together(parts: FileName, file: str) -> bool:
    other = FileName.parse(file)
    return other is not None and bool(abs(parts.start - other.start) <= _SAME_START)
