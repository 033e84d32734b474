"""Run the HTTP/1.1 conformance cases against any WSGI server, over loopback, as a black box.

    python tests/http/conformance.py --command "waitress-serve --listen=127.0.0.1:{port} conformance_app:app"

The command must serve `conformance_app:app` on 127.0.0.1:{port} (this folder is put on PYTHONPATH). Every case is
delivered whole, byte by byte, and cut after every CR and LF, followed by `GET /evil`, which must not reach the
application after an error. Sources: RFC 9112, RFC 9110, PEP 3333. The pytest module beside this one does the same
with wiretask, and takes nothing but the preferred answer.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
from pathlib import Path
from typing import Any

from conformance_judge import Case
from conformance_run import Result, run_profile

HERE = Path(__file__).parent
CASE_FILES = (HERE / "conformance_cases.json", HERE / "more_conformance_cases.json")


def read_cases() -> tuple[str, list[Case]]:
    """Return what is sent after a case unless it says otherwise, and all cases."""
    documents: list[dict[str, Any]] = [json.loads(file.read_text()) for file in CASE_FILES]
    return documents[0]["conventions"]["follow_up"], [case for document in documents for case in document["cases"]]


def show(case: Case, results: dict[str, Result]) -> None:
    """Print the results of a case."""
    print(case["id"], json.dumps(results), file=sys.stderr, flush=True)


def report(cases: list[Case], results: dict[str, dict[str, Result]]) -> int:
    """Print the failures and the counts; returns the number of failed rows that are not policy."""
    counts = dict.fromkeys(("passed", "failed", "policy passed", "policy failed", "preferred"), 0)
    for case in cases:
        deliveries = results.get(case["id"])
        if not deliveries:
            continue
        bad = {name: result for name, result in deliveries.items() if not result["passed"]}
        counts[("policy " if case["policy"] else "") + ("failed" if bad else "passed")] += 1
        counts["preferred"] += all(result["preferred"] for result in deliveries.values())
        if bad:
            result = next(iter(bad.values()))
            where = "all" if len(bad) == len(deliveries) else "+".join(bad)
            print(
                f"{case['id']:7}{'policy ' if case['policy'] else 'MUST   '}{where:12} {case['title'][:48]:49}"
                f"{result['reason']}  [saw: {result['seen']}]"
            )
    total = sum(count for name, count in counts.items() if name != "preferred")
    print(f"preferred answer in {counts['preferred']} of {total} rows; {len(cases) - total} rows skipped (profile)")
    print(
        f"{counts['passed']} passed, {counts['failed']} failed "
        f"(policy: {counts['policy passed']} passed, {counts['policy failed']} failed)"
    )
    return counts["failed"]


def main() -> int:
    """Do what the command line says; return 1 if a row failed that is not policy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command", required=True, help="shell-like command line with {port}; no shell is used")
    parser.add_argument(
        "--profile",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="command for the cases of another profile (limits, proxy); else they are skipped",
    )
    parser.add_argument("--group", help="comma separated groups, such as A,B")
    parser.add_argument("--case", help="comma separated ids; * and ? match")
    parser.add_argument("--subset", choices=("public", "all"), default="all")
    parser.add_argument("--json", type=Path, help="write all results here")
    parser.add_argument("--verbose", action="store_true", help="one line per case on stderr")
    options = parser.parse_args()
    follow_up, cases = read_cases()
    cases = [
        case
        for case in cases
        if (not options.group or case["group"] in options.group.split(","))
        and (options.subset == "all" or case["subset"] == options.subset)
        and (not options.case or any(fnmatch.fnmatch(case["id"], p) for p in options.case.split(",")))
    ]
    commands = {"default": options.command, **dict(item.split("=", 1) for item in options.profile)}
    results: dict[str, dict[str, Result]] = {}
    for profile, command in commands.items():
        chosen = [case for case in cases if case["profile"] == profile]
        if chosen:
            results.update(run_profile(command, chosen, follow_up, show if options.verbose else None))
    if options.json:
        options.json.write_text(json.dumps({"command": options.command, "results": results}, indent=1))
    return 1 if report(cases, results) else 0


if __name__ == "__main__":
    sys.exit(main())
