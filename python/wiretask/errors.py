"""Every exception that wiretask makes itself.

A peer's mistake is a *value*: a `ProtocolError` in a consumer's `error`, raised by nobody but you. What a
caller did wrong, or what cannot be done any more, is raised. Failures of the system are the usual `OSError`
subclasses. Knows nothing of the rest of the package; the Rust side makes its errors from these classes
(`errors.rs`).
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ClientDisconnectedError",
    "IncompleteMessageError",
    "MalformedMessageError",
    "MessageTooLargeError",
    "ProtocolError",
    "ServerClosedError",
    "TaskQueueFullError",
    "UnknownSettingError",
    "UnsupportedFeatureError",
    "WiretaskError",
]


class WiretaskError(Exception):
    """The base of all exceptions here."""


class ProtocolError(WiretaskError):
    """A peer did not keep to the protocol.

    Attributes:
        kind: a stable name in snake_case, such as "line_too_long"; to be compared and counted.
        offset_bytes: how many bytes of the message had been taken when the fault was certain.
        status: the HTTP status that says it best, or None if nobody is left to be told.
    """

    kind: str
    offset_bytes: int
    status: int | None

    def __init__(self, message: str, *, kind: str, offset_bytes: int, status: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.offset_bytes = offset_bytes
        self.status = status

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle with the attributes, which the constructor takes by keyword only."""
        return (_rebuilt, (type(self), self.args), self.__dict__.copy())


def _rebuilt(cls: type[ProtocolError], args: tuple[object, ...]) -> ProtocolError:
    """An exception with these `args`; its attributes come with its state."""
    return cls.__new__(cls, *args)


class MalformedMessageError(ProtocolError):
    """The bytes break the protocol's grammar."""


class MessageTooLargeError(ProtocolError):
    """A limit was reached.

    Attributes:
        limit_bytes: the limit, in bytes of the stream; None if it is not one of bytes.
        limit_fields: the limit, in field lines of a head; None if it is not one of those.
    """

    limit_bytes: int | None
    limit_fields: int | None

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        offset_bytes: int,
        status: int | None = None,
        limit_bytes: int | None = None,
        limit_fields: int | None = None,
    ) -> None:
        super().__init__(message, kind=kind, offset_bytes=offset_bytes, status=status)
        self.limit_bytes = limit_bytes
        self.limit_fields = limit_fields


class UnsupportedFeatureError(ProtocolError):
    """Well formed, but not something this side does."""


class IncompleteMessageError(ProtocolError, EOFError):
    """The stream ended inside a message."""


class TaskQueueFullError(WiretaskError):
    """As many tasks wait as `max_pending` allows; this one was cancelled."""


class ServerClosedError(WiretaskError):
    """The dispatcher or server is shut down; what was given to it was cancelled."""


class ClientDisconnectedError(WiretaskError, ConnectionError):
    """The client went away while something was sent to it."""


class UnknownSettingError(WiretaskError, TypeError, ValueError):
    """There is no setting of that name. Both a TypeError, as for any unknown argument, and waitress's ValueError."""
