"""Cases that measure files and commands: prepare an archive, read it with libraries alone, copy it, run a command."""

import multiprocessing
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from asim_cvae.base.allocator import keep_large_blocks
from asim_cvae.frames.build import build_store
from asim_cvae.studies.speed.cases import Measurement
from asim_cvae.studies.speed.readers import read_bytes, read_everything, read_light_curves


def preparing(root: str, store: str, workers: int | None = None) -> Measurement:
    """Measure building a new frame store from an archive, and the largest memory of a process of it in MB."""
    keep_large_blocks()  # as the command prepare does
    shutil.rmtree(store, ignore_errors=True)
    files, size = _files(root)
    begin = time.perf_counter()
    build_store(Path(store), Path(root), workers=workers)
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "files": len(files), "megabytes": size, "memory_mb": _largest_memory()}


def reading(root: str, everything: bool = False, workers: int | None = None) -> Measurement:
    """Measure reading an archive's files with astropy or cdflib alone, in as many processes as prepare has.

    Args:
        root: folder of the files.
        everything: whether to read all that prepare needs, not only the light curves.
        workers: number of processes; None for one per core.
    """
    return _read_files(read_everything if everything else read_light_curves, root, workers)


def copying(root: str, workers: int | None = None) -> Measurement:
    """Measure reading the bytes of an archive's files, which shows the speed of the disk and its cache."""
    return _read_files(read_bytes, root, workers)


def command(arguments: Sequence[str]) -> Measurement:
    """Measure a Python command from its start to its end."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return {"seconds": time.perf_counter() - begin}


def _largest_memory() -> float:
    """Return the largest memory so far of this process or a worker of it in MB; 0 if the system does not tell.

    This process's own is not from ``getrusage``, whose value can be that of the parent process.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    own = next((float(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0.0)
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1e3


def _files(root: str) -> tuple[list[Path], float]:
    """Return the files of an archive, and their size in MB."""
    files = sorted(path for path in Path(root).iterdir() if path.suffix in (".fits", ".cdf"))
    return files, sum(path.stat().st_size for path in files) / 1e6


def _read_files(read: Callable[[Path], None], root: str, workers: int | None) -> Measurement:
    """Measure reading all files of an archive with ``read``, in several processes."""
    files, size = _files(root)
    begin = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for _ in pool.imap_unordered(read, files, chunksize=32):
            pass
    return {"seconds": time.perf_counter() - begin, "files": len(files), "megabytes": size}
