"""What trusted proxies say replaces what the connection says; no other forwarding header reaches the application."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wiretask.wsgi import WSGIAdjustments
from wiretask.wsgi.forwarded import ForwardedSyntaxError, parse_forwarded
from wiretask.wsgi.proxies import ProxyTrust

ALL_X = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-by")
PROXY = "10.0.0.1"


def environ_of(**headers: str) -> dict[str, Any]:
    """An environ as the server makes it, with headers given like X_FORWARDED_FOR."""
    environ = {
        "REMOTE_ADDR": PROXY,
        "REMOTE_HOST": PROXY,
        "REMOTE_PORT": "40000",
        "SERVER_NAME": "inner",
        "SERVER_PORT": "8080",
        "HTTP_HOST": "inner:8080",
        "wsgi.url_scheme": "http",
    }
    return environ | {f"HTTP_{name}": value for name, value in headers.items()}


def changes(trust: ProxyTrust, **headers: str) -> dict[str, Any]:
    """What `apply` changes, removed keys with None; the headers themselves only if they are not as they came."""
    before = environ_of(**headers)
    after = dict(before)
    assert trust.apply(after) is None
    return {key: after.get(key) for key in before | after if after.get(key) != before.get(key)}


def refusal(trust: ProxyTrust, **headers: str) -> str:
    reason = trust.apply(environ_of(**headers))
    assert reason is not None
    assert reason.isascii()
    assert reason.isprintable()
    return reason


X = ProxyTrust([PROXY], headers=ALL_X)
F = ProxyTrust([PROXY], headers=["forwarded"])


# ---- who is trusted ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trusted", "peers", "others"),
    [
        (["10.0.0.1"], ["10.0.0.1", "::ffff:10.0.0.1"], ["10.0.0.2", "localhost", "unix", "", "::1"]),
        (["10.0.0.0/8", "fd00::/8"], ["10.255.0.9", "fd12::1", "fd12::1%eth0"], ["11.0.0.1", "fe80::1"]),
        (["::1"], ["::1", "0:0:0:0:0:0:0:1"], ["127.0.0.1", "::2"]),
        (["unix"], ["localhost", "unix", ""], ["127.0.0.1", "::1"]),
        (["localhost"], ["localhost", "127.0.0.1", "127.9.9.9", "::1"], ["10.0.0.1", "::2"]),
        (["*"], ["10.0.0.1", "localhost", "::1"], []),
        ([], [], ["10.0.0.1", "localhost", "::1"]),
    ],
)
def test_who_is_trusted(trusted: list[str], peers: list[str], others: list[str]) -> None:
    trust = ProxyTrust(trusted, headers=["x-forwarded-for"])
    for peer in (*peers, *others, *peers):
        environ = environ_of(X_FORWARDED_FOR="192.0.2.7") | {"REMOTE_ADDR": peer}
        assert trust.apply(environ) is None
        assert (environ["REMOTE_ADDR"] == "192.0.2.7") == (peer in peers), peer
        assert ("HTTP_X_FORWARDED_FOR" in environ) == (peer in peers), peer


def test_peers_are_not_remembered_without_end() -> None:
    trust = ProxyTrust(["10.0.0.0/8"])
    for number in range(3000):
        assert trust.apply(environ_of() | {"REMOTE_ADDR": f"10.0.{number // 256}.{number % 256}"}) is None
    assert len(trust._peers._remembered) <= 1024


def test_it_is_made_from_the_settings() -> None:
    adj = WSGIAdjustments(
        trusted_proxy="10.0.0.0/8 unix",
        trusted_proxy_count=2,
        trusted_proxy_headers="x-forwarded-for",
        log_untrusted_proxy_headers=True,
    )
    environ = environ_of(X_FORWARDED_FOR="6.6.6.6, 192.0.2.1, 10.0.0.2")
    assert ProxyTrust.from_adjustments(adj).apply(environ) is None
    assert environ["REMOTE_ADDR"] == "192.0.2.1"
    assert ProxyTrust.from_adjustments(WSGIAdjustments()).has_work
    assert not ProxyTrust.from_adjustments(WSGIAdjustments(clear_untrusted_proxy_headers=False)).has_work


# ---- what is not trusted ----------------------------------------------------------------------------


def test_every_forwarding_header_of_an_untrusted_peer_is_cleared() -> None:
    trust = ProxyTrust(["10.9.9.9"], headers=ALL_X)
    assert changes(trust, X_FORWARDED_FOR="1.1.1.1", X_FORWARDED_PREFIX="/x", FORWARDED="for=1.1.1.1", VIA="a") == {
        "HTTP_X_FORWARDED_FOR": None,
        "HTTP_X_FORWARDED_PREFIX": None,
        "HTTP_FORWARDED": None,
    }


def test_what_is_not_believed_of_a_trusted_peer_is_cleared_too() -> None:
    trust = ProxyTrust([PROXY], headers=["x-forwarded-for", "x-forwarded-prefix"])
    assert changes(trust, X_FORWARDED_PROTO="https", X_FORWARDED_PREFIX="/x", FORWARDED="for=1.1.1.1") == {
        "HTTP_X_FORWARDED_PROTO": None,
        "HTTP_FORWARDED": None,
    }


def test_nothing_is_cleared_if_told_so() -> None:
    trust = ProxyTrust(clear_untrusted=False)
    assert changes(trust, X_FORWARDED_FOR="1.1.1.1", FORWARDED="(") == {}
    assert not trust.has_work
    assert ProxyTrust().has_work
    assert ProxyTrust(["*"], clear_untrusted=False).has_work
    assert not trust.needs_environ


def test_a_malformed_header_of_an_untrusted_peer_is_no_reason_to_refuse() -> None:
    assert ProxyTrust().apply(environ_of(X_FORWARDED_FOR="<", FORWARDED="<")) is None
    assert F.apply(environ_of(X_FORWARDED_FOR="<")) is None
    assert X.apply(environ_of(FORWARDED="<")) is None


def test_clearing_is_logged_if_asked(caplog: pytest.LogCaptureFixture) -> None:
    changes(ProxyTrust(log_untrusted=True), X_FORWARDED_FOR="1.1.1.1", FORWARDED="for=a")
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("wiretask.server", logging.WARNING)
    assert "Forwarded, X-Forwarded-For" in record.getMessage()
    assert "'10.0.0.1'" in record.getMessage()
    caplog.clear()
    changes(ProxyTrust(), X_FORWARDED_FOR="1.1.1.1")
    changes(ProxyTrust(log_untrusted=True), VIA="a")
    assert caplog.records == []


def test_a_request_without_such_headers_is_left_alone() -> None:
    for trust in (X, F, ProxyTrust()):
        assert changes(trust, VIA="a") == {}
        assert changes(trust, VIA="a", X_FORWARDED_BY="") in ({}, {"HTTP_X_FORWARDED_BY": None})


# ---- X-Forwarded ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "address", "port"),
    [
        ("192.0.2.1", "192.0.2.1", None),
        (" 192.0.2.1\t", "192.0.2.1", None),
        ('"192.0.2.1"', "192.0.2.1", None),
        ("192.0.2.1:99", "192.0.2.1", "99"),
        ("2001:db8::1", "2001:db8::1", None),
        ("[2001:db8::1]", "2001:db8::1", None),
        ('"[2001:db8::1]:99"', "2001:db8::1", "99"),
        ("fe80::1%eth0", "fe80::1%eth0", None),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1", None),
        ("Unknown", "unknown", None),
        ("_hidden", "_hidden", None),
        ("6.6.6.6, 192.0.2.1", "192.0.2.1", None),
        ('<script>, "6.6.6.6, 192.0.2.1', "192.0.2.1", None),
    ],
)
def test_x_forwarded_for(value: str, address: str, port: str | None) -> None:
    expected = {"REMOTE_ADDR": address, "REMOTE_HOST": address} | ({"REMOTE_PORT": port} if port else {})
    found = changes(X, X_FORWARDED_FOR=value)
    kept = found.pop("HTTP_X_FORWARDED_FOR", value)
    assert found == expected
    assert kept.strip() == value.split(",")[-1].strip()


def test_hops_are_counted_from_the_right() -> None:
    header = "6.6.6.6, 192.0.2.1, 192.0.2.2,192.0.2.3"
    for count, address, kept in (
        (1, "192.0.2.3", "192.0.2.3"),
        (2, "192.0.2.2", "192.0.2.2,192.0.2.3"),
        (4, "6.6.6.6", header),
        (9, "6.6.6.6", header),
    ):
        environ = environ_of(X_FORWARDED_FOR=header)
        assert ProxyTrust([PROXY], count, ALL_X).apply(environ) is None
        assert (environ["REMOTE_ADDR"], environ["HTTP_X_FORWARDED_FOR"]) == (address, kept)


@pytest.mark.parametrize(
    "value",
    [
        "<script>",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.400",
        "1.1.1.1,",
        '"1.1.1.1',
        '1.1.1.1"',
        "[::1",
        "::1]",
        ":::1",
        "[1.1.1.1]",
        "1.1.1.1:",
        "1.1.1.1:x",
        "1.1.1.1:65536",
        "host.example",
        "1.1.1.1 2",
        "\xe9",
        "a" * 1000,
        "[::1%<>]",
    ],
)
def test_an_address_that_is_none_is_refused(value: str) -> None:
    assert refusal(X, X_FORWARDED_FOR=value).startswith("X-Forwarded-For")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"PROTO": "https"}, {"wsgi.url_scheme": "https", "SERVER_PORT": "443"}),
        ({"PROTO": "HTTPS"}, {"wsgi.url_scheme": "https", "SERVER_PORT": "443"}),
        ({"PROTO": "http"}, {"SERVER_PORT": "80"}),
        ({"PORT": "99"}, {"SERVER_PORT": "99"}),
        ({"HOST": "shop.example"}, {"SERVER_NAME": "shop.example", "HTTP_HOST": "shop.example"}),
        (
            {"HOST": "shop.example:81"},
            {"SERVER_NAME": "shop.example", "HTTP_HOST": "shop.example:81", "SERVER_PORT": "81"},
        ),
        (
            {"HOST": "[::1]:81", "PORT": "99"},
            {"SERVER_NAME": "[::1]", "HTTP_HOST": "[::1]:81", "SERVER_PORT": "81"},
        ),
        (
            {"HOST": "a", "PROTO": "https"},
            {"SERVER_NAME": "a", "HTTP_HOST": "a", "SERVER_PORT": "443", "wsgi.url_scheme": "https"},
        ),
        (
            {"HOST": "a", "PROTO": "https", "PORT": "444"},
            {"SERVER_NAME": "a", "HTTP_HOST": "a:444", "SERVER_PORT": "444", "wsgi.url_scheme": "https"},
        ),
        (
            {"HOST": "a", "PROTO": "https", "PORT": "80"},
            {"SERVER_NAME": "a", "HTTP_HOST": "a:80", "SERVER_PORT": "80", "wsgi.url_scheme": "https"},
        ),
        ({"HOST": "a", "PORT": "80"}, {"SERVER_NAME": "a", "HTTP_HOST": "a", "SERVER_PORT": "80"}),
        ({"HOST": "evil, a"}, {"SERVER_NAME": "a", "HTTP_HOST": "a", "HTTP_X_FORWARDED_HOST": "a"}),
        ({"BY": "anything at all"}, {}),
        ({"FOR": "", "HOST": " ", "PROTO": "", "PORT": ""}, {}),
    ],
)
def test_x_forwarded_host_proto_and_port(headers: dict[str, str], expected: dict[str, str]) -> None:
    assert changes(X, **{f"X_FORWARDED_{name}": value for name, value in headers.items()}) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROTO", "ftp"),
        ("PROTO", "https, http"),
        ("PROTO", 'https "'),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "80,81"),
        ("PORT", "\u0661"),
        ("HOST", "a/b"),
        ("HOST", "a b"),
        ("HOST", "a:b"),
        ("HOST", "a:0"),
        ("HOST", "a:99999"),
        ("HOST", "[::1"),
        ("HOST", "a@b"),
        ("HOST", "a,"),
        ("HOST", "\x01"),
    ],
)
def test_what_cannot_be_read_is_refused(name: str, value: str) -> None:
    refusal(X, **{f"X_FORWARDED_{name}": value})


def test_a_scheme_that_is_contradicted_is_refused() -> None:
    assert "contradict" in refusal(X, X_FORWARDED_PROTO="https", X_FORWARDED_SSL="off")
    assert "contradict" in refusal(ProxyTrust(["*"]), X_FORWARDED_PROTO="http", X_FORWARDED_SSL="on")
    assert X.apply(environ_of(X_FORWARDED_PROTO="https", X_FORWARDED_SSL="on")) is None


def test_without_names_the_scheme_is_believed_and_nothing_else() -> None:
    assert changes(ProxyTrust(["*"]), X_FORWARDED_FOR="1.1.1.1", X_FORWARDED_PROTO="https") == {
        "wsgi.url_scheme": "https",
        "SERVER_PORT": "443",
        "HTTP_X_FORWARDED_FOR": None,
    }


# ---- Forwarded -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("for=192.0.2.1", {"REMOTE_ADDR": "192.0.2.1", "REMOTE_HOST": "192.0.2.1"}),
        ('FOR="192.0.2.1:99"', {"REMOTE_ADDR": "192.0.2.1", "REMOTE_HOST": "192.0.2.1", "REMOTE_PORT": "99"}),
        ('for="[::1]:99"', {"REMOTE_ADDR": "::1", "REMOTE_HOST": "::1", "REMOTE_PORT": "99"}),
        ("for=_gazonk", {"REMOTE_ADDR": "_gazonk", "REMOTE_HOST": "_gazonk"}),
        ("proto=https;by=_x", {"wsgi.url_scheme": "https", "SERVER_PORT": "443"}),
        ('host="a:81"', {"SERVER_NAME": "a", "HTTP_HOST": "a:81", "SERVER_PORT": "81"}),
        ("host=a;;secret=1;", {"SERVER_NAME": "a", "HTTP_HOST": "a"}),
        (r'host="\a"', {"SERVER_NAME": "a", "HTTP_HOST": "a"}),
        ("", {}),
        (" ", {}),
        (",,", {"HTTP_FORWARDED": ""}),
        ("by=1", {}),
    ],
)
def test_forwarded(value: str, expected: dict[str, str]) -> None:
    assert changes(F, FORWARDED=value) == expected


def test_the_oldest_trusted_element_that_says_something_counts() -> None:
    header = 'for=6.6.6.6;host=evil, host=outer;for="[::2]" , for=192.0.2.3;proto=https;host=inner'
    environ = environ_of(FORWARDED=header)
    assert ProxyTrust([PROXY], 2, ["forwarded"]).apply(environ) is None
    assert (environ["REMOTE_ADDR"], environ["HTTP_HOST"], environ["wsgi.url_scheme"]) == ("::2", "outer", "https")
    assert environ["HTTP_FORWARDED"] == 'host=outer;for="[::2]", for=192.0.2.3;proto=https;host=inner'


@pytest.mark.parametrize(
    "value",
    [
        "for",
        "for=",
        "=a",
        "for =1.1.1.1",
        "for= 1.1.1.1",
        "for=1.1.1.1; host=b",
        "for=1.1.1.1 host=b",
        'for="1.1.1.1',
        'for=1.1.1.1"',
        "for=[::1]",
        "for=1.1.1.1;For=1.1.1.1",
        'for="2001:db8::1"',
        "for=1.2.3.400",
        "proto=ftp",
        'host="a b"',
        "host=a:81",
        "for=1.1.1.1,\x00",
        'for=",for=1.1.1.1',
    ],
)
def test_a_forwarded_header_that_breaks_the_rules_is_refused(value: str) -> None:
    refusal(F, FORWARDED=value)


TOKENS = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=6)
QUOTED = st.text([chr(code) for code in (9, *range(32, 127), 255)], max_size=8)
ELEMENTS = st.lists(st.dictionaries(TOKENS.map(str.lower), QUOTED, max_size=3), max_size=4)
SPACES = st.text(" \t", max_size=2)


def written(element: dict[str, str], is_plain: bool) -> str:
    """The element as a proxy would write it, with quotes where they must be, or everywhere."""
    pairs = []
    for name, text in element.items():
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        pairs.append(f"{name}={text}" if is_plain and text.isascii() and text.isalnum() else f'{name}="{escaped}"')
    return ";".join(pairs)


@given(ELEMENTS, st.booleans(), SPACES, SPACES)
def test_elements_are_read_as_they_were_written(
    elements: list[dict[str, str]], is_plain: bool, before: str, after: str
) -> None:
    value = before + f"{before},{after}".join(written(element, is_plain) for element in elements) + after
    assert [element.parameters for element in parse_forwarded(value)] == [element for element in elements if element]


NOISE = st.text('for=;," \t\\a[]:1.https_<\x00\xff', max_size=40)


@given(NOISE)
@example('for="' * 10)
def test_noise_is_read_or_refused_and_reads_the_same_again(value: str) -> None:
    try:
        elements = parse_forwarded(value)
    except ForwardedSyntaxError:
        return
    again = parse_forwarded(", ".join(element.text for element in elements))
    assert again == elements


SAID = st.fixed_dictionaries(
    {},
    optional={
        name: NOISE
        | st.sampled_from(["1.2.3.4", "https", "a.example:81", "443", "[::1]:5", "1.1.1.1, 2.2.2.2", "unknown"])
        for name in (
            "X_FORWARDED_FOR",
            "X_FORWARDED_HOST",
            "X_FORWARDED_PROTO",
            "X_FORWARDED_PORT",
            "X_FORWARDED_SSL",
            "FORWARDED",
            "X_FORWARDED_OTHER",
        )
    },
)


@given(SAID, st.sampled_from([X, F, ProxyTrust(["*"], 2, ALL_X), ProxyTrust(["*"], 3, ["forwarded"])]))
def test_whatever_comes_the_environ_is_sound_or_the_request_refused(said: dict[str, str], trust: ProxyTrust) -> None:
    environ = environ_of(**said)
    reason = trust.apply(environ)
    if reason is not None:
        assert reason.isascii()
        assert reason.isprintable()
        assert len(reason) < 400
        return
    assert environ["wsgi.url_scheme"] in ("http", "https")
    assert re.fullmatch(r"[1-9][0-9]{0,4}", environ["SERVER_PORT"])
    assert re.fullmatch(r"[^\s\x00-\x1f\"<>@/\\,\x7f-\xff]+", environ["HTTP_HOST"])
    assert environ["HTTP_HOST"].startswith(environ["SERVER_NAME"])
    assert re.fullmatch(r"[0-9A-Za-z.:%_-]+", environ["REMOTE_ADDR"])
    assert environ["REMOTE_HOST"] == environ["REMOTE_ADDR"]
    assert environ["REMOTE_PORT"]
    assert all(key.removeprefix("HTTP_") in said for key in environ if "FORWARDED" in key)
    assert "HTTP_X_FORWARDED_OTHER" not in environ


@given(SAID)
def test_an_untrusted_peer_changes_nothing(said: dict[str, str]) -> None:
    environ = environ_of(**said)
    assert ProxyTrust(["192.0.2.1"], headers=ALL_X).apply(environ) is None
    assert environ == environ_of()
