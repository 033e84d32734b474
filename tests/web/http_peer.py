"""A client that sends what it is told, byte by byte, and believes of an answer only what RFC 9112 allows.

Strategy: plain sockets with a deadline; an answer is taken apart strictly, and whatever no server may send fails the
test: two framings, a header that is no token, a control character in a value, a body where none belongs.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from typing import Any

from peers import ClientSocket

STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9]\d\d) ([\t \x21-\x7e\x80-\xff]*)\r\n")
FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t \x21-\x7e\x80-\xff]*)\r\n")


class CutShortError(AssertionError):
    """The stream ended in the middle of an answer; `.part` is what came of its body."""

    def __init__(self, message: str, part: bytes = b"") -> None:
        super().__init__(message)
        self.part = part


@dataclass
class Answer:
    """One answer: framing is "none", "length", "chunked" or "close"."""

    status: int
    reason: str
    version: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    framing: str = "none"
    interim: list[int] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        """Return the value of a header, or None; it must not be there twice."""
        values = [value for other, value in self.headers if other == name.lower()]
        assert len(values) <= 1, f"{name} is there {len(values)} times"
        return values[0] if values else None

    @property
    def ends_connection(self) -> bool:
        """Whether the answer says that it is the last one."""
        said = (self.get("connection") or "").lower()
        return self.framing == "close" or said == "close" or (self.version == "1.0" and said != "keep-alive")


class HTTPPeer(ClientSocket):
    """One client connection; it does not wait before it sends little."""

    def __init__(self, address: Any, *, receive_buffer_bytes: int | None = None) -> None:
        super().__init__(address, receive_buffer_bytes=receive_buffer_bytes)
        if self.socket.family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = bytearray()

    # ---- sending ----

    def send_request(
        self,
        method: str = "GET",
        target: str = "/",
        *,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        version: str = "1.1",
    ) -> None:
        """Send a request with a Host, and with a Content-Length if there is a body and no other framing."""
        fields = {"Host": "test"} | (headers or {})
        if body is not None and not {"Content-Length", "Transfer-Encoding"} & fields.keys():
            fields["Content-Length"] = str(len(body))
        lines = [f"{method} {target} HTTP/{version}", *(f"{name}: {value}" for name, value in fields.items())]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))

    def ask(self, method: str = "GET", target: str = "/", **options: Any) -> Answer:
        """Send a request and return its answer."""
        self.send_request(method, target, **options)
        return self.read_answer(is_head=method == "HEAD")

    # ---- reading ----

    def _fill(self, *, is_body: bool = False) -> None:
        data = self.socket.recv(262144)
        if not data:
            part = bytes(self._held) if is_body else b""
            raise CutShortError(f"the stream ended in the middle of an answer: {bytes(self._held[-200:])!r}", part)
        self._held += data

    def _take(self, size: int) -> bytes:
        while len(self._held) < size:
            self._fill(is_body=True)
        data = bytes(self._held[:size])
        del self._held[:size]
        return data

    def _take_line(self) -> bytes:
        while (end := self._held.find(b"\r\n")) < 0:
            self._fill()
        return self._take(end + 2)

    def read_head(self) -> Answer:
        """Return the next answer without its body, interim ones too."""
        line = self._take_line()
        match = STATUS_LINE.fullmatch(line)
        assert match, f"no status line: {line!r}"
        answer = Answer(int(match[2]), match[3].decode("latin-1"), f"1.{match[1].decode()}", [])
        while (line := self._take_line()) != b"\r\n":
            header = FIELD_LINE.fullmatch(line)
            assert header, f"no header line: {line!r}"
            answer.headers.append((header[1].decode().lower(), header[2].strip(b" \t").decode("latin-1")))
        return answer

    def read_answer(self, *, is_head: bool = False) -> Answer:
        """Return the next answer that is not interim.

        Raises:
            CutShortError: the stream ended before the answer did.
        """
        answer, interim = self.read_head(), []
        while 100 <= answer.status < 200:
            interim.append(answer.status)
            answer = self.read_head()
        answer.interim = interim
        length, coding = answer.get("content-length"), answer.get("transfer-encoding")
        assert length is None or coding is None, "two framings"
        assert coding in (None, "chunked"), coding
        assert length is None or re.fullmatch(r"\d+", length), length
        assert not (answer.status == 204 and (length or coding)), "a 204 with a framing (RFC 9110 8.6, 9112 6.1)"
        if is_head or answer.status in (204, 304):
            return answer
        if coding:
            assert answer.version == "1.1"
            answer.framing, answer.body = "chunked", self._take_chunks()
        elif length is not None:
            answer.framing, answer.body = "length", self._take(int(length))
        else:
            answer.framing, answer.body = "close", self.read_to_end()
        return answer

    def _take_chunks(self) -> bytes:
        body = bytearray()
        try:
            while True:
                line = self._take_line()
                assert re.fullmatch(rb"[0-9A-Fa-f]{1,16}\r\n", line), f"no chunk size: {line!r}"
                size = int(line, 16)
                data = self._take(size + 2)
                assert data[-2:] == b"\r\n", data[-2:]
                if size == 0:
                    return bytes(body)
                body += data[:-2]
        except CutShortError as error:
            raise CutShortError(str(error), bytes(body)) from None

    def read_to_end(self) -> bytes:
        """Return everything until the server closes."""
        data = bytearray(self._held)
        self._held.clear()
        while piece := self.socket.recv(262144):
            data += piece
        return bytes(data)

    def is_closed_by_server(self) -> bool:
        """Return whether the server closes without another byte; waits for it."""
        return not self._held and super().is_closed_by_server()

    def can_ask_again(self) -> bool:
        """Return whether the connection serves one more request."""
        try:
            return self.ask("GET", "/again").status < 500
        except (CutShortError, ConnectionError):
            return False
