"""`BodyReader`: `wsgi.input` of a body that is not in memory.

Strategy: the standard library's buffered reader, and those of its ways of reading that take other arguments than
`io.BytesIO` does, which is what an application is given for a body in memory.
Must not know: where the body is, or how it comes.
"""

from __future__ import annotations

import io
import operator

__all__ = ["BodyReader"]


class BodyReader(io.BufferedReader):
    """The body of a request as a file. Every way of reading gives what `io.BytesIO` gives for the same bytes.

    But `read1` and `readinto1`, which may give less, as those of every file. There is nothing that only a BytesIO
    has: no `getvalue`, no `getbuffer`, and no way to write.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next `size` bytes, fewer only at the end; all that is left for None or a negative size."""
        return super().read(-1 if size is None else max(operator.index(size), -1))

    def read1(self, size: int | None = -1, /) -> bytes:
        """Return some of what `read` would, as much as is there without waiting twice; none only at the end."""
        return super().read1(-1 if size is None else operator.index(size))

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        """Return lines until they have `hint` bytes or more together; all for None, zero or a negative hint."""
        enough = 0 if hint is None else operator.index(hint)
        if enough <= 0:
            return list(self)
        lines, length = [], 0
        while length < enough and (line := self.readline()):
            lines.append(line)
            length += len(line)
        return lines
