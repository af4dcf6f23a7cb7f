"""Read files with libraries alone.

Each function imports the library that it needs, as imports are most of the time that a new process takes to start.
"""

from pathlib import Path

from asim_cvae.archive.layout import FLUX_VARIABLES, SIMULATOR_KEYWORD, WANTED_VARIABLES


def read_light_curves(path: Path) -> None:
    """Read the three light curves of a Level 1 file with cdflib or astropy."""
    if path.suffix == ".cdf":
        from cdflib import CDF

        cdf = CDF(path)
        for name in FLUX_VARIABLES:
            cdf.varget(name)
    else:
        from astropy.io import fits

        with fits.open(path, memmap=False) as hdus:
            for name in FLUX_VARIABLES:
                hdus[1].data[name]


def read_everything(path: Path) -> None:
    """Read all that prepare needs of a file: light curves, flags, times, fill values and the simulator's name."""
    if path.suffix == ".cdf":
        from cdflib import CDF

        cdf = CDF(path)
        cdf.globalattsget()
        for name in cdf.cdf_info().zVariables:
            if name in WANTED_VARIABLES:
                cdf.varinq(name)
                cdf.varget(name)
        for name in FLUX_VARIABLES:
            cdf.varattsget(name)
    else:
        from astropy.io import fits

        with fits.open(path, memmap=False) as hdus:
            hdus[0].header.get(SIMULATOR_KEYWORD)
            for column in hdus[1].columns:
                if column.name in WANTED_VARIABLES:
                    hdus[1].data[column.name]


def read_bytes(path: Path) -> None:
    """Read the bytes of a file."""
    path.read_bytes()
