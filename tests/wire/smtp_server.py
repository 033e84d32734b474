"""A mail server on `wiretask.asynchat`, for tests: what a program that was written for asynchat looks like.

Strategy: the terminator is CRLF while commands come in, CRLF "." CRLF while a message does. The CRLF of the DATA
command counts as the first one of the message's end (RFC 5321, section 4.1.1.4), so it is put back for a message, and
an empty one is found, too. Commands may be sent ahead (RFC 2920) and are answered in order.
Must not: do more for mail than that. Nothing is relayed or stored.
Source: RFC 5321; RFC 1870 (SIZE), RFC 2920 (PIPELINING), RFC 6152 (8BITMIME).
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from typing import Any

import wiretask.asynchat as asynchat
import wiretask.asyncore as asyncore

__all__ = ["Mail", "MailServer"]

END_OF_LINE = b"\r\n"
END_OF_MAIL = b"\r\n.\r\n"
MAX_LINE_BYTES = 2000
COMMANDS = {"HELO", "EHLO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "QUIT"}


@dataclass
class Mail:
    """A message that was accepted."""

    peer: Any
    sender: str
    recipients: list[str] = field(default_factory=list)
    content: bytes = b""


class MailServer(asyncore.dispatcher):
    """Listens on a port of its own choice, and keeps every message in `delivered`.

    Args:
        max_mail_bytes: what is longer is refused.
    Attributes: `port`; `sessions`, how many there have been.
    """

    def __init__(self, entries: Any, max_mail_bytes: int = 50_000_000) -> None:
        super().__init__(map=entries)
        self.entries, self.max_mail_bytes = entries, max_mail_bytes
        self.delivered: list[Mail] = []
        self.sessions = 0
        self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.set_reuse_addr()
        self.bind(("127.0.0.1", 0))
        self.listen(128)
        self.port: int = self.socket.getsockname()[1]

    def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
        self.sessions += 1
        MailSession(self, sock, addr)


class MailSession(asynchat.async_chat):
    """One client."""

    def __init__(self, server: MailServer, sock: socket.socket, peer: Any) -> None:
        super().__init__(sock, server.entries)
        self.server, self.peer = server, peer
        self.greeted = self.is_in_mail = False
        self.mail: Mail | None = None
        self.taken: list[bytes] = []
        self.taken_bytes = 0
        self.set_terminator(END_OF_LINE)
        self.say("220 test.invalid ready")

    def say(self, text: str) -> None:
        self.push(text.encode() + END_OF_LINE)

    def collect_incoming_data(self, data: bytes) -> None:
        self.taken_bytes += len(data)
        limit = self.server.max_mail_bytes if self.is_in_mail else MAX_LINE_BYTES
        if self.taken_bytes <= limit + len(END_OF_LINE):
            self.taken.append(data)
        else:
            self.taken.clear()

    def found_terminator(self) -> None:
        data, size = b"".join(self.taken), self.taken_bytes
        self.taken.clear()
        self.taken_bytes = 0
        if self.is_in_mail:
            self.end_mail(data, size - len(END_OF_LINE))
        elif size > MAX_LINE_BYTES:
            self.say("500 line too long")
        else:
            self.obey(data.decode("latin-1"))

    def obey(self, line: str) -> None:
        verb, _, rest = line.partition(" ")
        verb = verb.upper()
        if verb not in COMMANDS:
            self.say("500 unknown command")
        elif verb in {"MAIL", "RCPT", "DATA"} and not self.greeted:
            self.say("503 say HELO first")
        else:
            getattr(self, f"smtp_{verb}")(rest.strip())

    def smtp_HELO(self, rest: str) -> None:  # noqa: N802 (named after the command, as the others)
        self.greeted, self.mail = True, None
        self.say("250 test.invalid")

    def smtp_EHLO(self, rest: str) -> None:  # noqa: N802
        self.greeted, self.mail = True, None
        self.say("250-test.invalid")
        self.say("250-PIPELINING")
        self.say("250-8BITMIME")
        self.say(f"250 SIZE {self.server.max_mail_bytes}")

    def smtp_MAIL(self, rest: str) -> None:  # noqa: N802
        found = re.fullmatch(r"FROM:\s*<([^<>]*)>((?: \S+)*)", rest, re.IGNORECASE)
        size = found and re.search(r" SIZE=(\d+)", found[2], re.IGNORECASE)
        if self.mail is not None:
            self.say("503 there is a sender already")
        elif not found:
            self.say("501 MAIL FROM:<address>")
        elif size and int(size[1]) > self.server.max_mail_bytes:
            self.say("552 too large")
        else:
            self.mail = Mail(self.peer, found[1])
            self.say("250 ok")

    def smtp_RCPT(self, rest: str) -> None:  # noqa: N802
        found = re.fullmatch(r"TO:\s*<([^<>]+)>", rest, re.IGNORECASE)
        if self.mail is None:
            self.say("503 say MAIL first")
        elif not found:
            self.say("501 RCPT TO:<address>")
        elif found[1].startswith("nobody@"):
            self.say("550 no such mailbox")
        else:
            self.mail.recipients.append(found[1])
            self.say("250 ok")

    def smtp_DATA(self, rest: str) -> None:  # noqa: N802
        if self.mail is None or not self.mail.recipients:
            self.say("503 say RCPT first")
            return
        self.is_in_mail = True
        self.set_terminator(END_OF_MAIL)
        self.ac_in_buffer = END_OF_LINE + self.ac_in_buffer
        self.say("354 go on")

    def end_mail(self, data: bytes, size: int) -> None:
        """Take a message: `data` begins with the CRLF of DATA, and lacks the one at its end."""
        self.is_in_mail = False
        self.set_terminator(END_OF_LINE)
        mail, self.mail = self.mail, None
        assert mail is not None
        if size > self.server.max_mail_bytes:
            self.say("552 too large")
            return
        mail.content = (data + END_OF_LINE).replace(b"\r\n..", b"\r\n.").removeprefix(END_OF_LINE)
        self.server.delivered.append(mail)
        self.say("250 taken")

    def smtp_RSET(self, rest: str) -> None:  # noqa: N802
        self.mail = None
        self.say("250 ok")

    def smtp_NOOP(self, rest: str) -> None:  # noqa: N802
        self.say("250 ok")

    def smtp_VRFY(self, rest: str) -> None:  # noqa: N802
        self.say("252 send it, and see")

    def smtp_QUIT(self, rest: str) -> None:  # noqa: N802
        self.say("221 bye")
        self.close_when_done()
