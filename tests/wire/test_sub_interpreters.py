"""Sub-interpreters cannot use wiretask, and are told so. Fault R44."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from processes import run

SUB_INTERPRETER = """
import os, sys
sys.path[:] = {path!r}
try:
    import wiretask
    said = "imported"
except ImportError as error:
    said = str(error)
with open({file!r}, "w") as file:
    file.write(said)
"""


@pytest.mark.parametrize("is_isolated", [True, False])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_sub_interpreter_is_refused_and_the_main_one_works(
    tmp_path: Path, is_isolated: bool, is_first: bool
) -> None:
    """Whether the main interpreter imports wiretask after it or before."""
    if not is_isolated:
        pytest.importorskip("_testcapi")
    file = tmp_path / "said"
    source = f"""
    import sys
    sys.path[:] = {sys.path!r}
    from sub_interpreters import run_in_sub_interpreter
    if {not is_first}:
        import wiretask
    run_in_sub_interpreter({SUB_INTERPRETER.format(path=sys.path, file=str(file))!r}, is_isolated={is_isolated})
    from wiretask.examples.echo import EchoServer
    with EchoServer("127.0.0.1", 0):
        pass
    """
    assert run(source) == (0, "")
    assert "interpreter" in file.read_text()
