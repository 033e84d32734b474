"""The process under test: servers, operator and accounts, told by lines on stdin what to do.

It writes events as JSON lines to stdout and nothing at all to stderr: what stands there is a fault. Errors that
are logged are events, unless they were raised on purpose, which are counted.
Must not know: clients, measuring, what the events are judged by.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from typing import Any, TextIO

from accounts import Accounts
from chaos_operator import Operator
from chaos_server import ERROR_ANSWERING, FLAVOURS, GREETING_FLAVOURS, ChaosError, World
from conversation import GREETING, Request, answer_to
from sabotage import Sabotage

from wiretask.errors import ServerClosedError

HEARTBEAT_SECONDS = 1.0
DRAIN_SECONDS = 30.0
WARM_UP_KINDS = (("echo", 1), ("parts", 5), ("elsewhere", 1), ("large", 3_000_000), ("spawn", 0), ("fork", 0))


class EventWriter:
    """Writes events as JSON lines. Any thread."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def write(self, **event: Any) -> None:
        """Write one event."""
        line = json.dumps(event)
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()


class LogCounter(logging.Handler):
    """Counts what is logged; what is an error, and nobody raised on purpose, becomes a fault."""

    def __init__(self, accounts: Accounts) -> None:
        super().__init__(logging.INFO)
        self._accounts = accounts

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ChaosError):
            self._accounts.count("errors logged")
            return
        if isinstance(error, ServerClosedError) and record.getMessage().startswith("cannot queue"):
            # The operator has shut a dispatcher that the housekeeper feeds.
            self._accounts.count("channels refused by a shut dispatcher")
            return
        self._accounts.count(f"logged {record.levelname} by {record.name}")
        if record.levelno >= logging.ERROR:
            self._accounts.fault(f"logged: {record.levelname} {record.getMessage()} ({error!r})")


def run(seed: str, sabotage_kind: str | None) -> int:
    """Serve until told to exit, or until stdin ends; returns the exit code."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    # The parent decides when this ends, also where Ctrl-C goes to everybody.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    events = EventWriter(sys.stdout)
    accounts = Accounts()
    logging.getLogger("wiretask").addHandler(LogCounter(accounts))
    logging.getLogger("wiretask").setLevel(logging.INFO)
    logging.getLogger("wiretask").propagate = False
    sabotage = Sabotage(sabotage_kind)
    world = World(accounts, sabotage)
    operator = Operator(world, seed, events.write)
    world.start_others()
    operator.open()
    _warm_up(operator)
    threading.Thread(target=_beat, args=(events, accounts), name="heartbeat", daemon=True).start()
    events.write(event="ready", ports=operator.ports)
    for command in sys.stdin:
        match command.strip():
            case "begin":
                operator.begin_chaos()
            case "end":
                operator.end_chaos()
                is_drained = _drain(operator)
                if sabotage.strikes("busy-when-idle"):
                    threading.Thread(target=_spin, daemon=True).start()
                events.write(event="quiet", is_drained=is_drained, connections=operator.connections())
            case "close":
                operator.close()
                _wait(lambda: not accounts.waiting())
                gc.collect()
                events.write(event="closed", statement=accounts.statement())
            case "open":
                operator.open()
                events.write(event="open")
            case "exit":
                return 3 if sabotage.strikes("exit-code") else 0
    return 1


def _beat(events: EventWriter, accounts: Accounts) -> None:
    while True:
        events.write(event="alive", counts=accounts.counts())
        time.sleep(HEARTBEAT_SECONDS)


def _spin() -> None:
    while True:
        os.getpid()


def _drain(operator: Operator) -> bool:
    """Wait until no connection is left and no task waits; whether it came to that."""
    is_drained = _wait(lambda: not operator.connections() and not operator.pending())
    for _ in range(3):
        gc.collect()
    return is_drained


def _wait(condition: Any) -> bool:
    deadline = time.monotonic() + DRAIN_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _warm_up(operator: Operator) -> None:
    """Have everything made that stays for the life of the process: it belongs to the baseline."""
    for flavour in FLAVOURS:
        with socket.create_connection(("127.0.0.1", operator.ports[flavour]), timeout=30) as client:
            if flavour in GREETING_FLAVOURS:
                _read(client, len(GREETING))
            for number, (kind, argument) in enumerate(WARM_UP_KINDS):
                request = Request(f"warm-{flavour}", number, kind, argument)
                expected = answer_to(request, is_error_answered=flavour in ERROR_ANSWERING)
                client.sendall(request.encode())
                if _read(client, len(expected)) != expected:
                    raise RuntimeError(f"{request} was answered wrongly before the run began")
    operator.close()
    operator.open()
    _drain(operator)


def _read(client: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (piece := client.recv(size - len(data))):
        data += piece
    return bytes(data)
