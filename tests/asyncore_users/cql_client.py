"""A client of scylla-driver whose asyncore reactor runs on `wiretask.asyncore`, for tests, in a process of its own.

    python cql_client.py PORT REFUSED_PORT [--certificate FILE]

Strategy: ours stands in `sys.modules` under the old name before the driver's reactor is imported; its pipe, its
thread that turns the loop, its timers and its connections are all the driver's own. PORT is that of the node in
test_cql.py, at REFUSED_PORT nobody listens. What the driver promises is checked with assertions; "done" is printed at
the end.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import ssl
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import wiretask.asyncore

sys.modules["asyncore"] = wiretask.asyncore

from cassandra.connection import ConnectionShutdown, DefaultEndPoint  # noqa: E402
from cassandra.io import asyncorereactor  # noqa: E402
from cassandra.protocol import OptionsMessage, QueryMessage, SupportedMessage  # noqa: E402

DEADLINE_SECONDS = 30.0
ONE = 1  # the consistency level
MEGABYTE = "x" * 1_000_000


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "deadline"
        time.sleep(0.001)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Client:
    """Makes connections to a node, and uses them."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        self.port, self.context = port, context

    def connected(self) -> Any:
        return asyncorereactor.AsyncoreConnection.factory(
            DefaultEndPoint("127.0.0.1", self.port),
            DEADLINE_SECONDS,
            protocol_version=4,
            compression=False,
            ssl_context=self.context,
        )

    def ask(self, connection: Any, query: str) -> str:
        """Return what the node has to say to a query: in its answer, the name of a keyspace."""
        return connection.wait_for_response(QueryMessage(query, ONE), timeout=DEADLINE_SECONDS).new_keyspace

    def asks_and_is_answered(self) -> None:
        connection = self.connected()
        assert isinstance(connection, wiretask.asyncore.dispatcher)
        assert connection.cql_version == "3.0.0"
        # More than the socket takes at once, and more than is received at once.
        assert self.ask(connection, MEGABYTE) == hashlib.sha256(MEGABYTE.encode()).hexdigest()
        supported = connection.wait_for_response(OptionsMessage(), timeout=DEADLINE_SECONDS)
        assert isinstance(supported, SupportedMessage)
        assert len(supported.options["PADDING"]) == 5000
        connection.close()

    def many_threads_share_connections(self) -> None:
        connections = [self.connected() for _ in range(4)]
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for turn in range(50):
                    query = f"query {turn} of {number}"
                    answer = self.ask(connections[turn % 4], query)
                    assert answer == hashlib.sha256(query.encode()).hexdigest(), (query, answer)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures
        for connection in connections:
            connection.close()

    def the_end_of_the_node_is_noticed(self) -> None:
        connection = self.connected()
        try:
            self.ask(connection, "leave")
        except ConnectionShutdown:
            pass
        else:
            raise AssertionError("the node has left without an answer")
        until(lambda: connection.is_closed)


def a_refused_connection_raises(port: int) -> None:
    said = ""
    try:
        Client(port, None).connected()
    except OSError as error:
        said = str(error)
    assert "refused" in said, said


def timers_come_due_in_their_order() -> None:
    made: list[int] = []
    create = asyncorereactor.AsyncoreConnection.create_timer
    for number in (3, 1, 2):
        create(number / 20, lambda number=number: made.append(number))
    create(0.08, lambda: made.append(-1)).cancel()

    def create_many(first: int) -> None:
        for number in range(first, first + 100):
            create(0.0, lambda number=number: made.append(number))

    threads = [threading.Thread(target=create_many, args=[first]) for first in (1000, 2000, 3000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: len(made) >= 303)
    assert [number for number in made if number < 1000] == [1, 2, 3], made
    assert sorted(number for number in made if number >= 1000) == [
        number for first in (1000, 2000, 3000) for number in range(first, first + 100)
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("refused_port", type=int)
    parser.add_argument("--certificate")
    options = parser.parse_args()
    context = ssl.create_default_context(cafile=options.certificate) if options.certificate else None
    if context is not None:
        context.check_hostname = False
    assert asyncorereactor.asyncore is wiretask.asyncore
    assert asyncorereactor._AsyncorePipeDispatcher is asyncorereactor.AsyncoreLoop._loop_dispatch_class
    before = open_descriptors()
    asyncorereactor.AsyncoreConnection.initialize_reactor()
    reactor = asyncorereactor._global_loop
    # It has tried its pipe with our loop, and was content; otherwise it waits busily.
    assert type(reactor._loop_dispatcher) is asyncorereactor._AsyncorePipeDispatcher

    client = Client(options.port, context)
    client.asks_and_is_answered()
    client.many_threads_share_connections()
    client.the_end_of_the_node_is_noticed()
    a_refused_connection_raises(options.refused_port)
    timers_come_due_in_their_order()

    entries = asyncorereactor._dispatcher_map
    until(lambda: list(entries.values()) == [reactor._loop_dispatcher])
    last = client.connected()
    reactor._cleanup()
    assert not reactor._thread.is_alive()
    assert not entries
    assert last.socket.fileno() == -1
    # The other end of the driver's pipe is never closed by it.
    os.close(reactor._loop_dispatcher.write_fd)
    wiretask.asyncore.loop(map=entries)
    assert open_descriptors() == before, (before, open_descriptors())
    print("done")


if __name__ == "__main__":
    main()
