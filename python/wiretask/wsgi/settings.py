"""`Settings`: what `serve` and `create_server` take by name, for type checkers and editors.

Nothing is checked here: `WSGIAdjustments` has the same names, says what they mean, and judges the values.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Collection, Sequence
from typing import TypedDict

from wiretask.wsgi.adjustments import ProxyAddress

__all__ = ["Settings"]


class Settings(TypedDict, total=False):
    """The settings of a WSGI server; each may be given as text, too."""

    threads: int | str
    io_threads: int | str
    max_pending: int | str | None
    listen: str | Sequence[str]
    sockets: Sequence[socket.socket] | str
    unix_socket_perms: int | str
    backlog: int | str
    reuse_address: bool | str
    reuse_port: bool | str
    ipv4: bool | str
    ipv6: bool | str
    socket_options: Sequence[tuple[int, int, int | bytes]]
    recv_bytes: int | str
    send_bytes: int | str
    connection_limit: int | str
    evict_idle_seconds: float | str | None
    max_pipelined_requests: int | str
    max_pipelined_bytes: int | str
    log_socket_errors: bool | str
    outbuf_overflow: int | str
    outbuf_spool_limit: int | str
    outbuf_high_watermark: int | str
    outbuf_wait_seconds: float | str
    spool_directory: str | os.PathLike[str] | None
    channel_timeout: float | str | None
    request_timeout_seconds: float | str | None
    write_timeout_seconds: float | str | None
    shutdown_timeout_seconds: float | str
    host: str | None
    port: int | str | None
    unix_socket: str | os.PathLike[str] | None
    max_request_header_size: int | str
    max_request_line_size: int | str
    max_request_header_count: int | str
    max_request_body_size: int | str
    inbuf_overflow: int | str
    stream_request_body: bool | str
    url_scheme: str
    url_prefix: str
    server_name: str
    ident: str | None
    expose_tracebacks: bool | str
    trusted_proxy: ProxyAddress | Sequence[ProxyAddress] | None
    trusted_proxy_count: int | str | None
    trusted_proxy_headers: str | Collection[str]
    clear_untrusted_proxy_headers: bool | str
    log_untrusted_proxy_headers: bool | str
    access_log: bool | str | os.PathLike[str] | logging.Logger | None
    access_log_format: str
    graceful_timeout: float | str | None
    cleanup_interval: float | str
    asyncore_loop_timeout: float | str
    asyncore_use_poll: bool | str
    channel_request_lookahead: int | str
