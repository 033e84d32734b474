"""`WSGIChannel`: one connection of a WSGI server; it calls the application for each request.

Strategy: the request, its environ and its answer are one native object, an *exchange*. The application is called
from here, so that nothing but Python lies below it; an answer that is a list of bytes is handed over whole, any
other is passed on part by part. Must not know: how a server listens, how an answer is framed.
Source: PEP 3333.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import traceback
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar

from zope.interface import implementer

from wiretask import waiting_tasks
from wiretask._native import Exchange
from wiretask.channels import ServerChannel
from wiretask.errors import ClientDisconnectedError
from wiretask.housekeeper import report, safe_repr
from wiretask.interfaces import IServerChannel, ITask
from wiretask.wsgi.file_wrapper import FileWrapper
from wiretask.wsgi.streamed_input import open_streamed_input

__all__ = ["Site", "WSGIChannel"]

_LOG = logging.getLogger("wiretask.wsgi")

_FAILED = "500 Internal Server Error"
_APOLOGY = b"The server has failed to answer this request.\n"


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """What is served.

    Attributes:
        application: the WSGI application.
        admit: called with each environ, if it is not None; what it returns is the reason why the request is
            refused with 400, or None.
        exposes_tracebacks: a client is shown why the application failed.
        streams_bodies: the application reads the body of a request while it comes.
    """

    application: Callable[..., Any]
    admit: Callable[[dict[str, Any]], str | None] | None
    exposes_tracebacks: bool
    streams_bodies: bool


@implementer(IServerChannel, ITask)
class WSGIChannel(ServerChannel):
    """One connection of a WSGI server, which makes a subclass with the `site` that it serves."""

    __slots__ = ()

    site: ClassVar[Site]

    def service(self) -> None:
        """Answer all requests that have come, in order. Called by a worker."""
        site = self.site
        application, is_guarded = site.application, site.admit is not None or site.streams_bodies
        environ: Any = None
        result: Any = None
        body: Any = None
        try:
            while (work := self._next_work()) is not None:
                if type(work) is not tuple:
                    self._handle_event(work)
                    continue
                exchange, environ, body = work
                work = None  # or it would hold what the application lets go of
                try:
                    if is_guarded:
                        body = _open_body(exchange, environ, body, site)
                    if not is_guarded or _is_admitted(exchange, environ, site):
                        result = application(environ, exchange)
                        if not exchange.finish(result):
                            _pass_on(exchange, result, environ)
                except BaseException as error:
                    self._handle_failure(exchange, environ, error)
                environ = result = None
                if body is not None:
                    body.close()
                    body = None
        except BaseException:
            # Only an asynchronous exception gets here, or a bug of ours: nothing may stay half done.
            self._give_up()
            self._cancel_tasks()
            raise
        finally:
            if self._tasks is not None:
                waiting_tasks.look_again(self)

    def _handle_failure(self, exchange: Exchange, environ: Any, error: BaseException) -> None:
        """Log what came out of the application, and answer in its place, as far as that is still possible."""
        status, text = _FAILED, _APOLOGY
        if isinstance(error, ClientDisconnectedError) and (self.closed or self.client_disconnected):
            _LOG.debug("%s was closed while it was served", safe_repr(self), exc_info=error)
        elif (fault_status := exchange.fault_status) is not None:
            # The application could not read a body that its client did not send as it should.
            fault = HTTPStatus(fault_status)
            status, text = f"{fault.value} {fault.phrase}", f"{error}\n".encode("utf-8", "replace")
            _LOG.info("the body of a request of %r was refused: %s", self.addr, error)
        else:
            environ = environ or {}
            method, uri = environ.get("REQUEST_METHOD"), environ.get("REQUEST_URI")
            report(_LOG, "exception while serving %s %s", method, uri, error=error)
            if self.site.exposes_tracebacks:
                text = "".join(traceback.format_exception(error)).encode("utf-8", "replace")
        with contextlib.suppress(ClientDisconnectedError):
            exchange.fail(status, text)


def _open_body(exchange: Exchange, environ: dict[str, Any], body: Any, site: Site) -> Any:
    """Give the application a body that is still coming; return what is to be closed when it has answered, or None."""
    if site.streams_bodies and exchange.is_body_streamed:
        environ["wsgi.input"], body = open_streamed_input(exchange)
    return body


def _is_admitted(exchange: Exchange, environ: dict[str, Any], site: Site) -> bool:
    """Let the site look at the request, and refuse it if it says so."""
    if site.admit is None:
        return True
    if (reason := site.admit(environ)) is not None:
        exchange.fail("400 Bad Request", reason.encode("utf-8", "replace") + b"\n")
        return False
    exchange.note_client(environ["REMOTE_ADDR"])
    return True


def _pass_on(exchange: Exchange, result: Any, environ: dict[str, Any]) -> None:
    """Send the parts of an answer as they come, and close what the application returned."""
    if result is None or (isinstance(result, (bytes, str)) and result):
        kind = "None" if result is None else type(result).__name__
        raise TypeError(f"an application returns an iterable of bytes, like [b'...'], and not {kind}")
    close = getattr(result, "close", None)
    try:
        if type(result) is FileWrapper:
            if (rest := result.rest_of_file()) and exchange.send_file(*rest):
                return
            if (length := result.rest_bytes()) is not None:
                exchange.expect_body(length)
        parts = iter(result)
        if _is_single(result):
            for part in parts:
                if not exchange.finish((part,)):
                    exchange.write(part)
        else:
            for part in parts:
                # Of an answer to HEAD, say, nothing more is wanted; the parts may have no end.
                if not exchange.pass_on(part):
                    break
        exchange.end()
    finally:
        if close is not None:
            close()
    if exchange.excess_bytes:
        method, uri = environ.get("REQUEST_METHOD"), environ.get("REQUEST_URI")
        message = "%d bytes beyond the announced Content-Length, or more, were left out of the answer to %s %s"
        _LOG.warning(message, exchange.excess_bytes, method, uri)


def _is_single(result: Any) -> bool:
    """Whether the answer has one part, so that its length is that of the body."""
    try:
        return len(result) == 1
    except (TypeError, AttributeError, NotImplementedError):
        return False
