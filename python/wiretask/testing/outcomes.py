"""What can be seen of a stream consumer from outside, in a form that compares.

Must not know the laws. An error is compared by kind and place, never by its message; everything else by its
public attributes, so that the kit needs to know nothing about a consumer of somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from wiretask.errors import ProtocolError

__all__ = ["Outcome", "StreamConsumerLike", "outcome_of", "public_attributes"]

#: How deep attributes of attributes are compared.
_MAX_DEPTH = 5


class StreamConsumerLike(Protocol):
    """The least that the kit asks of a consumer (see `wiretask.interfaces.IStreamConsumer`).

    `error` and `end_of_input()` are looked for, and used where they are.
    """

    @property
    def completed(self) -> bool:
        """Whether it has all it needs, or has failed."""

    def received(self, data: bytes, /) -> int:
        """Take bytes and return how many were consumed."""


@dataclass(frozen=True)
class Outcome:
    """What became of a consumer: two are equal exactly if nobody can tell the consumers apart."""

    consumed_bytes: int
    is_completed: bool
    error: object = None
    value: object = None

    def __str__(self) -> str:
        parts = [f"{self.consumed_bytes} bytes consumed", "completed" if self.is_completed else "not completed"]
        if self.error is not None:
            parts.append(f"error {_text(self.error)}")
        elif self.is_completed:
            parts.append(_text(self.value))
        return ", ".join(parts)


def outcome_of(
    consumer: StreamConsumerLike,
    consumed_bytes: int,
    value_of: Callable[[Any], object] | None = None,
) -> Outcome:
    """Return what can be seen of a consumer that has consumed so many bytes.

    Args:
        value_of: what is the value of a consumer that is completed without an `error`; None: all its public
            attributes but `completed` and `error`.
    """
    error = getattr(consumer, "error", None)
    if error is not None or not consumer.completed:
        return Outcome(consumed_bytes, bool(consumer.completed), _comparable(error))
    value = public_attributes(consumer) if value_of is None else value_of(consumer)
    return Outcome(consumed_bytes, True, None, _comparable(value))


def public_attributes(thing: object) -> dict[str, object]:
    """Return name -> value of what is neither private nor callable; an attribute that raises gives its error."""
    found: dict[str, object] = {}
    for name in dir(thing):
        if name.startswith("_") or name in ("completed", "error"):
            continue
        try:
            value = getattr(thing, name)
        except Exception as error:
            value = error
        if not callable(value):
            found[name] = value
    return found


def _comparable(thing: object, depth: int = 0) -> object:
    """A copy of `thing` that is equal to that of anything that looks the same."""
    if isinstance(thing, ProtocolError):
        details = {name: value for name, value in vars(thing).items() if not name.startswith("_")}
        return (type(thing).__name__, *sorted(details.items()))
    if isinstance(thing, BaseException):
        return (type(thing).__name__, str(thing))
    if isinstance(thing, (bytes, bytearray, memoryview)):
        return bytes(thing)
    if thing is None or isinstance(thing, (str, int, float, complex, frozenset, set)) or depth >= _MAX_DEPTH:
        return thing
    if isinstance(thing, Mapping) or hasattr(thing, "items"):
        return (type(thing).__name__, [_comparable(pair, depth + 1) for pair in thing.items()])
    if isinstance(thing, Sequence):
        return [_comparable(item, depth + 1) for item in thing]
    if type(thing).__eq__ is not object.__eq__:
        return thing
    return (type(thing).__name__, _comparable(public_attributes(thing), depth + 1))


def _text(thing: object) -> str:
    if isinstance(thing, tuple) and thing and thing[0] == "dict" and isinstance(thing[1], list):
        text = ", ".join(f"{name}={value!r}" for name, value in thing[1])
    elif isinstance(thing, tuple) and thing and all(isinstance(item, tuple) for item in thing[1:]):
        text = f"{thing[0]}({', '.join(f'{item[0]}={item[1]!r}' for item in thing[1:])})"
    else:
        text = repr(thing)
    return text if len(text) <= 400 else f"{text[:380]}... ({len(text)} characters)"
