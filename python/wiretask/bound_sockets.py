"""Whether a socket that was bound elsewhere can be served.

Strategy: everything that can be known before the first `accept` is checked here, so that a mistake is named
when the setting is made and not by a loop that gets odd errors.
Must not know: settings, addresses that are yet to be bound (`listeners`).
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

__all__ = ["checked_bound_sockets"]

_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


def checked_bound_sockets(sockets: Iterable[socket.socket], name: str = "sockets") -> tuple[socket.socket, ...]:
    """Return the sockets as a tuple if each can be listened on; they are not changed in any way.

    Args:
        sockets: stream sockets of the families inet, inet6 and unix (in any mixture), bound, not connected.
            They may listen already.
        name: what the errors call the collection.
    Raises:
        TypeError: not an iterable of `socket.socket`.
        ValueError: one of them is closed, no stream, of another family, not bound, connected, or there twice.
    """
    if isinstance(sockets, socket.socket) or not isinstance(sockets, Iterable):
        raise TypeError(f"{name} is a sequence of bound sockets, not {sockets!r}")
    checked: list[socket.socket] = []
    for index, candidate in enumerate(sockets):
        label = f"{name}[{index}]"
        if not isinstance(candidate, socket.socket):
            raise TypeError(f"{label} is no socket: {candidate!r}")
        if any(candidate is other for other in checked):
            raise ValueError(f"{label} is in {name} twice: {candidate!r}")
        reason = _why_unfit(candidate)
        if reason:
            raise ValueError(f"{label} {reason}: {candidate!r}")
        checked.append(candidate)
    return tuple(checked)


def _why_unfit(candidate: socket.socket) -> str:
    """Return what keeps the socket from being listened on, "" if nothing does."""
    if candidate.fileno() < 0:
        return "is closed"
    if candidate.family not in _FAMILIES:
        return "is of a family other than inet, inet6 and unix"
    if candidate.type != socket.SOCK_STREAM:
        return "is no stream socket"
    try:
        candidate.getpeername()
    except OSError:
        pass
    else:
        return "is connected"
    try:
        name = candidate.getsockname()
    except OSError as error:
        return f"cannot be asked for its address ({error.strerror})"
    is_bound = bool(name) if candidate.family == socket.AF_UNIX else name[1] != 0
    return "" if is_bound else "is not bound"
