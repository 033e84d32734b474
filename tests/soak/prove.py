"""Proves that the soak finds faults: runs it once for each kind of sabotage, and once without.

`python tests/soak/prove.py [KIND ...]`; a few minutes for all. Exit code 1 if a fault was not found, or the wrong
one was reported.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sabotage import KINDS
from verdict import SHORTEST_FOR_MEMORY_SECONDS

SECONDS = 8
#: What a report says of each kind of sabotage.
WORDS = {
    "wrong-answer": "wrong answer",
    "lost-answer": "wrong answer",
    "answer-twice": "wrong answer",
    "closed-connection": "a connection ended for no reason",
    "lost-task": "had neither service() nor cancel() called",
    "task-twice": "was served, and then cancelled",
    "descriptor-leak": "holds other things than before",
    "thread-leak": "holds other things than before",
    "memory-leak": "memory grew",
    "error-logged": "an error that nobody raised on purpose",
    "traceback": "wrote to stderr",
    "inherited-descriptor": "wrong answer",
    "busy-when-idle": "the idle server process used",
    "exit-code": "exit code 3",
    "hang": "nothing was heard of the server",
    "crash": "the server ended in the middle of the run",
}


def attempt(kind: str | None, seconds: float) -> tuple[int, str]:
    """Run the soak with a kind of sabotage; return its exit code and what it printed."""
    command = [sys.executable, str(Path(__file__).parent), "--seconds", str(seconds), "--seed", "prove"]
    if kind is not None:
        command += ["--sabotage", kind]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return ended.returncode, ended.stdout


def is_found(kind: str | None, seconds: float = SECONDS) -> tuple[bool, str]:
    """Return whether the soak says what it has to say of a kind of sabotage, and what it printed."""
    code, text = attempt(kind, SHORTEST_FOR_MEMORY_SECONDS if kind == "memory-leak" else seconds)
    if kind is None:
        return code == 0, text
    return code == 1 and WORDS[kind] in text, text


def main() -> int:
    missed = 0
    kinds: list[str | None] = [*sys.argv[1:]]
    for kind in kinds or [None, *KINDS]:
        found, text = is_found(kind)
        print(f"{kind or 'no sabotage':<24} {'as it has to be' if found else 'NOT FOUND'}", flush=True)
        if not found:
            missed += 1
            print(text)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
