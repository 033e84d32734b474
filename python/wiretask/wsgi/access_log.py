"""`AccessLog`: the part of the access log that is Python's: loggers, and the end.

Strategy: lines are made, and written to files, in Rust (`rust/engine/src/access_log`). Only a log that goes to a
`logging.Logger` comes here, many lines at a time, on the housekeeper's thread. Must not know: servers, formats.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
from typing import Any

from wiretask import _native
from wiretask.housekeeper import report
from wiretask.wsgi.adjustments import WSGIAdjustments

__all__ = ["AccessLog"]

_LOG = logging.getLogger("wiretask.server")
#: How long the last lines may take when the server stops, in seconds.
_LAST_LINES_SECONDS = 2.0


class AccessLog:
    """The access log of one server, as its settings have it.

    Attributes:
        logger: who gets the lines; None: a file does, or there is no log.
        has_file: the lines go to a file that has a name.
    """

    def __init__(self, adj: WSGIAdjustments) -> None:
        """Raises OSError if the log is to go to a standard output that the process was started without."""
        target = adj.access_log
        if target == "-" and sys.__stdout__ is None:
            # The number 1 is, or will be, some other file of the program's.
            raise OSError(errno.EBADF, "cannot write the access log to the standard output, which is closed")
        self._target = target
        self._is_json = adj.access_log_format == "json"
        self.has_file = isinstance(target, str) and target != "-"
        self._delivering = threading.Lock()
        self.logger: logging.Logger | None = None
        if target is True:
            self.logger = logging.getLogger("wiretask.access")
        elif isinstance(target, logging.Logger):
            self.logger = target

    def native_settings(self) -> dict[str, Any] | None:
        """Return what native threads are told of it; None: there is no log."""
        if self._target is None:
            return None
        path = None if self.logger is not None else self._target
        if self.has_file:
            # It is opened again and again, wherever the program has gone meanwhile.
            path = os.path.abspath(str(path))
        return {"path": path, "is_json": self._is_json}

    def deliver(self, native: _native.Server) -> bool:
        """Hand the lines that wait to the logger, if there is one; False: another thread is at it for too long.

        Blocking: until who is at it is done, two seconds at most.
        """
        if self.logger is None:
            return True
        if not self._delivering.acquire(timeout=_LAST_LINES_SECONDS):
            return False
        try:
            self._deliver_to(self.logger, native.take_access_lines())
        finally:
            self._delivering.release()
        return True

    def _deliver_to(self, logger: logging.Logger, lines: list[str]) -> None:
        failure: BaseException | None = None
        for line in lines:
            try:
                logger.info("%s", line)
            except BaseException as error:
                # The other lines are not to be lost with this one.
                failure = error
        if failure is not None:
            report(_LOG, "the logger of the access log failed", error=failure)

    def end(self, native: _native.Server) -> None:
        """Have all lines written, and no more taken. Blocking: two seconds at most, and what the logger takes."""
        if self._target is None:
            return
        is_written = native.end_access_log(_LAST_LINES_SECONDS)
        if not (self.deliver(native) and is_written):
            _LOG.error("the last lines of the access log could not be written in time")
        counted = native.stats()
        if dropped := counted.get("access_log_dropped", 0):
            _LOG.warning("the access log lacks %d of %d requests", dropped, counted["access_log_records"])
