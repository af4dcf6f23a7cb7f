"""``python -m tests.faults``: run the campaign of faults, print what came of it, write it to ``outputs/faults``."""

import argparse
import os
import sys
import time
from pathlib import Path

from tests.faults.campaign import PARTS, run_campaign
from tests.faults.report import as_table, failures, write_report


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Damage inputs, and see what survives.")
    parser.add_argument("--seed", type=int, default=0, help="seed of all that is random")
    parser.add_argument("--share", type=float, default=1.0, help="share of the cases of each part")
    parser.add_argument("--only", action="append", choices=PARTS, default=[], help="part to run; may be given again")
    parser.add_argument("--case", type=int, help="the only case to run, of the part in --only")
    parser.add_argument("--out", type=Path, default=Path("outputs/faults"), help="folder to write into")
    given = parser.parse_args()
    if given.case is not None and len(given.only) != 1:
        parser.error("--case needs one --only")
    begun = time.monotonic()
    cases = []
    for case in run_campaign(given.seed, given.share, given.only, given.case, os.cpu_count() or 1):
        cases.append(case)
        if not case.survived or given.case is not None:
            print(f"{case.outcome}: {case}", flush=True)
        elif len(cases) % 200 == 0:
            print(f"{len(cases)} cases, {time.monotonic() - begun:.0f} s", flush=True)
    cases.sort(key=lambda case: (list(PARTS).index(case.part), case.number))
    if given.case is None:
        write_report(given.out, cases, given.seed, given.share, time.monotonic() - begun)
    print(as_table(cases))
    print("\n".join(failures(cases, given.seed)))
    sys.exit(any(not case.survived for case in cases))


if __name__ == "__main__":
    main()
