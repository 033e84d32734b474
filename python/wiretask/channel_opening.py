"""`ChannelOpening`: the task of a connection that has no channel object yet.

Must not know: which classes a server overrides. Source: the hook table in docs/hooks.md, first row.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from zope.interface import implementer

from wiretask import _native
from wiretask.connection import Connection
from wiretask.errors import ClientDisconnectedError
from wiretask.housekeeper import report, safe_repr
from wiretask.interfaces import ITask

if TYPE_CHECKING:
    from wiretask.servers import Server

__all__ = ["ChannelOpening"]

_LOG = logging.getLogger("wiretask.server")


@implementer(ITask)
class ChannelOpening(_native.ChannelOpening):
    """What is queued for a connection that has no channel object yet: makes it, then is it."""

    __slots__ = ()

    def service(self) -> None:
        """Make the channel and run it."""
        conn = Connection(self.connection)
        if conn.closed:
            self.cancel()
            return
        try:
            server: Server = self.server
            channel = server.channel_class(server, conn, conn.getpeername(), server.adj)
            channel._check_bound()
        except BaseException as error:
            # A connection that is lost meanwhile is nobody's fault.
            if not (isinstance(error, ClientDisconnectedError) and conn.closed):
                report(_LOG, "cannot make a channel for %s", safe_repr(conn), error=error)
            self.cancel()
            return
        channel.service()

    def cancel(self) -> None:
        """Close the connection."""
        self.connection.cancel_queued()

    def defer(self) -> None:
        """Nothing."""
