"""`compile_glob`: the patterns of KEYS as a test for a key.

Strategy: translate to a regular expression in which every `*` settles for the first place where what follows
it fits (an atomic group) and is never reconsidered: a hostile pattern costs at most pattern times key.
Source: stringmatchlen of Redis: `*`, `?`, `[abc]`, `[^a]`, `[a-z]`, backslash escapes.
"""

import re
from collections.abc import Callable

__all__ = ["compile_glob"]


def compile_glob(pattern: bytes) -> Callable[[bytes], object]:
    """Return a function that returns something true for a key that matches the whole `pattern`.

    Total: every pattern means something. A class that is not closed ends with the pattern.
    """
    segments = [b""]
    position = 0
    while position < len(pattern):
        symbol = pattern[position : position + 1]
        position += 1
        if symbol == b"*":
            if segments[-1] or len(segments) == 1:
                segments.append(b"")
        elif symbol == b"?":
            segments[-1] += b"."
        elif symbol == b"[":
            expression, position = _translate_class(pattern, position)
            segments[-1] += expression
        else:
            if symbol == b"\\" and position < len(pattern):
                symbol = pattern[position : position + 1]
                position += 1
            segments[-1] += re.escape(symbol)
    first, *others = segments
    if not others:
        return re.compile(first, re.DOTALL).fullmatch
    *middle, last = others
    expression = first + b"".join(b"(?>.*?%b)" % segment for segment in middle) + b".*" + last
    return re.compile(expression, re.DOTALL).fullmatch


def _translate_class(pattern: bytes, position: int) -> tuple[bytes, int]:
    """Return the expression for the class whose `[` stands before `position`, and the position behind it."""
    negated = pattern[position : position + 1] == b"^"
    position += negated
    members = []
    while position < len(pattern) and pattern[position] != ord("]"):
        if pattern[position] == ord("\\") and position + 1 < len(pattern):
            low = high = pattern[position + 1]
            position += 2
        elif pattern[position + 1 : position + 2] == b"-" and position + 2 < len(pattern):
            low, high = sorted((pattern[position], pattern[position + 2]))
            position += 3
        else:
            low = high = pattern[position]
            position += 1
        members.append(b"\\x%02x-\\x%02x" % (low, high))
    if not members:
        return (b"." if negated else b"(?!)"), position + 1
    return b"[%b%b]" % (b"^" if negated else b"", b"".join(members)), position + 1
