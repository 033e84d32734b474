"""Whether what came back is an answer that the case allows, and whether it is the preferred one."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from conformance_answers import Answer
from conformance_delivery import Delivery, status_fits

Case = dict[str, Any]


def expand(parts: str | list[Any]) -> bytes:
    """Return the bytes of a case: a string, or a list of strings and {"repeat", "times"}; all latin-1."""
    if isinstance(parts, str):
        return parts.encode("latin-1")
    return b"".join(
        part["repeat"].encode("latin-1") * part["times"] if isinstance(part, dict) else part.encode("latin-1")
        for part in parts
    )


def judge(case: Case, seen: Delivery) -> tuple[bool, bool, str]:
    """Return (passed, preferred, reason) of one delivery."""
    reasons = []
    choices = [case["expect"], *case["expect"].get("alternatives", ())]
    for position, choice in enumerate(choices):
        reason, preferred = _judge_choice(case, choice, seen)
        if not reason:
            return True, preferred and position == 0, ""
        reasons.append(reason)
    return False, False, reasons[0]


def _judge_choice(case: Case, choice: Case, seen: Delivery) -> tuple[str, bool]:
    before = case.get("good_before", 0)
    for answer in seen.answers[:before]:
        if answer["status"] != 200:
            return f"the good request got {answer['status']}", False
    answers = seen.answers[before:]
    first = answers[0] if answers else None
    status = first["status"] if first else "garbage" if seen.rest else "none" if seen.eof else "open"
    if not status_fits(choice["status"], status):
        return f"answer {status}, expected {_names(choice['status'])}", False
    preferred = status_fits(choice.get("preferred", choice["status"]), status)
    if choice.get("evil_must_not_reach") and seen.reached:
        return "/evil reached the application", False
    if choice.get("alive_only"):
        return "", preferred
    if choice["close"] and not seen.eof and status != "open":
        return "connection left open", False
    if choice.get("prefer_close") and not seen.eof:
        preferred = False
    if choice.get("no_interim") and seen.interim:
        return f"interim {seen.interim} sent", False
    if choice.get("interim") and not seen.interim:
        return "no interim answer", False
    if first:
        reason = (
            _judge_wire(choice, first, seen)
            or (choice.get("echo") and _judge_echo(choice, first))
            or _judge_follow_up(case, choice, answers, seen)
        )
        if reason == "closed":
            preferred, reason = False, ""
        if reason:
            return reason, False
    return "", preferred


def _judge_wire(choice: Case, first: Answer, seen: Delivery) -> str:
    headers = first["headers"]
    names = [name for name, _ in headers]
    for name in choice.get("absent_headers", ()):
        if name in names:
            return f"header {name} on the wire"
    for name in choice.get("present_headers", ()):
        if name not in names:
            return f"header {name} missing"
    if choice.get("one_framing") and first["status"] == 200:
        lengths = {value for name, value in headers if name == "content-length"}
        if len(lengths) > 1 or (lengths and "transfer-encoding" in names):
            return "more than one framing of the answer"
        if any(not value.isdigit() for value in lengths):
            return f"Content-Length {lengths} on the wire"
    if choice.get("clean_values") and any(re.search(r"[\0\r\n]", value) for _, value in headers):
        return "NUL, CR or LF in a header value on the wire"
    if choice.get("clean_names") and any(not re.fullmatch(r"[!#$%&'*+.^_`|~0-9a-z-]+", name) for name in names):
        return "header name that is not a token on the wire"
    if choice.get("truncated") and first["status"] < 400 and first["complete"] and first["framing"] != "close":
        return "an answer that failed looks complete"
    if "answer_body" in choice and first["status"] == 200 and first["body"] != choice["answer_body"].encode():
        return f"answer body {first['body'][:40]!r}"
    if "raw_version_framing" in choice and first["framing"] == "chunked":
        return "chunked answer to HTTP/1.0"
    if seen.rest:
        return f"bytes that are no answer follow: {seen.rest[:30]!r}"
    return ""


def _judge_echo(choice: Case, first: Answer) -> str:
    try:
        said = json.loads(first["body"])
    except ValueError:
        return f"answer body is not the echo: {first['body'][:40]!r}"
    environ = said.get("environ", {})
    if "body" in choice:
        wanted = expand(choice["body"])
        if said.get("length") != len(wanted):
            return f"application read {said.get('length')} bytes, expected {len(wanted)}"
        if said.get("sha256") != hashlib.sha256(wanted).hexdigest():
            return "application read other bytes"
    for key, pattern in choice.get("environ", {}).items():
        if re.fullmatch(pattern, environ.get(key, ""), re.DOTALL) is None:
            return f"{key} is {environ.get(key)!r}, expected {pattern}"
    for key, pattern in choice.get("environ_not", {}).items():
        if key in environ and re.fullmatch(pattern, environ[key], re.DOTALL):
            return f"{key} is {environ[key]!r}"
    return ""


def _judge_follow_up(case: Case, choice: Case, answers: list[Answer], seen: Delivery) -> str:
    """Return a reason, '' if the follow-up was served or not due, or 'closed' if closed before it."""
    if choice["kind"] == "error":
        return "" if not choice["close"] or len(answers) == 1 else f"{len(answers)} answers, expected one"
    if choice.get("follow_up") == "swallowed" or not seen.follow_path:
        return "" if len(answers) == 1 else f"{len(answers)} answers, expected one"
    if choice["close"]:
        return "" if len(answers) == 1 else "an answer follows one that ends the connection"
    if len(answers) == 1:
        if seen.eof and choice["kind"] == "app-error" and answers[0]["status"] >= 500:
            return ""  # an application that fails ends the connection: who knows what it has read of the body
        return "closed" if seen.eof else "follow-up not answered"
    if choice["kind"] == "app-error" and not answers[0]["complete"]:
        return "follow-up served after a cut answer"
    try:
        path = json.loads(answers[1]["body"]).get("path")
    except (ValueError, AttributeError):
        path = None
    if answers[1]["status"] != 200 or path != seen.follow_path or len(answers) > 2:
        return f"follow-up answered {answers[1]['status']} for {path!r}"
    return ""


def _names(accepted: list[Any]) -> str:
    return "/".join(map(str, accepted))
