"""HTTP requests that break one rule each, labelled with the rule and the answer that it must get.

Near misses: everything else about them is right, so that only the named rule can refuse them. Each is what some
server of the last years took, or read differently from its neighbour. Bytes in, expectations out: must not know
any parser. The rules are in `hostile_rules`.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from wiretask.testing.broken_requests import Parts
from wiretask.testing.hostile_rules import RULES, Rule
from wiretask.testing.http_messages import plain_fields

__all__ = ["HOSTILE_RULES", "HostileRequest", "hostile_http_requests", "oversized_http_requests"]


@dataclass(frozen=True)
class HostileRequest:
    """A request that has to be refused.

    Attributes:
        stream: the request, and maybe what an attacker puts behind it, which must never be taken for a request.
        rule: the name of the one rule that it breaks; source: where that stands.
        statuses: the answers that are right, the best first. The connection closes after any of them.
        is_must: false if the RFC lets a server accept it, in one stated way; being strict is safer.
    """

    stream: bytes
    rule: str
    source: str
    statuses: tuple[int, ...]
    is_must: bool = True


#: The name of every rule that `hostile_http_requests` breaks, in the order of a request.
HOSTILE_RULES: tuple[str, ...] = tuple(rule.name for rule in RULES)


def hostile_http_requests(rule: str | None = None) -> st.SearchStrategy[HostileRequest]:
    """Requests that break one rule each.

    Args:
        rule: the name of the rule to break, one of `HOSTILE_RULES`; None: any.
    Raises:
        ValueError: there is no such rule.
    """
    rules = [known for known in RULES if rule in (None, known.name)]
    if not rules:
        raise ValueError(f"there is no rule {rule!r}; they are {', '.join(HOSTILE_RULES)}")
    return _broken(rules)


@st.composite
def _broken(draw: st.DrawFn, rules: list[Rule]) -> HostileRequest:
    chosen = draw(st.sampled_from(rules))
    lines = [name + b": " + value for name, value in draw(plain_fields(2))]
    parts = Parts([draw(st.sampled_from([b"GET", b"POST"])), b"/x", b"HTTP/1.1"], [b" ", b" "], lines)
    parts.put(draw, b"Host: a")
    stream = chosen.break_it(draw, parts)
    return HostileRequest(
        parts.stream() if stream is None else stream, chosen.name, chosen.source, chosen.statuses, chosen.is_must
    )


def oversized_http_requests(
    *, max_line_bytes: int, max_head_bytes: int, max_body_bytes: int
) -> st.SearchStrategy[HostileRequest]:
    """Requests beyond the limits of a server, given in bytes: of the request line, the whole head, the body."""
    end = b" HTTP/1.1\r\nHost: a\r\n"
    long = b"a" * (max_line_bytes + 1)
    many = b"X-A: b\r\n" * (max_head_bytes // 8 + 1)
    over = max_body_bytes + 1
    chunk = b"%x\r\n%b\r\n" % (over, b"x" * over) if over <= 1024 * 1024 else b"%x\r\n" % over
    cases = [
        (b"GET /" + long + end + b"\r\n", "target_size", "9112 3", (414, 431)),
        (b"GET /x" + end + b"X-A: " + b"a" * max_head_bytes + b"\r\n\r\n", "head_size", "9110 5.4", (431,)),
        (b"GET /x" + end + many + b"\r\n", "head_size", "9110 5.4", (431,)),
        (b"POST /x" + end + b"Content-Length: %d\r\n\r\n" % over, "body_size", "9110 15.5.14", (413,)),
        (b"POST /x" + end + b"Transfer-Encoding: chunked\r\n\r\n" + chunk, "body_size", "9110 15.5.14", (413,)),
    ]
    return st.sampled_from([HostileRequest(*case) for case in cases])
