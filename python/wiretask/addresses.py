"""Where a server listens, as a value: what the strings of `listen` say.

Strategy: one small frozen value, parsed strictly (a mistake in a configuration is found at once and named),
and written back as it was spelled.
Must not know: sockets that are open, name servers, `Adjustments`. Resolving and binding are in `listeners`.
Source: the spellings that waitress made usual ("*:port", "[v6]:port"), and "unix:/path".
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["MAX_UNIX_PATH_BYTES", "ListenAddress", "parse_listen"]

MAX_UNIX_PATH_BYTES = 107 if sys.platform == "linux" else 103
"""What fits into the system's `sockaddr_un`, with its closing zero byte."""

_SPELLINGS = '"host:port", "*:port", ":port", "[v6]:port" or "unix:/path"'
_HOST_NAME = re.compile(r"[^\s/\\:\[\]@*%?#\x00-\x1f\x7f]{1,253}")
_PORT = re.compile(r"0|[1-9][0-9]{0,4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """One place to listen. `str()` gives back the spelling it was parsed from.

    Make it with `parse`, `of_host` or `of_socket`; the fields are not checked again.

    Attributes:
        kind: "inet" or "inet6" for an address of that family, "unix" for a path, "any" for what may become
            sockets of both families: a host name, or every interface.
        host: the address without brackets, the name, or "" and "*" for every interface; "" for "unix".
        port: 0 to 65535, 0 lets the system choose; 0 for "unix".
        path: the path of a Unix socket, else "".
    """

    kind: Literal["inet", "inet6", "unix", "any"]
    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, spelling: str) -> ListenAddress:
        """Return the address that `spelling` stands for.

        Args:
            spelling: "host:port", "*:port", ":port", "[v6]:port" or "unix:/path".
        Raises:
            TypeError: no str.
            ValueError: anything else, with what is wrong about it.
        """
        if not isinstance(spelling, str):
            raise TypeError(f"a listen address is a str like {_SPELLINGS}, not {spelling!r}")
        if spelling.startswith("unix:"):
            return cls("unix", path=_checked_path(spelling, spelling.removeprefix("unix:")))
        host, colon, port = spelling.rpartition(":")
        if not colon:
            raise _mistake(spelling, "no port")
        if not _PORT.fullmatch(port) or int(port) > 65535:
            raise _mistake(spelling, f"the port is a number from 0 to 65535, not {port!r}")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            if not _is_ip(ipaddress.IPv6Address, host):
                raise _mistake(spelling, f"{host!r} in the brackets is no IPv6 address")
        elif ":" in host:
            raise _mistake(spelling, "an IPv6 address is written in brackets: [v6]:port")
        return cls._of_checked_port(spelling, host, int(port))

    @classmethod
    def of_host(cls, host: str, port: int) -> ListenAddress:
        """Return the address for a host and a port given apart, as `Server(ip, port)` gets them.

        Args:
            host: an IPv4 or IPv6 address (without brackets), a name, or "" or "*" for every interface.
            port: 0 to 65535.
        Raises:
            TypeError, ValueError: host is no str or cannot be a host; port is no int or out of range.
        """
        if not isinstance(host, str):
            raise TypeError(f"a host is a str, not {host!r}")
        if not isinstance(port, int) or isinstance(port, bool):
            raise TypeError(f"a port is an int from 0 to 65535, not {port!r}")
        if not 0 <= port <= 65535:
            raise ValueError(f"a port is an int from 0 to 65535, not {port!r}")
        return cls._of_checked_port(f"{host}:{port}", host, port)

    @classmethod
    def of_socket(cls, bound: socket.socket) -> ListenAddress:
        """Return the address that a bound socket really has, its port included.

        An abstract Unix socket (Linux) and one without a name have the path that `getsockname` gives, with
        zero bytes written as "@".

        Raises:
            OSError: the socket is closed.
            ValueError: the socket is of another family.
        """
        name = bound.getsockname()
        if bound.family == socket.AF_INET:
            return cls("inet", name[0], name[1])
        if bound.family == socket.AF_INET6:
            return cls("inet6", name[0], name[1])
        if bound.family == socket.AF_UNIX:
            path = os.fsdecode(name)
            return cls("unix", path=path.replace("\0", "@"))
        raise ValueError(f"a socket of family {bound.family!r} has no listen address: {bound!r}")

    @property
    def is_every_interface(self) -> bool:
        """True for "*:port" and ":port"."""
        return self.kind == "any" and self.host in ("", "*")

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix:{self.path}"
        host = f"[{self.host}]" if self.kind == "inet6" else self.host
        return f"{host}:{self.port}"

    @classmethod
    def _of_checked_port(cls, spelling: str, host: str, port: int) -> ListenAddress:
        if host in ("", "*"):
            return cls("any", host, port)
        if _is_ip(ipaddress.IPv4Address, host):
            return cls("inet", host, port)
        if _is_ip(ipaddress.IPv6Address, host):
            return cls("inet6", host, port)
        if not _HOST_NAME.fullmatch(host):
            raise _mistake(spelling, f"{host!r} is neither an address nor a name")
        if re.fullmatch(r"[0-9.]+", host, re.ASCII):
            raise _mistake(spelling, f"{host!r} is no IPv4 address (four numbers from 0 to 255)")
        return cls("any", host, port)


def parse_listen(listen: str | Iterable[str]) -> tuple[ListenAddress, ...]:
    """Return the addresses that a `listen` setting names, in its order.

    Args:
        listen: one str, in which white space separates several addresses; or an iterable of str, one address
            each (the only way to write a path with white space in it).
    Raises:
        TypeError, ValueError: as `ListenAddress.parse`, for the first that is wrong.
    """
    if isinstance(listen, str):
        listen = listen.split()
    elif isinstance(listen, (bytes, bytearray)) or not isinstance(listen, Iterable):
        raise TypeError(f"listen is a str or a sequence of str like {_SPELLINGS}, not {listen!r}")
    return tuple(ListenAddress.parse(spelling) for spelling in listen)


def _mistake(spelling: str, reason: str) -> ValueError:
    return ValueError(f"cannot listen on {spelling!r}: {reason}; write {_SPELLINGS}")


def _is_ip(kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address], host: str) -> bool:
    try:
        kind(host)
    except ValueError:
        return False
    return True


def _checked_path(spelling: str, path: str) -> str:
    if not path:
        raise _mistake(spelling, "no path")
    if "\0" in path:
        raise _mistake(spelling, "a path has no zero bytes")
    length = len(os.fsencode(path))
    if length > MAX_UNIX_PATH_BYTES:
        raise _mistake(
            spelling, f"a path of a Unix socket has at most {MAX_UNIX_PATH_BYTES} bytes, this has {length}"
        )
    return path
