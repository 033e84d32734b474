"""What clients do: each behaviour is one conversation (or a storm of them), of those that servers meet in the wild.

A behaviour gets an `Opener`, talks, checks, and leaves. What has to come back is checked by the connections.
Must not know: threads, processes, who judges.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from typing import Protocol

from chaos_server import WRITE_TIMEOUT_SECONDS
from checked_connection import CheckedConnection, Ended
from conversation import MAX_LINE_BYTES

#: Weight, kind, lowest and highest argument of the requests of ordinary conversations.
MIXTURE: tuple[tuple[float, str, int, int], ...] = (
    (60.0, "echo", 0, 10**9),
    (6.0, "sleep", 1, 80),
    (0.8, "compute", 200_000, 2_000_000),
    (8.0, "parts", 2, 12),
    (5.0, "elsewhere", 0, 1000),
    (3.0, "large", 20_000, 300_000),
    (0.5, "spawn", 0, 0),
    (0.5, "fork", 0, 0),
    (2.0, "tasks", 1, 60),
)


class Opener(Protocol):
    """Makes the connections of one behaviour."""

    def __call__(self, *, receive_buffer_bytes: int | None = None) -> CheckedConnection:
        """Return a new connection; raises Ended if there is none."""


Behaviour = Callable[[Opener, random.Random], None]


def mixed(talk: CheckedConnection, chance: random.Random, count: int) -> bytes:
    """Return the lines of some requests of all kinds that leave the connection open."""
    weights = [weight for weight, *_ in MIXTURE]
    lines = []
    for _, kind, lowest, highest in chance.choices(MIXTURE, weights, k=count):
        lines.append(talk.request(kind, chance.randint(lowest, highest)))
        if chance.random() < 0.03:
            lines.append(b"\n")
    return b"".join(lines)


def send_in_pieces(talk: CheckedConnection, data: bytes, chance: random.Random, longest: int) -> None:
    """Send data cut anywhere."""
    position = 0
    while position < len(data):
        size = chance.randint(1, longest)
        talk.send(data[position : position + size])
        position += size


def ask_one_by_one(open_connection: Opener, chance: random.Random) -> None:
    talk = open_connection()
    for _ in range(chance.randint(1, 30)):
        talk.send(mixed(talk, chance, 1))
        talk.read_all()
    talk.close()


def pipeline(open_connection: Opener, chance: random.Random) -> None:
    """Many requests ahead, in few packets; then read everything."""
    talk = open_connection()
    for _ in range(chance.randint(1, 3)):
        send_in_pieces(talk, mixed(talk, chance, chance.randint(10, 150)), chance, 2000)
        talk.read_all()
    talk.close()


def dribble(open_connection: Opener, chance: random.Random) -> None:
    """Byte by byte."""
    talk = open_connection()
    for _ in range(chance.randint(1, 3)):
        for byte in mixed(talk, chance, chance.randint(1, 3)):
            talk.send(bytes([byte]))
            if chance.random() < 0.3:
                time.sleep(chance.uniform(0, 0.004))
        talk.read_all()
    talk.close()


def reset_in_request(open_connection: Opener, chance: random.Random) -> None:
    talk = open_connection()
    data = mixed(talk, chance, chance.randint(1, 20))
    talk.send(data[: chance.randint(1, len(data))])
    if chance.random() < 0.5:
        time.sleep(chance.uniform(0, 0.02))
    talk.reset()


def reset_in_answer(open_connection: Opener, chance: random.Random) -> None:
    talk = open_connection()
    talk.send(mixed(talk, chance, chance.randint(0, 5)) + talk.request("large", chance.randint(100_000, 3_000_000)))
    for _ in range(chance.randint(1, 5)):
        if talk.due:
            talk.read_some(chance.randint(1, 20_000))
    talk.reset()


def leave_without_reading(open_connection: Opener, chance: random.Random) -> None:
    talk = open_connection()
    talk.send(mixed(talk, chance, chance.randint(1, 40)))
    talk.close()


def half_close(open_connection: Opener, chance: random.Random) -> None:
    """End the output after some requests: all of them are still answered."""
    talk = open_connection()
    talk.send(mixed(talk, chance, chance.randint(0, 40)))
    talk.end_output()
    talk.read_to_end()


def half_close_in_request(open_connection: Opener, chance: random.Random) -> None:
    talk = open_connection()
    talk.send(mixed(talk, chance, chance.randint(0, 10)) + b"half a requ")
    talk.end_output()
    talk.read_to_end()


def be_closed(open_connection: Opener, chance: random.Random) -> None:
    """Send a request that ends the connection, and more behind it: what came before it is answered."""
    talk = open_connection()
    data = mixed(talk, chance, chance.randint(0, 20))
    data += talk.request(chance.choice(["close", "raise", "raise_late"]), 1)
    data += mixed(talk, chance, chance.randint(0, 5))
    send_in_pieces(talk, data, chance, 5000)
    talk.end_output()
    talk.read_to_end()


def be_closed_first(open_connection: Opener, chance: random.Random) -> None:
    """Send a request that ends the connection, and wait for the server to close."""
    talk = open_connection()
    talk.send(mixed(talk, chance, chance.randint(0, 20)) + talk.request("close"))
    talk.read_to_end()


def ask_for_errors(open_connection: Opener, chance: random.Random) -> None:
    """A handler that raises ends its connection, or is answered, as the flavour has it."""
    talk = open_connection()
    for _ in range(chance.randint(1, 10)):
        talk.send(mixed(talk, chance, chance.randint(0, 3)) + talk.request(chance.choice(["raise", "raise_late"])))
        talk.read_all()
    talk.close()


def ask_for_later(open_connection: Opener, chance: random.Random) -> None:
    """The last answer of each turn comes from a thread that is no worker, after the task has come back."""
    talk = open_connection()
    for _ in range(chance.randint(1, 10)):
        talk.send(mixed(talk, chance, chance.randint(0, 5)) + talk.request("later", chance.randint(0, 20)))
        talk.read_all()
    talk.close()


def read_slowly(open_connection: Opener, chance: random.Random) -> None:
    """Large answers through a small window, with pauses that are long but not too long."""
    talk = open_connection(receive_buffer_bytes=chance.choice([16_384, 65_536, 262_144]))
    talk.send(
        mixed(talk, chance, chance.randint(0, 3))
        + b"".join(talk.request("large", chance.randint(500_000, 4_000_000)) for _ in range(chance.randint(1, 2)))
        + mixed(talk, chance, chance.randint(0, 3))
    )
    begin, pauses = time.monotonic(), chance.randint(2, 8)
    while talk.due:
        talk.read_some(131_072)
        # The faster it gets on, the more often it rests; after ten seconds it hurries.
        if pauses and chance.random() < 0.05 and time.monotonic() - begin < 10:
            pauses -= 1
            time.sleep(chance.uniform(0.1, 1.0))
    talk.close()


def never_read(open_connection: Opener, chance: random.Random) -> None:
    """Ask for a lot and take nothing, until the server has lost its patience."""
    talk = open_connection(receive_buffer_bytes=16_384)
    talk.send(talk.request("large", 16_000_000))
    talk.allow_time_out()
    time.sleep(WRITE_TIMEOUT_SECONDS * chance.uniform(0.3, 2))
    talk.read_some()
    talk.reset() if chance.random() < 0.5 else talk.close()


def send_too_long_line(open_connection: Opener, chance: random.Random) -> None:
    """A line beyond the limit: what came before it is answered, then the server closes without a word."""
    talk = open_connection()
    talk.send(mixed(talk, chance, chance.randint(0, 10)))
    talk.expect_end()
    talk.send(b"x" * chance.randint(MAX_LINE_BYTES + 1, 60_000), is_refusal_expected=True)
    talk.read_to_end()


def say_nothing(open_connection: Opener, chance: random.Random) -> None:
    """Connect and wait: the server closes when its time is over."""
    talk = open_connection()
    if chance.random() < 0.5:
        talk.send(mixed(talk, chance, 1))
        talk.read_all()
    talk.allow_time_out()
    talk.read_to_end()


def stop_in_request(open_connection: Opener, chance: random.Random) -> None:
    """Begin a request and go no further: the server closes when its time is over."""
    talk = open_connection()
    talk.send(mixed(talk, chance, chance.randint(0, 3)) + b"half a requ")
    talk.allow_time_out()
    talk.read_to_end()


def storm(open_connection: Opener, chance: random.Random) -> None:
    """Many connections at once, of which some ask something and some vanish."""
    talks: list[CheckedConnection] = []
    for _ in range(chance.randint(20, 100)):
        with contextlib.suppress(Ended):
            talks.append(open_connection())
    chance.shuffle(talks)
    for talk in talks:
        with contextlib.suppress(Ended):
            match chance.randrange(4):
                case 0:
                    talk.reset()
                case 1:
                    talk.close()
                case _:
                    talk.send(talk.request("echo", chance.randrange(10**9)))
    for talk in talks:
        with contextlib.suppress(Ended):
            talk.read_all()
        talk.close()


#: How often each behaviour is chosen, in relation to the others.
BEHAVIOURS: tuple[tuple[float, Behaviour], ...] = (
    (20, ask_one_by_one),
    (14, pipeline),
    (8, dribble),
    (8, reset_in_request),
    (6, reset_in_answer),
    (5, leave_without_reading),
    (8, half_close),
    (4, half_close_in_request),
    (5, be_closed),
    (4, be_closed_first),
    (5, ask_for_errors),
    (5, ask_for_later),
    (4, read_slowly),
    (1, never_read),
    (4, send_too_long_line),
    (2, say_nothing),
    (2, stop_in_request),
    (3, storm),
)
