"""The standard library's own tests of `asyncore` and `asynchat` pass with our modules in place of its own.

Strategy: each test module runs in a process of its own, where ours stand in `sys.modules` under the old names before
it is imported. Pythons without these modules have no such tests either.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import pytest

DEADLINE_SECONDS = 300.0

RUNNER = """
import importlib, sys, unittest
from unittest import TextTestRunner, defaultTestLoader
import wiretask.asynchat, wiretask.asyncore
sys.modules["asyncore"] = wiretask.asyncore
sys.modules["asynchat"] = wiretask.asynchat
tests = importlib.import_module(sys.argv[1])
assert tests.asyncore is wiretask.asyncore, "the standard library's own module is tested"
result = TextTestRunner(verbosity=1, warnings="default").run(defaultTestLoader.loadTestsFromModule(tests))
print("ran", result.testsRun, "skipped", len(result.skipped))
sys.exit(not result.wasSuccessful())
"""


def has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize(("module", "least"), [("test.test_asyncore", 90), ("test.test_asynchat", 20)])
def test_the_standard_librarys_tests_pass_on_our_modules(module: str, least: int, tmp_path: object) -> None:
    if not has_module(module):
        pytest.skip(f"this Python has no {module}: asyncore left the standard library in 3.12")
    # They make files, named after the process, where they are.
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", RUNNER, module],
        capture_output=True,
        text=True,
        cwd=str(tmp_path),
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"ran (\d+) skipped (\d+)", done.stdout)
    assert found, done.stdout
    # So that it does not pass by finding nothing.
    assert int(found[1]) >= least
    assert int(found[2]) <= least // 3
