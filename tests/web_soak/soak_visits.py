"""What the clients of the HTTP soak do: good and bad visits to the site, each of which checks what it gets.

A visit takes a connection of its own. `WrongAnswerError` is the server's fault; everything else that may happen to a
client that behaves badly is allowed where the visit allows it. Must not know: processes, time to stop.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter
from collections.abc import Callable

from http_peer import CutShortError, HTTPPeer
from soak_site import content

WAYS = ("list", "chunks", "length", "write", "file", "sleep")


class WrongAnswerError(Exception):
    """The server has given an answer that is not the right one."""


def sizes(chance: random.Random) -> int:
    """Return a size: mostly small, sometimes nothing, seldom large."""
    return chance.choice([0, 1, 100, 1000, 10_000, 70_000, chance.randrange(300_000), chance.randrange(1_500_000)])


class Visitor:
    """Makes visits to a port, and counts what was seen."""

    def __init__(self, port: int, seed: int) -> None:
        self.address = ("127.0.0.1", port)
        self.chance = random.Random(seed)
        self.counts: Counter[str] = Counter()

    def visit(self) -> None:
        """Make a visit of a kind that chance chooses.

        Raises:
            WrongAnswerError: the server was wrong.
        """
        kind: Callable[[], None] = self.chance.choice(VISITS).__get__(self)
        self.counts[kind.__name__] += 1
        try:
            kind()
        except AssertionError as error:
            raise WrongAnswerError(f"{kind.__name__}: {error}") from error

    # ---- good manners: everything must be right ----

    def browse(self) -> None:
        """One request after the other on one connection."""
        with HTTPPeer(self.address) as peer:
            for _ in range(self.chance.randrange(1, 30)):
                if not self._ask(peer):
                    return

    def pipeline(self) -> None:
        """Many requests at once; the answers in order."""
        with HTTPPeer(self.address) as peer:
            asked = [self._target(small=True) for _ in range(self.chance.randrange(2, 40))]
            for target, _ in asked:
                peer.send_request("GET", target)
            for _, body in asked:
                self._is(peer.read_answer().body, body)

    def heads(self) -> None:
        """HEAD and 204 between other requests."""
        with HTTPPeer(self.address) as peer:
            for _ in range(10):
                self._is(peer.ask("HEAD", self._target(small=True)[0]).body, b"")
                if peer.ask("GET", "/nothing").status != 204:
                    raise WrongAnswerError("no 204")
                self._ask(peer)

    def old(self) -> None:
        """HTTP/1.0."""
        with HTTPPeer(self.address) as peer:
            target, body = self._target()
            peer.send(f"GET {target} HTTP/1.0\r\n\r\n".encode())
            self._is(peer.read_answer().body, body)

    def upload(self) -> None:
        """Bodies of every framing, checked by their hash."""
        with HTTPPeer(self.address) as peer:
            for _ in range(self.chance.randrange(1, 6)):
                body = self.chance.randbytes(sizes(self.chance))
                wanted = f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()
                framing = self.chance.choice(["length", "chunked", "expect"])
                if framing == "chunked":
                    peer.send_request("POST", "/upload", headers={"Transfer-Encoding": "chunked"})
                    for start in range(0, len(body), 30_000):
                        piece = body[start : start + 30_000]
                        peer.send(b"%x\r\n%s\r\n" % (len(piece), piece))
                    peer.send(b"0\r\n\r\n")
                elif framing == "expect" and body:
                    headers = {"Expect": "100-continue", "Content-Length": str(len(body))}
                    peer.send_request("POST", "/upload", headers=headers)
                    if peer.read_head().status != 100:
                        raise WrongAnswerError("no 100")
                    peer.send(body)
                else:
                    peer.send_request("POST", "/upload", body=body)
                self._is(peer.read_answer().body, wanted)

    def leave_unread(self) -> None:
        """A body that the application does not read, and another request behind it."""
        with HTTPPeer(self.address) as peer:
            peer.send_request("POST", "/unread", body=b"GET /evil HTTP/1.1\r\n\r\n" * 50)
            self._is(peer.read_answer().body, b"unread")
            self._ask(peer)

    def half_close(self) -> None:
        """End of input right after the request."""
        with HTTPPeer(self.address) as peer:
            target, body = self._target()
            peer.send_request("GET", target)
            peer.end_output()
            self._is(peer.read_answer().body, body)

    def read_slowly(self) -> None:
        """An answer larger than everything between, taken in little pieces."""
        with HTTPPeer(self.address, receive_buffer_bytes=4096) as peer:
            seed, size = self.chance.randrange(1 << 30), 600_000
            peer.send_request("GET", f"/{self.chance.choice(WAYS)}?seed={seed}&size={size}")
            time.sleep(self.chance.random())
            self._is(peer.read_answer().body, content(seed, size))

    def write_slowly(self) -> None:
        """A request in pieces, with pauses."""
        with HTTPPeer(self.address) as peer:
            target, body = self._target()
            for start in range(0, len(request := f"GET {target} HTTP/1.1\r\nHost: slow\r\n\r\n".encode()), 9):
                peer.send(request[start : start + 9])
                time.sleep(0.02)
            self._is(peer.read_answer().body, body)

    # ---- applications that fail ----

    def fail(self) -> None:
        """Applications that fail before and after the head: 500, or an answer that is seen to be cut."""
        for path in ("/fail-before", "/fail-started"):
            with HTTPPeer(self.address) as peer:
                answer = peer.ask("GET", path)
                if answer.status != 500 or b"purpose" in answer.body:
                    raise WrongAnswerError(f"{path} is answered by {answer}")
        seed, size = self.chance.randrange(1 << 30), 5000
        with HTTPPeer(self.address) as peer:
            peer.send_request("GET", f"/fail-middle?seed={seed}&size={size}")
            try:
                peer.read_answer()
            except CutShortError as error:
                if not content(seed, size).startswith(error.part):
                    raise WrongAnswerError("the part before a failure is wrong") from error
            else:
                raise WrongAnswerError("an answer that failed looks whole")

    def nonsense(self) -> None:
        """What is no HTTP is answered by an error, and closed."""
        nonsense = [
            b"\x16\x03\x01\x00\xff\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/9.9\r\nHost: t\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ]
        with HTTPPeer(self.address) as peer:
            peer.send(self.chance.choice(nonsense))
            answer = peer.read_answer()
            if answer.status < 400 or not peer.is_closed_by_server():
                raise WrongAnswerError(f"nonsense is answered by {answer}")

    # ---- bad manners: anything may be missing, nothing may be wrong ----

    def leave_while_asking(self) -> None:
        """Away in the middle of a request."""
        with HTTPPeer(self.address) as peer:
            request = b"POST /upload HTTP/1.1\r\nHost: t\r\nContent-Length: 300000\r\n\r\n" + b"x" * 200_000
            peer.send(request[: self.chance.randrange(len(request))])
            self._leave(peer)

    def leave_while_answered(self) -> None:
        """Away in the middle of an answer."""
        with HTTPPeer(self.address, receive_buffer_bytes=4096) as peer:
            target, body = self._target()
            peer.send_request("GET", target)
            if self.chance.random() < 0.7 and body:
                peer.read_head()
            self._leave(peer)

    def leave_a_pipeline(self) -> None:
        """Away with many requests under way."""
        with HTTPPeer(self.address) as peer:
            for _ in range(20):
                peer.send_request("GET", self._target(small=True)[0])
            self._leave(peer)

    def say_nothing(self) -> None:
        """Connected, silent, away."""
        with HTTPPeer(self.address) as peer:
            time.sleep(self.chance.random() * 0.3)
            self._leave(peer)

    # ---- what they have in common ----

    def _target(self, *, small: bool = False) -> tuple[str, bytes]:
        way, seed = self.chance.choice(WAYS), self.chance.randrange(1 << 30)
        size = self.chance.randrange(2000) if small else sizes(self.chance)
        return f"/{way}?seed={seed}&size={size}", content(seed, size)

    def _ask(self, peer: HTTPPeer) -> bool:
        target, body = self._target()
        answer = peer.ask("GET", target)
        self._is(answer.body, body)
        return not answer.ends_connection

    def _is(self, body: bytes, wanted: bytes) -> None:
        self.counts["answers checked"] += 1
        if body != wanted:
            raise WrongAnswerError(f"{len(body)} bytes {body[:50]!r}, not {len(wanted)} {wanted[:50]!r}")

    def _leave(self, peer: HTTPPeer) -> None:
        (peer.reset if self.chance.random() < 0.5 else peer.close)()


VISITS = [
    Visitor.browse,
    Visitor.browse,
    Visitor.browse,
    Visitor.pipeline,
    Visitor.heads,
    Visitor.old,
    Visitor.upload,
    Visitor.leave_unread,
    Visitor.half_close,
    Visitor.read_slowly,
    Visitor.write_slowly,
    Visitor.fail,
    Visitor.nonsense,
    Visitor.leave_while_asking,
    Visitor.leave_while_answered,
    Visitor.leave_a_pipeline,
    Visitor.say_nothing,
]
