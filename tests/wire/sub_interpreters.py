"""Code in another interpreter of the same process, by what each version of Python offers for it.

Must not import wiretask: a test says when that happens.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def run_in_sub_interpreter(code: str, *, is_isolated: bool) -> None:
    """Run code in a new interpreter of this process; it has no way to tell but what it writes."""
    if is_isolated:
        name = "_xxsubinterpreters" if sys.version_info < (3, 13) else "_interpreters"
        interpreters: Any = importlib.import_module(name)
        number = interpreters.create()
        interpreters.run_string(number, code)
        interpreters.destroy(number)
    else:
        import _testcapi

        _testcapi.run_in_subinterp(code)
