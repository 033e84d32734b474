"""`load_application`: the WSGI application that "module:name" names.

Strategy: import the module, follow the attributes, call the factory if the spelling says so, and look whether the
result can be a WSGI application. Whatever is wrong becomes one line that says what to do about it.
Must not know: settings, servers, the command line.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

from wiretask.setting_kinds import nearest_hint

__all__ = ["ApplicationError", "load_application"]

_SPELLING = re.compile(r"(?P<module>\w+(?:\.\w+)*)(?::(?P<name>\w+(?:\.\w+)*)(?P<call>\(\))?)?")
_USUAL_NAMES = ("application", "app")


class ApplicationError(Exception):
    """The application cannot be had; the text is one line, with what to do about it."""


def load_application(spelling: str, app_dir: str | os.PathLike[str] | None = None) -> Callable[..., Any]:
    """Return the application that `spelling` names.

    Args:
        spelling: "module:name" (a dotted path on either side), "module:make()" for a factory without arguments, or
            "module" alone for its `application` or `app`.
        app_dir: where modules are looked for first; it is put before sys.path for good. None: the working directory.
    Raises:
        ApplicationError: there is no such module or name, importing or calling failed, or the result is no WSGI
            application. The cause is the exception that came, if any.
    """
    found = _SPELLING.fullmatch(spelling)
    if not found or found["module"].endswith(".py"):
        raise ApplicationError(f"{spelling!r} names no application: write module:name{_suggestion(spelling)}")
    directory = os.path.abspath(os.curdir if app_dir is None else app_dir)
    if not os.path.isdir(directory):
        raise ApplicationError(f"there is no directory {directory!r} to look for applications in: see --app-dir")
    if directory not in sys.path:
        sys.path.insert(0, directory)
    module = _module_of(found["module"], directory)
    names = found["name"] or next((name for name in _USUAL_NAMES if hasattr(module, name)), "")
    if not names:
        neither = " nor ".join(map(repr, _USUAL_NAMES))
        raise ApplicationError(f"{_described(module, directory)} has neither {neither}: write {spelling}:name")
    application = _attribute_of(module, names, directory)
    if found["call"]:
        application = _made_by(application, spelling)
    reason = _why_unfit(application, spelling, is_made=bool(found["call"]))
    if reason:
        raise ApplicationError(reason)
    return application  # type: ignore[no-any-return]


def _suggestion(spelling: str) -> str:
    """Return ", for example ..." for the mistakes that are made most often."""
    path, _, name = spelling.partition(":")
    if re.fullmatch(r"(?:\./)?[\w/]+\.py", path):
        module = path.removeprefix("./").removesuffix(".py").replace("/", ".")
        return f", for example {module}:{name or _USUAL_NAMES[1]}"
    if re.fullmatch(r"[\w.]+:[\w.]+\(.+\)", spelling):
        return "; a factory is called without arguments: module:make()"
    return ""


def _module_of(name: str, directory: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise ApplicationError(f"importing {name!r} failed: {_one_line(error)}; is it installed?") from error
        text = f"there is no module {error.name!r}, neither in {directory} nor installed: "
        raise ApplicationError(text + "say where it is with --app-dir") from error
    except Exception as error:
        raise ApplicationError(f"importing {name!r} failed: {_one_line(error)}") from error


def _described(module: ModuleType, directory: str) -> str:
    """Return the module's name, and where it came from if that is not where the user may think of."""
    file = getattr(module, "__file__", None)
    if file is None:
        return f"{module.__name__} (no file: a built-in module, or a folder without __init__.py)"
    is_expected = os.path.abspath(file).startswith(os.path.join(directory, ""))
    return module.__name__ if is_expected else f"{module.__name__} ({file})"


def _attribute_of(module: ModuleType, names: str, directory: str) -> Any:
    value: Any = module
    path = module.__name__
    for name in names.split("."):
        try:
            value = getattr(value, name)
        except AttributeError as error:
            there = (
                [other for other in vars(value) if not other.startswith("_")] if hasattr(value, "__dict__") else []
            )
            callables = [other for other in there if callable(getattr(value, other, None))]
            hint = f"; {nearest_hint(name, callables)}" if callables else ""
            where = _described(module, directory) if value is module else path
            raise ApplicationError(f"{where} has no {name!r}{hint}") from error
        path = f"{path}.{name}"
    return value


def _made_by(factory: Any, spelling: str) -> Any:
    if not callable(factory):
        kind = type(factory).__name__
        raise ApplicationError(f"{spelling.removesuffix('()')} cannot be called ({kind}): leave out the parentheses")
    try:
        return factory()
    except Exception as error:
        raise ApplicationError(f"{spelling} failed: {_one_line(error)}") from error


def _why_unfit(application: Any, spelling: str, *, is_made: bool) -> str:
    """Return what keeps it from being a WSGI application, "" if nothing can be seen."""
    if application is None and is_made:
        return f"{spelling} returned None: the factory has to return the application"
    if not callable(application):
        return f"{spelling} is no WSGI application: it cannot be called ({type(application).__name__})"
    if inspect.iscoroutinefunction(application) or inspect.iscoroutinefunction(type(application).__call__):
        return f"{spelling} is an ASGI application, and this is a WSGI server: wrap it, for example with a2wsgi"
    if not is_made and _takes_nothing(application):
        return f"{spelling} takes no arguments: if it makes the application, write {spelling}()"
    if not _takes(application, {}, None):
        return f"{spelling} is no WSGI application: it cannot be called with (environ, start_response)"
    return ""


def _takes_nothing(application: Any) -> bool:
    """Whether it can be called without arguments, and cannot as an application is."""
    return _takes(application) and not _takes(application, {}, None)


def _takes(application: Any, *arguments: object) -> bool:
    """Whether it can be called with these, as far as can be seen."""
    try:
        signature = inspect.signature(application)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def _one_line(error: BaseException) -> str:
    """Return the exception's last line and where it came from."""
    text = " ".join(traceback.format_exception_only(error)[-1].split())
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{text} ({error.filename}, line {error.lineno})"
    return f"{text} ({own[-1].filename}, line {own[-1].lineno})" if own else text
