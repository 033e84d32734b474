"""The kinds of values that only settings of a web server have; see `wiretask.setting_kinds`.

Must not know: which settings there are, what is done with trusted headers (`proxies`), how anything is logged.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from wiretask.addresses import ListenAddress
from wiretask.setting_kinds import nearest_hint, words_of

__all__ = ["KEPT_HEADERS", "TRANSLATED_HEADERS", "AccessLog", "Prefix", "ProxyAddresses", "ProxyHeaders", "UnixPath"]

TRANSLATED_HEADERS = (
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-by",
)
"""Headers whose values, from a trusted proxy, are put into the environ (but "by", which is only kept)."""

KEPT_HEADERS = ("x-forwarded-prefix", "x-forwarded-server", "x-forwarded-ssl")
"""Headers that are left for the application, from a trusted proxy, and otherwise not looked at."""

_IP = (ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network)
_VISIBLE = re.compile(r"[^\x00-\x20\x7f\ud800-\udfff]*")


@dataclass(frozen=True)
class Prefix:
    """The path under which an application lives: "" or "/a/b"; slashes at both ends are put right."""

    metavar = "PATH"

    def check(self, name: str, value: Any) -> str:
        allowed = 'a path like "/shop", not percent-encoded, without white space, "?" and "#", or ""'
        if not isinstance(value, str):
            raise TypeError(f"{name} is {allowed}, not {value!r}")
        segments = value.strip().strip("/")
        if not _VISIBLE.fullmatch(segments) or re.search(r"[?#%]|//|(?:^|/)\.{1,2}(?:/|$)", segments):
            raise ValueError(f"{name} is {allowed}, not {value!r}")
        return f"/{segments}" if segments else ""

    def parse(self, name: str, text: str) -> str:
        return text


@dataclass(frozen=True)
class UnixPath:
    """The path of a Unix socket, or None; as text: the path."""

    metavar = "PATH"

    def check(self, name: str, value: Any) -> str | None:
        if value is None:
            return None
        path = os.fspath(value) if isinstance(value, os.PathLike) else value
        allowed = f"{name} is the path of a Unix socket, a str or os.PathLike, or None, not {value!r}"
        if not isinstance(path, str):
            raise TypeError(allowed)
        if not path:
            # Perhaps a variable that is not set: it must not become every interface.
            raise ValueError(allowed)
        try:
            return ListenAddress.parse(f"unix:{path}").path
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    def parse(self, name: str, text: str) -> str:
        return text


@dataclass(frozen=True)
class ProxyAddresses:
    """Who is trusted: addresses, networks, "localhost", "unix", "*"; kept as a tuple of str."""

    metavar = "ADDRESS"

    def check(self, name: str, value: Any) -> tuple[str, ...]:
        if value is None:
            return ()
        if isinstance(value, str):
            value = words_of(value)
        if isinstance(value, (bytes, bytearray)) or not isinstance(value, Iterable):
            raise TypeError(f"{name} is {_PROXIES}, or a sequence of such str, not {value!r}")
        return tuple(dict.fromkeys(self._one(name, entry) for entry in value))

    def parse(self, name: str, text: str) -> str | None:
        return None if text.strip().lower() == "none" else text

    def _one(self, name: str, entry: Any) -> str:
        if isinstance(entry, _IP):
            entry = str(entry)
        if not isinstance(entry, str):
            raise TypeError(f"{name} is {_PROXIES}, or a sequence of such str, not {entry!r}")
        spelling = entry.strip()
        if spelling in ("*", "unix", "localhost"):
            return spelling
        if spelling.startswith("[") and spelling.endswith("]"):
            spelling = spelling[1:-1]
        try:
            network = ipaddress.ip_network(spelling, strict=False)
        except ValueError:
            raise ValueError(f"{name} is {_PROXIES}, not {entry!r}") from None
        if "/" not in spelling:
            return str(network.network_address)
        if ipaddress.ip_address(spelling.partition("/")[0]) != network.network_address:
            raise ValueError(f"{name}: {entry!r} is an address with a mask; did you mean {str(network)!r}?")
        return str(network)


_PROXIES = 'an address, a network like "10.0.0.0/8", "localhost", "unix" or "*"'


@dataclass(frozen=True)
class ProxyHeaders:
    """The headers that are believed: `forwarded`, or some of the others; kept as a frozenset in lower case."""

    metavar = "NAMES"

    def check(self, name: str, value: Any) -> frozenset[str]:
        if value is None:
            return frozenset()
        if isinstance(value, str):
            value = words_of(value)
        if isinstance(value, (bytes, bytearray)) or not isinstance(value, Iterable):
            raise TypeError(f"{name} is a collection of header names, not {value!r}")
        known = (*TRANSLATED_HEADERS, *KEPT_HEADERS)
        headers = set()
        for entry in value:
            if not isinstance(entry, str):
                raise TypeError(f"{name} is a collection of header names, not one with {entry!r}")
            header = entry.strip().lower()
            if header not in known:
                raise ValueError(f"{name}: there is no {entry!r}; {nearest_hint(header, known)}")
            headers.add(header)
        if "forwarded" in headers and headers & set(TRANSLATED_HEADERS) != {"forwarded"}:
            raise ValueError(
                f"{name}: forwarded and x-forwarded-{{for,host,proto,port,by}} exclude each other: "
                "name what the proxy sets"
            )
        return frozenset(headers)

    def parse(self, name: str, text: str) -> str | None:
        return None if text.strip().lower() == "none" else text


@dataclass(frozen=True)
class AccessLog:
    """None, True, "-", the path of a file, or a logger; False is None."""

    metavar = "true|-|FILE"

    def check(self, name: str, value: Any) -> bool | str | logging.Logger | None:
        if value is None or value is False:
            return None
        if value is True or isinstance(value, logging.Logger):
            return value
        path = os.fspath(value) if isinstance(value, os.PathLike) else value
        if not isinstance(path, str):
            raise TypeError(f'{name} is None, True, "-", the path of a file or a logger, not {value!r}')
        if not path.strip() or "\0" in path:
            raise ValueError(f'{name} is None, True, "-", the path of a file or a logger, not {value!r}')
        return path

    def parse(self, name: str, text: str) -> bool | str | None:
        word = text.strip().lower()
        if word in ("none", "false", "no", "off", "0"):
            return None
        return True if word in ("true", "yes", "on", "1") else text
