"""`python -m tests.benchmarks`: measures, prints tables of ratios, and on request writes the document anew."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from .document import RESULTS, write_document
from .machinery import ROOT
from .measuring import BENCHMARKS, measure_all
from .results import Results, merged
from .settings import FULL, QUICK


def main() -> int:
    """Do what the command line says, and return the status of the process."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measures wiretask beside peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="less of everything: two rounds")
    parser.add_argument("--json", type=Path, help="write the results there (default: build/benchmarks.json)")
    parser.add_argument(
        "--docs", action="store_true", help="write docs/benchmarks.md anew; of what is not named the results are kept"
    )
    parser.add_argument("--render", action="store_true", help="measure nothing: write docs/benchmarks.md anew")
    parser.add_argument("--remark", help="a remark on this run, for the document")
    options = parser.parse_args()
    unknown = set(options.names) - BENCHMARKS.keys()
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}")
    if options.docs and options.json:
        parser.error("--docs keeps the results beside the document, and nowhere else")
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))  # ends what was started, on the way out
    if not options.render:
        target = RESULTS if options.docs else options.json or ROOT / "build" / "benchmarks.json"
        target.parent.mkdir(parents=True, exist_ok=True)

        kept = Results.from_json(json.loads(RESULTS.read_text())) if options.docs and RESULTS.exists() else None

        def keep(results: Results) -> None:
            if kept is not None:
                results = merged(kept, results)
            target.write_text(json.dumps(results.to_json(), indent=1) + "\n")

        measure_all(options.names or BENCHMARKS, QUICK if options.quick else FULL, options.remark, keep)
    if options.docs or options.render:
        write_document()
        print(f"docs/benchmarks.md is written from {RESULTS.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
