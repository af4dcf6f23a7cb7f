"""Run the product's commands as users do, and judge what they say."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests import forked


def run_command(
    command: str, *arguments: object, folder: Path, timeout_s: int = 300
) -> subprocess.CompletedProcess[str]:
    """Run a command in ``folder``, in a process forked from one that has imported the libraries."""
    project = Path(__file__).resolve().parent.parent.parent
    environment = {**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    given = [str(argument) for argument in arguments]
    return forked.run_module(f"asim_cvae.{command}", given, folder, environment, timeout_s)


def forget_server() -> None:
    """Have the next command start another process to fork from: several processes cannot share one."""
    forked._server.cache_clear()


def wrong_refusal(done: subprocess.CompletedProcess[str], names: Sequence[str] = ()) -> str | None:
    """Say what is wrong with how a command refused; it has to end with status 1 or 2 and one line of ``names``."""
    told = done.stderr.strip()
    if done.returncode not in (1, 2):
        return f"exit status {done.returncode}: {told[-300:]}"
    if "Traceback" in done.stderr + done.stdout:
        return f"a traceback: {told[-300:]}"
    if not told or "\n" in told:
        return f"not one line: {told[-300:]!r}"
    if names and not any(name in told for name in names):
        return f"the line does not name what is wrong: {told[-300:]}"
    return None
