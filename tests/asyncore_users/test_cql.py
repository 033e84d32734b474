"""The asyncore reactor of scylla-driver on `wiretask.asyncore`, as far as it runs without a cluster. Issue 6.

Long tier: `.ci/long`, or `pytest -m long tests/asyncore_users` where `pip install '.[asyncore-users]'` has been done.
The node here speaks as much of the native protocol (version 4) as a connection needs to be ready, and answers every
query with a name made of the query's digest.
"""

from __future__ import annotations

import hashlib
import socket
import socketserver
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
CERTIFICATES = HERE.parent / "wire"
DEADLINE_SECONDS = 120.0
HEADER = struct.Struct("!BBhBI")
RESPONSE = 0x84
READY, SUPPORTED, RESULT = 0x02, 0x06, 0x08
STARTUP, OPTIONS, QUERY = 0x01, 0x05, 0x07
SET_KEYSPACE = 3


class Node(socketserver.StreamRequestHandler):
    """One connection to the node."""

    def handle(self) -> None:
        while header := self.rfile.read(HEADER.size):
            _, _, stream, operation, size = HEADER.unpack(header)
            body = self.rfile.read(size)
            if operation == OPTIONS:
                self.answer(stream, SUPPORTED, supported())
            elif operation == STARTUP:
                self.answer(stream, READY, b"")
            elif operation == QUERY:
                (length,) = struct.unpack_from("!I", body)
                query = body[4 : 4 + length]
                if query == b"leave":
                    return
                name = hashlib.sha256(query).hexdigest()
                self.answer(stream, RESULT, struct.pack("!I", SET_KEYSPACE) + string(name))
            else:
                raise AssertionError(f"operation {operation} is not expected")

    def answer(self, stream: int, operation: int, body: bytes) -> None:
        self.wfile.write(HEADER.pack(RESPONSE, 0, stream, operation, len(body)) + body)


def supported() -> bytes:
    options = {"CQL_VERSION": ["3.0.0"], "COMPRESSION": [], "PADDING": ["x" * 100] * 5000}
    lists = [
        string(name) + struct.pack("!H", len(values)) + b"".join(map(string, values))
        for name, values in options.items()
    ]
    return struct.pack("!H", len(options)) + b"".join(lists)


def string(text: str) -> bytes:
    return struct.pack("!H", len(text)) + text.encode()


class Cluster(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 100


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def node(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A node that listens: the arguments with which it is reached."""
    with Cluster(("127.0.0.1", 0), Node) as cluster:
        arguments = [str(cluster.server_address[1])]
        if request.param:
            monkeypatch.syspath_prepend(str(CERTIFICATES))
            import certificates

            context = certificates.server_context(tmp_path)
            cluster.socket = context.wrap_socket(cluster.socket, server_side=True)
            arguments += ["--certificate", str(tmp_path / "certificate.pem")]
        thread = threading.Thread(target=cluster.serve_forever)
        thread.start()
        yield arguments
        cluster.shutdown()
        thread.join()


def test_the_reactor_of_the_driver_runs_on_ours(node: list[str]) -> None:
    with socket.socket() as nobody:
        # Bound and not listening: connections are refused, and nobody else takes the number.
        nobody.bind(("127.0.0.1", 0))
        program = [sys.executable, str(HERE / "cql_client.py"), node[0], str(nobody.getsockname()[1]), *node[1:]]
        ended = subprocess.run(program, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stderr[-5000:]
