"""The kinds of values that a setting can have: what is allowed, and how it is written as text.

Strategy: each kind is one small frozen value with `check` (a Python value in, the value to keep out) and `parse`
(text from an ini file, a command line or an environment in, a Python value out, which is then checked). Every error
names the setting, what is allowed and what was given.
Must not know: which settings there are, or anything native.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from wiretask.addresses import parse_listen
from wiretask.bound_sockets import checked_bound_sockets
from wiretask.inherited_sockets import inherited_sockets

__all__ = [
    "Choice",
    "Directory",
    "Flag",
    "Listen",
    "Seconds",
    "SettingKind",
    "SocketOptions",
    "Sockets",
    "Text",
    "Whole",
    "nearest_hint",
    "words_of",
]

_YEAR_SECONDS = 31_536_000.0
_TRUE = ("true", "yes", "on", "1", "t", "y")
_FALSE = ("false", "no", "off", "0", "f", "n")


class SettingKind(Protocol):
    """What values a setting takes."""

    @property
    def metavar(self) -> str:
        """What stands for a value in the help of a command line; "" if it cannot be written as text."""

    def check(self, name: str, value: Any) -> object:
        """Return the value to keep, or raise TypeError or ValueError with the setting's name."""

    def parse(self, name: str, text: str) -> object:
        """Return the value that `text` stands for, for `check`; or raise ValueError with the setting's name."""


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'?", or a list of what there is if nothing is near."""
    names = list(known)
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(names)}"


def words_of(text: str) -> list[str]:
    """Return the words of a list that is written as text, separated by commas or white space."""
    return text.replace(",", " ").split()


def _is_none(text: str) -> bool:
    return text.strip().lower() == "none"


@dataclass(frozen=True)
class Whole:
    """A whole number from `lowest` to `highest`, or None if `is_optional`; as text: digits, octal if `is_octal`."""

    lowest: int
    highest: int
    is_optional: bool = False
    is_octal: bool = False

    @property
    def metavar(self) -> str:
        return "OCTAL" if self.is_octal else "N"

    def _allowed(self) -> str:
        return f"an int from {self._show(self.lowest)} to {self._show(self.highest)}" + (
            " or None" if self.is_optional else ""
        )

    def _show(self, number: int) -> str:
        return oct(number) if self.is_octal else str(number)

    def check(self, name: str, value: Any) -> int | None:
        if self.is_optional and value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} is {self._allowed()}, not {value!r}")
        if not self.lowest <= value <= self.highest:
            raise ValueError(f"{name} is {self._allowed()}, not {self._show(value)}")
        return value

    def parse(self, name: str, text: str) -> int | None:
        if self.is_optional and _is_none(text):
            return None
        digits = r"(?:0o)?[0-7]{1,20}" if self.is_octal else r"[+-]?[0-9]{1,40}"
        if not re.fullmatch(digits, text.strip(), re.ASCII):
            raise ValueError(f"{name} is {self._allowed()}, not {text!r}")
        return int(text, 8 if self.is_octal else 10)


@dataclass(frozen=True)
class Seconds:
    """A number of seconds from `lowest` to a year, or None if `is_optional`, which means what `none` says."""

    lowest: float
    is_optional: bool = False
    none: str = "no limit"
    metavar = "SECONDS"

    def _allowed(self) -> str:
        limit = f" or None ({self.none})" if self.is_optional else ""
        return f"a number of seconds from {self.lowest:g} to {_YEAR_SECONDS:.0f}{limit}"

    def check(self, name: str, value: Any) -> float | None:
        if self.is_optional and value is None:
            return None
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise TypeError(f"{name} is {self._allowed()}, not {value!r}")
        if math.isnan(value) or not self.lowest <= value <= _YEAR_SECONDS:
            raise ValueError(f"{name} is {self._allowed()}, not {value!r}")
        return float(value)

    def parse(self, name: str, text: str) -> float | None:
        if self.is_optional and _is_none(text):
            return None
        if not re.fullmatch(r"[+-]?[0-9]+(?:\.[0-9]*)?", text.strip(), re.ASCII):
            raise ValueError(f"{name} is {self._allowed()}, not {text!r}")
        return float(text)


@dataclass(frozen=True)
class Flag:
    """True or False; as text: true, yes, on, 1 and false, no, off, 0, in any case."""

    metavar = "BOOL"

    def check(self, name: str, value: Any) -> bool:
        if not isinstance(value, bool):
            raise TypeError(f"{name} is True or False, not {value!r}")
        return value

    def parse(self, name: str, text: str) -> bool:
        word = text.strip().lower()
        if word not in _TRUE + _FALSE:
            raise ValueError(f"{name} is true or false (also yes, on, 1, no, off, 0), not {text!r}")
        return word in _TRUE


@dataclass(frozen=True)
class Choice:
    """One of some words, in any case, kept in lower case."""

    words: tuple[str, ...]

    @property
    def metavar(self) -> str:
        return "|".join(self.words)

    def check(self, name: str, value: Any) -> str:
        allowed = " or ".join(map(repr, self.words))
        if not isinstance(value, str):
            raise TypeError(f"{name} is {allowed}, not {value!r}")
        if value.strip().lower() not in self.words:
            raise ValueError(f"{name} is {allowed}, not {value!r}; {nearest_hint(value, self.words)}")
        return value.strip().lower()

    def parse(self, name: str, text: str) -> str:
        return text


@dataclass(frozen=True)
class Text:
    """A str that matches `pattern` wholly; None and "" are None if `is_optional`. `allowed` says it in words."""

    pattern: str
    allowed: str
    metavar: str
    is_optional: bool = False

    def check(self, name: str, value: Any) -> str | None:
        if self.is_optional and (value is None or value == ""):
            return None
        allowed = self.allowed + (" or None" if self.is_optional else "")
        if not isinstance(value, str):
            raise TypeError(f"{name} is {allowed}, not {value!r}")
        if not re.fullmatch(self.pattern, value):
            raise ValueError(f"{name} is {allowed}, not {value!r}")
        return value

    def parse(self, name: str, text: str) -> str | None:
        return None if self.is_optional and _is_none(text) else text


@dataclass(frozen=True)
class Directory:
    """The path of a directory, or None; as text: the path."""

    metavar = "DIRECTORY"

    def check(self, name: str, value: Any) -> str | None:
        allowed = "the path of a directory, a str or os.PathLike, or None"
        if value is None:
            return None
        path = os.fspath(value) if isinstance(value, os.PathLike) else value
        if not isinstance(path, str):
            raise TypeError(f"{name} is {allowed}, not {value!r}")
        if not path or "\0" in path:
            raise ValueError(f"{name} is {allowed}, not {value!r}")
        return path

    def parse(self, name: str, text: str) -> str | None:
        return None if _is_none(text) else text


@dataclass(frozen=True)
class Listen:
    """Addresses to listen on, kept as a tuple of str; those without a port get `default_port`, if there is one."""

    default_port: int | None = None
    metavar = "ADDRESS"

    def check(self, name: str, value: Any) -> tuple[str, ...]:
        try:
            return tuple(str(address) for address in parse_listen(self._with_ports(value)))
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}: {error}") from None

    def parse(self, name: str, text: str) -> str:
        return text

    def _with_ports(self, value: Any) -> Any:
        """Return `value` with the default port at each str in it that has no port.

        Raises:
            ValueError: it is text, and empty, perhaps from a variable that is not set: every interface was not meant.
        """
        if self.default_port is None or isinstance(value, (bytes, bytearray)) or not isinstance(value, Iterable):
            return value
        if isinstance(value, str) and not value.split():
            raise ValueError(
                f"there is no address in {value!r}; leave it out for {self.default_port} of every interface"
            )
        spellings = value.split() if isinstance(value, str) else value
        return [self._with_port(spelling) for spelling in spellings]

    def _with_port(self, spelling: Any) -> Any:
        if not isinstance(spelling, str) or (":" in spelling and not spelling.endswith("]")):
            return spelling
        return f"{spelling}:{self.default_port}"


@dataclass(frozen=True)
class Sockets:
    """Bound sockets, kept as a tuple; as text: "systemd", or "fd:N" with the numbers of inherited descriptors."""

    metavar = "systemd|fd:N"

    def check(self, name: str, value: Any) -> tuple[socket.socket, ...]:
        return checked_bound_sockets(value, name)

    def parse(self, name: str, text: str) -> tuple[socket.socket, ...]:
        try:
            return inherited_sockets(words_of(text))
        except (ValueError, OSError) as error:
            raise ValueError(f"{name}: {error}") from None


@dataclass(frozen=True)
class SocketOptions:
    """Triples for `setsockopt`; they cannot be written as text."""

    metavar = ""

    def check(self, name: str, value: Any) -> tuple[tuple[int, int, int | bytes], ...]:
        allowed = "a sequence of (level, option, int or bytes)"
        if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
            raise TypeError(f"{name} is {allowed}, not {value!r}")
        options = []
        for index, entry in enumerate(value):
            if not isinstance(entry, (tuple, list)) or len(entry) != 3:
                raise TypeError(f"{name} is {allowed}; entry {index} is {entry!r}")
            level, option, setting = entry
            if not (isinstance(level, int) and isinstance(option, int) and isinstance(setting, (int, bytes))):
                raise TypeError(f"{name} is {allowed}; entry {index} is {entry!r}")
            if isinstance(setting, int) and not -(2**31) <= setting < 2**31:
                raise ValueError(f"{name}: the int of entry {index} does not fit into 32 bits: {entry!r}")
            options.append((int(level), int(option), setting))
        return tuple(options)

    def parse(self, name: str, text: str) -> object:
        raise ValueError(f"{name} cannot be written as text: give it in Python, or as arrays of numbers in TOML")
