"""What every site of this directory answers with, whatever its framework: bytes that a test can compute too.

Must not know: any framework.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

BLOCK_BYTES = 65536
_PATTERN = hashlib.sha512(b"wiretask").digest() * 1024  # 64 KiB that do not repeat in blocks of a chunk


def content(size: int) -> bytes:
    """Return so many bytes, always the same."""
    return (_PATTERN * (size // len(_PATTERN) + 1))[:size]


def blocks(size: int) -> Iterator[bytes]:
    """Give the same in blocks."""
    data = content(size)
    for start in range(0, size, BLOCK_BYTES):
        yield data[start : start + BLOCK_BYTES]


def description(file: BinaryIO) -> str:
    """Return size and hash of what an upload has brought."""
    seen, size = hashlib.sha256(), 0
    while block := file.read(BLOCK_BYTES):
        seen.update(block)
        size += len(block)
    return f"{size} {seen.hexdigest()}"
