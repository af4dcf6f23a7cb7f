"""Reading files by libraries alone. Each imports its own: they are what a process that starts waits for."""

from pathlib import Path

from asim_cvae.archive.layout import FLUX_VARIABLES, SIMULATOR_KEYWORD, WANTED_VARIABLES


def read_light_curves(path: Path) -> None:
    """The three light curves of a Level 1 file, by cdflib or astropy."""
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
    """What else prepare has to know as well: flags, times, fill values, who simulated it."""
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
    """All of a file, as it is."""
    path.read_bytes()
