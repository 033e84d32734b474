"""Bytes that count how often they are looked at: what shows quadratic work in a parser without a clock.

`CountingBytes` and `CountingBytearray` are what they are named after, and besides report to a `Meter` how many
bytes each operation reads or copies: `find` from an offset counts from there, `in` counts all, a slice its own
length. What one of them makes is one of them again. `counting_names` has a parser's module call them when it
says `bytes(...)` or `bytearray(...)`. Not seen: regular expressions, `b"".join`, `struct`, `int`.
Must not know consumers or laws.
"""

from __future__ import annotations

import builtins
import contextlib
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["CountingBytearray", "CountingBytes", "Meter", "counting_names", "is_counting_code"]


class Meter:
    """The bytes that were looked at or copied. One for the process: `METER`; one thread at a time."""

    def __init__(self) -> None:
        self.bytes_examined = 0


METER = Meter()


class _LikeTheBuiltin(type):
    """So that `isinstance(x, bytes)` in a module whose `bytes` counts holds for any bytes."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.__mro__[1])

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.__mro__[1])


class CountingBytes(bytes, metaclass=_LikeTheBuiltin):
    """bytes that count."""

    __slots__ = ()


class CountingBytearray(bytearray, metaclass=_LikeTheBuiltin):
    """A bytearray that counts."""

    __slots__ = ()


def is_counting_code(filename: str) -> bool:
    """Whether code of this file is the counting itself, and no work of the parser's."""
    return filename == __file__


@contextlib.contextmanager
def counting_names(scopes: Iterable[dict[str, Any]]) -> Iterator[None]:
    """While it lasts, `bytes` and `bytearray` mean the counting ones in these modules, given by their names.

    A module that defines such a name itself keeps it.
    """
    names = {"bytes": CountingBytes, "bytearray": CountingBytearray}
    changed: list[tuple[dict[str, Any], str]] = []
    try:
        for scope in scopes:
            for name, replacement in names.items():
                if name not in scope and scope is not vars(builtins):
                    scope[name] = replacement
                    changed.append((scope, name))
        yield
    finally:
        for scope, name in changed:
            del scope[name]


def _counted(base: Any, name: str, cost: Callable[..., int]) -> Callable[..., Any]:
    original = getattr(base, name)

    def method(self: Any, *arguments: Any, **keywords: Any) -> Any:
        result = original(self, *arguments, **keywords)
        METER.bytes_examined += cost(self, result, *arguments)
        return _wrapped(result)

    method.__name__ = name
    return method


def _wrapped(result: Any) -> Any:
    match type(result):
        case builtins.bytes:
            return CountingBytes(result)
        case builtins.bytearray:
            return CountingBytearray(result)
        case builtins.list | builtins.tuple:
            return type(result)(_wrapped(item) for item in result)
    return result


def _cost_of_search(self: Any, result: Any, what: Any = b"", start: Any = 0, end: Any = None) -> int:
    """A search reads from `start` to what it found, or to the end."""
    first, last, _ = slice(start, end).indices(len(self))
    return max(0, (result if isinstance(result, int) and result >= first else last) - first) + 1


def _cost_of_all(self: Any, result: Any, *arguments: Any) -> int:
    return len(self)


def _cost_of_count(self: Any, result: Any, what: Any = b"", start: Any = 0, end: Any = None) -> int:
    return len(range(*slice(start, end).indices(len(self)))) + 1


def _cost_of_result(self: Any, result: Any, *arguments: Any) -> int:
    return len(result) if isinstance(result, (bytes, bytearray)) else 1


def _cost_of_what_is_given(self: Any, result: Any, what: Any = b"", *more: Any) -> int:
    return len(what) if hasattr(what, "__len__") else 1


def _cost_of_removal(self: Any, result: Any, key: Any = None, *more: Any) -> int:
    """Removing or replacing a part moves what stands behind it, but nothing if that part is at an end."""
    if isinstance(key, slice):
        start, stop, _ = key.indices(len(self) + 1)
        return 1 if start == 0 else max(1, len(self) - stop)
    return 1


_COSTS: dict[str, Callable[..., int]] = {
    **dict.fromkeys(["find", "index"], _cost_of_search),
    **dict.fromkeys(["count", "rfind", "rindex"], _cost_of_count),
    **dict.fromkeys(
        [
            *("__contains__", "split", "rsplit", "partition", "rpartition", "splitlines", "replace", "translate"),
            *("lower", "upper", "strip", "lstrip", "rstrip", "hex", "decode", "isdigit", "isalnum", "isalpha"),
            *("isascii", "isspace", "join", "__mul__", "title", "center", "ljust", "rjust", "expandtabs"),
        ],
        _cost_of_all,
    ),
    **dict.fromkeys(["__add__", "__getitem__", "removeprefix", "removesuffix"], _cost_of_result),
    **dict.fromkeys(["startswith", "endswith"], _cost_of_what_is_given),
}
_COSTS_OF_CHANGES: dict[str, Callable[..., int]] = {
    **dict.fromkeys(["__iadd__", "extend"], _cost_of_what_is_given),
    **dict.fromkeys(["__delitem__", "__setitem__"], _cost_of_removal),
    "copy": _cost_of_all,
}


def _install() -> None:
    for cls, base in ((CountingBytes, bytes), (CountingBytearray, bytearray)):
        costs = _COSTS if base is bytes else {**_COSTS, **_COSTS_OF_CHANGES}
        for name, cost in costs.items():
            setattr(cls, name, _counted(base, name, cost))

    def added_behind(self: Any, before: Any) -> Any:
        METER.bytes_examined += len(before) + len(self)
        return _wrapped(operator.add(before, (bytes if isinstance(self, bytes) else bytearray)(self)))

    def iterated(self: Any) -> Iterator[int]:
        for byte in (bytes if isinstance(self, bytes) else bytearray).__iter__(self):
            METER.bytes_examined += 1
            yield byte

    for cls in (CountingBytes, CountingBytearray):
        for method, function in (("__radd__", added_behind), ("__iter__", iterated)):
            setattr(cls, method, function)


_install()
