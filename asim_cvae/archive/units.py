"""Convert units of flux to uW/m^2, in which all light curves are."""

import re

from asim_cvae.archive.variables import UnusableError

_PREFIXES = {
    **{"": 1e6, "m": 1e3, "milli": 1e3, "u": 1.0, "µ": 1.0, "μ": 1.0, "mu": 1.0, "micro": 1.0},
    **{"n": 1e-3, "nano": 1e-3, "p": 1e-6, "pico": 1e-6, "k": 1e9, "kilo": 1e9},
}
_FLUX = re.compile(
    r"(milli|micro|nano|pico|kilo|mu|[munpkµμ]?)[ -]?w(?:atts?)?"  # the power
    r"(?:(?:/|per)(?:m(?:2|\^2|\*\*2|²|\^\{2\})|sq\.?m|squarem(?:et(?:er|re))?)|[.*·]?m(?:\^|\*\*)?\(?-2\)?|[.*·]?m⁻²)"
)
_SAYS_NOTHING = {"", "-", "none", "n/a", "na", "unknown", "1", "unitless", "dimensionless"}
_COUNTS = {"count", "counts", "ct", "cts", "#", "adu", "dn", "photon", "photons", "ph", "raw", "electrons"}


def flux_factor(unit: str) -> float:
    """Return the factor from ``unit`` to uW/m^2; 1 for a unit that says nothing.

    Raises:
        UnusableError: it is no unit of flux that is known.
    """
    text = "".join(unit.split())
    if text.lower() in _SAYS_NOTHING:
        return 1.0
    match = _FLUX.fullmatch(text if text[:1] == "M" else text.lower())
    if match is None:
        raise UnusableError(f"its unit is {unit[:40]!r}; flux is read in W/m^2, mW/m^2, uW/m^2 or nW/m^2")
    return _PREFIXES[match[1]]


def check_counts(unit: str) -> None:
    """Raise UnusableError for a unit that is none of counts."""
    if unit.strip().lower() not in _SAYS_NOTHING | _COUNTS:
        raise UnusableError(f"its unit is {unit[:40]!r}, and photon counts are expected")
