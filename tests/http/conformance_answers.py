"""What a server has sent: taken apart without a belief that it is right, so that the judge can say what is wrong.

Source: RFC 9112 sections 4 to 7.
"""

from __future__ import annotations

import re
from typing import Any

Answer = dict[str, Any]


def parse_answers(data: bytes, head_first: bool, eof: bool) -> tuple[list[Answer], list[int], bytes]:
    """Return (answers, interim statuses, rest). An answer is a dict; `complete` is false if cut short."""
    answers: list[Answer] = []
    interim: list[int] = []
    while data:
        match = re.match(rb"HTTP/(\d\.\d) (\d{3})(?: [^\r\n]*)?\r\n((?:[^\r\n]+\r\n)*)\r\n", data)
        if not match:
            break
        status = int(match[2])
        headers = [
            (name.strip().lower().decode("latin-1"), value.strip().decode("latin-1"))
            for name, _, value in (line.partition(b":") for line in match[3].split(b"\r\n")[:-1])
        ]
        rest = data[match.end() :]
        if 100 <= status < 200 and status != 101:
            interim.append(status)
            data = rest
            continue
        answer: Answer = {"status": status, "version": match[1].decode(), "headers": headers}
        bodiless = status in (101, 204, 304) or (head_first and not answers)
        answer["body"], data, answer["complete"], answer["framing"] = _take_body(headers, rest, bodiless, eof)
        answers.append(answer)
    return answers, interim, data


def _take_body(
    headers: list[tuple[str, str]], rest: bytes, bodiless: bool, eof: bool
) -> tuple[bytes, bytes, bool, str]:
    lengths = [value for name, value in headers if name == "content-length"]
    codings = ",".join(value.lower() for name, value in headers if name == "transfer-encoding")
    if bodiless:
        return b"", rest, True, "none"
    if "chunked" in codings:
        body = b""
        while match := re.match(rb"([0-9A-Fa-f]+)[^\r\n]*\r\n", rest):
            size = int(match[1], 16)
            if size == 0:
                end = re.match(rb"0+[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n", rest)
                return (body, rest[end.end() :], True, "chunked") if end else (body, b"", False, "chunked")
            block = rest[match.end() : match.end() + size]
            body, rest = body + block, rest[match.end() + size + 2 :]
        return body, rest, False, "chunked"
    if lengths and lengths[0].isdigit():
        size = int(lengths[0])
        return rest[:size], rest[size:], len(rest) >= size, "length"
    return rest, b"", eof, "close"
