"""`wiretask serve`: load the application, listen, say where, and serve until a signal.

Strategy: everything that can be wrong is found before the first connection is accepted, and said in one line.
Must not know: what the options are called.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from wiretask._native import __version__
from wiretask.command_line.banner import banner, links
from wiretask.command_line.configuration import Configuration, ConfigurationError, read_configuration
from wiretask.command_line.options import UsageError
from wiretask.command_line.process import (
    fill_standard_descriptors,
    is_unclaimed,
    raise_descriptor_limit,
    take_early_signals,
)
from wiretask.demo import demo_application
from wiretask.wsgi.application import ApplicationError, load_application
from wiretask.wsgi.server import WSGIServer

__all__ = ["serve_command"]

_REMEDIES = {
    errno.EADDRINUSE: "; stop what listens there, or choose another with --port or --listen",
    errno.EACCES: "; ports below 1024 need the right to bind them; choose another with --port or --listen",
    errno.EAFNOSUPPORT: "; choose another with --host or --listen",
    errno.EADDRNOTAVAIL: "; this machine has no such address; choose another with --host or --listen",
}
_UNIX_REMEDIES = {
    errno.EADDRINUSE: "; stop what listens there, or choose another with --unix-socket or --listen",
    errno.EACCES: "; its directory must be one that this user may write to",
    errno.ENOENT: "; its directory must be there",
    errno.EEXIST: "; remove it, or choose another with --unix-socket or --listen",
}

_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def serve_command(prog: str, arguments: list[str]) -> int:
    """Serve until SIGINT or SIGTERM, and return the exit status.

    Returns:
        0: it served and was stopped, or (`--check`) could serve. 2: the arguments are wrong. 1: the configuration
        file, the application, or an address is; one line on the standard error says which, and what to do.
    Raises:
        SystemExit: help was asked for (code 0), or the application ended the program while it was loaded.
    Threads: the main thread only. Blocking: until a signal comes.
    """
    try:
        configuration = read_configuration(prog, arguments)
        fill_standard_descriptors()
        take_early_signals()
        application, name = _application_of(configuration)
        if configuration.is_check:
            print(_what_would_be(configuration, name))
            return 0
        raise_descriptor_limit(configuration.adj.connection_limit)
        server = WSGIServer(application, configuration.adj)
        _serve(server, "" if configuration.is_quiet else name, configuration.log_level)
    except UsageError as error:
        print(f"{prog}: {error}; see {prog} --help", file=sys.stderr)
        return 2
    except (ConfigurationError, ApplicationError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        print(f"{prog}: {error.strerror or error}{where}{_remedy(error)}", file=sys.stderr)
        return 1
    return 0


def _application_of(configuration: Configuration) -> tuple[Callable[..., Any], str]:
    """Return the application and what it is called."""
    if configuration.application is None:
        return demo_application(), "its own figures, as no application was named"
    application = load_application(configuration.application, configuration.app_dir)
    return application, configuration.application


def _what_would_be(configuration: Configuration, name: str) -> str:
    adj = configuration.adj
    places = [str(address) for address in adj.listen_addresses]
    inherited = ["the sockets that it inherits"] if adj.sockets else []
    return f"would serve {name} on {', '.join([*links(places, adj), *inherited])} with {adj.threads} worker threads"


def _remedy(error: OSError) -> str:
    message = error.strerror or ""
    if "spool_directory" in message:
        return "; choose another with --spool-directory"
    if "access log" in message:
        return "; choose another with --access-log"
    if message.startswith("cannot listen on unix:"):
        return _UNIX_REMEDIES.get(error.errno or 0, "")
    if isinstance(error, socket.gaierror):
        return "; choose another with --host or --listen"
    return _REMEDIES.get(error.errno or 0, "") if message.startswith("cannot listen on ") else ""


def _serve(server: WSGIServer, name: str, log_level: str) -> None:
    """Serve until a signal; `name` is what the banner says, "" for none."""
    logging.basicConfig(format=_LOG_FORMAT)  # does nothing if the application has set up logging
    _enable_loggers()
    if logging.getLogger("wiretask").level == logging.NOTSET:
        logging.getLogger("wiretask").setLevel(log_level.upper())
    # From here on a signal asks for the end, also in the moment before the server listens to signals itself.
    for number in (signal.SIGINT, signal.SIGTERM):
        if is_unclaimed(number):
            signal.signal(number, signal.default_int_handler)
    # Log rotation sends SIGUSR1, perhaps before the server listens to it, or to a server without a log: we go on.
    if is_unclaimed(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, lambda number, frame: server.reopen_access_log())
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as at_the_end:
        at_the_end.callback(server.stop)
        server._run_saying(lambda: _print_banner(server, name))


def _print_banner(server: WSGIServer, name: str) -> None:
    if name and sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):  # a banner that nobody can read is no reason not to serve
            print(banner(__version__, name, server.effective_listen, server.adj), file=sys.stderr, flush=True)


def _enable_loggers() -> None:
    """Undo what `dictConfig` does to loggers that an application does not name: they would say nothing any more."""
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if name.partition(".")[0] == "wiretask" and isinstance(logger, logging.Logger):
            logger.disabled = False
