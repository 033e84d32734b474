"""Entry of the soak program, and of the processes that it starts: `python tests/soak --help`."""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import time
from pathlib import Path

import sabotage

sys.path.append(str(Path(__file__).parents[1] / "drawing"))


def main() -> int:
    arguments = _parser().parse_args()
    if arguments.role == "server":
        import server_process

        return server_process.run(arguments.seed, arguments.sabotage)
    if arguments.role == "client":
        import client_process

        return client_process.run(arguments.index, arguments.seed, json.loads(arguments.ports))
    import soak_report
    from soak_run import Run
    from verdict import judge

    seconds = arguments.seconds if arguments.seconds is not None else arguments.minutes * 60
    seed = arguments.seed if arguments.seed is not None else str(random.randrange(10**6))
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begin:6.0f}s] {text}", flush=True)

    say(f"{seconds:.0f} s of chaos, seed {seed}")
    run = Run(seconds, seed, arguments.sabotage, say)
    signal.signal(signal.SIGINT, lambda number, frame: run.stop())
    seen = run.perform()
    violations = judge(seen)
    print(soak_report.as_text(seen, violations), flush=True)
    if arguments.report is not None:
        soak_report.write(seen, violations, arguments.report)
    return 1 if violations else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python tests/soak", description="A soak and chaos run; see docs/soak.md.")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=60.0, help="how long the chaos lasts (default: 60)")
    length.add_argument("--seconds", type=float, help="the same, for short runs")
    parser.add_argument("--seed", help="makes the choices of all clients and of the operator repeatable")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write DIR/soak.md and plots to DIR/soak")
    parser.add_argument("--sabotage", choices=sorted(sabotage.KINDS), help=argparse.SUPPRESS)
    for name in ("--role", "--index", "--ports"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
