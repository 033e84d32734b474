"""An application is found by its name, and whatever keeps it from being found is said in one line, with a remedy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wiretask.wsgi.application import ApplicationError, load_application

SHOP = """
def app(environ, start_response):
    return [b"app"]

def make():
    return app

def make_nothing():
    pass

def make_badly():
    raise RuntimeError("no database\\nat all")

class Holder:
    inner = staticmethod(app)
    number = 4

class Site:
    def __call__(self, environ, start_response):
        return [b"site"]

site = Site()

async def asgi(scope, receive, send):
    pass

def make_of(name): return app


class Scoped:
    def __init__(self, scope): pass


class ASGISite:
    async def __call__(self, scope, receive, send):
        pass

asgi_site = ASGISite()
number = 4
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path, modules = list(sys.path), set(sys.modules)
    (tmp_path / "front_shop.py").write_text(SHOP)
    (tmp_path / "front_folder").mkdir()
    (tmp_path / "front_package").mkdir()
    (tmp_path / "front_package/__init__.py").write_text("")
    (tmp_path / "front_package/wsgi.py").write_text("from front_shop import app as application\n")
    (tmp_path / "front_broken.py").write_text("def f():\n    1 / 0\nf()\n")
    (tmp_path / "front_syntax.py").write_text("def f(:\n")
    (tmp_path / "front_needs.py").write_text("import front_nowhere\n")
    (tmp_path / "front_exits.py").write_text("raise SystemExit(3)\n")
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("spelling", "answer"),
    [
        ("front_shop:app", b"app"),
        ("front_shop", b"app"),
        ("front_package.wsgi", b"app"),
        ("front_package.wsgi:application", b"app"),
        ("front_shop:make()", b"app"),
        ("front_shop:Holder.inner", b"app"),
        ("front_shop:site", b"site"),
        ("front_shop:Site()", b"site"),
    ],
)
def test_names_that_are_found(folder: Path, spelling: str, answer: bytes) -> None:
    assert load_application(spelling, folder)({}, None) == [answer]


@pytest.mark.parametrize(
    ("spelling", "reason"),
    [
        ("front_shop.py", "names no application: write module:name, for example front_shop:app"),
        ("./front_package/wsgi.py:application", "for example front_package.wsgi:application"),
        ("front_shop:make(1)", "called without arguments"),
        ("front_shop:", "names no application"),
        ("", "names no application"),
        ("front shop:app", "names no application"),
        ("front_shopp:app", "there is no module 'front_shopp'.*--app-dir"),
        ("front_package.wsgy:app", "there is no module 'front_package.wsgy'"),
        ("front_shop:ap", "front_shop has no 'ap'; did you mean 'app'?"),
        ("front_shop:Holder.iner", "front_shop.Holder has no 'iner'; did you mean 'inner'?"),
        ("front_shop:app.x.y", "front_shop.app has no 'x'"),
        ("front_package", "^front_package has neither 'application' nor 'app': write front_package:name$"),
        ("colorsys:ap", r"^colorsys \(/.*colorsys.py\) has no 'ap'"),  # not the one that the user may have meant
        ("front_folder:app", r"^front_folder \(no file: .* a folder without __init__.py\) has no 'app'"),
        ("front_shop:number", r"cannot be called \(int\)"),
        ("front_shop:number()", r"cannot be called \(int\): leave out the parentheses"),
        ("front_shop:make", r"takes no arguments: if it makes the application, write front_shop:make\(\)"),
        ("front_shop:make_nothing()", "returned None: the factory has to return"),
        ("front_shop:make_badly()", r"front_shop:make_badly\(\) failed: RuntimeError: no database.*line 12"),
        ("front_shop:make_of", r"cannot be called with \(environ, start_response\)"),
        ("front_shop:Scoped", r"cannot be called with \(environ, start_response\)"),
        ("front_shop:asgi", "is an ASGI application"),
        ("front_shop:asgi_site", "is an ASGI application"),
        ("front_broken:app", r"importing 'front_broken' failed: ZeroDivisionError.*front_broken.py, line 2"),
        ("front_syntax:app", r"importing 'front_syntax' failed: SyntaxError.*front_syntax.py, line 1"),
        ("front_needs:app", "importing 'front_needs' failed: .*'front_nowhere'.*is it installed?"),
    ],
)
def test_names_that_are_not_found(folder: Path, spelling: str, reason: str) -> None:
    with pytest.raises(ApplicationError, match=reason) as caught:
        load_application(spelling, folder)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ApplicationError, match=r"there is no directory .*--app-dir"):
        load_application("front_shop", tmp_path / "nowhere")


def test_the_working_directory_is_looked_through(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert load_application("front_shop:app")({}, None) == [b"app"]


def test_a_module_that_ends_the_program_may(folder: Path) -> None:
    with pytest.raises(SystemExit):
        load_application("front_exits", folder)
