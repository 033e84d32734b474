"""`Session`: one client; `Shared`: what all clients of a server have in common.

Must not know: sockets, channels, the protocol.
"""

import time
from dataclasses import dataclass, field

from wiretask.examples.keyvalue.store import Store

__all__ = ["Session", "Shared"]


class Shared:
    """The store, the clients that are connected, and figures for INFO.

    Threads: everything here belongs to whoever holds `store.lock`; the methods take it themselves.
    """

    def __init__(self, store: Store | None = None) -> None:
        self.store = Store() if store is None else store
        self.port = 0
        self.started_seconds = time.monotonic()
        self.commands_processed = 0
        self.connections_received = 0
        self.sessions: dict[int, Session] = {}

    def open_session(self, address: str) -> "Session":
        """Return the session of a client that has connected."""
        with self.store.lock:
            self.connections_received += 1
            session = Session(self, self.connections_received, address)
            self.sessions[session.number] = session
        return session

    def close_session(self, session: "Session") -> None:
        """Forget a client that is gone. A second call is harmless."""
        with self.store.lock:
            self.sessions.pop(session.number, None)


@dataclass(slots=True, eq=False)
class Session:
    """What the commands know of one client. Threads: one at a time, as the tasks of one channel run."""

    shared: Shared
    number: int
    address: str
    name: bytes = b""
    library: dict[bytes, bytes] = field(default_factory=dict)
    last_command: str = ""
    is_closing: bool = False
    """Set by QUIT: the connection closes once its answers have been sent."""
    connected_seconds: float = field(default_factory=time.monotonic)

    @property
    def store(self) -> Store:
        """The keys and values."""
        return self.shared.store
