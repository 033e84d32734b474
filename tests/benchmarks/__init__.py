"""Benchmarks: wiretask beside its peers, in the same run. `python -m tests.benchmarks --help` says how."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "drawing"))
