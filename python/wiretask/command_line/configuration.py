"""What is to be served and how, of a command line and a configuration file together.

Strategy: the file's table [serve] has the same names as the settings; what the command line says takes the place
of what the file says, also where settings exclude each other. Every error says where the mistake stands.
Must not know: servers.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import socket
import tomllib
from collections.abc import Mapping
from typing import Any

from wiretask.command_line.options import UsageError, parse_serve, spelled_as_option
from wiretask.setting_kinds import nearest_hint, words_of
from wiretask.wsgi.adjustments import WSGIAdjustments

__all__ = ["Configuration", "ConfigurationError", "read_configuration"]

_TABLE = "serve"
_OWN_KEYS = ("application", "app_dir", "log_level")
_PLACES = ("host", "port", "listen", "unix_socket", "sockets")
_TIMEOUTS = ("graceful_timeout", "shutdown_timeout_seconds")
_DEMO_HOST = "127.0.0.1"


class ConfigurationError(Exception):
    """The configuration file cannot be used; the text is one line that names the file and what to do."""


@dataclasses.dataclass(frozen=True)
class Configuration:
    """What `wiretask serve` was told.

    Attributes:
        application: as `load_application` takes it; None: the demonstration page.
        app_dir: where modules are looked for; None: the working directory.
        adj: the settings of the server. If only to be checked: with sockets that stand for inherited ones.
        is_check: only look whether it could be served.
        is_quiet: say nothing at the start.
        log_level: "debug", "info", "warning" or "error".
    """

    application: str | None
    app_dir: str | None
    adj: WSGIAdjustments
    is_check: bool
    is_quiet: bool
    log_level: str


def read_configuration(prog: str, arguments: list[str]) -> Configuration:
    """Return what the arguments, and the configuration file they name, say.

    Raises:
        UsageError: the arguments are wrong. ConfigurationError: the file is.
        SystemExit: help was asked for, and printed (code 0).
    """
    options, given = parse_serve(prog, arguments)
    path: str | None = getattr(options, "config", None)
    table = {} if path is None else _table_of(path)
    own = {key: table.pop(key) for key in _OWN_KEYS if key in table}
    for key, value in own.items():
        if not isinstance(value, str):
            raise ConfigurationError(f"{path}: {key} is a string, not {value!r}")
    if own.get("log_level", "info") not in ("debug", "info", "warning", "error"):
        raise ConfigurationError(f"{path}: log_level is debug, info, warning or error, not {own['log_level']!r}")
    is_check = _has(options, "check")
    if is_check:
        # The service manager hands its sockets to the server, and not to a check that runs before it.
        for settings_text in (table, given):
            if isinstance(settings_text.get("sockets"), str):
                settings_text["sockets"] = _stand_in(settings_text["sockets"])
    if table:
        _adjusted_by_file(path or "", table)
    application = getattr(options, "application", own.get("application"))
    settings = _without_replaced(table, given) | given
    if application is None and not any(name in settings for name in _PLACES if name != "port"):
        settings["host"] = _DEMO_HOST
    return Configuration(
        application=application,
        app_dir=getattr(options, "app_dir", own.get("app_dir")),
        adj=_adjusted(settings, given),
        is_check=is_check,
        is_quiet=_has(options, "quiet"),
        log_level=getattr(options, "log_level", own.get("log_level", "info")),
    )


def _stand_in(text: str) -> Any:
    """Return a bound socket in place of those that `text` names, or the text if it names none."""
    if not all(re.fullmatch(r"systemd|fd:[0-9]+", word) for word in words_of(text)):
        return text
    stand_in = _StandIn(socket.AF_UNIX)
    stand_in.bind("")  # a name of its own, in no file system
    return [stand_in]


class _StandIn(socket.socket):
    """A socket that nobody listens on, and nobody has to close."""

    def __del__(self) -> None:
        self.close()


def _has(options: argparse.Namespace, name: str) -> bool:
    return getattr(options, name, False) is True


def _table_of(path: str) -> dict[str, Any]:
    """Return the table [serve] of a file."""
    try:
        with open(path, "rb") as file:
            document = tomllib.loads(file.read().decode("utf-8-sig"))  # editors of Windows begin with a mark
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}; see --config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error
    for key, value in document.items():
        if key != _TABLE:
            is_table = isinstance(value, dict)
            hint = nearest_hint(key, [_TABLE]) if is_table else f"settings stand below [{_TABLE}]"
            raise ConfigurationError(f"{path} has {'a table' if is_table else 'a key'} {key!r}; {hint}")
    table = document.get(_TABLE, {})
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: {_TABLE} is a table: write [{_TABLE}], and the settings below it")
    return table


def _adjusted_by_file(path: str, table: Mapping[str, Any]) -> None:
    """Raise ConfigurationError if the file, taken alone, is wrong."""
    known = [field.name for field in dataclasses.fields(WSGIAdjustments)]
    for key in table:
        if key not in known:
            raise ConfigurationError(f"{path} has a key {key!r}; {nearest_hint(key, [*known, *_OWN_KEYS])}")
    try:
        WSGIAdjustments(**table)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{path}: {_in_one_line(error)}") from error


def _without_replaced(table: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the file's settings without those that the command line replaces by others."""
    replaced: set[str] = set()
    if given.keys() & {"listen", "unix_socket", "sockets"}:
        replaced.update(_PLACES)
    elif given.keys() & {"host", "port"}:
        replaced.update(("listen", "unix_socket", "sockets"))
    if given.keys() & set(_TIMEOUTS):
        replaced.update(_TIMEOUTS)
    return {name: value for name, value in table.items() if name not in replaced}


def _adjusted(settings: Mapping[str, Any], given: Mapping[str, Any]) -> WSGIAdjustments:
    try:
        return WSGIAdjustments(**settings)
    except (TypeError, ValueError) as error:
        raise UsageError(_with_options(_in_one_line(error), given)) from error


def _with_options(text: str, given: Mapping[str, Any]) -> str:
    """Return an error with the settings that it begins with ("a is ...", "a and b exclude ...") as options."""
    named = re.match(r"(\w+)(?:( and )(\w+)(?= exclude | are ))?", text)
    if named is None:
        return text
    words = [spelled_as_option(word) if word in given else word for word in named.groups("")]
    return "".join(words) + text[named.end() :]


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
