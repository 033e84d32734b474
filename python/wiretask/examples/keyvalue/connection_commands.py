"""The commands about the connection and the server. How to add one: see `command_table`.

Must not know: sockets, channels; what it says of clients it knows from their sessions.
Source: https://redis.io/docs/latest/commands/; replies and the wording of errors as in Redis 7.0.
"""

import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Final

from wiretask.examples.keyvalue.arguments import read_integer, read_pattern
from wiretask.examples.keyvalue.command_table import (
    COMMANDS,
    OK,
    Command,
    CommandError,
    command,
    unknown_subcommand,
    wrong_arity,
)
from wiretask.examples.keyvalue.resp import RedisRequest, Reply, SimpleString
from wiretask.examples.keyvalue.session import Session

REDIS_VERSION: Final = "7.0.0"
"""The Redis whose commands and wording these are; clients ask for it."""

SETTINGS: Final = {
    b"save": b"",
    b"appendonly": b"no",
    b"databases": b"1",
    b"maxmemory": b"0",
    b"maxmemory-policy": b"noeviction",
    b"proto-max-bulk-len": b"%d" % RedisRequest.max_bulk_bytes,
}


@command("PING", -1, group="connection")
def ping(session: Session, *message: bytes) -> Reply:
    """Return PONG, or the message."""
    if len(message) > 1:
        raise wrong_arity("ping")
    return message[0] if message else SimpleString(b"PONG")


@command("ECHO", 2, group="connection")
def echo(session: Session, message: bytes) -> Reply:
    """Return the message."""
    return message


@command("QUIT", -1, group="connection")
def quit_(session: Session, *ignored: bytes) -> Reply:
    """Close the connection."""
    session.is_closing = True
    return OK


@command("SELECT", 2, group="connection")
def select(session: Session, index: bytes) -> Reply:
    """Choose a database: there is one, number 0."""
    if read_integer(index) != 0:
        raise CommandError("ERR DB index is out of range")
    return OK


@command("HELLO", -1, group="connection")
def hello(session: Session, *arguments: bytes) -> Reply:
    """Return what the server is; HELLO 2 [SETNAME name] chooses the only protocol version there is."""
    if arguments and read_integer(arguments[0], what="Protocol version") != 2:
        raise CommandError("NOPROTO unsupported protocol version")
    words = iter(arguments[1:])
    for word in words:
        name = next(words, None)
        if word.upper() != b"SETNAME" or name is None:
            raise CommandError(f"ERR Syntax error in HELLO option '{word[:128].decode('latin-1')}'")
        _set_name(session, name)
    return [
        *(b"server", b"redis", b"version", REDIS_VERSION.encode(), b"proto", 2, b"id", session.number),
        *(b"mode", b"standalone", b"role", b"master", b"modules", []),
    ]


@command("CLIENT", -2, group="connection")
def client(session: Session, subcommand: bytes, *arguments: bytes) -> Reply:
    """Tell about connections: CLIENT ID | INFO | LIST | GETNAME | SETNAME name | SETINFO attribute value."""
    match subcommand.upper(), arguments:
        case b"ID", ():
            return session.number
        case b"GETNAME", ():
            return session.name or None
        case b"SETNAME", (name,):
            _set_name(session, name)
            return OK
        case b"SETINFO", (attribute, value):
            return _set_info(session, attribute.lower(), value)
        case b"INFO", ():
            return _client_line(session)
        case b"LIST", ():
            return b"".join(map(_client_line, session.shared.sessions.values()))
        case ((b"ID" | b"GETNAME" | b"SETNAME" | b"SETINFO" | b"INFO" | b"LIST"), _):
            raise wrong_arity(f"client|{subcommand.decode()}")
    raise unknown_subcommand("CLIENT", subcommand)


@command("COMMAND", -1, group="server")
def command_(session: Session, subcommand: bytes = b"INFO", *names: bytes) -> Reply:
    """Tell about the commands: COMMAND [COUNT | LIST | INFO [name ...] | DOCS [name ...]]."""
    chosen = [COMMANDS.get(name.upper()) for name in names] if names else list(COMMANDS.values())
    match subcommand.upper(), names:
        case b"COUNT", ():
            return len(COMMANDS)
        case b"LIST", ():
            return [found.name.lower().encode() for found in COMMANDS.values()]
        case b"INFO", _:
            return [None if found is None else _command_info(found) for found in chosen]
        case b"DOCS", _:
            return [part for found in chosen if found is not None for part in _command_docs(found)]
        case ((b"COUNT" | b"LIST"), _):
            raise wrong_arity(f"command|{subcommand.decode()}")
    raise unknown_subcommand("COMMAND", subcommand)


@command("CONFIG", -2, group="server")
def config(session: Session, subcommand: bytes, *patterns: bytes) -> Reply:
    """Return settings: CONFIG GET pattern [pattern ...]. None can be changed."""
    if subcommand.upper() != b"GET":
        raise unknown_subcommand("CONFIG", subcommand)
    if not patterns:
        raise wrong_arity("config|get")
    tests = [read_pattern(pattern.lower()) for pattern in patterns]
    found = [(name, value) for name, value in SETTINGS.items() if any(test(name) for test in tests)]
    return [part for pair in found for part in pair]


@command("TIME", 1, group="server")
def time_(session: Session) -> Reply:
    """Return the time of day: seconds since 1970, and microseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return [b"%d" % seconds, b"%d" % (nanoseconds // 1000)]


@command("INFO", -1, group="server")
def info(session: Session, *sections: bytes) -> Reply:
    """Return figures about the server: INFO [server | clients | stats | keyspace ...]."""
    wanted = {section.lower() for section in sections} - {b"all", b"default", b"everything"}
    chosen = [name for name in INFO_SECTIONS if not wanted or name.lower().encode() in wanted]
    blocks = []
    for name in chosen:
        lines = [f"{key}:{value}\r\n" for key, value in INFO_SECTIONS[name](session).items()]
        blocks.append(f"# {name}\r\n{''.join(lines)}")
    return "\r\n".join(blocks).encode()


def _server_figures(session: Session) -> dict[str, object]:
    uptime_seconds = int(time.monotonic() - session.shared.started_seconds)
    return {
        "redis_version": REDIS_VERSION,
        "redis_mode": "standalone",
        "server_name": "wiretask keyvalue",
        "python_version": platform.python_version(),
        "process_id": os.getpid(),
        "tcp_port": session.shared.port,
        "uptime_in_seconds": uptime_seconds,
        "uptime_in_days": uptime_seconds // 86400,
    }


def _clients_figures(session: Session) -> dict[str, object]:
    return {"connected_clients": len(session.shared.sessions)}


def _stats_figures(session: Session) -> dict[str, object]:
    shared = session.shared
    return {
        "total_connections_received": shared.connections_received,
        "total_commands_processed": shared.commands_processed,
        "expired_keys": shared.store.expired_keys,
        "keyspace_hits": shared.store.hits,
        "keyspace_misses": shared.store.misses,
    }


def _keyspace_figures(session: Session) -> dict[str, object]:
    lifetimes_ms = session.store.lifetimes_ms()
    if not len(session.store):
        return {}
    mean_ms = sum(lifetimes_ms) // len(lifetimes_ms) if lifetimes_ms else 0
    return {"db0": f"keys={len(session.store)},expires={len(lifetimes_ms)},avg_ttl={mean_ms}"}


INFO_SECTIONS: Final[dict[str, Callable[[Session], dict[str, object]]]] = {
    "Server": _server_figures,
    "Clients": _clients_figures,
    "Stats": _stats_figures,
    "Keyspace": _keyspace_figures,
}


def _set_name(session: Session, name: bytes) -> None:
    if not _is_plain(name):
        raise CommandError("ERR Client names cannot contain spaces, newlines or special characters.")
    session.name = name


def _set_info(session: Session, attribute: bytes, value: bytes) -> Reply:
    if attribute not in (b"lib-name", b"lib-ver"):
        raise CommandError(f"ERR Unrecognized option '{attribute[:128].decode('latin-1')}'")
    if not _is_plain(value):
        name = attribute.decode()
        raise CommandError(f"ERR {name} cannot contain spaces, newlines or special characters.")
    session.library[attribute] = value
    return OK


def _is_plain(text: bytes) -> bool:
    return all(0x21 <= byte <= 0x7E for byte in text)


def _client_line(session: Session) -> bytes:
    age_seconds = int(time.monotonic() - session.connected_seconds)
    return b"id=%d addr=%b name=%b age=%d db=0 cmd=%b lib-name=%b lib-ver=%b\n" % (
        session.number,
        session.address.encode(),
        session.name,
        age_seconds,
        session.last_command.lower().encode(),
        session.library.get(b"lib-name", b""),
        session.library.get(b"lib-ver", b""),
    )


def _command_info(found: Command) -> Sequence[Reply]:
    return [found.name.lower().encode(), found.arity, [], *found.keys, [], [], [], []]


def _command_docs(found: Command) -> Sequence[Reply]:
    return [
        found.name.lower().encode(),
        [b"summary", found.summary.encode(), b"since", b"1.0.0", b"group", found.group.encode()],
    ]
