"""Opens connections on which one byte a second comes, of a head that never ends. Prints a line when all are open.

    dripping.py PORT CONNECTIONS

Ends with its standard input. A connection that the server closes is opened again.
"""

import contextlib
import select
import socket
import sys
import time

HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Drip: "


def connect(port, number):
    own = (f"127.0.0.{2 + number // 20_000}", 0)
    connection = socket.create_connection(("127.0.0.1", port), 20, source_address=own)
    connection.sendall(HEAD)
    return connection


def main():
    port, count = map(int, sys.argv[1:])
    connections = [connect(port, number) for number in range(count)]
    print(len(connections), flush=True)
    turn, slices = 0, 50
    while not select.select([sys.stdin], [], [], 1 / slices)[0]:
        begun = time.monotonic()
        for number in range(turn, count, slices):
            try:
                connections[number].send(b"a")
            except OSError:
                with contextlib.suppress(OSError):
                    connections[number].close()
                connections[number] = connect(port, number)
        turn = (turn + 1) % slices
        assert time.monotonic() - begun < 5, "this machine cannot drip so fast"


main()
