"""`main`: the command `wiretask`, and `python -m wiretask`.

Must not know: what a command does.
"""

from __future__ import annotations

import sys

from wiretask._native import __version__
from wiretask.command_line.serving import serve_command
from wiretask.setting_kinds import nearest_hint

__all__ = ["main"]

_USAGE = f"""\
usage: wiretask serve [module:application] [options]

wiretask {__version__}, servers in Python whose sockets, queues and parsers run in Rust.

  wiretask serve shop:app      serve the WSGI application `app` of the module `shop`
  wiretask serve               serve a page with the server's own figures, to see that it works
  wiretask serve --help        every option
  wiretask --version           the version
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command that the arguments name, and return the exit status.

    Args:
        arguments: without the program's name; None: those of this process.
    Raises:
        SystemExit: as `serve_command`.
    """
    words = sys.argv[1:] if arguments is None else arguments
    command = words[0] if words else "--help"
    if command == "serve":
        try:
            return serve_command("wiretask serve", words[1:])
        except KeyboardInterrupt:
            return 130
    if command in ("-h", "--help", "help"):
        print(_USAGE, end="")
        return 0
    if command in ("-V", "--version"):
        print(f"wiretask {__version__}")
        return 0
    hint = (
        f"did you mean: wiretask serve {command}" if ":" in command else nearest_hint(command, ["serve", "--version"])
    )
    print(f"wiretask: there is no command {command!r}; {hint}", file=sys.stderr)
    return 2
