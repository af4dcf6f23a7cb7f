"""Run one case of the benchmark in a process of its own: ``python -m asim_cvae.studies.speed.cases NAME ARGUMENTS``.

It prints a line of JSON for each measurement: the time in seconds, and other quantities by name.
"""

import importlib
import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

Measurement = dict[str, Any]
"""Measured quantities by name; a case that compares several ways of computing also gives the name of the way."""

_FILES, _NETWORKS = "asim_cvae.studies.speed.files", "asim_cvae.studies.speed.networks"
_TRIAGING = "asim_cvae.studies.speed.triaging"
_SCALE = "asim_cvae.studies.speed.scale_cases"
_BROWSING = "asim_cvae.studies.speed.browsing"
_GPU = "asim_cvae.studies.speed.gpu_cases"

CASES = {
    **dict.fromkeys(("training", "encoding", "epoch"), _NETWORKS),
    **dict.fromkeys(("preparing", "reading", "copying", "command"), _FILES),
    **dict.fromkeys(("triaging", "stages"), _TRIAGING),
    **dict.fromkeys(("engine_triaging", "tasks", "crowd"), _SCALE),
    "browsing": _BROWSING,
    **dict.fromkeys(("parity", "gradients", "bandwidth", "steps", "kernels", "encodings", "judging"), _GPU),
}
"""Module of each case. A module is imported only when needed, so that the worker processes of others start fast."""


def run_case(name: str, arguments: Mapping[str, object]) -> Measurement | Iterable[Measurement]:
    """Run a case in this process, and return its measurement, or an iterator over several."""
    result: Measurement | Iterable[Measurement] = getattr(importlib.import_module(CASES[name]), name)(**arguments)
    return result


if __name__ == "__main__":
    name, arguments = sys.argv[1:]
    result = run_case(name, json.loads(arguments))
    for measurement in [result] if isinstance(result, dict) else result:
        print(json.dumps(measurement), flush=True)
