"""The examples as a newcomer meets them: started from the command line, spoken to by real clients.

Each test starts its own server on a port that the system chooses, and reads the port from the banner.
Everything waits with a deadline. `redis-cli`, `redis-benchmark` and `redis-server` are used where they are
installed.
"""

import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from wiretask.examples.keyvalue.command_table import COMMANDS

DEADLINE_SECONDS = 20

Reply = bytes | None | list["Reply"]

needs_redis_cli = pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed")
needs_redis_benchmark = pytest.mark.skipif(
    shutil.which("redis-benchmark") is None, reason="redis-benchmark is not installed"
)
needs_redis_server = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
each_example = pytest.mark.parametrize("name", ["echo", "keyvalue"])
each_signal = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


class Client:
    """A connection that sends bytes and reads lines and replies, with a deadline on each."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(DEADLINE_SECONDS)
        self._socket = connection
        self._input: BinaryIO = connection.makefile("rb")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def end_output(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def read_line(self) -> bytes:
        return self._input.readline()

    def read_to_end(self) -> bytes:
        return self._input.read()

    def read_reply(self) -> Reply:
        line = self.read_line()
        assert line.endswith(b"\r\n")
        if line[:1] in b"+-:":
            return line
        length = int(line[1:])
        if length < 0:
            return None
        if line[:1] == b"*":
            return [self.read_reply() for _ in range(length)]
        return self._input.read(length + 2)

    def ask(self, line: bytes) -> Reply:
        self.send(line + b"\r\n")
        return self.read_reply()

    def close(self) -> None:
        self._input.close()
        self._socket.close()


class Example:
    """A running example. `stop` ends it; the fixture sees to that if a test does not."""

    def __init__(self, name: str, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"wiretask.examples.{name}", "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._clients: list[Client] = []
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], DEADLINE_SECONDS)
        self.banner = self.process.stdout.readline() if readable else ""
        found = re.fullmatch(rf"{name} listens on 127\.0\.0\.1:(\d+); try: .*\b\1\n", self.banner)
        if found is None:
            self.process.kill()
            pytest.fail(f"banner {self.banner!r}, then {self.process.communicate()}")
        self.port = int(found[1])

    def connect(self) -> Client:
        client = Client(socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_SECONDS))
        self._clients.append(client)
        return client

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal; return the exit code and what was printed since the banner."""
        self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=DEADLINE_SECONDS)
        return self.process.returncode, output, errors

    def clean_up(self) -> None:
        for client in self._clients:
            client.close()
        if self.process.poll() is None:
            self.process.kill()
        if self.process.stdout is not None and not self.process.stdout.closed:
            self.process.communicate()


Start = Callable[..., Example]


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[Example] = []

    def start_one(name: str, *options: str) -> Example:
        running.append(Example(name, *options))
        return running[-1]

    yield start_one
    for one in running:
        one.clean_up()


@pytest.fixture
def keyvalue(start: Start) -> Example:
    return start("keyvalue")


def run(*command: str, text_input: str | None = None, timeout_seconds: float = 60) -> str:
    """Run a program to its end and return what it printed; fail if it complains."""
    done = subprocess.run(command, input=text_input, capture_output=True, text=True, timeout=timeout_seconds)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# --- starting and stopping


@each_example
@each_signal
def test_signal_ends_a_quiet_example_with_exit_code_0(start: Start, name: str, number: signal.Signals) -> None:
    assert start(name).stop(number) == (0, "", "")


@each_example
@each_signal
def test_signal_ends_an_example_that_has_been_used(start: Start, name: str, number: signal.Signals) -> None:
    example = start(name)
    idle, busy = example.connect(), example.connect()
    busy.send(b"PING\r\n")
    assert busy.read_line().strip(b"+\r\n") in (b"PING", b"PONG")
    assert example.stop(number) == (0, "", "")
    assert idle.read_to_end() == b""


@each_example
def test_port_in_use_is_one_line_with_the_remedy_and_exit_code_2(start: Start, name: str) -> None:
    port = start(name).port
    done = subprocess.run(
        [sys.executable, "-m", f"wiretask.examples.{name}", "--port", str(port)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf".*port {port} .* is in use: .*--port.*\n", done.stderr)


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        (["--port", "65536"], "0..65535"),
        (["--port", "x"], "--port"),
        (["--threads", "0"], "--threads"),
        (["--host", "192.0.2.1"], "--host"),
    ],
)
def test_bad_option_is_exit_code_2_and_names_the_option(options: list[str], remedy: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wiretask.examples.echo", "--port", "0", *options],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert remedy in done.stderr
    assert "Traceback" not in done.stderr


# --- echo


def test_echo_sends_every_line_back_in_order(start: Start) -> None:
    client = start("echo").connect()
    client.send(b"one\ntwo\r\nth")
    assert [client.read_line(), client.read_line()] == [b"one\n", b"two\n"]
    client.send(b"ree\n")
    assert client.read_line() == b"three\n"


def test_echo_answers_what_was_complete_when_the_input_ends(start: Start) -> None:
    client = start("echo", "--threads", "1").connect()
    client.send(b"a\nb\nincomplete")
    client.end_output()
    assert client.read_to_end() == b"a\nb\n"


def test_echo_serves_many_connections(start: Start) -> None:
    example = start("echo")
    clients = [example.connect() for _ in range(50)]
    for number, client in enumerate(clients):
        client.send(b"hello %d\n" % number)
    assert [client.read_line() for client in clients] == [b"hello %d\n" % number for number in range(50)]


# --- keyvalue, over a plain socket


def test_pipelined_commands_are_answered_in_order(keyvalue: Example) -> None:
    client = keyvalue.connect()
    client.send(b"".join(b"*2\r\n$4\r\nECHO\r\n$4\r\n%04d\r\n" % number for number in range(2000)))
    assert [client.read_reply() for _ in range(2000)] == [b"%04d\r\n" % number for number in range(2000)]


def test_command_split_across_packets_is_understood(keyvalue: Example) -> None:
    client = keyvalue.connect()
    for byte in b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n\r\n\r\n\r\n":
        client.send(bytes([byte]))
    assert client.read_reply() == b"+OK\r\n"
    assert client.ask(b"GET k") == b"\r\n\r\n\r\n"


def test_large_value_comes_back_whole(keyvalue: Example) -> None:
    client = keyvalue.connect()
    value = bytes(range(256)) * 16384
    client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%b\r\n" % (len(value), value))
    assert client.read_reply() == b"+OK\r\n"
    assert client.ask(b"GET k") == value + b"\r\n"


def test_blank_lines_and_empty_arrays_get_no_answer(keyvalue: Example) -> None:
    client = keyvalue.connect()
    client.send(b"\r\n\r\n*0\r\n*-1\r\nPING\r\n")
    assert client.read_reply() == b"+PONG\r\n"


def test_error_leaves_the_connection_open(keyvalue: Example) -> None:
    client = keyvalue.connect()
    assert client.ask(b"FOO a") == b"-ERR unknown command 'FOO', with args beginning with: 'a' \r\n"
    assert client.ask(b"PING") == b"+PONG\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (b"*x\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n$-1\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\nPING\r\n", b"-ERR Protocol error: expected '$', got 'P'\r\n"),
        (b"GET 'a\r\n", b"-ERR Protocol error: unbalanced quotes in request\r\n"),
    ],
)
def test_protocol_error_is_answered_and_closes(keyvalue: Example, request_bytes: bytes, answer: bytes) -> None:
    client = keyvalue.connect()
    client.send(b"PING\r\n" + request_bytes)
    assert client.read_to_end() == b"+PONG\r\n" + answer


def test_quit_closes_and_what_follows_is_not_done(keyvalue: Example) -> None:
    client = keyvalue.connect()
    client.send(b"SET k 1\r\nQUIT\r\nSET k 2\r\n")
    assert client.read_to_end() == b"+OK\r\n+OK\r\n"
    assert keyvalue.connect().ask(b"GET k") == b"1\r\n"


def test_clients_are_counted_while_they_are_connected(keyvalue: Example) -> None:
    first, second = keyvalue.connect(), keyvalue.connect()
    assert second.ask(b"CLIENT SETNAME second") == b"+OK\r\n"
    listed = first.ask(b"CLIENT LIST")
    assert isinstance(listed, bytes)
    assert b"name=second" in listed
    second.close()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while first.ask(b"INFO clients") != b"# Clients\r\nconnected_clients:1\r\n\r\n":
        assert time.monotonic() < deadline


# --- keyvalue, with the clients of Redis

SPOKEN: list[tuple[list[str], str]] = [
    (["PING"], "PONG\n"),
    (["PING", "hello"], "hello\n"),
    (["ECHO", "two words"], "two words\n"),
    (["SET", "key", "value"], "OK\n"),
    (["GET", "key"], "value\n"),
    (["GET", "none"], "\n"),
    (["TYPE", "key"], "string\n"),
    (["APPEND", "key", "s"], "6\n"),
    (["STRLEN", "key"], "6\n"),
    (["SETNX", "key", "x"], "0\n"),
    (["GETSET", "key", "new"], "values\n"),
    (["INCR", "n"], "1\n"),
    (["DECR", "n"], "0\n"),
    (["INCRBY", "n", "10"], "10\n"),
    (["DECRBY", "n", "3"], "7\n"),
    (["INCR", "key"], "ERR value is not an integer or out of range\n\n"),
    (["MSET", "a", "1", "b", "2"], "OK\n"),
    (["MGET", "a", "none", "b"], "1\n\n2\n"),
    (["EXPIRE", "a", "100"], "1\n"),
    (["TTL", "a"], "100\n"),
    (["PERSIST", "a"], "1\n"),
    (["PEXPIRE", "a", "-1"], "1\n"),
    (["PTTL", "a"], "-2\n"),
    (["EXISTS", "a", "b"], "1\n"),
    (["DEL", "a", "b"], "1\n"),
    (["KEYS", "k?y"], "key\n"),
    (["DBSIZE"], "2\n"),
    (["SELECT", "0"], "OK\n"),
    (["CLIENT", "GETNAME"], "\n"),
    (["HELLO", "3"], "NOPROTO unsupported protocol version\n\n"),
    (["COMMAND", "COUNT"], f"{len(COMMANDS)}\n"),
    (["CONFIG", "GET", "appendonly"], "appendonly\nno\n"),
    (["INFO", "keyspace"], "# Keyspace\ndb0:keys=2,expires=0,avg_ttl=0\n"),
    (["FLUSHDB"], "OK\n"),
    (["FLUSHALL"], "OK\n"),
    (["QUIT"], "OK\n"),
]


@needs_redis_cli
def test_redis_cli_understands_every_command(keyvalue: Example) -> None:
    assert {words[0].encode() for words, _ in SPOKEN} == COMMANDS.keys() - {b"TIME"}
    for words, printed in SPOKEN:
        shown = run("redis-cli", "-p", str(keyvalue.port), *words).replace("\r\n", "\n")
        assert (words, shown) == (words, printed)
    assert len(run("redis-cli", "-p", str(keyvalue.port), "TIME").splitlines()) == 2
    assert keyvalue.stop() == (0, "", "")


@needs_redis_cli
def test_redis_cli_starts_without_complaint_and_has_help(keyvalue: Example) -> None:
    shown = run("redis-cli", "-p", str(keyvalue.port), text_input="help get\nset k 'a b'\nget k\nquit\n")
    assert "Return the value of a key." in shown
    assert "a b\n" in shown
    assert "ERR" not in shown


@needs_redis_benchmark
@pytest.mark.parametrize("pipeline", [1, 16])
def test_redis_benchmark_runs_through(keyvalue: Example, pipeline: int) -> None:
    options = ["-n", "2000", "-c", "20", "-t", "ping,set,get,incr,mset", "-P", str(pipeline), "--csv"]
    shown = run("redis-benchmark", "-p", str(keyvalue.port), *options)
    measured = [line.partition(",")[0].strip('"') for line in shown.splitlines()[1:]]
    assert measured == ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"]
    assert keyvalue.connect().ask(b"GET counter:__rand_int__") == b"2000\r\n"
    assert keyvalue.stop() == (0, "", "")


COMPARED = rb"""
PING|ping hello|PING a b|ECHO x|ECHO|GET a|SET a 1|get A|get a|SET a|SET a b c|SET a b NX|SET a 2 XX GET
GET a b|SET nope 1 XX|SET nope 1 XX GET|SET a 3 NX GET|SET nx1 3 NX GET|SET a 3 NX XX|SET a 3 EX 100|TTL a
SET a 4 KEEPTTL|TTL a|SET a 4 KEEPTTL EX 1|SET a 4 EX 1 PX 1|SET a 4 EX 1 KEEPTTL|SET a 4 EX|SET a 4 EX abc
SET a 4 EX 0|SET a 4 EX -1|SET a 4 EX 9223372036854775807|SET a 4 PX 9223372036854775807|SET a 4 PX 99999
TTL a|PERSIST a|PERSIST a|PERSIST nope|TTL a|PTTL a|TTL nope|PTTL nope|EXPIRE a 100|TTL a|EXPIRE a x
EXPIRE nope 10|EXPIRE nope x|EXPIRE a 9223372036854775807|PEXPIRE a 1000000|EXPIRE a -1|GET a|EXISTS a
MSET x 1 y 2 z 3|MSET x 1 y|MSET x|MGET x y nope z|MGET|DEL x nope|DEL|EXISTS y y nope z|EXISTS|INCR n|INCR n
DECR n|INCRBY n 10|DECRBY n 3|INCRBY n abc|INCRBY n 01|INCRBY n -0|INCRBY n +1|INCRBY n " 1"
INCRBY n 9223372036854775808|INCRBY n 9223372036854775807|SET n 9223372036854775807|INCR n|DECRBY n -1
DECRBY n -9223372036854775808|SET n -9223372036854775808|DECR n|SET s hello|INCR s|SET e ""|INCR e
APPEND s " world"|GET s|APPEND new x|APPEND new ""|APPEND new2 ""|STRLEN s|STRLEN nope|SETNX s x|SETNX t x
GETSET t y|GETSET nope2 y|TYPE t|TYPE nope|DBSIZE|DBSIZE x|SELECT 0|SELECT 1000|SELECT x|SELECT|FOO
FOO bar "baz qux" 'it\'s'|get|CLIENT|CLIENT FOO|CLIENT GETNAME|CLIENT SETNAME "a b"|CLIENT SETNAME bob
CLIENT GETNAME|CLIENT GETNAME x|CLIENT SETNAME|CLIENT SETNAME ""|CLIENT GETNAME|HELLO 3x|HELLO 4|HELLO 2 FOO
HELLO 2 SETNAME|HELLO 2 SETNAME "x y"|COMMAND COUNT x|COMMAND FOO|COMMAND INFO nope|COMMAND DOCS nope
CONFIG|CONFIG GET|CONFIG FOO|CONFIG GET save|CONFIG GET appendonly|CONFIG GET maxmemory
CONFIG GET MAXMEMORY-pol*|TIME x|KEYS new?|KEYS ne[v-x]2|KEYS n[|FLUSHDB x|FLUSHALL x|FLUSHDB ASYNC|DBSIZE
FLUSHALL SYNC x|FLUSHALL|DBSIZE|*x
"""


@pytest.fixture
def real_redis(tmp_path: Path) -> Iterator[Client]:
    """A connection to a Redis server of the test's own, of the version whose wording is followed."""
    if "v=7." not in (version := run("redis-server", "--version")):
        pytest.skip(f"the wording is that of Redis 7, this is {version}")
    path = tmp_path / "socket"
    options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(["redis-server", *options], stdout=subprocess.PIPE, text=True) as redis:
        overdue = threading.Timer(DEADLINE_SECONDS, redis.kill)
        overdue.start()
        try:
            assert redis.stdout is not None
            assert any("ready to accept connections" in line for line in redis.stdout)
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(path))
            client = Client(connection)
            yield client
            client.close()
        finally:
            overdue.cancel()
            redis.kill()


@needs_redis_server
def test_replies_are_those_of_a_real_redis(keyvalue: Example, real_redis: Client) -> None:
    client = keyvalue.connect()
    for command in COMPARED.strip().replace(b"\n", b"|").split(b"|"):
        assert (command, client.ask(command)) == (command, real_redis.ask(command))
    assert (client.read_to_end(), real_redis.read_to_end()) == (b"", b"")
