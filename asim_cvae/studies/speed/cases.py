"""What is measured, each in a process of its own: ``python -m asim_cvae.studies.speed.cases NAME ARGUMENTS``.

A case prints a line of JSON for each measurement: its time in seconds, and what else it has to say.
"""

import importlib
import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

Measurement = dict[str, Any]
"""What was measured, by name: numbers and, where several ways are compared, which of them it was."""

_FILES, _NETWORKS = "asim_cvae.studies.speed.files", "asim_cvae.studies.speed.networks"
_GPU = "asim_cvae.studies.speed.gpu_cases"

CASES = {
    **dict.fromkeys(("training", "encoding", "epoch"), _NETWORKS),
    **dict.fromkeys(("preparing", "reading", "copying", "command"), _FILES),
    **dict.fromkeys(("parity", "gradients", "bandwidth", "steps", "kernels", "encodings"), _GPU),
}
"""Where each stands. They are imported when they are needed: worker processes import this file first."""


def run_case(name: str, arguments: Mapping[str, object]) -> Measurement | Iterable[Measurement]:
    """Measure a case in this process: one measurement, or several as they are made."""
    made: Measurement | Iterable[Measurement] = getattr(importlib.import_module(CASES[name]), name)(**arguments)
    return made


if __name__ == "__main__":
    name, arguments = sys.argv[1:]
    made = run_case(name, json.loads(arguments))
    for measurement in [made] if isinstance(made, dict) else made:
        print(json.dumps(measurement), flush=True)
