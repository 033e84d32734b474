"""Every setting of a server, in one value that is checked when it is made.

Strategy: a frozen dataclass; each field carries the check of its values, and every error names the field, the
value and what is allowed, so that a typing mistake in a configuration cannot pass unnoticed.
Must not know: anything native, or who uses which setting.
Source: the settings of zope.server and waitress, with their names where the meaning is the same.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from wiretask.addresses import ListenAddress, parse_listen
from wiretask.bound_sockets import checked_bound_sockets

__all__ = ["Adjustments"]

_T = TypeVar("_T")
_YEAR_SECONDS = 31_536_000.0


class _Check(Protocol):
    def __call__(self, name: str, value: Any) -> object:
        """Return the value to keep, or raise TypeError or ValueError with the field's name."""


def _setting(default: _T, check: _Check) -> _T:
    """Return the dataclass field for a setting; typed as its default, as `dataclasses.field` is."""
    field: _T = dataclasses.field(default=default, metadata={"check": check})
    return field


def _whole(lowest: int, highest: int, *, optional: bool = False, show: Callable[[int], str] = str) -> _Check:
    allowed = f"an int from {show(lowest)} to {show(highest)}" + (" or None" if optional else "")

    def check(name: str, value: Any) -> int | None:
        if optional and value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} is {allowed}, not {value!r}")
        if not lowest <= value <= highest:
            raise ValueError(f"{name} is {allowed}, not {show(value)}")
        return value

    return check


def _seconds(lowest: float, *, optional: bool = False) -> _Check:
    allowed = f"a number of seconds from {lowest:g} to {_YEAR_SECONDS:.0f}"
    allowed += " or None (no limit)" if optional else ""

    def check(name: str, value: Any) -> float | None:
        if optional and value is None:
            return None
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise TypeError(f"{name} is {allowed}, not {value!r}")
        if math.isnan(value) or not lowest <= value <= _YEAR_SECONDS:
            raise ValueError(f"{name} is {allowed}, not {value!r}")
        return float(value)

    return check


def _directory(name: str, value: Any) -> str | None:
    allowed = "the path of a directory, a str or os.PathLike, or None"
    if value is None:
        return None
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(path, str):
        raise TypeError(f"{name} is {allowed}, not {value!r}")
    if not path or "\0" in path:
        raise ValueError(f"{name} is {allowed}, not {value!r}")
    return path


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False, not {value!r}")
    return value


def _listen(name: str, value: Any) -> tuple[str, ...]:
    try:
        return tuple(str(address) for address in parse_listen(value))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None


def _sockets(name: str, value: Any) -> tuple[socket.socket, ...]:
    return checked_bound_sockets(value, name)


def _socket_options(name: str, value: Any) -> tuple[tuple[int, int, int | bytes], ...]:
    allowed = "a sequence of (level, option, int or bytes)"
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} is {allowed}, not {value!r}")
    options = []
    for index, entry in enumerate(value):
        if not isinstance(entry, (tuple, list)) or len(entry) != 3:
            raise TypeError(f"{name} is {allowed}; entry {index} is {entry!r}")
        level, option, setting = entry
        if not (isinstance(level, int) and isinstance(option, int) and isinstance(setting, (int, bytes))):
            raise TypeError(f"{name} is {allowed}; entry {index} is {entry!r}")
        if isinstance(setting, int) and not -(2**31) <= setting < 2**31:
            raise ValueError(f"{name}: the int of entry {index} does not fit into 32 bits: {entry!r}")
        options.append((int(level), int(option), setting))
    return tuple(options)


def _naming_unknown_settings(cls: type[_T]) -> type[_T]:
    """Class decorator: an unknown name is answered with the nearest one that exists."""
    generated = cls.__init__
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]

    @functools.wraps(generated)
    def checked(self: _T, *positional: object, **settings: object) -> None:
        if positional:
            raise TypeError(f"{cls.__name__} takes its settings by name, not by position: {positional!r}")
        for name in settings:
            if name not in known:
                nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(known)}"
                raise TypeError(f"{cls.__name__} has no setting {name!r}; {hint}")
        generated(self, **settings)

    setattr(cls, "__init__", checked)  # noqa: B010 (mypy: the type of __init__ cannot be assigned)
    return cls


@_naming_unknown_settings
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
        request_timeout_seconds: how long a request that has begun may take to be complete.
        write_timeout_seconds: how long sending may make no progress.
    Shutdown:
        shutdown_timeout_seconds: how long stopping waits for running tasks; 0 does not wait; never None.

    Raises:
        TypeError: an unknown name (the error names the nearest one there is), or a value of a wrong type.
        ValueError: a value out of range. The error names field, value and range.
    Threads: immutable, share it freely.
    """

    threads: int = _setting(4, _whole(1, 4096))
    io_threads: int = _setting(1, _whole(1, 64))
    max_pending: int | None = _setting(None, _whole(1, 2**62, optional=True))

    listen: str | Sequence[str] = _setting((), _listen)
    sockets: Sequence[socket.socket] = _setting((), _sockets)
    unix_socket_perms: int = _setting(0o600, _whole(0, 0o777, show=oct))
    backlog: int = _setting(1024, _whole(1, 65535))
    reuse_address: bool = _setting(True, _flag)
    reuse_port: bool = _setting(False, _flag)
    ipv4: bool = _setting(True, _flag)
    ipv6: bool = _setting(True, _flag)

    socket_options: Sequence[tuple[int, int, int | bytes]] = _setting(
        ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),), _socket_options
    )
    recv_bytes: int = _setting(8192, _whole(1, 2**30))
    send_bytes: int = _setting(65536, _whole(1, 2**30))
    connection_limit: int = _setting(10_000, _whole(1, 10_000_000))
    evict_idle_seconds: float | None = _setting(1.0, _seconds(0.0, optional=True))
    max_pipelined_requests: int = _setting(256, _whole(1, 65536))
    max_pipelined_bytes: int = _setting(1_048_576, _whole(1, 2**40))
    log_socket_errors: bool = _setting(True, _flag)

    outbuf_overflow: int = _setting(1_048_576, _whole(1, 2**40))
    outbuf_spool_limit: int = _setting(268_435_456, _whole(0, 2**40))
    outbuf_high_watermark: int = _setting(16_777_216, _whole(1, 2**40))
    outbuf_wait_seconds: float = _setting(1.0, _seconds(0.0))
    spool_directory: str | os.PathLike[str] | None = _setting(None, _directory)  # noqa: RUF009 (kept as a str)

    channel_timeout: float | None = _setting(120.0, _seconds(0.001, optional=True))
    request_timeout_seconds: float | None = _setting(60.0, _seconds(0.001, optional=True))
    write_timeout_seconds: float | None = _setting(60.0, _seconds(0.001, optional=True))
    shutdown_timeout_seconds: float = _setting(5.0, _seconds(0.0))

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check: _Check = field.metadata["check"]
            object.__setattr__(self, field.name, check(field.name, getattr(self, field.name)))
        if not (self.ipv4 or self.ipv6):
            raise ValueError("ipv4 and ipv6 are both False: at least one must be True")
        if self.reuse_port and not hasattr(socket, "SO_REUSEPORT"):
            raise ValueError("reuse_port is True, but this system has no SO_REUSEPORT")

    @property
    def listen_addresses(self) -> tuple[ListenAddress, ...]:
        """The addresses of `listen`, parsed."""
        return parse_listen(self.listen)

    def replace(self, **changes: object) -> Adjustments:
        """Return a copy with some settings changed; checked like a new one, with the same errors."""
        names = [field.name for field in dataclasses.fields(self)]
        settings: dict[str, Any] = {name: getattr(self, name) for name in names}
        return type(self)(**(settings | changes))
