"""`ProxyTrust`: what proxies in front say about a request, put into its environ if they are trusted.

Strategy: a trusted peer's headers are read strictly and only as far back as there are trusted proxies, counted from
this server; they replace what the connection says, and are cut to the part that was believed. Everything else about
forwarding is kept from the application. A header that cannot be read is a reason to refuse the request: whoever
guesses differently than the proxy did can be misled.
Must not know: connections, threads, how a refusal is answered.
Source: RFC 7239 for Forwarded; waitress for what is done with the X-Forwarded headers and for the names of settings.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import re
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, cast

from wiretask.wsgi.adjustments import WSGIAdjustments
from wiretask.wsgi.forwarded import ForwardedElement, ForwardedSyntaxError, parse_forwarded

__all__ = ["ProxyTrust"]

_LOG = logging.getLogger("wiretask.server")

_MAX_REMEMBERED_PEERS = 1024
_MAX_NODE_LENGTH = 128
_MAX_HOST_LENGTH = 300
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_SSL = {"on": "https", "off": "http"}
_OWS = " \t"
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~!$&'()*+;=%-]{1,255})(?::([0-9]{1,5}))?")
_NODE = re.compile(
    r"""\[(?P<v6>[0-9A-Fa-f]*:[0-9A-Fa-f:.]{1,45}(?:%[A-Za-z0-9._~-]{1,32})?)\](?::(?P<v6port>[0-9]{1,5}|_[A-Za-z0-9._-]+))?
    |   (?P<bare>[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:%[A-Za-z0-9._~-]{1,32})?)
    |   (?P<name>[0-9.]{7,15}|(?i:unknown)|_[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}|_[A-Za-z0-9._-]+))?
    """,
    re.VERBOSE,
)


class _MalformedError(Exception):
    """A header of a trusted peer that cannot be read; its text is the reason."""


class _Node(NamedTuple):
    """The other end of a hop: an address (or "unknown", or an obfuscated name), and its port if that is known."""

    address: str
    port: str | None


class ProxyTrust:
    """Which peers and which of their headers are believed.

    Args:
        trusted: addresses, networks, "localhost", "unix", "*", as `WSGIAdjustments.trusted_proxy` keeps them.
        count: how many proxies there are in a row, 1 or more.
        headers: the names of the headers that are believed, in lower case; none: x-forwarded-proto.
        clear_untrusted: take away all other forwarding headers.
        log_untrusted: log a warning when one is taken away.

    Attributes:
        needs_environ: whether a request without any forwarding header (Forwarded and all that begin with
            X-Forwarded-) has to go through `apply` too. Always false.
        has_work: whether a request with one has to. If false, `apply` never does anything.
    Threads: any number at once.
    """

    needs_environ = False

    def __init__(
        self,
        trusted: Sequence[str] = (),
        count: int = 1,
        headers: Collection[str] = (),
        *,
        clear_untrusted: bool = True,
        log_untrusted: bool = False,
    ) -> None:
        self.has_work = bool(trusted) or clear_untrusted
        self._peers = _Peers(trusted)
        self._count = count
        names = frozenset(headers or ("x-forwarded-proto",))
        self._believed = frozenset("HTTP_" + name.upper().replace("-", "_") for name in names)
        self._believes_standard = "forwarded" in names
        self._believes_for = "x-forwarded-for" in names
        self._believes_host = "x-forwarded-host" in names
        self._believes_proto = "x-forwarded-proto" in names
        self._believes_port = "x-forwarded-port" in names
        self._clear_untrusted = clear_untrusted
        self._log_untrusted = log_untrusted

    @classmethod
    def from_adjustments(cls, adj: WSGIAdjustments) -> ProxyTrust:
        """Return what the settings say about proxies."""
        return cls(
            cast("tuple[str, ...]", adj.trusted_proxy),
            adj.trusted_proxy_count or 1,
            adj.trusted_proxy_headers,
            clear_untrusted=adj.clear_untrusted_proxy_headers,
            log_untrusted=adj.log_untrusted_proxy_headers,
        )

    def apply(self, environ: dict[str, Any]) -> str | None:
        """Change the environ to what is believed, and return None, or the reason to answer 400.

        REMOTE_ADDR is who is connected ("localhost" or "unix" if by a Unix socket); changed are REMOTE_ADDR,
        REMOTE_HOST, REMOTE_PORT, SERVER_NAME, SERVER_PORT, HTTP_HOST, wsgi.url_scheme and the forwarding headers.
        After a refusal: the environ may be half changed; do not use it.
        """
        believed: Collection[str] = ()
        peer = environ.get("REMOTE_ADDR", "")
        if self._peers.is_trusted(peer):
            believed = self._believed
            try:
                self._translate(environ)
            except (_MalformedError, ForwardedSyntaxError) as error:
                return str(error)
        if self._clear_untrusted:
            self._clear(environ, believed, peer)
        return None

    def _translate(self, environ: dict[str, Any]) -> None:
        """Put into the environ what a trusted peer says."""
        said = self._of_forwarded(environ) if self._believes_standard else self._of_x_forwarded(environ)
        node, host, proto, port = said
        if proto:
            environ["wsgi.url_scheme"] = proto
            port = port or _DEFAULT_PORTS[proto]
        if host:
            port = _put_host(environ, host, port)
        if port:
            environ["SERVER_PORT"] = port
        if node:
            environ["REMOTE_ADDR"] = environ["REMOTE_HOST"] = node.address
            if node.port is not None:
                environ["REMOTE_PORT"] = node.port

    def _of_x_forwarded(self, environ: dict[str, Any]) -> tuple[_Node | None, str, str, str]:
        node: _Node | None = None
        host = proto = port = ""
        if self._believes_for and (said := self._first_hop(environ, "HTTP_X_FORWARDED_FOR")):
            node = _checked_node("X-Forwarded-For", said, is_bare_allowed=True)
        if self._believes_host:
            host = self._first_hop(environ, "HTTP_X_FORWARDED_HOST")
        if self._believes_proto and (said := _only_value(environ, "HTTP_X_FORWARDED_PROTO")):
            proto = _checked_proto("X-Forwarded-Proto", said)
            ssl = environ.get("HTTP_X_FORWARDED_SSL")
            if ssl and _SSL.get(ssl.strip(_OWS).lower(), proto) != proto:
                raise _MalformedError("X-Forwarded-Proto and X-Forwarded-Ssl contradict each other")
        if self._believes_port and (said := _only_value(environ, "HTTP_X_FORWARDED_PORT")):
            port = _checked_port("X-Forwarded-Port", said)
        return node, host, proto, port

    def _of_forwarded(self, environ: dict[str, Any]) -> tuple[_Node | None, str, str, str]:
        value = environ.get("HTTP_FORWARDED", "")
        if not value.strip(_OWS):
            return None, "", "", ""
        elements = parse_forwarded(value)[-self._count :]
        environ["HTTP_FORWARDED"] = ", ".join(element.text for element in elements)
        node_text = _oldest(elements, "for")
        node = _checked_node("Forwarded", node_text, is_bare_allowed=False) if node_text else None
        proto = _oldest(elements, "proto")
        return node, _oldest(elements, "host"), _checked_proto("Forwarded", proto) if proto else "", ""

    def _first_hop(self, environ: dict[str, Any], key: str) -> str:
        """Return the entry that the first trusted proxy added to a list, and cut the list to what is trusted."""
        value: str = environ.get(key, "").strip(_OWS)
        if "," in value:
            entries = value.split(",")[-self._count :]
            environ[key] = ",".join(entries).strip(_OWS)
            value = entries[0].strip(_OWS)
            if not value:
                raise _MalformedError(f"{_header(key)} has an empty entry")
        return _unquoted(key, value) if '"' in value else value

    def _clear(self, environ: dict[str, Any], believed: Collection[str], peer: object) -> None:
        removed = [key for key in environ if "FORWARDED" in key and key not in believed and _is_forwarding(key)]
        for key in removed:
            del environ[key]
        if removed and self._log_untrusted:
            names = ", ".join(sorted(map(_header, removed)))
            _LOG.warning(
                "removed untrusted headers of %r: %.300s; the proxy in front should remove them", peer, names
            )


class _Peers:
    """Which peers are trusted, remembered by their address."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._is_everybody = "*" in trusted
        self._is_unix = "unix" in trusted or "localhost" in trusted
        networks = [text for text in trusted if text not in ("*", "unix", "localhost")]
        if "localhost" in trusted:
            networks += ["127.0.0.0/8", "::1"]
        self._networks = [ipaddress.ip_network(text) for text in networks]
        self._remembered: dict[str, bool] = {}

    def is_trusted(self, peer: str) -> bool:
        if self._is_everybody:
            return True
        known = self._remembered.get(peer)
        if known is None:
            known = self._look_up(peer)
            if len(self._remembered) >= _MAX_REMEMBERED_PEERS:
                self._remembered.clear()
            self._remembered[peer] = known
        return known

    def _look_up(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return self._is_unix
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def _header(key: str) -> str:
    """Return the usual spelling of the header that stands in the environ as `key`."""
    return key.removeprefix("HTTP_").replace("_", "-").title()


def _is_forwarding(key: str) -> bool:
    return key.startswith("HTTP_X_FORWARDED_") or key == "HTTP_FORWARDED"


def _oldest(elements: Sequence[ForwardedElement], name: str) -> str:
    """Return the parameter of the proxy nearest to the client that has it, "" if none has."""
    return next((element.parameters[name] for element in elements if element.parameters.get(name)), "")


def _only_value(environ: dict[str, Any], key: str) -> str:
    """Return the one value of a header, "" if it is not there or empty."""
    value: str = environ.get(key, "").strip(_OWS)
    if "," in value:
        raise _MalformedError(f"{_header(key)} has several values")
    return _unquoted(key, value) if '"' in value else value


def _unquoted(key: str, entry: str) -> str:
    """Return an entry of a header without its quotes, if it begins with one."""
    if not entry.startswith('"'):
        return entry
    if not re.fullmatch(r'"(?:[^"\\]|\\.)+"', entry):
        raise _MalformedError(f"{_header(key)} has a quoted string that is empty or does not end: {_shown(entry)}")
    return re.sub(r"\\(.)", r"\1", entry[1:-1])


def _checked_proto(header: str, text: str) -> str:
    proto = text if text in _DEFAULT_PORTS else text.lower()
    if proto not in _DEFAULT_PORTS:
        raise _MalformedError(f"{header}: the protocol is http or https, not {_shown(text)}")
    return proto


def _checked_port(header: str, text: str) -> str:
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or not 1 <= int(text) <= 65535:
        raise _MalformedError(f"{header}: {_shown(text)} is no port")
    return str(int(text))


def _checked_node(header: str, text: str, *, is_bare_allowed: bool) -> _Node:
    node = _node_of(text) if len(text) <= _MAX_NODE_LENGTH else None
    if node is None or (not is_bare_allowed and node.address == text and ":" in text):
        raise _MalformedError(f"{header}: {_shown(text)} is no address")
    return node


@functools.lru_cache(maxsize=1024)
def _node_of(text: str) -> _Node | None:
    """Return what names an end of a hop, or None if it names nothing."""
    found = _NODE.fullmatch(text)
    if not found:
        return None
    address = found["v6"] or found["bare"] or found["name"]
    port = found["v6port"] or found["port"]
    if port is not None and not port.startswith("_") and int(port) > 65535:
        return None
    if found["name"] and not found["name"][0].isdigit():
        return _Node(address.lower() if address.lower() == "unknown" else address, port)
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return None
    return _Node(address, port)


def _put_host(environ: dict[str, Any], host: str, port: str) -> str:
    """Put the host into SERVER_NAME and HTTP_HOST, and return the port, which the host's own replaces."""
    parts = _host_of(host) if len(host) <= _MAX_HOST_LENGTH else None
    if parts is None:
        raise _MalformedError(f"the forwarded host cannot be one: {_shown(host)}")
    environ["SERVER_NAME"] = parts[0]
    environ["HTTP_HOST"] = host
    if parts[1]:
        return parts[1]
    if port and port != _DEFAULT_PORTS.get(environ["wsgi.url_scheme"]):
        environ["HTTP_HOST"] = f"{host}:{port}"
    return port


@functools.lru_cache(maxsize=1024)
def _host_of(text: str) -> tuple[str, str] | None:
    """Return the name and the port ("" if there is none) of what a Host header may say, or None."""
    found = _HOST.fullmatch(text)
    if not found:
        return None
    if not found[2]:
        return found[1], ""
    return (found[1], str(int(found[2]))) if 1 <= int(found[2]) <= 65535 else None


def _shown(text: str) -> str:
    """Return peer's text for a message: short, and with nothing in it that could be taken for something else."""
    return ascii(text if len(text) <= 80 else f"{text[:80]}...")
