"""Every setting of a server, in one value that is checked when it is made.

Strategy: a frozen dataclass; each field carries the kind of its values (`setting_kinds`), and every error names the
field, the value and what is allowed, so that a typing mistake in a configuration cannot pass unnoticed.
Must not know: anything native, or who uses which setting.
Source: the settings of zope.server and waitress, with their names where the meaning is the same.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import socket
from collections.abc import Sequence
from typing import Any, Self, TypeVar

from wiretask.addresses import ListenAddress, parse_listen
from wiretask.errors import UnknownSettingError
from wiretask.setting_kinds import (
    Directory,
    Flag,
    Listen,
    Seconds,
    SettingKind,
    SocketOptions,
    Sockets,
    Whole,
    nearest_hint,
)

__all__ = ["Adjustments", "naming_unknown_settings", "setting"]

_T = TypeVar("_T")


def setting(default: _T, kind: SettingKind) -> _T:
    """Return the dataclass field for a setting; typed as its default, as `dataclasses.field` is."""
    field: _T = dataclasses.field(default=default, metadata={"kind": kind})
    return field


def naming_unknown_settings(cls: type[_T]) -> type[_T]:
    """Class decorator: an unknown name is answered with the nearest one that exists."""
    generated = cls.__init__
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]

    @functools.wraps(generated)
    def checked(self: _T, *positional: object, **settings: object) -> None:
        if positional:
            raise TypeError(f"{cls.__name__} takes its settings by name, not by position: {positional!r}")
        for name in settings:
            if name not in known:
                raise UnknownSettingError(f"{cls.__name__} has no setting {name!r}; {nearest_hint(name, known)}")
        generated(self, **settings)

    setattr(cls, "__init__", checked)  # noqa: B010 (mypy: the type of __init__ cannot be assigned)
    return cls


@naming_unknown_settings
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Adjustments:
    """The settings of a server: frozen, checked at once, by name only.

    Threads:
        threads: worker threads that run tasks, 1 to 4096.
        io_threads: threads that do the socket I/O, 1 to 64. More than one helps only with very many
            connections.
        max_pending: how many tasks may wait, 1 or more; None: no bound of its own (a server's queue cannot
            outgrow `connection_limit`).
    Listening:
        listen: where to listen besides the server's own ip and port: a str, several separated by white space,
            or a sequence of str: "host:port", "*:port", ":port", "[v6]:port", "unix:/path". Kept as a tuple
            of str; `listen_addresses` has them parsed.
        sockets: bound stream sockets (inet, inet6, unix) to serve as well, for example from a service
            manager. The server that gets them closes them.
        unix_socket_perms: permission bits of Unix sockets the server makes, 0 to 0o777.
        backlog: connections that may wait in the kernel, 1 to 65535 (the system may cap it).
        reuse_address: set SO_REUSEADDR, so that a restart need not wait for old connections to expire.
        reuse_port: set SO_REUSEPORT, so that several processes can listen on one port.
        ipv4, ipv6: which families host names and "*" stand for; not both False.
    Connections:
        socket_options: (level, option, value) triples set on each accepted TCP connection; value an int or
            bytes.
        recv_bytes: largest piece handed to a Python `received`, 1 to 2**30.
        send_bytes: `write` sends once so many bytes wait, 1 to 2**30.
        connection_limit: connections at one time, 1 to 10000000.
        evict_idle_seconds: at the limit, a connection that has been idle for so long is closed when another
            one waits, the one idle the longest first; 0 up to a year; None: none is closed, the others wait.
        max_pipelined_requests: requests of one connection that may wait, 1 to 65536.
        max_pipelined_bytes: bytes of input that these may hold together, 1 to 2**40. One request (its parser
            limits it) and 64 KiB that are not parsed yet may come on top.
        log_socket_errors: log errors of connections (a peer that resets is one).
    Output that a peer does not take, of one connection:
        outbuf_overflow: bytes of it that stay in memory, 1 to 2**40; the rest moves to a temporary file.
            Pieces of up to 256 KiB that are on their way may come on top.
        outbuf_spool_limit: bytes of it that the file may hold, 0 to 2**40. When file and memory are full,
            `write` waits until there is room, `write_timeout_seconds` at most; then the connection is closed.
            0: no file, everything stays in memory, and `write` waits at `outbuf_high_watermark`.
        outbuf_high_watermark: bytes of it above which nothing more is read from the peer, none of its further
            requests is started and `write` waits for a short while, 1 to 2**40.
        outbuf_wait_seconds: how long that while is at most, 0 up to a year. It ends sooner if a task waits
            for a worker, and after one that was in vain there is none until half of the output has gone.
        spool_directory: where temporary files are, a str or os.PathLike; None: TMPDIR, else /tmp. They have
            no names. The server looks when it starts whether one can be made in a directory that is given.
    Time-outs, in seconds from 0.001 up to a year; None means no limit:
        channel_timeout: how long a connection may be idle.
        request_timeout_seconds: how long a request that has begun may take to be complete. Of one with a body (HTTP)
            the head; then each 64 KiB of the body, or what is left of it.
        write_timeout_seconds: how long sending may make no progress.
    Shutdown:
        shutdown_timeout_seconds: how long stopping waits for running tasks; 0 does not wait; never None.

    Raises:
        UnknownSettingError: an unknown name; the error names the nearest one there is.
        TypeError: a value of a wrong type.
        ValueError: a value out of range. The error names field, value and range.
    Threads: immutable, share it freely.
    """

    threads: int = setting(4, Whole(1, 4096))
    io_threads: int = setting(1, Whole(1, 64))
    max_pending: int | None = setting(None, Whole(1, 2**62, is_optional=True))

    listen: str | Sequence[str] = setting((), Listen())
    sockets: Sequence[socket.socket] = setting((), Sockets())
    unix_socket_perms: int = setting(0o600, Whole(0, 0o777, is_octal=True))
    backlog: int = setting(1024, Whole(1, 65535))
    reuse_address: bool = setting(True, Flag())
    reuse_port: bool = setting(False, Flag())
    ipv4: bool = setting(True, Flag())
    ipv6: bool = setting(True, Flag())

    socket_options: Sequence[tuple[int, int, int | bytes]] = setting(
        ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),), SocketOptions()
    )
    recv_bytes: int = setting(8192, Whole(1, 2**30))
    send_bytes: int = setting(65536, Whole(1, 2**30))
    connection_limit: int = setting(10_000, Whole(1, 10_000_000))
    evict_idle_seconds: float | None = setting(1.0, Seconds(0.0, is_optional=True))
    max_pipelined_requests: int = setting(256, Whole(1, 65536))
    max_pipelined_bytes: int = setting(1_048_576, Whole(1, 2**40))
    log_socket_errors: bool = setting(True, Flag())

    outbuf_overflow: int = setting(1_048_576, Whole(1, 2**40))
    outbuf_spool_limit: int = setting(268_435_456, Whole(0, 2**40))
    outbuf_high_watermark: int = setting(16_777_216, Whole(1, 2**40))
    outbuf_wait_seconds: float = setting(1.0, Seconds(0.0))
    spool_directory: str | os.PathLike[str] | None = setting(None, Directory())  # noqa: RUF009 (kept as a str)

    channel_timeout: float | None = setting(120.0, Seconds(0.001, is_optional=True))
    request_timeout_seconds: float | None = setting(60.0, Seconds(0.001, is_optional=True))
    write_timeout_seconds: float | None = setting(60.0, Seconds(0.001, is_optional=True))
    shutdown_timeout_seconds: float = setting(5.0, Seconds(0.0))

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            kind: SettingKind = field.metadata["kind"]
            object.__setattr__(self, field.name, kind.check(field.name, getattr(self, field.name)))
        if not (self.ipv4 or self.ipv6):
            raise ValueError("ipv4 and ipv6 are both False: at least one must be True")
        if self.reuse_port and not hasattr(socket, "SO_REUSEPORT"):
            raise ValueError("reuse_port is True, but this system has no SO_REUSEPORT")

    @property
    def listen_addresses(self) -> tuple[ListenAddress, ...]:
        """The addresses of `listen`, parsed."""
        return parse_listen(self.listen)

    def replace(self, **changes: object) -> Self:
        """Return a copy with some settings changed; checked like a new one, with the same errors."""
        names = [field.name for field in dataclasses.fields(self)]
        settings: dict[str, Any] = {name: getattr(self, name) for name in names}
        return type(self)(**(settings | changes))
