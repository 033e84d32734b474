"""The HTTP soak: a run of seconds is clean, and what it looks for is found."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def program() -> ModuleType:
    """The program as a module."""
    spec = importlib.util.spec_from_file_location("web_soak_program", HERE / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    path = sys.path[:]
    try:
        sys.modules[spec.name] = module  # where its dataclass looks for its annotations
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = path
    return module


def run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, str(HERE), *arguments], capture_output=True, text=True, timeout=110)
    return done.returncode, done.stdout + done.stderr


def test_a_run_of_seconds_is_clean() -> None:
    code, said = run("--seconds", "4", "--visitors", "16")
    assert code == 0, said
    assert "no fault" in said


@pytest.mark.long
def test_a_run_of_a_minute_is_clean() -> None:
    code, said = run("--seconds", "60")
    assert code == 0, said


def test_memory_that_grows_is_a_fault_and_a_peak_is_none(program: ModuleType) -> None:
    level = [60 * MEBIBYTE] * 200
    assert program.growth(level) == ""
    assert program.growth([*level[:100], *[90 * MEBIBYTE] * 20, *level[:100]]) == ""
    assert "60.0 to 70.0" in program.growth([*level, *[70 * MEBIBYTE] * 100])


def test_what_nobody_asked_to_be_logged_is_a_fault(program: ModuleType) -> None:
    good = "ERROR wiretask.wsgi exception\nTraceback ...\nValueError: on purpose, before\n"
    assert program.unexpected(good * 3) == []
    assert program.unexpected(good + "ERROR wiretask.server oh\n" + good) == ["ERROR wiretask.server oh"]
    assert program.unexpected("Fatal Python error\n" + good) == ["Fatal Python error"]


def test_a_wrong_answer_is_a_fault(program: ModuleType) -> None:
    visitor = program.Visitor(1, 1)
    with pytest.raises(program.WrongAnswerError):
        visitor._is(b"abc", b"abd")
