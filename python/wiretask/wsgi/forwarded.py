"""`parse_forwarded`: the value of a Forwarded header, as its proxies wrote it.

Strategy: one regular expression for a pair, walked from left to right over the whole value, so that a comma in
a quoted string separates nothing; whatever does not match is a syntax error, also in the part nobody trusts.
Must not know: who is trusted, what an address or a host looks like.
Source: RFC 7239 section 4; RFC 9110 sections 5.6.1 (empty elements of a list), 5.6.2 (token), 5.6.4 (quoted-string).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["ForwardedElement", "ForwardedSyntaxError", "parse_forwarded"]

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"((?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*)"'
_PAIR = re.compile(rf"({_TOKEN})=(?:({_TOKEN})|{_QUOTED})")
_COMMA = re.compile(r"[ \t]*,[ \t]*")
_SPACE = re.compile(r"[ \t]*")


class ForwardedSyntaxError(ValueError):
    """The value is no Forwarded header; the text says where it stops being one."""


class ForwardedElement(NamedTuple):
    """What one proxy added.

    Attributes:
        text: as it was written.
        parameters: its parameters, names in lower case, values without quotes.
    """

    text: str
    parameters: Mapping[str, str]


def parse_forwarded(value: str) -> list[ForwardedElement]:
    """Return the elements of a header, the one of the proxy nearest to the client first.

    Args:
        value: the header's value; of several headers, joined with commas. Latin-1 text.
    Raises:
        ForwardedSyntaxError: it breaks the grammar, or an element has a parameter twice.
    """
    elements: list[ForwardedElement] = []
    end = len(value.rstrip(" \t"))
    at = _skip(_SPACE, value, 0)
    while at < end:
        element, at = _element_at(value, at)
        if element.text:
            elements.append(element)
        if at < end:
            after = _skip(_COMMA, value, at)
            if after == at:
                raise ForwardedSyntaxError(f"Forwarded cannot be read at character {at + 1}")
            at = after
    return elements


def _element_at(value: str, start: int) -> tuple[ForwardedElement, int]:
    """Return the element that begins at `start` (perhaps an empty one), and where it ends."""
    parameters: dict[str, str] = {}
    at = start
    while True:
        pair = _PAIR.match(value, at)
        if pair:
            name = pair[1].lower()
            if name in parameters:
                raise ForwardedSyntaxError(f"Forwarded has {name!r} twice in one element, at character {at + 1}")
            parameters[name] = pair[2] if pair[2] is not None else re.sub(r"\\(.)", r"\1", pair[3])
            at = pair.end()
        if value[at : at + 1] != ";":
            return ForwardedElement(value[start:at], parameters), at
        at += 1


def _skip(pattern: re.Pattern[str], value: str, at: int) -> int:
    found = pattern.match(value, at)
    return found.end() if found else at
