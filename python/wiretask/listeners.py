"""Bound, non-blocking listening sockets for the addresses of a server.

Strategy: resolve, bind and listen for all addresses or for none; an error closes what was opened and names
the address. IPv6 sockets are IPv6 only, so that both families can have a port. A Unix socket gets its
permission bits between `bind` and `listen`, when nobody can connect yet.
Must not know: loops, servers, the native module. These are plain `socket.socket` objects.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterable, Iterator
from typing import Any

from wiretask.addresses import ListenAddress
from wiretask.adjustments import Adjustments
from wiretask.bound_sockets import checked_bound_sockets

__all__ = ["UnixListener", "bind_listeners", "close_listeners", "server_addresses"]

_SAME_PORT_ATTEMPTS = 32
_FAMILY_MISSING = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}

_Endpoint = tuple[socket.AddressFamily, tuple[Any, ...]]


class UnixListener(socket.socket):
    """A Unix stream socket that removes its file when it is closed, if the file is still the one it made.

    Not removed: by the child of a fork that closes its copy, by `detach`, and when the object is collected
    without having been closed. The next server finds such a file stale and removes it then.
    """

    _made_file: tuple[str, int, int, int] | None = None

    def __init__(self) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)

    def bind_file(self, path: str, permissions: int) -> None:
        """Bind to `path` and set its permission bits, removing a stale socket that is there.

        Args:
            path: the file; its directory must exist.
            permissions: the bits, whatever the umask says.
        Raises:
            FileExistsError: there is something at the path that is no socket.
            OSError: somebody listens there (`EADDRINUSE`), or the system refuses.
        After failure: this socket may be bound, close it; no file of ours remains once that is done.
        """
        _remove_stale_socket(path)
        self.bind(path)
        made = os.lstat(path)
        self._made_file = (os.path.abspath(path), made.st_dev, made.st_ino, os.getpid())
        os.chmod(path, permissions)

    def owns_file(self) -> bool:
        """Return whether the file at the path is still the one this socket made, in this process."""
        if self._made_file is None:
            return False
        path, device, inode, pid = self._made_file
        try:
            there = os.lstat(path)
        except OSError:
            return False
        return (there.st_dev, there.st_ino, os.getpid()) == (device, inode, pid)

    def close(self) -> None:
        """Remove the file if it is still ours, then close. Twice is harmless."""
        # In this order: while the socket is open, the number of its inode cannot be given to another file.
        if self._made_file is not None and self.owns_file():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._made_file[0])
        self._made_file = None
        super().close()

    def detach(self) -> int:
        """Give the descriptor away; the file becomes the new owner's business."""
        self._made_file = None
        return super().detach()


def bind_listeners(
    addresses: Iterable[ListenAddress], adj: Adjustments, *, listen: bool = True
) -> list[socket.socket]:
    """Return sockets bound to all addresses, followed by `adj.sockets`; all non-blocking, listening if so
    asked.

    A name or "*" may give several sockets. With port 0 they get the same port where that is possible; the
    real one is in `getsockname()` (or `ListenAddress.of_socket`). Sockets made here are not inherited by
    other programs.

    Args:
        addresses: where to listen.
        adj: `backlog`, `socket_options`, `reuse_address`, `reuse_port`, `ipv4`, `ipv6`, `unix_socket_perms`
            and `sockets` are used.
        listen: false only binds; `listen(adj.backlog)` on each is then the caller's task.
    Raises:
        OSError: an address cannot be resolved, bound or listened on. The subclass and `errno` are the
            system's; the message names the address.
        ValueError, TypeError: an address of a family that `adj` switches off, or an unfit socket in
        `adj.sockets`.
    After failure: everything opened here is closed and its files are gone; `adj.sockets` are as they were
    (some may
        have begun to listen). After success the caller owns all of them: `close_listeners` closes them.
    Blocking: only to resolve names.
    """
    given = checked_bound_sockets(adj.sockets)
    with contextlib.ExitStack() as on_failure:
        bound: list[socket.socket] = []
        for address in addresses:
            with _naming(address):
                for made in _bind(address, adj):
                    on_failure.callback(made.close)
                    bound.append(made)
        for listener in (*bound, *given):
            # Connections inherit these from the socket they are accepted from, if it has them in time.
            if listener.family != socket.AF_UNIX:
                _set_options(listener, adj)
        if listen:
            for listener in (*bound, *given):
                with _naming(ListenAddress.of_socket(listener)):
                    listener.listen(adj.backlog)
                    if isinstance(listener, UnixListener) and not listener.owns_file():
                        # Until we listened, another server could take our file for a stale one.
                        raise OSError(errno.EADDRINUSE, "another server has taken the path")
        for listener in (*bound, *given):
            listener.setblocking(False)
        on_failure.pop_all()
    return [*bound, *given]


def close_listeners(listeners: Iterable[socket.socket]) -> None:
    """Close all sockets, and remove the files of the Unix sockets that `bind_listeners` made.

    Raises:
        OSError: the first error, when all have been dealt with.
    """
    with contextlib.ExitStack() as closing:
        for listener in listeners:
            closing.callback(listener.close)


def server_addresses(ip: str | None, port: int | None, adj: Adjustments) -> list[ListenAddress]:
    """Return where a server listens that was made with `ip` and `port`: there, and at `adj.listen`.

    Raises:
        TypeError, ValueError: ip and port do not go together, are no address, or leave nowhere to listen.
    """
    addresses: list[ListenAddress] = []
    if isinstance(ip, str) and ip.startswith("unix:"):
        if port:
            raise ValueError(f"a Unix socket has no port: {port!r}")
        addresses.append(ListenAddress.parse(ip))
    elif ip is not None:
        if port is None:
            hint = f'; a Unix socket is "unix:{ip}"' if isinstance(ip, str) and ip.startswith("/") else ""
            raise TypeError(f"port is an int from 0 to 65535, not None{hint}")
        addresses.append(ListenAddress.of_host(ip, port))
    elif port is not None:
        raise TypeError("ip is None, so port must be None too")
    addresses.extend(adj.listen_addresses)
    if not (addresses or adj.sockets):
        raise ValueError("nowhere to listen: ip is None, and adj has neither listen nor sockets")
    return addresses


@contextlib.contextmanager
def _naming(address: ListenAddress) -> Iterator[None]:
    """Put the address into the message of an OSError, keeping its class and errno."""
    try:
        yield
    except OSError as error:
        message = f"cannot listen on {address}: {error.strerror or error}"
        kind = socket.gaierror if isinstance(error, socket.gaierror) else OSError
        raise kind(error.errno, message) from error


def _set_options(listener: socket.socket, adj: Adjustments) -> None:
    for level, option, value in adj.socket_options:
        try:
            listener.setsockopt(level, option, value)
        except OSError as error:
            message = f"cannot set socket option {(level, option, value)!r}: {error.strerror}"
            raise OSError(error.errno, message) from error


def _bind(address: ListenAddress, adj: Adjustments) -> list[socket.socket]:
    """Return the bound sockets of one address; closes what it opened if it fails."""
    if address.kind == "unix":
        listener = UnixListener()
        try:
            listener.bind_file(address.path, adj.unix_socket_perms)
        except BaseException:
            listener.close()
            raise
        return [listener]
    endpoints = _resolve(address, adj)
    if address.port or len(endpoints) == 1:
        return _bind_endpoints(endpoints, address, adj)
    for _ in range(_SAME_PORT_ATTEMPTS):
        try:
            return _bind_endpoints(endpoints, address, adj, same_port=True)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    return _bind_endpoints(endpoints, address, adj)


def _resolve(address: ListenAddress, adj: Adjustments) -> list[_Endpoint]:
    """Return the endpoints to bind, each once, IPv6 first (of the families that are switched on)."""
    switched_on = {socket.AF_INET: adj.ipv4, socket.AF_INET6: adj.ipv6}
    if address.is_every_interface:
        every: list[_Endpoint] = [
            (socket.AF_INET6, ("::", address.port)),
            (socket.AF_INET, ("0.0.0.0", address.port)),
        ]
        return [endpoint for endpoint in every if switched_on[endpoint[0]]]
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    endpoints: list[_Endpoint] = []
    for family, _, _, _, endpoint in found:
        if switched_on.get(socket.AddressFamily(family)) and (family, endpoint) not in endpoints:
            endpoints.append((socket.AddressFamily(family), endpoint))
    if not endpoints:
        left = "IPv4" if adj.ipv4 else "IPv6"
        raise OSError(errno.EAFNOSUPPORT, f"it has no {left} address, and the other family is switched off")
    return sorted(endpoints, key=lambda endpoint: endpoint[0] != socket.AF_INET6)


def _bind_endpoints(
    endpoints: list[_Endpoint], address: ListenAddress, adj: Adjustments, *, same_port: bool = False
) -> list[socket.socket]:
    """Bind all endpoints; what this machine has not is left out, if the address allows."""
    missing: OSError | None = None
    with contextlib.ExitStack() as on_failure:
        bound: list[socket.socket] = []
        for family, endpoint in endpoints:
            if same_port and bound:
                endpoint = (endpoint[0], bound[0].getsockname()[1], *endpoint[2:])
            try:
                made = _bind_endpoint(family, endpoint, adj)
            except OSError as error:
                if address.kind != "any" or error.errno not in _FAMILY_MISSING:
                    raise
                missing = error
                continue
            on_failure.callback(made.close)
            bound.append(made)
        if not bound and missing is not None:
            raise missing
        on_failure.pop_all()
    return bound


def _bind_endpoint(family: socket.AddressFamily, endpoint: tuple[Any, ...], adj: Adjustments) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if adj.reuse_address:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if adj.reuse_port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(endpoint)
    except BaseException:
        made.close()
        raise
    return made


def _remove_stale_socket(path: str) -> None:
    """Remove the socket at `path` if nobody listens on it; nothing is there afterwards, or this raises."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(there.st_mode):
        raise FileExistsError(errno.EEXIST, "there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        answer = probe.connect_ex(path)
    if answer == errno.ECONNREFUSED:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    elif answer == errno.ENOENT:
        return
    elif answer in (0, errno.EAGAIN, errno.EPROTOTYPE):
        raise OSError(errno.EADDRINUSE, "somebody listens there")
    else:
        raise OSError(answer, os.strerror(answer))
