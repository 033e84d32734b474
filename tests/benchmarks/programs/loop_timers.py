"""Sets 10,000 timers in a mixed order, lets them all come due, and prints as JSON what each took of the processor."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

TIMERS = 10_000
SPREAD_SECONDS = 0.02
DUE_SECONDS = 0.1


def measure(call_later: Callable[..., object], turn: Callable[[], object]) -> dict[str, float]:
    """Return microseconds of CPU for an insertion and for a firing; the best of five rounds."""
    rounds = []
    for _ in range(5):
        fired: list[int] = []
        fire = fired.append
        begun = time.process_time_ns()
        for number in range(TIMERS):
            call_later(DUE_SECONDS + (number * 7919 % TIMERS) / TIMERS * SPREAD_SECONDS, fire, number)
        # What is left to do for the insertion.
        turn()
        inserted = time.process_time_ns()
        time.sleep(DUE_SECONDS + 2 * SPREAD_SECONDS)
        waited = time.process_time_ns()
        while len(fired) < TIMERS:
            turn()
        ended = time.process_time_ns()
        assert len(fired) == TIMERS
        rounds.append(((inserted - begun) / TIMERS / 1000, (ended - waited) / TIMERS / 1000))
    return {"insert_us": min(one[0] for one in rounds), "fire_us": min(one[1] for one in rounds)}


def main() -> None:
    """Measure one side."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", choices=["wiretask", "asyncio"], default="wiretask")
    options = parser.parse_args()
    if options.side == "wiretask":
        import wiretask

        loop = wiretask.EventLoop()
        figures = measure(loop.call_later, lambda: loop.turn(0))
    else:
        import asyncio

        other = asyncio.new_event_loop()

        def turn() -> None:
            other.call_soon(other.stop)
            other.run_forever()

        figures = measure(other.call_later, turn)
        other.close()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
