"""Sockets that a service manager made and handed on as open descriptors.

Strategy: each descriptor is duplicated and the original left open, so that making a configuration twice, or only to
check it, closes nothing of the service manager's; neither is inherited by children.
Must not know: settings, servers. Whether a socket can be served is checked in `bound_sockets`.
Source: sd_listen_fds(3): LISTEN_PID, LISTEN_FDS; descriptors from 3 on.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable

__all__ = ["inherited_sockets"]

_FIRST_DESCRIPTOR = 3


def inherited_sockets(words: Iterable[str]) -> tuple[socket.socket, ...]:
    """Return the sockets that the words name, in their order.

    Args:
        words: "systemd" for all that the service manager passed to this process, "fd:N" for one descriptor.
    Raises:
        ValueError: another word, or nothing was passed.
        OSError: there is no such descriptor, or it is no socket.
    After failure: the sockets that had been made are closed; the descriptors are as they were.
    """
    sockets: list[socket.socket] = []
    try:
        for word in words:
            for descriptor in _descriptors_of(word):
                sockets.append(_socket_of(descriptor))
    except BaseException:
        for made in sockets:
            made.close()
        raise
    return tuple(sockets)


def _descriptors_of(word: str) -> Iterable[int]:
    if word == "systemd":
        count = os.environ.get("LISTEN_FDS", "")
        if os.environ.get("LISTEN_PID") != str(os.getpid()) or not re.fullmatch(r"[1-9][0-9]{0,3}", count, re.ASCII):
            raise ValueError(
                "no sockets were passed to this process (LISTEN_PID, LISTEN_FDS); is its .socket unit started?"
            )
        return range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count))
    if not re.fullmatch(r"fd:[0-9]{1,6}", word, re.ASCII):
        raise ValueError(f'inherited sockets are "systemd" or "fd:N", not {word!r}')
    return (int(word.removeprefix("fd:")),)


def _socket_of(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        copy = os.dup(descriptor)
    except OSError as error:
        raise OSError(error.errno, f"descriptor {descriptor} cannot be used: {error.strerror}") from None
    try:
        return socket.socket(fileno=copy)
    except OSError as error:
        os.close(copy)
        raise OSError(error.errno, f"descriptor {descriptor} is no socket: {error.strerror}") from None
