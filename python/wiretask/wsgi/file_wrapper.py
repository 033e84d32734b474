"""`FileWrapper`: what an application returns to have a file sent. Source: PEP 3333, "Optional Platform-Specific File
Handling"."""

from __future__ import annotations

from typing import Any, Self

__all__ = ["FileWrapper"]


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
