"""`FileWrapper`: what an application returns to have a file sent. Source: PEP 3333, "Optional Platform-Specific File
Handling"."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from typing import Any, Self

__all__ = ["FileWrapper"]

_TEMPORARY = tempfile._TemporaryFileWrapper


class FileWrapper:
    """The rest of a file, in blocks: `environ["wsgi.file_wrapper"](file, block_size)`.

    Args:
        file: anything with `read(size)`. Its `close()`, if it has one, is called at the end of the answer.
        block_size: the bytes of one block, 1 or more.
    Raises:
        ValueError: block_size is less than 1.
    Threads: one.
    """

    __slots__ = ("block_size", "file")

    def __init__(self, file: Any, block_size: int = 262_144) -> None:
        if block_size < 1:
            raise ValueError(f"block_size is 1 or more, not {block_size!r}")
        self.file = file
        self.block_size = block_size

    def rest_of_file(self) -> tuple[int, int, int] | None:
        """Return descriptor, offset and length of what is still to be read, if that is the rest of a regular file."""
        file = _plain_file(self.file)
        if file is None:
            return None
        try:
            file.flush()
            descriptor, offset = file.fileno(), file.tell()
            status = os.fstat(descriptor)
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            return None  # some that the system makes up have no size, and content all the same
        return descriptor, offset, max(0, status.st_size - offset)

    def rest_bytes(self) -> int | None:
        """Return how many bytes are still to be read, if the file can be asked: it has `seek` and `tell`."""
        try:
            here = self.file.tell()
            end = self.file.seek(0, os.SEEK_END)
            self.file.seek(here)
        except (AttributeError, OSError, ValueError, TypeError):
            return None
        # What has no size may have content all the same, as above.
        return max(0, end - here) if isinstance(end, int) and isinstance(here, int) and end else None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        block: bytes = self.file.read(self.block_size)
        if not block:
            raise StopIteration
        return block

    def close(self) -> None:
        """Close the file."""
        close = getattr(self.file, "close", None)
        if close is not None:
            close()


def _plain_file(file: Any) -> Any:
    """Return the file on disk whose own `read` is that of `file`, so that what is read is what it has; or None.

    That is the file itself, or what something is wrapped around that passes `read` on as it is.
    """
    if type(file) is _TEMPORARY:
        file = file.file  # it passes on a function of its own
    try:
        read = file.read
        inner = read.__self__
    except AttributeError:
        return None
    raw = inner if type(inner) is io.FileIO else getattr(inner, "raw", None)
    is_plain = type(inner) in (io.FileIO, io.BufferedReader, io.BufferedRandom) and type(raw) is io.FileIO
    return inner if is_plain and read == inner.read else None
