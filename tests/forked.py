"""Run modules quickly: each in a process forked from one that has imported what takes seconds to import."""

import atexit
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn

_LIBRARIES = (
    *("torch.utils.tensorboard", "pytorch_lightning", "hydra", "h5py", "astropy.io.fits", "cdflib", "openpyxl"),
    *("sklearn.cluster", "sklearn.ensemble", "sklearn.manifold", "scipy.signal", "matplotlib.figure", "fsspec"),
    *("asim_cvae.cli", "asim_cvae.training", "asim_cvae.triaging.running"),  # and what they import
)


def run_module(
    module: str, arguments: Sequence[str], folder: Path, environment: dict[str, str], timeout: int = 600
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m MODULE ARGUMENTS`` in ``folder``; after ``timeout`` seconds a signal ends it."""
    server = _server()
    with tempfile.TemporaryDirectory() as place:
        stdout, stderr = Path(place) / "stdout", Path(place) / "stderr"
        request = {"module": module, "arguments": arguments, "folder": str(folder), "timeout": timeout}
        request |= {"streams": [os.devnull, str(stdout), str(stderr)], "environment": environment}
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        told = (path.read_text(encoding="utf-8") for path in (stdout, stderr))
        return subprocess.CompletedProcess([module, *arguments], status, *told)


@cache
def _server() -> subprocess.Popen[str]:
    """The process that forks; it ends with this one."""
    command = [sys.executable, "-m", __name__]
    project = Path(__file__).resolve().parent.parent
    server = subprocess.Popen(command, cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.communicate)  # closes its input, and waits
    return server


def _serve() -> None:
    for library in _LIBRARIES:
        importlib.import_module(library)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _end(_run(**json.loads(line)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(
    module: str,
    arguments: Sequence[str],
    folder: str,
    timeout: int,
    streams: Sequence[str],
    environment: dict[str, str],
) -> int:
    """Run a module as ``python -m`` does, and return its exit status."""
    signal.alarm(timeout)
    for number, path in enumerate(streams):
        opened = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[1:1] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))  # as Python does when it starts
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(status: int) -> NoReturn:
    """End this process as the interpreter does, but for taking all modules apart, which takes two seconds."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve()
