"""A mail server on `wiretask.asynchat` (`smtp_server`), and `smtplib`: issue 6, a real user of asynchat.

The server turns its loop in a thread of its own, once over a `WatchedMap` and once over a plain dict, the way
of old programs.
"""

from __future__ import annotations

import contextlib
import random
import smtplib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from smtp_server import MailServer

import wiretask.asyncore as asyncore
from wiretask import WatchedMap

DEADLINE_SECONDS = 60.0
FROM, TO = "a@test.invalid", ["b@test.invalid", "c@test.invalid"]
TRANSACTION = b"MAIL FROM:<a@test.invalid>\r\nRCPT TO:<b@test.invalid>\r\nDATA\r\n"


@contextlib.contextmanager
def serving(entries: Any, **options: Any) -> Iterator[MailServer]:
    """A server whose loop turns; at the end nobody but the listener is left in the map."""
    server = MailServer(entries, **options)
    is_over = threading.Event()

    def turn() -> None:
        while not is_over.is_set():
            asyncore.loop(timeout=0.05, map=entries, count=1)

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield server
        wait_until(lambda: list(entries.values()) == [server])
    finally:
        is_over.set()
        thread.join(DEADLINE_SECONDS)
        asyncore.close_all(entries, ignore_all=True)
    assert not thread.is_alive()


@pytest.fixture(params=[WatchedMap, dict], ids=["watched", "plain"])
def entries(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture
def server(entries: Any) -> Iterator[MailServer]:
    with serving(entries) as server:
        yield server


def client(server: MailServer) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", server.port, local_hostname="client.invalid", timeout=DEADLINE_SECONDS)


def wait_until(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not done():
        assert time.monotonic() < deadline, "deadline"
        time.sleep(0.005)


def replies(sock: socket.socket, count: int) -> list[bytes]:
    """Return the code of each of the next replies."""
    with sock.makefile("rb") as lines:
        codes = []
        while len(codes) < count:
            line = lines.readline()
            assert line, codes
            if line[3:4] == b" ":
                codes.append(line[:3])
        return codes


def sessions(server: MailServer) -> list[Any]:
    return [entry for entry in list(server.entries.values()) if entry is not server]


@contextlib.contextmanager
def raw_client(server: MailServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS) as sock:
        yield sock


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n",
        b"one line\r\n",
        b".\r\n..\r\n.hidden\r\nx.\r\n.\r\n",
        b"Subject: \xfc\r\n\r\n" + bytes(range(128, 256)) + b"\0\r\n",
        b"\r\r\nx\r\n",
    ],
    ids=["empty", "empty line", "line", "dots", "8 bit", "CR"],
)
def test_a_message_arrives_as_it_was_sent(server: MailServer, content: bytes) -> None:
    with client(server) as smtp:
        smtp.ehlo()
        smtp.mail(FROM)
        for recipient in TO:
            smtp.rcpt(recipient)
        smtp.putcmd("data")
        assert smtp.getreply()[0] == 354
        # smtplib's own `data` would change bare CRs, and end an empty message with a line.
        smtp.send(content.replace(b"\r\n.", b"\r\n..") if content[:1] != b"." else dotted(content))
        smtp.send(b".\r\n")
        assert smtp.getreply()[0] == 250
    (mail,) = server.delivered
    assert (mail.sender, mail.recipients, mail.content) == (FROM, TO, content)


def dotted(content: bytes) -> bytes:
    return (b"\r\n" + content).replace(b"\r\n.", b"\r\n..").removeprefix(b"\r\n")


def test_smtplib_sends_messages_over_one_session(server: MailServer) -> None:
    with client(server) as smtp:
        for number in range(50):
            assert smtp.sendmail(FROM, TO, f"Subject: {number}\r\n\r\n.dot\r\n") == {}
        assert smtp.verify("b")[0] == 252
        assert smtp.rset()[0] == 250
    assert [mail.content for mail in server.delivered] == [
        f"Subject: {number}\r\n\r\n.dot\r\n".encode() for number in range(50)
    ]
    assert server.sessions == 1


def test_a_large_message_arrives_whole(server: MailServer) -> None:
    line = bytes(random.Random(1).choices(range(46, 127), k=76)) + b"\r\n"
    content = b"".join(b".%d " % number + line for number in range(200_000))
    assert len(content) > 16_000_000
    with client(server) as smtp:
        smtp.sendmail(FROM, TO, content)
        smtp.sendmail(FROM, TO, b"and a short one\r\n")
    large, short = server.delivered
    is_whole = large.content == content
    assert is_whole  # not compared here: pytest would show the difference, of 16 MB
    assert short.content == b"and a short one\r\n"


def test_many_clients_at_once_lose_nothing(server: MailServer) -> None:
    together = threading.Barrier(30, timeout=DEADLINE_SECONDS)

    def send(number: int) -> None:
        with client(server) as smtp:
            together.wait()
            for turn in range(10):
                smtp.sendmail(f"{number}@test.invalid", TO, f"{turn} ".encode() * (number * 97 % 400 * turn + 1))

    with ThreadPoolExecutor(30) as clients:
        list(clients.map(send, range(30)))
    assert len(server.delivered) == 300
    for number in range(30):
        mine = [mail.content for mail in server.delivered if mail.sender == f"{number}@test.invalid"]
        # `sendmail` ends a message with a line.
        expected = [f"{turn} ".encode() * (number * 97 % 400 * turn + 1) + b"\r\n" for turn in range(10)]
        assert mine == expected


@pytest.mark.parametrize("step", [1, 7, 1_000_000], ids=["byte by byte", "sevens", "whole"])
def test_commands_may_be_sent_ahead(server: MailServer, step: int) -> None:
    stream = b"EHLO x\r\n" + (TRANSACTION + b"first\r\n.\r\n") + b"NOOP\r\n" + (TRANSACTION + b".\r\n") + b"QUIT\r\n"
    with raw_client(server) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(stream), step):
            sock.sendall(stream[at : at + step])
        one_mail = [b"250", b"250", b"354", b"250"]
        assert replies(sock, 12) == [b"220", b"250", *one_mail, b"250", *one_mail, b"221"]
        assert sock.recv(1) == b""
    assert [mail.content for mail in server.delivered] == [b"first\r\n", b""]


def test_a_client_that_reads_nothing_for_long_gets_every_reply(server: MailServer) -> None:
    commands = 60_000
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # its connections inherit that
    with socket.socket() as sock:
        sock.settimeout(DEADLINE_SECONDS)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(b"NOOP\r\n" * commands + b"QUIT\r\n")
        # What the client's window and the server's buffer take is less than that.
        wait_until(lambda: any(len(entry.producer_fifo) > 1000 for entry in sessions(server)))
        assert replies(sock, commands + 2) == [b"220", *[b"250"] * commands, b"221"]


def test_what_is_too_large_is_refused_and_the_session_goes_on(entries: Any) -> None:
    with serving(entries, max_mail_bytes=100_000) as server, client(server) as smtp:
        with pytest.raises(smtplib.SMTPSenderRefused, match="552"):
            smtp.sendmail(FROM, TO, b"x" * 100_001)
        smtp.mail(FROM)  # without saying how long it will be
        smtp.rcpt(TO[0])
        assert smtp.data(b"x" * 3_000_000)[0] == 552
        assert smtp.docmd("NOOP " + "x" * 1_000_000)[0] == 500
        assert smtp.sendmail(FROM, TO, b"x" * 99_998) == {}
        assert [len(mail.content) for mail in server.delivered] == [100_000]


def test_what_is_wrong_is_refused_and_the_session_goes_on(server: MailServer) -> None:
    with client(server) as smtp:
        assert smtp.docmd("MAIL FROM:<a@b>")[0] == 503
        assert smtp.docmd("BREW")[0] == 500
        smtp.ehlo()
        assert smtp.docmd("MAIL a@b")[0] == 501
        assert smtp.docmd("DATA")[0] == 503
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            smtp.sendmail(FROM, "nobody@test.invalid", b"x")
        assert smtp.sendmail(FROM, ["nobody@test.invalid", *TO], b"x").keys() == {"nobody@test.invalid"}
    assert [mail.recipients for mail in server.delivered] == [TO]


@pytest.mark.parametrize("is_rude", [False, True], ids=["end", "reset"])
def test_a_client_that_leaves_in_a_message_leaves_nothing(server: MailServer, is_rude: bool) -> None:
    with client(server) as other, raw_client(server) as sock:
        sock.sendall(b"HELO x\r\n" + TRANSACTION + b"half of a mess")
        assert replies(sock, 5)[-1] == b"354"
        if is_rude:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
        other.sendmail(FROM, TO, b"of another")
    assert [mail.content for mail in server.delivered] == [b"of another\r\n"]
    # The fixture sees that no session is left.
