"""How commands read their arguments: a value, or the error that Redis would answer.

Must not know: any command.
"""

from collections.abc import Callable

from wiretask.examples.keyvalue.command_table import CommandError
from wiretask.examples.keyvalue.glob import compile_glob
from wiretask.examples.keyvalue.resp import maybe_integer

__all__ = ["read_integer", "read_lifetime_ms", "read_pattern"]

MAX_PATTERN_BYTES = 4096


def read_integer(text: bytes, *, what: str = "value") -> int:
    """Return the signed 64-bit integer in `text`, or raise CommandError."""
    value = maybe_integer(text)
    if value is None:
        raise CommandError(f"ERR {what} is not an integer or out of range")
    return value


def read_lifetime_ms(text: bytes, *, unit_ms: int, name: str, least: int | None = None) -> int:
    """Return the milliseconds that `text` stands for in units of `unit_ms`.

    Args:
        name: the command, for the error.
        least: the smallest lifetime that is allowed; None allows negative ones, which are over already.
    Raises:
        CommandError: it is no integer, too small, or so large that a deadline would not fit 64 bits.
    """
    lifetime_ms = read_integer(text) * unit_ms
    if (least is not None and lifetime_ms < least) or not -(2**62) <= lifetime_ms < 2**62:
        raise CommandError(f"ERR invalid expire time in '{name}' command")
    return lifetime_ms


def read_pattern(text: bytes) -> Callable[[bytes], object]:
    """Return a test for the glob pattern `text`, or raise CommandError if it is unreasonably long."""
    if len(text) > MAX_PATTERN_BYTES:
        raise CommandError("ERR pattern is too long")
    return compile_glob(text)
