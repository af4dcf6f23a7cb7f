"""Put a pulse into words."""

import numpy as np

from asim_cvae.instrument.photometers import PHOTOMETERS
from asim_cvae.pulses.columns import NAMES


def in_words(row: np.void) -> str:
    """Describe a row of the catalogue, as ``337 nm pulse at 31.24 ms, 84 counts, rise 40 us, nothing at 777.4 nm``."""
    bands = {name: photometer.band for name, photometer in zip(NAMES, PHOTOMETERS, strict=True)}
    lit = str(row["photometers"]).split("+")
    main = max(lit, key=lambda name: float(row[f"peak_counts_{name}"]))
    parts = [
        f"{bands[main]} pulse at {row['onset_ms']:.2f} ms",
        _counts(float(row[f"peak_counts_{main}"])),
        f"rise {_duration(float(row['rise_ms']))}",
        *(_other(row, name, bands[name], name in lit) for name in NAMES if name != main and _is_worth_it(name, lit)),
    ]
    if not np.isnan(row["delay_ms"]):
        delay = float(row["delay_ms"])
        parts.append(f"777.4 nm {_duration(abs(delay))} {'later' if delay >= 0 else 'earlier'}")
    if row["flags"]:
        parts.append(f"flags: {str(row['flags']).replace('+', ', ')}")
    return ", ".join(parts)


def _is_worth_it(name: str, lit: list[str]) -> bool:
    """Tell whether a photometer is told of: ultraviolet only where it is lit, as it mostly is not."""
    return name != "uv" or name in lit


def _other(row: np.void, name: str, band: str, is_lit: bool) -> str:
    """Say what another photometer sees."""
    counts = float(row[f"peak_counts_{name}"])
    if np.isnan(counts):
        return f"{band} missing"
    return f"{_counts(counts)} at {band}" if is_lit else f"nothing at {band}"


def _counts(number: float) -> str:
    whole = f"{number:.0f}"
    return f"{whole} count" if whole == "1" else f"{whole} counts"


def _duration(ms: float) -> str:
    return f"{1000 * ms:.0f} us" if ms < 1 else f"{ms:.2f} ms"
