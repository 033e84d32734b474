"""Makes a stream that breaks a law smaller, piece by piece and byte by byte, as long as it breaks the same law.

Hypothesis has shrunk it before, but along the lines of the strategy it came from; this knows only bytes, so that
the last byte goes that does not matter. Greedy and deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wiretask.testing.laws import LawBroken

__all__ = ["Case", "smallest"]

#: A stream in pieces, where its input ends, and what follows it.
Case = tuple[list[bytes], int, bytes]

#: So many cases are tried at most.
_MAX_TRIES = 3000


def smallest(check: Callable[[Case], None], case: Case, error: LawBroken) -> LawBroken:
    """Return what `check` raises for the smallest case that breaks the same law.

    Args:
        check: raises LawBroken for a case that breaks a law.
        case: one that does, with `error`.
    """
    tries = 0
    law = error.law
    improved = True
    while improved and tries < _MAX_TRIES:
        improved = False
        for candidate in _smaller(case):
            tries += 1
            if tries > _MAX_TRIES:
                break
            try:
                check(candidate)
            except LawBroken as found:
                if found.law is law:
                    case, error, improved = candidate, found, True
                    break
    return error


def _smaller(case: Case) -> Iterator[Case]:
    """Cases that are simpler: shorter, in fewer pieces, of plainer bytes; the largest steps first."""
    pieces, place, what_follows = case
    for at in range(len(pieces)):
        yield pieces[:at] + pieces[at + 1 :], place, what_follows
    for at in range(len(pieces) - 1):
        yield [*pieces[:at], pieces[at] + pieces[at + 1], *pieces[at + 2 :]], place, what_follows
    for at, piece in enumerate(pieces):
        if len(piece) > 3:
            for half in (piece[len(piece) // 2 :], piece[: len(piece) // 2]):
                yield [*pieces[:at], half, *pieces[at + 1 :]], place, what_follows
        for byte in range(len(piece)):
            yield [*pieces[:at], piece[:byte] + piece[byte + 1 :], *pieces[at + 1 :]], place, what_follows
    for byte in range(len(what_follows)):
        yield pieces, place, what_follows[:byte] + what_follows[byte + 1 :]
    if place:
        yield pieces, 0, what_follows
        yield pieces, place - 1, what_follows
    for at, piece in enumerate(pieces):
        for byte in range(len(piece)):
            if piece[byte : byte + 1] not in (b"a", b"0"):
                for plain in (b"a", b"0"):
                    plainer = piece[:byte] + plain + piece[byte + 1 :]
                    yield [*pieces[:at], plainer, *pieces[at + 1 :]], place, what_follows
