"""The walls of the house: who may import whom, in Rust and in Python.

Strategy: the sources are read, not run. Rust is searched after comments, strings and test modules are taken
out; Python is parsed. Each search has a control that shows that it finds what it looks for.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CRATES = ROOT / "rust"
PACKAGE = ROOT / "python" / "wiretask"

CONSUMERS = {"fixed", "line", "delimiter", "length_prefix", "http"}
QUEUE_SIDE = {"task_queue", "worker_pool"}
SOCKET_SIDE = {
    "poll_loop",
    "socket",
    "token",
    "accepting",
    "connection",
    "channel_run",
    "streamed_body",
    "idle_order",
    "output",
    "spool",
    "channel_driver",
    "reading",
    "deadlines",
    "closing",
    "farewells",
    "ending",
    "server",
    "server_core",
}
ATTACHING = re.compile(
    r"\bPython\s*::\s*(?:attach|try_attach|with_gil|assume_attached|assume_gil_acquired|detach)\b"
    r"|\b(?:with_gil|allow_threads|try_attach)\b|\.\s*detach\s*\("
)


def rust_code(source: str) -> str:
    """Return the source without comments, the contents of strings, and test modules (which come last)."""
    kept = re.sub(
        r"""//[^\n]*|/\*.*?\*/|b?'(?:\\.|[^'\\])'|b?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*\"""",
        " ",
        source,
        flags=re.DOTALL,
    )
    return _before_tests(kept)


def _before_tests(source: str) -> str:
    return re.split(r"#\[cfg\((?:all\()?(?:test|loom)\b.*?\]\s*(?:pub )?mod \w+ \{", source, maxsplit=1)[0]


def use_paths(code: str) -> set[str]:
    """Return every path that a `use` statement names, with nested braces spelled out."""
    paths: set[str] = set()
    for tree in re.findall(r"\buse\s+([^;]+);", code):
        paths.update(_spelled_out(re.sub(r"\s+", " ", tree)))
    return paths


def _spelled_out(tree: str) -> Iterator[str]:
    head, brace, rest = tree.partition("{")
    if not brace:
        yield tree.split(" as ")[0].strip().removeprefix("::")
        return
    depth, start = 0, 0
    inner = rest[: rest.rindex("}")]
    for index, character in enumerate(inner + ","):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            part = inner[start:index].strip()
            start = index + 1
            if part:
                yield from _spelled_out(head.strip() + part)


def rust_paths(source: str) -> set[str]:
    """Return the first two segments of every path in the source, imported or written out."""
    code = rust_code(source)
    without_use = re.sub(r"\buse\s+[^;]+;", " ", code)
    written = {"::".join(found) for found in re.findall(r"(?<![\w:])(\w+)\s*::\s*(\w+)", without_use)}
    return written | {"::".join(path.split("::")[:2]) for path in use_paths(code)}


def modules_of(crate: str) -> dict[str, str]:
    """Return module name -> source of a crate, `lib` included; a folder counts as one module."""
    sources: dict[str, str] = {}
    folder = CRATES / crate / "src"
    for path in sorted(folder.rglob("*.rs")):
        module = path.relative_to(folder).parts[0].removesuffix(".rs")
        # Tests come last in a file, not in a folder.
        sources[module] = sources.get(module, "") + _before_tests(path.read_text())
    return sources


def rust_graph(crate: str) -> dict[str, set[str]]:
    """Return module -> modules of the same crate it names."""
    modules = modules_of(crate)
    return {
        name: {
            path.split("::")[1]
            for path in rust_paths(source)
            if path.startswith("crate::") and path.split("::")[1] in modules
        }
        - {name}
        for name, source in modules.items()
    }


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for neighbour in graph.get(waiting.pop(), set()) - seen:
            seen.add(neighbour)
            waiting.append(neighbour)
    return seen


def dependencies_of(crate: str) -> set[str]:
    manifest = tomllib.loads((CRATES / crate / "Cargo.toml").read_text())
    tables = [manifest, *manifest.get("target", {}).values()]
    return {name for table in tables for name in table.get("dependencies", {})}


def roots_of(source: str) -> set[str]:
    return {path.split("::")[0] for path in rust_paths(source)}


def test_the_search_finds_imports_and_paths_but_no_comments_strings_or_tests() -> None:
    source = """
        // use mio::Poll;
        /* std::io */
        use crate::{errors::{self, Fault}, gil as g};
        use ::pyo3::prelude::*;
        const Q: u8 = b'"'; const A: &str = "libc::close"; const B: &str = r#"tokio::"x""#;
        fn f() { socket2::Socket::new() }
        #[cfg(test)]
        mod tests { use proptest::prelude::*; }
    """
    assert use_paths(rust_code(source)) == {
        "crate::errors::self",
        "crate::errors::Fault",
        "crate::gil",
        "pyo3::prelude::*",
    }
    assert roots_of(source) == {"crate", "pyo3", "socket2"}
    assert rust_graph("engine")["server"] >= {"connection"}
    # In a folder, behind a file that ends with tests.
    assert rust_graph("engine")["access_log"] >= {"signal_mask"}
    assert ATTACHING.search("Python::attach(|py| 1)")
    assert ATTACHING.search("py.detach(move || 1)")


def test_protocol_knows_no_std_no_sockets_and_no_python() -> None:
    forbidden = {
        "std",
        "mio",
        "pyo3",
        "libc",
        "socket2",
        "crossbeam_queue",
        "crossbeam_utils",
        "wiretask_engine",
    }
    modules = modules_of("protocol")
    assert {name: found for name, source in modules.items() if (found := roots_of(source) & forbidden)} == {}
    assert dependencies_of("protocol") <= {"memchr", "httparse", "httpdate"}
    assert "#![no_std]" in modules["lib"]
    assert "#![forbid(unsafe_code)]" in modules["lib"]


def test_engine_knows_no_python() -> None:
    modules = modules_of("engine")
    assert [name for name, source in modules.items() if "pyo3" in roots_of(source)] == []
    assert not {name for name in dependencies_of("engine") if name.startswith(("pyo3", "python"))}


def test_poll_loop_and_task_queue_do_not_know_each_other() -> None:
    graph = rust_graph("engine")
    assert reachable(graph, "poll_loop") & QUEUE_SIDE == set()
    for module in QUEUE_SIDE & set(graph):
        assert reachable(graph, module) & SOCKET_SIDE == set(), module


def test_the_reactor_knows_nothing_of_servers_and_tasks() -> None:
    graph = rust_graph("engine")
    assert reachable(graph, "reactor") == {"level_trigger", "open_descriptors", "token"}


def test_the_access_log_knows_no_socket_and_no_queue() -> None:
    assert reachable(rust_graph("engine"), "access_log") & (SOCKET_SIDE | QUEUE_SIDE) == set()


def test_consumers_do_not_know_each_other() -> None:
    graph = rust_graph("protocol")
    assert set(graph) >= CONSUMERS
    for module in CONSUMERS:
        assert reachable(graph, module) & (CONSUMERS | {"native", "channel"}) == set(), module


@pytest.mark.parametrize("crate", ["protocol", "engine", "binding"])
def test_nothing_imports_from_lib(crate: str) -> None:
    modules = modules_of(crate)
    for name, source in modules.items():
        if name != "lib":
            own = {path.split("::")[1] for path in rust_paths(source) if path.startswith("crate::")}
            assert own - set(modules) == set(), f"{name} names something of lib.rs"


def test_the_interpreter_is_attached_and_detached_in_one_file() -> None:
    others = {name: source for name, source in modules_of("binding").items() if name != "gil"}
    assert {name: found[0] for name, source in others.items() if (found := ATTACHING.search(rust_code(source)))} == {}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
NATIVE = "wiretask._native"


def imports_of(module: str) -> Iterator[tuple[str, str | None]]:
    """Yield (module, name) for every import, also inside functions; name is None for `import module`.

    Imports for type checking only are not run, and so are left out.
    """
    tree = ast.parse(MODULES[module].read_text())
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in _run_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            yield from ((base, alias.name) for alias in node.names)


def _run_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for branch in node.orelse:
                yield branch
                yield from _run_nodes(branch)
            continue
        yield node
        yield from _run_nodes(node)


def python_graph() -> dict[str, set[str]]:
    """Return module -> modules of the package that it imports."""
    graph: dict[str, set[str]] = {}
    for module in MODULES:
        targets = set()
        for base, name in imports_of(module):
            full = f"{base}.{name}"
            target = full if full in MODULES or full == NATIVE else base
            if target in MODULES or target == NATIVE:
                targets.add(target)
        graph[module] = targets - {module}
    return graph


def cycles_in(graph: dict[str, set[str]]) -> list[str]:
    return sorted(module for module in graph if module in reachable(graph, module))


def public_names(module: str) -> set[str]:
    """Return the names in `__all__`, and the public modules of a package."""
    listed: set[str] = set()
    for node in ast.parse(MODULES[module].read_text()).body:
        targets: Iterable[ast.expr] = node.targets if isinstance(node, ast.Assign) else ()
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            assert isinstance(node, ast.Assign)
            listed |= set(ast.literal_eval(node.value))
    prefix = f"{module}."
    return listed | {name.removeprefix(prefix) for name in MODULES if name.startswith(prefix)}


def test_the_python_search_finds_cycles_and_imports() -> None:
    assert cycles_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c"]
    assert "wiretask.map_loops" in python_graph()["wiretask.dispatcher"]


@pytest.mark.parametrize("module", ["wiretask.interfaces", "wiretask.errors"])
def test_interfaces_and_errors_import_nothing_of_ours(module: str) -> None:
    assert [base for base, _ in imports_of(module) if base.split(".")[0] == "wiretask"] == []


def test_adjustments_import_nothing_native() -> None:
    assert NATIVE not in reachable(python_graph(), "wiretask.adjustments")


def test_there_are_no_import_cycles() -> None:
    assert cycles_in(python_graph()) == []


def test_nothing_imports_the_testing_kit_or_hypothesis() -> None:
    kit = {module for module in MODULES if module.split(".")[:2] == ["wiretask", "testing"]}
    assert kit
    for module, targets in python_graph().items():
        if module not in kit:
            assert not targets & kit, module
            assert "hypothesis" not in {base.split(".")[0] for base, _ in imports_of(module)}, module


def test_the_testing_kit_does_not_know_what_it_tests() -> None:
    allowed = {"wiretask.errors", "wiretask.interfaces"}
    for module, targets in python_graph().items():
        if module.startswith("wiretask.testing"):
            assert {target for target in targets if not target.startswith("wiretask.testing")} <= allowed, module


def test_only_examples_know_the_examples() -> None:
    for module, targets in python_graph().items():
        if not module.startswith("wiretask.examples"):
            assert not [target for target in targets if target.startswith("wiretask.examples")], module


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("wiretask.examples")])
def test_examples_import_public_names_only(module: str) -> None:
    for base, name in imports_of(module):
        if base.split(".")[0] != "wiretask" or base.startswith("wiretask.examples"):
            continue
        assert base in MODULES, f"{base} is not public"
        assert not any(part.startswith("_") for part in base.split(".")), f"{base} is not public"
        if name is not None:
            assert name in public_names(base), f"{base} does not list {name} in __all__"


@pytest.mark.parametrize(
    "module", ["wiretask.wsgi.adjustments", "wiretask.wsgi.proxies", "wiretask.wsgi.application"]
)
def test_settings_proxies_and_names_of_applications_import_nothing_native(module: str) -> None:
    assert NATIVE not in reachable(python_graph(), module)


def test_only_the_command_line_knows_the_command_line_and_the_demonstration() -> None:
    for module, targets in python_graph().items():
        if not module.startswith("wiretask.command_line") and module != "wiretask.__main__":
            own = ("wiretask.command_line", "wiretask.demo")
            assert not [target for target in targets if target.startswith(own)], module
