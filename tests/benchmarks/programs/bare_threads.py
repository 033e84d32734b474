"""What threads can do without any server: each sleeps again and again. Prints wake-ups a second as JSON."""

import argparse
import json
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--sleep-ms", type=float, required=True)
parser.add_argument("--seconds", type=float, required=True)
parser.add_argument("--cpu-bound", action="store_true")
options = parser.parse_args()
counts = [0] * options.threads


def keep_busy() -> None:
    """Compute for ever."""
    while True:
        sum(range(1000))


def nap(index: int) -> None:
    """Sleep for ever, and count."""
    while True:
        time.sleep(options.sleep_ms / 1000)
        counts[index] += 1


if options.cpu_bound:
    threading.Thread(target=keep_busy, daemon=True).start()
for index in range(options.threads):
    threading.Thread(target=nap, args=(index,), daemon=True).start()
time.sleep(0.2)
begun, before = time.perf_counter(), sum(counts)
time.sleep(options.seconds)
print(json.dumps({"rate": (sum(counts) - before) / (time.perf_counter() - begun)}))
