"""Benchmarks: wiretask beside its peers, in the same run. `python -m tests.benchmarks --help` says how."""
