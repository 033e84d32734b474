"""The options of `wiretask serve`: one for each setting of a server, made from the settings themselves.

Strategy: argparse collects text only; what it means, and whether it is right, the settings know. Errors are one line.
Must not know: what is done with the options.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any, NoReturn

from wiretask.setting_documentation import documented_settings
from wiretask.setting_kinds import Flag, SettingKind, nearest_hint
from wiretask.wsgi.adjustments import WSGIAdjustments

__all__ = ["UsageError", "parse_serve", "setting_kinds", "spelled_as_option"]

_LISTS = ("listen", "sockets", "trusted_proxy", "trusted_proxy_headers")
# What other servers call it: waitress-serve, gunicorn, uvicorn.
_ELSEWHERE = {
    "--app": "write the application alone: module:application",
    "--call": "write the call: module:make()",
    "--factory": "write the call: module:make()",
    "--bind": "write --listen",
    "-b": "write --listen",
    "--uds": "write --unix-socket",
    "--fd": "write --sockets fd:N",
    "--worker-connections": "write --connection-limit",
    "--workers": "start several processes, with --reuse-port",
    "-w": "start several processes, with --reuse-port",
    "--worker-class": "requests are answered by threads: see --threads",
    "-k": "requests are answered by threads: see --threads",
    "--reload": "restart it from outside: watchfiles 'wiretask serve ...'",
    "--daemon": "the service manager's business; in a shell: nohup wiretask serve ... &",
    "-D": "the service manager's business; in a shell: nohup wiretask serve ... &",
    "--pid": "the service manager knows the process; nothing is written down",
    "-p": "write --port",
    "--version": "write wiretask --version",
    "--verbose": "write --log-level debug",
    "--keep-alive": "write --channel-timeout",
    "--timeout": "threads cannot be killed; --request-timeout-seconds and --write-timeout-seconds are about clients",
    "--access-logfile": "write --access-log",
    "--chdir": "write --app-dir",
    "--pythonpath": "write --app-dir",
    "--root-path": "write --url-prefix",
    "--forwarded-allow-ips": "write --trusted-proxy, and --trusted-proxy-headers",
    "--check-config": "write --check",
    "-c": "write --config",
}
LOG_LEVELS = ("debug", "info", "warning", "error")


class UsageError(Exception):
    """The command line is wrong; the text says what about it, and what to write."""


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def setting_kinds() -> dict[str, SettingKind]:
    """Return the kind of each setting that can be written as text, by name."""
    kinds: dict[str, SettingKind] = {
        field.name: field.metadata["kind"] for field in dataclasses.fields(WSGIAdjustments)
    }
    return {name: kind for name, kind in kinds.items() if kind.metavar}


def spelled_as_option(name: str) -> str:
    """Return the option for a setting: "--max-pending" for "max_pending"."""
    return "--" + name.replace("_", "-")


def parse_serve(prog: str, arguments: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Return the command's own options, and the settings that were given, by name, as text.

    An option that may be given several times gives its values with spaces between them.

    Raises:
        UsageError: an option that there is not (the nearest is named), or one without its value.
        SystemExit: help was asked for, and printed (code 0).
    """
    kinds = setting_kinds()
    parser = _serve_parser(prog, kinds)
    options, rest = parser.parse_known_args(arguments)
    if rest:
        known = [option for action in parser._actions for option in action.option_strings]
        wrong = next((word for word in rest if word.startswith("-")), "")
        if wrong:
            raise UsageError(_unknown(wrong.partition("=")[0], known))
        raise UsageError(f"one application at a time: {rest[0]!r} is too much")
    given = {name: getattr(options, name) for name in kinds if hasattr(options, name)}
    return options, {name: " ".join(value) if name in _LISTS else value for name, value in given.items()}


def _unknown(option: str, known: list[str]) -> str:
    """Return what is said about an option that there is not."""
    # Without the dashes, which make all options look alike.
    nearest = nearest_hint(option.lstrip("-"), [name.removeprefix("--") for name in known if name.startswith("--")])
    nearest = nearest.replace("did you mean '", "did you mean '--")
    hint = _ELSEWHERE.get(option) or (nearest if nearest.endswith("?") else "")
    return f"there is no option {option}" + (f"; {hint}" if hint else "")


def _serve_parser(prog: str, kinds: dict[str, SettingKind]) -> argparse.ArgumentParser:
    parser = _OneLineParser(
        prog=prog,
        usage="%(prog)s [module:application] [options]",
        description="Serve a WSGI application over HTTP; without one, a demonstration page on 127.0.0.1.",
        epilog="Every setting may stand in a configuration file, below [serve]; what is given here counts more.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=_Formatter,
    )
    parser.add_argument(
        "application",
        nargs="?",
        metavar="module:application",
        help="what to serve: shop:app, shop.wsgi:site.app, shop (its application or app), shop:make() for a factory",
    )
    own = parser.add_argument_group("This command")
    own.add_argument("--config", metavar="FILE", help="a configuration file in TOML")
    own.add_argument("--app-dir", metavar="DIRECTORY", help="where modules are looked for first (default: here)")
    own.add_argument(
        "--check", action="store_true", help="load configuration and application, say what would be served"
    )
    own.add_argument("--quiet", action="store_true", help="say nothing when the server starts")
    own.add_argument(
        "--log-level", metavar="LEVEL", choices=LOG_LEVELS, help="debug, info (default), warning or error"
    )
    defaults = WSGIAdjustments()
    documented = documented_settings(WSGIAdjustments, kinds)
    undocumented = kinds.keys() - {name for section in documented for name in section.texts}
    for section in documented:
        group = parser.add_argument_group(section.title)
        for name, text in section.texts.items():
            _add_setting(group, name, kinds[name], text, getattr(defaults, name))
    for name in sorted(undocumented):  # Python -OO
        _add_setting(parser, name, kinds[name], "", getattr(defaults, name))
    return parser


def _add_setting(group: Any, name: str, kind: SettingKind, text: str, default: object) -> None:
    option = spelled_as_option(name)
    help_text = (text.rstrip(".") + _default_text(name, default)).replace("%", "%%")
    if isinstance(kind, Flag):
        group.add_argument(option, dest=name, action=_FlagAction, help=help_text)
    elif name in _LISTS:
        group.add_argument(option, dest=name, action="append", metavar=kind.metavar, help=help_text)
    else:
        group.add_argument(option, dest=name, metavar=kind.metavar, help=help_text)


def _default_text(name: str, default: object) -> str:
    if default in (None, "", ()) or default == frozenset():
        return ""
    if isinstance(default, bool):
        return " (default: yes)" if default else " (default: no)"
    if name == "unix_socket_perms":
        return f" (default: {default:o})"
    return f" (default: {default:g})" if isinstance(default, float) else f" (default: {default})"


class _FlagAction(argparse.Action):
    """`--x` and `--no-x`."""

    def __init__(self, option_strings: list[str], dest: str, **rest: Any) -> None:
        negative = [f"--no-{option.removeprefix('--')}" for option in option_strings]
        super().__init__([*option_strings, *negative], dest, nargs=0, **rest)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        setattr(namespace, self.dest, "false" if (option or "").startswith("--no-") else "true")


class _Formatter(argparse.HelpFormatter):
    """Help in a column that begins early, so that long names do not squeeze it."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if isinstance(action, _FlagAction):
            return f"--[no-]{action.option_strings[0].removeprefix('--')}"
        return super()._format_action_invocation(action)
