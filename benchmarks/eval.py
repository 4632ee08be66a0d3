"""Score every question set: its papers indexed, its questions asked, with and without each part of the ranking.

    python benchmarks/eval.py [covidqa] [qasper] [scifact] [--work DIR]

The papers and question sets stand in the shared folder (`LOCCIT_SHARED`, else `../shared`). Their indexes are kept in
the work folder, so that a second run only searches. `LOCCIT_MODEL` and `LOCCIT_RERANK` are heard; give another model a
work folder of its own. Results go to stdout, the rest to stderr.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from measure import QUESTIONS, bring_up_to_date

from service.cli import main


def evaluate(names: list[str], shared: Path, work: Path) -> int:
    """The exit code; 1 where none of the sets is in the shared folder."""
    there = [name for name in names if (shared / QUESTIONS[name]).is_dir()]
    for name in names:
        if name not in there:
            sys.stderr.write(
                f"no {name}: {shared / QUESTIONS[name]} is not there; set LOCCIT_SHARED to the folder that has eval/\n"
            )
    for name in there:  # all of them first: asking leaves torch one thread
        if code := bring_up_to_date(name, shared, work):
            return code
    for name in there:
        code = main(["eval", str(shared / QUESTIONS[name]), "--index", str(work / f"{name}-index"), "--ablate"])
        if code:
            return code
    return 0 if there else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"{', '.join(QUESTIONS)} (default: all)")
    parser.add_argument("--work", type=Path, default=Path(".eval"))
    args = parser.parse_args()
    unknown = sorted(set(args.sets) - QUESTIONS.keys())
    if unknown:
        parser.error(f"there is no set {unknown[0]}: name {', '.join(QUESTIONS)}")
    shared = Path(os.environ.get("LOCCIT_SHARED") or "../shared").absolute()
    sys.exit(evaluate(args.sets or list(QUESTIONS), shared, args.work))
