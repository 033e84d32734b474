"""The lines of an access log, taken apart: strictly, so that what is no record fails the test."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

from sites import until

COMBINED = re.compile(
    r"(?P<peer>[!-~]+) - (?P<user>[!-~]+) \[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
    r'"(?P<request>[ !#-~]*)" (?P<status>\d{3}) (?P<bytes>\d+) "(?P<referer>[ !#-~]*)" "(?P<agent>[ !#-~]*)"'
)
KEYS = ["time", "remote_addr", "remote_user", "method", "target", "protocol", "status", "body_bytes"]
KEYS += ["duration_us", "complete", "referer", "user_agent"]


def combined(line: str) -> dict[str, Any]:
    """Return the parts of a line in the combined format; texts as the bytes that they stand for, "-" as None."""
    match = COMBINED.fullmatch(line)
    assert match, f"no record: {line!r}"
    parts: dict[str, Any] = {name: told_back(text) for name, text in match.groupdict().items()}
    parts |= {name: None for name in ("user", "referer", "agent") if match[name] == "-"}
    time = datetime.datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z")
    return parts | {"status": int(match["status"]), "bytes": int(match["bytes"]), "time": time}


def told_back(text: str) -> bytes:
    """Return the bytes that an escaped text stands for."""
    assert re.fullmatch(r"(?:[ !#-\[\]-~]|\\x[0-9A-F]{2})*", text), text
    return re.sub(r"\\x(..)", lambda match: chr(int(match[1], 16)), text).encode("latin-1")


def of_json(line: str) -> dict[str, Any]:
    """Return the object of a line; texts as the bytes that they stand for."""
    assert re.fullmatch(r"[ -~]+", line), f"not visible ASCII: {line!r}"
    found = json.loads(line)
    assert [key for key in found if key not in ("refusal", "request_line")] == KEYS
    time = datetime.datetime.fromisoformat(found["time"])
    assert time.utcoffset() is not None
    texts = {key: value.encode("latin-1") for key, value in found.items() if isinstance(value, str)}
    return found | texts | {"time": time}


def lines_of(path: Path) -> list[str]:
    """Return the lines of a log; all of them are whole."""
    text = path.read_bytes().decode("ascii") if path.exists() else ""
    assert text == "" or text.endswith("\n"), f"a line without its end: {text[-200:]!r}"
    return text.splitlines()


def wait_for_lines(path: Path, count: int) -> list[str]:
    """Return the lines of a log once there are so many."""
    until(lambda: path.exists() and path.read_bytes().count(b"\n") >= count, f"{count} lines")
    lines = lines_of(path)
    assert len(lines) == count, lines
    return lines
