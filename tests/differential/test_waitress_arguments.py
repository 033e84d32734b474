"""Every argument that waitress takes is taken here, and text means the same."""

from __future__ import annotations

from typing import Any

import pytest

from wiretask.wsgi import WSGIAdjustments

pytest.importorskip("waitress", reason="pip install 'wiretask[differential]'")
from waitress.adjustments import Adjustments as Waitress

TEXTS = {
    "host": "127.0.0.1",
    "port": "8041",
    "ipv4": "true",
    "ipv6": "no",
    "listen": "127.0.0.1:8041 127.0.0.1:8042",
    "threads": "8",
    "trusted_proxy": "10.0.0.1",
    "trusted_proxy_count": "2",
    "trusted_proxy_headers": "x-forwarded-for x-forwarded-proto",
    "log_untrusted_proxy_headers": "yes",
    "clear_untrusted_proxy_headers": "off",
    "url_scheme": "https",
    "url_prefix": "shop/",
    "backlog": "12",
    "recv_bytes": "4096",
    "send_bytes": "18000",
    "outbuf_overflow": "1000",
    "outbuf_high_watermark": "2000",
    "inbuf_overflow": "3000",
    "connection_limit": "70",
    "cleanup_interval": "20",
    "channel_timeout": "99",
    "log_socket_errors": "0",
    "max_request_header_size": "9999",
    "max_request_body_size": "8888",
    "expose_tracebacks": "on",
    "ident": "shop",
    "asyncore_loop_timeout": "2",
    "asyncore_use_poll": "1",
    "unix_socket": "/run/shop.sock",
    "unix_socket_perms": "660",
    "channel_request_lookahead": "3",
    "server_name": "shop.example",
}
NEEDS = {"trusted_proxy_count": "trusted_proxy", "trusted_proxy_headers": "trusted_proxy"}


def test_the_texts_are_for_every_argument() -> None:
    assert {name for name, _ in Waitress._params} == set(TEXTS) | {"sockets"}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_text_means_what_it_means_there(name: str) -> None:
    arguments: dict[str, Any] = {name: TEXTS[name]}
    if name in NEEDS:
        arguments[NEEDS[name]] = "10.0.0.1"
    ours, theirs = getattr(WSGIAdjustments(**arguments), name), getattr(Waitress(**arguments), name)
    if name == "listen":
        assert [(address.host, address.port) for address in WSGIAdjustments(**arguments).listen_addresses] == [
            address[:2] for _, _, _, address in theirs
        ]
    elif name == "trusted_proxy":
        assert ours == (theirs,)
    else:
        assert ours == theirs


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_excludes_each_other_there_does_so_here() -> None:
    places = {"host": "127.0.0.1", "port": 8041, "listen": "127.0.0.1:8041", "unix_socket": "/run/shop.sock"}
    for first in places:
        for second in places:
            pair: dict[str, Any] = {name: places[name] for name in (first, second)}
            assert _is_refused(WSGIAdjustments, pair) == _is_refused(Waitress, pair), pair


def _is_refused(kind: Any, arguments: dict[str, Any]) -> bool:
    try:
        kind(**arguments)
    except ValueError:
        return True
    return False
