"""The native classes can be entered again while Python runs that they called. Fault R33, and R45 one day."""

from __future__ import annotations

import re

from test_imports import modules_of, rust_code

PYCLASS = re.compile(r"#\[pyclass(?:\(([^)]*)\))?\]")
BORROWS_FOR_WRITING = re.compile(r"\bPyRefMut\b|\bborrow_mut\b|\bpy_mut\b")


def test_the_search_finds_classes_and_their_attributes() -> None:
    assert PYCLASS.findall('#[pyclass(frozen, module = "m")] #[pyclass]') == ['frozen, module = "m"', ""]


def test_every_native_class_is_frozen() -> None:
    classes = {name: PYCLASS.findall(source) for name, source in modules_of("binding").items()}
    assert sum(map(len, classes.values())) > 10
    for module, attributes in classes.items():
        for given in attributes:
            assert "frozen" in re.split(r",\s*", given), f"a class of {module} can be borrowed for writing: {given}"


def test_nothing_native_is_borrowed_for_writing() -> None:
    sources = modules_of("binding")
    assert [name for name, source in sources.items() if BORROWS_FOR_WRITING.search(rust_code(source))] == []
