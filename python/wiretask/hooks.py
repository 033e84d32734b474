"""Which hooks a server and its channels override: decided once, when the server starts.

Strategy: compare the class's attribute with ours. What is not overridden runs in Rust; what is, costs a
worker (or the housekeeper) and runs there. An attribute patched into an instance is not seen.
Must not know: sockets, loops, the native server.
Source: the hook table in docs/hooks.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wiretask import _native
from wiretask.channels import ServerChannel

if TYPE_CHECKING:
    from wiretask.servers import Server

__all__ = ["ServerHooks"]

_POLLED = ("readable", "writable")


@dataclass(frozen=True, slots=True)
class ServerHooks:
    """What the loop has to leave to Python.

    Attributes:
        parser: the native class or factory that cuts the stream on the loop; None: a worker gets raw bytes.
        reports_open: a channel object is made when a connection opens, before any input is handled.
        reports_close: a worker is told when a connection is gone.
        accepts: the server accepts connections itself.
        queues: the server queues channels itself, or a channel wants to be told by `defer`.
    """

    parser: Any
    reports_open: bool
    reports_close: bool
    accepts: bool
    queues: bool


def hooks_of(server: type[Server], base: type[Server], channel: Any) -> ServerHooks:
    """Return the hooks that `server` and the class of its channels override, against `base` and `ServerChannel`.

    Raises:
        TypeError: `channel_class` is no ServerChannel; `readable` or `writable` is overridden, which the
            loop in Rust cannot ask on every turn; there is no usable parser or task class.
    """
    if not (isinstance(channel, type) and issubclass(channel, ServerChannel)):
        raise TypeError(f"{server.__name__}.channel_class is a subclass of ServerChannel, not {channel!r}")
    for name in _POLLED:
        if getattr(channel, name, None) is not None:
            remedy = "call conn.pause_reading() and conn.resume_reading() instead"
            raise TypeError(f"{channel.__name__}.{name} would never be asked: {remedy}")
        if getattr(server, name) is not getattr(base, name):
            remedy = "set Adjustments.connection_limit instead"
            raise TypeError(f"{server.__name__}.{name} would never be asked: {remedy}")
    receives = _overrides(channel, "received")
    if channel.parser_class is None and not receives:
        raise TypeError(f"{channel.__name__}.parser_class is not set (or override received)")
    if not (receives or callable(channel.parser_class)):
        raise TypeError(f"{channel.__name__}.parser_class is not callable: {channel.parser_class!r}")
    if not (callable(channel.task_class) or _overrides(channel, "handle_request")):
        raise TypeError(f"{channel.__name__}.task_class is not callable: {channel.task_class!r}")
    is_native = not receives and _native.is_native_parser(channel.parser_class)
    return ServerHooks(
        parser=channel.parser_class if is_native else None,
        reports_open=_overrides(channel, "__init__") or _overrides(channel, "handle_connect"),
        reports_close=_overrides(channel, "handle_close"),
        accepts=server.handle_accept is not base.handle_accept,
        queues=server.addTask is not base.addTask or _overrides(channel, "defer"),
    )


def _overrides(channel: type[ServerChannel], name: str) -> bool:
    return getattr(channel, name) is not getattr(ServerChannel, name)
