"""Signatures, file names and variable names of MMIA files; FITS and CDF files use the same variable names."""

import re
from dataclasses import dataclass

import numpy as np

from asim_cvae.instrument.photometers import PHOTOMETERS

FITS_SIGNATURE = b"SIMPLE  ="
"""First bytes of a FITS file."""

CDF_SIGNATURE = b"\xcd\xf3\x00\x01"
"""First bytes of a CDF file of version 3."""

OLD_CDF_SIGNATURES = (b"\xcd\xf2\x60\x02", b"\x00\x00\xff\xff")
"""First bytes of CDF files of earlier versions, which are not read."""

FLUX_VARIABLES = tuple(f"{p.name}_photon_flux" for p in PHOTOMETERS)
"""Variables of the Level 1 light curves: flux in uW/m^2."""

COUNT_VARIABLES = tuple(f"{p.name}Data" for p in PHOTOMETERS)
"""Variables of the Level 0 light curves: photon counts. Level 1 files may hold them too."""

LIGHT_CURVES = (*FLUX_VARIABLES, *COUNT_VARIABLES)

PRESENCE_VARIABLES = tuple(f"{p.name}Data_exists" for p in PHOTOMETERS)
"""Flags of each row: whether it holds data of the photometer."""

TIME_VARIABLES = ("corrected_datetime_level1", "raw_datetime")
"""Start time of each row, the more accurate variable first. ``frame_time_phot`` is the middle of a row."""

TRIGGER_VARIABLES = tuple(f"{p.name}DataTrigger" for p in PHOTOMETERS)
"""Flags of each row: whether the photometer triggered."""

COLUMNS = (*TRIGGER_VARIABLES, "MXGSTrigger", "priority", "latitude", "longitude", "altitude")
"""Variables with one value a row that are kept beside the light curves; no file is rejected for them."""

WANTED_VARIABLES = (*LIGHT_CURVES, *PRESENCE_VARIABLES, *TIME_VARIABLES, "observation_id", *COLUMNS)
"""The variables that are read; files hold many more."""

SIMULATOR_KEYWORD = "SIMULATR"
"""FITS keyword, or CDF global attribute, that names the simulator in a simulated file."""

_SUFFIX = re.compile(r"\.(fits?|(?P<cdf>cdf))(?P<gz>\.gz)?$", re.IGNORECASE)
# Possessive, as ' copy (1)' matches in two ways: a long name that does not match would take for ever.
_COPY = r"( ?\((\d+|(another )?copy)\)| (- )?copy( \d+| \(\d+\))?)*+"  # as browsers and desktops mark copies
_OBSERVATION = re.compile(
    r"mmiatriggeredobservationtm(?P<level>level1)?"
    r"_observation_time_(?P<time>\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)"
    r"_observation_id_(?P<id>\d+)(_group_id_(?P<group>\d+))?",
    re.IGNORECASE,
)
_FILE_NAME = re.compile(_OBSERVATION.pattern + _COPY + _SUFFIX.pattern, re.IGNORECASE)


@dataclass(frozen=True)
class FileName:
    """The parts of an MMIA file name: processing level (0 or 1), UTC start to the second, observation id, group id.

    Only some names have a group id.
    """

    level: int
    start: np.datetime64
    observation_id: int
    group_id: int | None = None

    @property
    def key(self) -> str:
        """Identifies an observation: all its files (Level 0 and Level 1, FITS and CDF) have the same key."""
        return f"{self.observation_id} {self.start.astype('datetime64[s]')}"

    def format(self, suffix: str) -> str:
        """Compose the file name; ``suffix`` is 'fits' or 'cdf'."""
        level = "level1" if self.level == 1 else ""
        time = str(self.start.astype("datetime64[s]")).replace("T", "_").replace(":", "-")
        group = "" if self.group_id is None else f"_group_id_{self.group_id}"
        return (
            f"mmiatriggeredobservationtm{level}_observation_time_{time}"
            f"_observation_id_{self.observation_id}{group}.{suffix}"
        )

    @classmethod
    def parse(cls, name: str) -> "FileName | None":
        """Split ``name`` into its parts; None if it does not follow the pattern or its time does not exist."""
        match = _FILE_NAME.fullmatch(name)
        if match is None:
            return None
        day, clock = match["time"].split("_")
        try:
            start = np.datetime64(f"{day}T{clock.replace('-', ':')}", "us")
        except ValueError:
            return None
        group = match["group"]
        return cls(1 if match["level"] else 0, start, int(match["id"]), None if group is None else int(group))


def has_known_suffix(name: str) -> bool:
    """Whether ``name`` ends as that of a file that is read: in .fits, .fit or .cdf, and perhaps .gz."""
    return _SUFFIX.search(name) is not None


def without_suffix(name: str) -> str:
    """``name`` without such an ending."""
    return _SUFFIX.sub("", name)


def looks_like_an_observation(name: str) -> bool:
    """Whether ``name`` begins as that of an MMIA file, however it ends."""
    return _OBSERVATION.match(name) is not None


def observation_key(name: str) -> str:
    """Identify the observation of a file by its name: :attr:`FileName.key`, or the name without suffix if it has none.

    Files of the same observation have the same key.
    """
    parts = FileName.parse(name)
    return parts.key if parts else without_suffix(name)


def preference(name: str) -> tuple[bool, bool, bool, str, str]:
    """Sort key of the files of one observation, that to be used first: Level 1, FITS, not compressed, no copy."""
    parts, suffix = FileName.parse(name), _SUFFIX.search(name)
    is_level0 = parts is not None and parts.level == 0
    is_cdf, is_compressed = (suffix is not None and suffix[part] is not None for part in ("cdf", "gz"))
    return is_level0, is_cdf, is_compressed, without_suffix(name), name
