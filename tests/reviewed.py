"""A small triage of files that are as hostile as files can be, for the tests of the page."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from asim_cvae.instrument.photometers import counts_to_flux
from tests.mmia_files import NAME, level1, write_fits

HOSTILE = "<img src=x onerror=document.title='hacked'><script>alert(1)<.fits"
"""Name of a file that would do something if it got into a page as it is."""

HOSTILE_TEXTS = (
    "</script><script>document.title='hacked'</script>",
    "<!--<script>",
    "]]><svg onload=alert(1)>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "${alert(1)} {{alert(1)}} `alert(1)`",
    '=HYPERLINK("http://evil.example","x")',
    "@SUM(1)",
    "+cmd|' /C calc'!A0",
    "__proto__",
    "\u202eevil\u2028line",
    "a,b;c\"d'e",
    "../../etc/passwd",
    "%00%0a",
)
"""Notes that would do something where they are taken for markup, code, formulas or paths."""

_ROWS = 2


def make_triage(run: Callable[..., object], root: Path, out: Path) -> Path:
    """Write four files into ``root``, triage them into ``out``, and return that.

    One has a pulse in all photometers 31.24 ms after its start, another one a gap, a third one a hostile name.
    """
    times = [f"2019-0{month}-03T14:08:00.250000+00:00" for month in (1, 3, 5, 7)]
    names = [
        f"{NAME}.fits",
        NAME.replace("2019-01", "2019-03") + "8.fits",
        HOSTILE,
        NAME.replace("2019-01", "2019-07") + "9.fits",
    ]
    for number, (name, time) in enumerate(zip(names, times, strict=True)):
        flux = _flux(seed=number, is_lit=number == 0)
        if number == 1:
            flux[:, 0, 6000:6100] = np.nan
        more = {
            "observation_id": np.full(_ROWS, 70 + number, dtype=np.int32),
            "corrected_datetime_level1": np.array([time] * _ROWS),
        }
        write_fits(root / name, level1(flux, **more))
    run("triage", f"root={root}", f"out={out}", "file_workers=1", "filter.noise=true", "pictures=0")
    return out


def _flux(seed: int, is_lit: bool) -> np.ndarray:
    """Flux (3, rows, 8325) of a dark background of counts, with or without a pulse."""
    rng = np.random.default_rng(seed)
    rate = np.full((3, _ROWS * 8325), 0.2)
    if is_lit:
        rate[:, 3124:3424] += 60 * np.exp(-np.arange(300) / 60)
    flux = counts_to_flux(rng.poisson(rate))
    return flux.reshape(3, _ROWS, 8325).astype(np.float32)
