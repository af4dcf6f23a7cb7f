"""What is measured, each in a process of its own: ``python -m asim_cvae.studies.speed.cases NAME ARGUMENTS``.

A case prints one line of JSON: its time in seconds, and what else it has to say.
"""

import importlib
import json
import sys

Measurement = dict[str, float]

_FILES, _NETWORKS = "asim_cvae.studies.speed.files", "asim_cvae.studies.speed.networks"

CASES = {
    **dict.fromkeys(("training", "encoding", "epoch"), _NETWORKS),
    **dict.fromkeys(("preparing", "reading", "copying", "command"), _FILES),
}
"""Where each stands. They are imported when they are needed: worker processes import this file first."""


def run_case(name: str, arguments: dict[str, object]) -> Measurement:
    """Measure a case in this process."""
    measurement: Measurement = getattr(importlib.import_module(CASES[name]), name)(**arguments)
    return measurement


if __name__ == "__main__":
    name, arguments = sys.argv[1:]
    print(json.dumps(run_case(name, json.loads(arguments))))
