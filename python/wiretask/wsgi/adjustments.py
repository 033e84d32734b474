"""Every setting of a WSGI server: those of any server, waitress's, and a few more.

Strategy: `wiretask.Adjustments` with more fields. Names, meanings and defaults are waitress's, so that its users
change an import and nothing else; docs/from-waitress.md says where a default differs, and why. Unlike its base, a
value may also be the text of an ini file, a command line or an environment: each kind says how it is written.
Must not know: anything native, sockets, how a setting is used.
Source: waitress's Adjustments.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Self

from wiretask.addresses import ListenAddress, parse_listen
from wiretask.adjustments import Adjustments, naming_unknown_settings, setting
from wiretask.errors import UnknownSettingError
from wiretask.setting_kinds import Choice, Flag, Listen, Seconds, SettingKind, Text, Whole, nearest_hint
from wiretask.wsgi.setting_kinds import AccessLog, Prefix, ProxyAddresses, ProxyHeaders, UnixPath

__all__ = ["DEFAULT_HOST", "DEFAULT_PORT", "ProxyAddress", "WSGIAdjustments"]

DEFAULT_HOST = "0.0.0.0"
DEFAULT_PORT = 8080

_HOST_NAME = r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]"
_VISIBLE = r"[!-~](?:[ -~]{0,253}[!-~])?"
_EXCLUSIONS = (
    ("listen", ("host", "port", "sockets", "unix_socket")),
    ("sockets", ("host", "port", "unix_socket")),
    ("unix_socket", ("host", "port")),
)
_SAME_TIMEOUT = ("graceful_timeout", "shutdown_timeout_seconds")

ProxyAddress = str | IPv4Address | IPv6Address | IPv4Network | IPv6Network


@naming_unknown_settings
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WSGIAdjustments(Adjustments):
    """The settings of a WSGI server: frozen, checked at once, by name only. Adds to `wiretask.Adjustments`:

    Listening, by default on 0.0.0.0:8080 (host with port, listen, unix_socket and sockets exclude each other):
        host: an address, a name, or "*" for every interface of both families; None: 0.0.0.0.
        port: 0 to 65535, 0 lets the system choose; None: 8080.
        listen: several addresses, "host:port", "*:port", "[v6]:port", "unix:/path"; the port may be left out.
        unix_socket: the path of a Unix socket.
        sockets: bound sockets; as text "systemd" for those of a .socket unit, or "fd:3" for a descriptor.
    Requests:
        max_request_header_size: bytes of a request's head, 16 to 2**30; more is answered with 431.
        max_request_line_size: bytes of its first line, 14 to 2**30; more is answered with 414.
        max_request_header_count: header fields of a request, 1 to 65536; more is answered with 431.
        max_request_body_size: bytes of a request's body, 0 to 2**62; more is answered with 413.
        inbuf_overflow: bytes of a body that stay in memory, 1 to 2**40; a longer one is in a temporary file.
        stream_request_body: call the application while the body still comes, and let it read it from the
            connection, instead of first taking all of it.
    What the application sees:
        url_scheme: "http" or "https", what `wsgi.url_scheme` says.
        url_prefix: the path under which the application lives, as text, not percent-encoded; it comes in UTF-8.
            It becomes SCRIPT_NAME of every request and is taken off PATH_INFO, where a path that is not below it
            stays whole.
        server_name: SERVER_NAME, unless a trusted proxy says another; what a client asked for is HTTP_HOST.
    Answers:
        ident: what the Server header says; None or "": there is no Server header.
        expose_tracebacks: show the traceback of an application that fails to the client; never in production.
    Proxies in front:
        trusted_proxy: whose forwarding headers are believed: addresses, networks like "10.0.0.0/8",
            "localhost" (loopback and Unix sockets), "unix", or "*" for anybody; several as a sequence, or
            as text with commas or white space.
        trusted_proxy_count: how many proxies there are in a row, counted from the server, 1 to 1000;
            None: 1.
        trusted_proxy_headers: which of their headers are believed: "forwarded", or some of
            "x-forwarded-for", "-host", "-proto", "-port", "-by"; besides "x-forwarded-prefix", "-server" and
            "-ssl", which are left for the application. None named: x-forwarded-proto.
        clear_untrusted_proxy_headers: keep all other forwarding headers from the application.
        log_untrusted_proxy_headers: log a warning when one is taken away.
    Access log:
        access_log: None for none, True for the logger "wiretask.access", "-" for the standard output, the
            path of a file, or a logger.
        access_log_format: "combined" or "json".
    Stopping:
        graceful_timeout: how long, in seconds, requests that are being answered may take to end when the
            server is told to stop, 0 up to a year; another name of shutdown_timeout_seconds. None: 30 seconds.
    Taken from waitress, without effect:
        cleanup_interval, asyncore_loop_timeout, asyncore_use_poll: there is no such loop.
        channel_request_lookahead: a client that goes away is noticed always; see max_pipelined_requests.

    Each value may be given as text too. Numbers are written in digits (unix_socket_perms in octal), booleans as true,
    yes, on, 1, false, no, off or 0, None as "none", lists with commas or white space. A boolean may also be 0 or 1.

    Raises:
        UnknownSettingError: an unknown name; the error names the nearest one there is.
        TypeError: a value of a wrong type. ValueError: out of range, not readable, or settings that exclude each
        other. The error names field and value, and says what is allowed.
    Threads: immutable, share it freely.
    """

    host: str | None = setting(None, Text(r"[^\s/]{0,253}", "an address, a name or '*'", "HOST", is_optional=True))
    port: int | None = setting(None, Whole(0, 65535, is_optional=True))
    listen: str | Sequence[str] = setting((), Listen(DEFAULT_PORT))
    unix_socket: str | os.PathLike[str] | None = setting(None, UnixPath())  # noqa: RUF009 (kept as a str)

    max_request_header_size: int = setting(262_144, Whole(16, 2**30))
    max_request_line_size: int = setting(16_384, Whole(14, 2**30))
    max_request_header_count: int = setting(128, Whole(1, 65536))
    max_request_body_size: int = setting(1_073_741_824, Whole(0, 2**62))
    inbuf_overflow: int = setting(524_288, Whole(1, 2**40))
    stream_request_body: bool = setting(False, Flag())

    url_scheme: str = setting("http", Choice(("http", "https")))
    url_prefix: str = setting("", Prefix())
    server_name: str = setting("wiretask.invalid", Text(_HOST_NAME, "a host name or address", "NAME"))

    ident: str | None = setting("wiretask", Text(_VISIBLE, "visible ASCII", "TEXT", is_optional=True))
    expose_tracebacks: bool = setting(False, Flag())

    trusted_proxy: ProxyAddress | Sequence[ProxyAddress] | None = setting((), ProxyAddresses())  # noqa: RUF009
    trusted_proxy_count: int | None = setting(None, Whole(1, 1000, is_optional=True))
    trusted_proxy_headers: str | Collection[str] = setting(frozenset(), ProxyHeaders())
    clear_untrusted_proxy_headers: bool = setting(True, Flag())
    log_untrusted_proxy_headers: bool = setting(False, Flag())

    access_log: bool | str | os.PathLike[str] | logging.Logger | None = setting(None, AccessLog())  # noqa: RUF009
    access_log_format: str = setting("combined", Choice(("combined", "json")))

    shutdown_timeout_seconds: float = setting(30.0, Seconds(0.0))
    graceful_timeout: float | None = setting(None, Seconds(0.0, is_optional=True, none="shutdown_timeout_seconds"))

    cleanup_interval: float = setting(30.0, Seconds(0.0))
    asyncore_loop_timeout: float = setting(1.0, Seconds(0.0))
    asyncore_use_poll: bool = setting(False, Flag())
    channel_request_lookahead: int = setting(0, Whole(0, 2**30))

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str) or (isinstance(field.metadata["kind"], Flag) and type(value) is int):
                object.__setattr__(self, field.name, self.parse(field.name, str(value)))
        Adjustments.__post_init__(self)
        for name, excluded in _EXCLUSIONS:
            for other in excluded:
                if self._is_given(name) and self._is_given(other):
                    raise ValueError(f"{name} and {other} exclude each other: leave one of them out")
        if not self.trusted_proxy:
            for name in ("trusted_proxy_count", "trusted_proxy_headers"):
                if getattr(self, name):
                    raise ValueError(f"{name} has no meaning without trusted_proxy: name the proxy's address there")
        if self.graceful_timeout is not None:
            object.__setattr__(self, "shutdown_timeout_seconds", self.graceful_timeout)
        object.__setattr__(self, "graceful_timeout", self.shutdown_timeout_seconds)
        self.listen_addresses  # noqa: B018 (raises if host and port are none)

    @classmethod
    def parse(cls, name: str, text: str) -> object:
        """Return the value that `text` stands for as the setting `name`; its range is not checked yet.

        Raises:
            UnknownSettingError: there is no such setting.
            ValueError: the text cannot be read; the error says how it is written.
        """
        kinds: dict[str, SettingKind] = {field.name: field.metadata["kind"] for field in dataclasses.fields(cls)}
        if name not in kinds:
            raise UnknownSettingError(f"{cls.__name__} has no setting {name!r}; {nearest_hint(name, kinds)}")
        return kinds[name].parse(name, text)

    @classmethod
    def from_strings(cls, settings: Mapping[str, str]) -> Self:
        """Return the settings that are written as text in `settings`, by name; the others have their defaults.

        Raises:
            UnknownSettingError, ValueError, TypeError: as the constructor.
        """
        return cls(**{name: cls.parse(name, text) for name, text in settings.items()})  # type: ignore[arg-type]

    @property
    def listen_addresses(self) -> tuple[ListenAddress, ...]:
        """Where to listen, of `listen`, `unix_socket` or host and port; empty if there are `sockets`."""
        if self.unix_socket is not None:
            return (ListenAddress("unix", path=os.fspath(self.unix_socket)),)
        if self.listen or self.sockets:
            return parse_listen(self.listen)
        host = DEFAULT_HOST if self.host is None else self.host
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        try:
            return (ListenAddress.of_host(host, DEFAULT_PORT if self.port is None else self.port),)
        except ValueError as error:
            raise ValueError(f"host: {error}") from None

    def replace(self, **changes: object) -> Self:
        """Return a copy with some settings changed; checked like a new one, with the same errors."""
        for name, other in (_SAME_TIMEOUT, _SAME_TIMEOUT[::-1]):
            if name in changes:
                changes.setdefault(other, changes[name])
        return Adjustments.replace(self, **changes)

    def _is_given(self, name: str) -> bool:
        return getattr(self, name) not in (None, ())
