"""Proxies' headers, if they are as they should be, have the effect that waitress gives them.

Streams: headers that are well formed by RFC 7239 and by custom. What is malformed is left to tests/unit/test_proxies:
waitress takes much of it.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wiretask.wsgi.proxies import ProxyTrust

pytest.importorskip("waitress", reason="pip install 'wiretask[differential]'")
from waitress.proxy_headers import proxy_headers_middleware

IPV4 = st.ip_addresses(v=4).map(str)
IPV6 = st.ip_addresses(v=6).map(str).filter(lambda text: "." not in text)
PORTS = st.integers(1, 65535).map(str)
HOSTS = st.sampled_from(["a", "shop.example", "10.1.1.1", "[::1]"])
HOSTS_AND_PORTS = HOSTS | st.tuples(HOSTS, PORTS).map(":".join)
BRACKETED = IPV6.map("[{}]".format)
# waitress takes "[v6]:port" apart only in Forwarded, and the IPv4 in "::ffff:1.2.3.4" for an address of its own.
X_NODES = IPV4 | IPV6 | BRACKETED | st.tuples(IPV4, PORTS).map(":".join)
NODES = IPV4 | BRACKETED | st.tuples(IPV4 | BRACKETED, PORTS).map(":".join)


def lists(entries: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(entries, min_size=1, max_size=4).map(", ".join)


X_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "HTTP_X_FORWARDED_FOR": lists(X_NODES),
        "HTTP_X_FORWARDED_HOST": lists(HOSTS_AND_PORTS),
        "HTTP_X_FORWARDED_PROTO": st.sampled_from(["http", "https", "HTTPS", '"https"']),
        "HTTP_X_FORWARDED_PORT": PORTS | st.sampled_from(["80", "443"]),
        "HTTP_X_FORWARDED_BY": st.just("10.0.0.1"),
        "HTTP_FORWARDED": st.just("for=6.6.6.6"),
    },
)
# waitress writes all of a pair in lower case, and an element that says nothing is a hop; so ours are in lower case,
# and say something.
ELEMENTS = st.fixed_dictionaries(
    {"by": st.just('"_x"')},
    optional={
        "for": NODES.map('"{}"'.format) | IPV4 | st.just("unknown"),
        "host": HOSTS_AND_PORTS.map('"{}"'.format),
        "proto": st.sampled_from(["http", "https"]),
    },
).map(lambda pairs: ";".join(f"{name}={value}" for name, value in pairs.items()))
FORWARDED = st.fixed_dictionaries(
    {"HTTP_FORWARDED": lists(ELEMENTS)}, optional={"HTTP_X_FORWARDED_FOR": st.just("6.6.6.6")}
)
X_NAMES = st.sets(
    st.sampled_from(
        ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-by"]
    ),
    min_size=1,
)


def environ_of(headers: dict[str, str]) -> dict[str, Any]:
    return {
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_HOST": "127.0.0.1",
        "REMOTE_PORT": "4000",
        "SERVER_NAME": "inner",
        "SERVER_PORT": "8080",
        "HTTP_HOST": "inner:8080",
        "wsgi.url_scheme": "http",
        **headers,
    }


def environ_by_waitress(headers: dict[str, str], names: set[str], count: int) -> dict[str, Any]:
    seen: list[dict[str, Any]] = []
    middleware = proxy_headers_middleware(
        lambda environ, start_response: seen.append(environ),
        trusted_proxy="127.0.0.1",
        trusted_proxy_count=count,
        trusted_proxy_headers=names,
    )
    middleware(environ_of(headers), None)
    return without_spaces(seen[0])


def environ_by_us(headers: dict[str, str], names: set[str], count: int) -> dict[str, Any]:
    environ = environ_of(headers)
    assert ProxyTrust(["127.0.0.1"], count, names).apply(environ) is None
    return without_spaces(environ)


def without_spaces(environ: dict[str, Any]) -> dict[str, Any]:
    """The environ with white space, which means nothing in these headers, taken out of them."""
    return {key: value.replace(" ", "") if "FORWARDED" in key else value for key, value in environ.items()}


@given(X_HEADERS, X_NAMES, st.integers(1, 4))
@example({"HTTP_X_FORWARDED_HOST": "a", "HTTP_X_FORWARDED_PORT": "443"}, {"x-forwarded-host", "x-forwarded-port"}, 1)
def test_x_forwarded_headers(headers: dict[str, str], names: set[str], count: int) -> None:
    assert environ_by_us(headers, names, count) == environ_by_waitress(headers, names, count)


@given(FORWARDED, st.integers(1, 4))
def test_forwarded(headers: dict[str, str], count: int) -> None:
    assert environ_by_us(headers, {"forwarded"}, count) == environ_by_waitress(headers, {"forwarded"}, count)
