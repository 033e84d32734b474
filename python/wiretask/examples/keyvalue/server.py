"""`KeyValueServer`: ties the store to wiretask.

Strategy: wiretask feeds the bytes of a connection to a `RedisRequest`; each that is complete becomes a
`CommandTask`. The tasks of one connection run in order, those of different connections at the same time, on
worker threads; see `store` for what keeps them from each other's throats.
Must not know: what the commands do.
"""

from typing import cast

import wiretask
from wiretask.examples.keyvalue import connection_commands, data_commands  # noqa: F401 (they fill the table)
from wiretask.examples.keyvalue.command_table import CommandError, execute
from wiretask.examples.keyvalue.resp import RedisRequest, encode_error, encode_reply
from wiretask.examples.keyvalue.session import Session, Shared

__all__ = ["CommandTask", "KeyValueChannel", "KeyValueServer"]


class CommandTask(wiretask.Task):
    """The work for one request."""

    channel: "KeyValueChannel"
    request: RedisRequest

    def service(self) -> None:
        """Run the command and send the reply. An error is a reply too; only a broken stream is the end."""
        if self.request.protocol_error is not None:
            self.channel.write(encode_error("ERR " + self.request.protocol_error))
            self.channel.close_when_done()
            return
        session = self.channel.session
        try:
            reply = encode_reply(execute(session, self.request.arguments))
        except CommandError as error:
            reply = encode_error(str(error))
        self.channel.write(reply)
        if session.is_closing:
            self.channel.close_when_done()


class KeyValueChannel(wiretask.ServerChannel):
    """One client's connection."""

    parser_class = RedisRequest
    task_class = CommandTask

    session: Session

    def handle_connect(self) -> None:
        """Open the client's session. Runs on a worker thread, before any request."""
        self.session = cast(KeyValueServer, self.server).shared.open_session(_printable(self.addr))

    def handle_close(self) -> None:
        """Close the client's session. Runs on a worker thread, once, when the connection is gone."""
        self.session.shared.close_session(self.session)


class KeyValueServer(wiretask.Server):
    """A store and its listener.

    Args:
        ip, port, adj: as for `wiretask.Server`.
    """

    channel_class = KeyValueChannel

    def __init__(self, ip: str, port: int, *, adj: wiretask.Adjustments | None = None) -> None:
        self.shared = Shared()
        super().__init__(ip, port, adj=adj)
        self.shared.port = self.effective_port


def _printable(address: object) -> str:
    """Return a peer's address in one word: `host:port`, or a path."""
    if isinstance(address, tuple):
        return f"{address[0]}:{address[1]}"
    return str(address)
