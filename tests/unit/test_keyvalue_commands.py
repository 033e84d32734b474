"""The keyvalue example's commands, in conversations with a session and a clock that the test sets.

No server, no socket: `tests/wire/test_examples.py` compares the same commands with a real Redis.
"""

import threading

import pytest

from wiretask.examples.keyvalue.command_table import COMMANDS, CommandError, execute
from wiretask.examples.keyvalue.resp import Reply, encode_error, encode_reply, split_inline
from wiretask.examples.keyvalue.session import Session, Shared
from wiretask.examples.keyvalue.store import Store

NOT_AN_INTEGER = "-ERR value is not an integer or out of range"
SYNTAX_ERROR = "-ERR syntax error"

CONVERSATIONS: dict[str, list[tuple[str, str]]] = {
    "ping": [
        ("PING", "+PONG"),
        ("ping hello", "$hello"),
        ("PING a b", "-ERR wrong number of arguments for 'ping' command"),
    ],
    "echo": [("ECHO x", "$x"), ("ECHO", "-ERR wrong number of arguments for 'echo' command")],
    "set and get": [
        ("GET key", "nil"),
        ("SET key value", "+OK"),
        ("GET key", "$value"),
        ("SET key", "-ERR wrong number of arguments for 'set' command"),
        ("SET key a b", SYNTAX_ERROR),
    ],
    "set conditions": [
        ("SET key 1 XX", "nil"),
        ("SET key 1 NX", "+OK"),
        ("SET key 2 NX", "nil"),
        ("SET key 2 xx get", "$1"),
        ("SET key 3 NX GET", "$2"),
        ("GET key", "$2"),
        ("SET new 1 NX GET", "nil"),
        ("GET new", "$1"),
        ("SET key 1 NX XX", SYNTAX_ERROR),
    ],
    "set expiry": [
        ("SET key 1 EX 10", "+OK"),
        ("PTTL key", ":10000"),
        ("SET key 2 KEEPTTL", "+OK"),
        ("TTL key", ":10"),
        ("SET key 3 PX 2500", "+OK"),
        ("PTTL key", ":2500"),
        ("TTL key", ":3"),
        ("SET key 4", "+OK"),
        ("TTL key", ":-1"),
        ("SET key 1 EX", SYNTAX_ERROR),
        ("SET key 1 EX 1 PX 1", SYNTAX_ERROR),
        ("SET key 1 EX 1 KEEPTTL", SYNTAX_ERROR),
        ("SET key 1 EX soon", NOT_AN_INTEGER),
        ("SET key 1 EX 0", "-ERR invalid expire time in 'set' command"),
        ("SET key 1 EX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
        ("GET key", "$4"),
    ],
    "del and exists": [
        ("MSET a 1 b 2", "+OK"),
        ("EXISTS a b a none", ":3"),
        ("DEL a none", ":1"),
        ("EXISTS a", ":0"),
    ],
    "incr": [
        ("INCR n", ":1"),
        ("INCRBY n 41", ":42"),
        ("DECR n", ":41"),
        ("DECRBY n -1", ":42"),
        ("GET n", "$42"),
        ("INCRBY n 1.5", NOT_AN_INTEGER),
        ("INCRBY n 01", NOT_AN_INTEGER),
        ("INCRBY n 9223372036854775808", NOT_AN_INTEGER),
        ("INCRBY n 9223372036854775807", "-ERR increment or decrement would overflow"),
        ("DECRBY n -9223372036854775808", "-ERR decrement would overflow"),
        ("SET n 9223372036854775807", "+OK"),
        ("INCR n", "-ERR increment or decrement would overflow"),
        ("GET n", "$9223372036854775807"),
        ("SET n -9223372036854775808", "+OK"),
        ("DECR n", "-ERR increment or decrement would overflow"),
        ("SET n ''", "+OK"),
        ("INCR n", NOT_AN_INTEGER),
        ("SET n 1 EX 10", "+OK"),
        ("INCR n", ":2"),
        ("TTL n", ":10"),
    ],
    "append and strlen": [
        ("APPEND s ab", ":2"),
        ("APPEND s cd", ":4"),
        ("GET s", "$abcd"),
        ("STRLEN s", ":4"),
        ("STRLEN none", ":0"),
        ("APPEND e ''", ":0"),
        ("EXISTS e", ":1"),
    ],
    "mset and mget": [
        ("MSET a 1 b 2", "+OK"),
        ("MGET a none b", "[$1 nil $2]"),
        ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
    ],
    "setnx and getset": [
        ("SETNX k 1", ":1"),
        ("SETNX k 2", ":0"),
        ("GETSET k 3", "$1"),
        ("GETSET new 1", "nil"),
        ("GET k", "$3"),
    ],
    "expire and persist": [
        ("EXPIRE k 10", ":0"),
        ("TTL k", ":-2"),
        ("PTTL k", ":-2"),
        ("SET k 1", "+OK"),
        ("PERSIST k", ":0"),
        ("EXPIRE k 10", ":1"),
        ("TTL k", ":10"),
        ("PERSIST k", ":1"),
        ("TTL k", ":-1"),
        ("PEXPIRE k 100", ":1"),
        ("PTTL k", ":100"),
        ("EXPIRE k x", NOT_AN_INTEGER),
        ("EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
        ("EXPIRE k -1", ":1"),
        ("EXISTS k", ":0"),
    ],
    "type": [("TYPE k", "+none"), ("SET k 1", "+OK"), ("TYPE k", "+string")],
    "keys and dbsize": [
        ("MSET hello 1 hallo 2 other 3", "+OK"),
        ("KEYS h?llo", "[$hello $hallo]"),
        ("KEYS nothing*", "[]"),
        ("KEYS " + "*" * 5000, "-ERR pattern is too long"),
        ("DBSIZE", ":3"),
    ],
    "flush": [
        ("SET k 1 EX 10", "+OK"),
        ("FLUSHDB ASYNC", "+OK"),
        ("DBSIZE", ":0"),
        ("SET k 1", "+OK"),
        ("TTL k", ":-1"),
        ("FLUSHALL", "+OK"),
        ("DBSIZE", ":0"),
        ("FLUSHALL now", SYNTAX_ERROR),
    ],
    "select": [
        ("SELECT 0", "+OK"),
        ("SELECT 1", "-ERR DB index is out of range"),
        ("SELECT x", NOT_AN_INTEGER),
    ],
    "client": [
        ("CLIENT ID", ":1"),
        ("CLIENT GETNAME", "nil"),
        ("CLIENT SETNAME bob", "+OK"),
        ("CLIENT GETNAME", "$bob"),
        ("CLIENT SETINFO lib-name test", "+OK"),
        ("CLIENT SETINFO color red", "-ERR Unrecognized option 'color'"),
        ("CLIENT INFO", "$id=1 addr=peer:1 name=bob age=0 db=0 cmd=client lib-name=test lib-ver=\n"),
        ("CLIENT LIST", "$id=1 addr=peer:1 name=bob age=0 db=0 cmd=client lib-name=test lib-ver=\n"),
        (
            "CLIENT SETNAME 'a b'",
            "-ERR Client names cannot contain spaces, newlines or special characters.",
        ),
        ("CLIENT SETNAME", "-ERR wrong number of arguments for 'client|setname' command"),
        ("CLIENT FOO", "-ERR unknown subcommand 'FOO'. Try CLIENT HELP."),
    ],
    "hello": [
        ("HELLO 3", "-NOPROTO unsupported protocol version"),
        ("HELLO x", "-ERR Protocol version is not an integer or out of range"),
        ("HELLO 2 FOO", "-ERR Syntax error in HELLO option 'FOO'"),
        (
            "HELLO 2 SETNAME bob",
            "[$server $redis $version $7.0.0 $proto :2 $id :1 $mode $standalone $role $master $modules []]",
        ),
        ("CLIENT GETNAME", "$bob"),
    ],
    "command": [
        ("COMMAND COUNT", f":{len(COMMANDS)}"),
        ("COMMAND INFO get none", "[[$get :2 [] :1 :1 :1 [] [] [] []] nil]"),
        (
            "COMMAND DOCS get none",
            "[$get [$summary $Return the value of a key. $since $1.0.0 $group $string]]",
        ),
        ("COMMAND FOO", "-ERR unknown subcommand 'FOO'. Try COMMAND HELP."),
    ],
    "config": [
        ("CONFIG GET save", "[$save $]"),
        ("CONFIG GET appendonly", "[$appendonly $no]"),
        ("CONFIG GET MAXMEM*", "[$maxmemory $0 $maxmemory-policy $noeviction]"),
        ("CONFIG GET none", "[]"),
        ("CONFIG SET save x", "-ERR unknown subcommand 'SET'. Try CONFIG HELP."),
        ("CONFIG GET", "-ERR wrong number of arguments for 'config|get' command"),
    ],
    "unknown": [
        ("FOO", "-ERR unknown command 'FOO', with args beginning with: "),
        ("FOO a 'b c'", "-ERR unknown command 'FOO', with args beginning with: 'a' 'b c' "),
        (r'"F\r\nOO"', "-ERR unknown command 'F  OO', with args beginning with: "),
    ],
    "quit": [("QUIT", "+OK")],
}


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now_ms = 5_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def session(clock: Clock) -> Session:
    return Shared(Store(clock)).open_session("peer:1")


def answer(session: Session, line: str) -> bytes:
    """Return the reply to an inline command, as the server would send it."""
    words = split_inline(line.encode())
    assert words
    try:
        return encode_reply(execute(session, words))
    except CommandError as error:
        return encode_error(str(error))


def show(encoded: bytes) -> str:
    """Return a reply in the notation of CONVERSATIONS."""

    def take(position: int) -> tuple[str, int]:
        end = encoded.index(b"\r\n", position)
        line, position = encoded[position:end].decode(), end + 2
        if line[0] in "+-:":
            return line, position
        length = int(line[1:])
        if length < 0:
            return "nil", position
        if line[0] == "$":
            return "$" + encoded[position : position + length].decode(), position + length + 2
        parts = []
        for _ in range(length):
            part, position = take(position)
            parts.append(part)
        return f"[{' '.join(parts)}]", position

    text, position = take(0)
    assert position == len(encoded)
    return text


@pytest.mark.parametrize("topic", CONVERSATIONS)
def test_conversation_goes_as_with_redis(session: Session, topic: str) -> None:
    for line, reply in CONVERSATIONS[topic]:
        assert (line, show(answer(session, line))) == (line, reply)


def test_every_command_has_a_summary_and_refuses_a_wrong_number_of_words(session: Session) -> None:
    for name, found in COMMANDS.items():
        assert found.summary
        wrong_count = abs(found.arity) - 1 or 30
        if not found.accepts(wrong_count):
            with pytest.raises(CommandError, match="wrong number of arguments"):
                execute(session, [name] * wrong_count)


def test_key_is_gone_once_its_time_has_come(session: Session, clock: Clock) -> None:
    answer(session, "SET key value PX 100")
    clock.now_ms += 99
    assert answer(session, "GET key") == b"$5\r\nvalue\r\n"
    clock.now_ms += 1
    assert answer(session, "GET key") == b"$-1\r\n"
    assert session.store.expired_keys == 1


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("EXISTS key", ":0"),
        ("DEL key", ":0"),
        ("TTL key", ":-2"),
        ("PERSIST key", ":0"),
        ("EXPIRE key 1", ":0"),
        ("STRLEN key", ":0"),
        ("APPEND key x", ":1"),
        ("INCR key", ":1"),
        ("SETNX key x", ":1"),
        ("SET key x XX", "nil"),
        ("SET key x GET", "nil"),
        ("GETSET key x", "nil"),
        ("TYPE key", "+none"),
        ("KEYS *", "[]"),
        ("DBSIZE", ":0"),
        ("MGET key", "[nil]"),
    ],
)
def test_expired_key_is_as_good_as_none(session: Session, clock: Clock, line: str, reply: str) -> None:
    answer(session, "SET key 41 EX 1")
    clock.now_ms += 1000
    assert show(answer(session, line)) == reply


def test_key_set_anew_does_not_inherit_an_old_deadline(session: Session, clock: Clock) -> None:
    answer(session, "SET key 1 EX 1")
    clock.now_ms += 1000
    answer(session, "SET key 2 KEEPTTL")
    assert show(answer(session, "TTL key")) == ":-1"


def test_appended_value_is_not_changed_in_a_reply_that_was_taken(session: Session) -> None:
    answer(session, "APPEND key a")
    taken = execute(session, [b"GET", b"key"])
    answer(session, "APPEND key b")
    assert taken == b"a"


def test_counting_from_many_threads_loses_nothing() -> None:
    shared = Shared()

    def count() -> None:
        session = shared.open_session("peer")
        for _ in range(2000):
            execute(session, [b"INCR", b"n"])

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert shared.store.get(b"n") == b"8000"


def test_info_tells_what_has_happened(session: Session) -> None:
    session.shared.close_session(session.shared.open_session("another"))
    answer(session, "MSET a 1 b 2")
    answer(session, "EXPIRE a 10")
    answer(session, "MGET a none")
    text = show(answer(session, "INFO"))
    assert [line for line in text.splitlines() if "#" in line] == [
        "$# Server",
        "# Clients",
        "# Stats",
        "# Keyspace",
    ]
    for line in (
        "connected_clients:1",
        "total_connections_received:2",
        "total_commands_processed:4",
        "keyspace_hits:1",
        "keyspace_misses:1",
        "db0:keys=2,expires=1,avg_ttl=10000",
    ):
        assert line in text.splitlines()


def test_info_section_comes_alone(session: Session) -> None:
    assert show(answer(session, "INFO clients")) == "$# Clients\r\nconnected_clients:1\r\n"


def test_quit_marks_the_session_as_closing(session: Session) -> None:
    answer(session, "QUIT")
    assert session.is_closing


def test_time_is_two_numbers(session: Session) -> None:
    reply = execute(session, [b"TIME"])
    assert isinstance(reply, list)
    seconds, microseconds = map(int, reply)
    assert seconds > 1_600_000_000
    assert 0 <= microseconds < 1_000_000


@pytest.mark.parametrize(
    ("reply", "encoded"),
    [
        (None, b"$-1\r\n"),
        (b"", b"$0\r\n\r\n"),
        (-1, b":-1\r\n"),
        ([], b"*0\r\n"),
        ([1, [None, b"a"]], b"*2\r\n:1\r\n*2\r\n$-1\r\n$1\r\na\r\n"),
    ],
)
def test_replies_are_encoded_as_resp(reply: Reply, encoded: bytes) -> None:
    assert encode_reply(reply) == encoded
