"""The commands that read and change keys. How to add one: see `command_table`.

Must not know: sockets, channels, other clients.
Source: https://redis.io/docs/latest/commands/; replies and the wording of errors as in Redis 7.0.
"""

from typing import Final

from wiretask.examples.keyvalue.arguments import read_integer, read_lifetime_ms, read_pattern
from wiretask.examples.keyvalue.command_table import OK, CommandError, command, wrong_arity
from wiretask.examples.keyvalue.resp import RedisRequest, Reply, SimpleString
from wiretask.examples.keyvalue.session import Session

ONE_KEY: Final = (1, 1, 1)
ALL_KEYS: Final = (1, -1, 1)


@command("GET", 2, group="string", keys=ONE_KEY)
def get(session: Session, key: bytes) -> Reply:
    """Return the value of a key."""
    return session.store.get(key)


@command("SET", -3, group="string", keys=ONE_KEY)
def set_(session: Session, key: bytes, value: bytes, *options: bytes) -> Reply:
    """Set the value of a key: SET key value [NX|XX] [GET] [EX seconds|PX milliseconds|KEEPTTL]."""
    lifetime_ms: int | None = None
    flags: set[bytes] = set()
    words = iter(options)
    for word in words:
        option = word.upper()
        if option in (b"NX", b"XX", b"GET", b"KEEPTTL"):
            flags.add(option)
        elif option in (b"EX", b"PX") and lifetime_ms is None and (amount := next(words, None)) is not None:
            lifetime_ms = read_lifetime_ms(amount, unit_ms=1000 if option == b"EX" else 1, name="set", least=1)
        else:
            raise CommandError("ERR syntax error")
    if {b"NX", b"XX"} <= flags or (b"KEEPTTL" in flags and lifetime_ms is not None):
        raise CommandError("ERR syntax error")
    store = session.store
    exists = key in store if flags else False
    previous = store.get(key) if b"GET" in flags else None
    if (b"NX" in flags and exists) or (b"XX" in flags and not exists):
        return previous
    store.set(key, value, lifetime_ms=lifetime_ms, keep_deadline=b"KEEPTTL" in flags)
    return previous if b"GET" in flags else OK


@command("SETNX", 3, group="string", keys=ONE_KEY)
def setnx(session: Session, key: bytes, value: bytes) -> Reply:
    """Set the value of a key that does not exist yet."""
    if key in session.store:
        return 0
    session.store.set(key, value)
    return 1


@command("GETSET", 3, group="string", keys=ONE_KEY)
def getset(session: Session, key: bytes, value: bytes) -> Reply:
    """Set the value of a key and return the one it had."""
    previous = session.store.get(key)
    session.store.set(key, value)
    return previous


@command("MGET", -2, group="string", keys=ALL_KEYS)
def mget(session: Session, *keys: bytes) -> Reply:
    """Return the values of all the keys."""
    return [session.store.get(key) for key in keys]


@command("MSET", -3, group="string", keys=(1, -1, 2))
def mset(session: Session, *keys_and_values: bytes) -> Reply:
    """Set several keys at once."""
    if len(keys_and_values) % 2:
        raise wrong_arity("mset")
    for key, value in zip(keys_and_values[::2], keys_and_values[1::2], strict=True):
        session.store.set(key, value)
    return OK


@command("APPEND", 3, group="string", keys=ONE_KEY)
def append(session: Session, key: bytes, tail: bytes) -> Reply:
    """Add to the end of a value and return its new length."""
    if session.store.length(key) + len(tail) > RedisRequest.max_bulk_bytes:
        raise CommandError("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
    return session.store.append(key, tail)


@command("STRLEN", 2, group="string", keys=ONE_KEY)
def strlen(session: Session, key: bytes) -> Reply:
    """Return the length of a value."""
    return session.store.length(key)


@command("INCR", 2, group="string", keys=ONE_KEY)
def incr(session: Session, key: bytes) -> Reply:
    """Add one to the number that a key holds (0 if there is none)."""
    return _add(session, key, 1)


@command("DECR", 2, group="string", keys=ONE_KEY)
def decr(session: Session, key: bytes) -> Reply:
    """Subtract one from the number that a key holds."""
    return _add(session, key, -1)


@command("INCRBY", 3, group="string", keys=ONE_KEY)
def incrby(session: Session, key: bytes, amount: bytes) -> Reply:
    """Add to the number that a key holds."""
    return _add(session, key, read_integer(amount))


@command("DECRBY", 3, group="string", keys=ONE_KEY)
def decrby(session: Session, key: bytes, amount: bytes) -> Reply:
    """Subtract from the number that a key holds."""
    if (value := read_integer(amount)) == -(2**63):
        raise CommandError("ERR decrement would overflow")
    return _add(session, key, -value)


@command("DEL", -2, keys=ALL_KEYS)
def del_(session: Session, *keys: bytes) -> Reply:
    """Delete keys and return how many there were."""
    return sum(session.store.delete(key) for key in keys)


@command("EXISTS", -2, keys=ALL_KEYS)
def exists(session: Session, *keys: bytes) -> Reply:
    """Return how many of the keys exist, each counted as often as it is named."""
    return sum(key in session.store for key in keys)


@command("TYPE", 2, keys=ONE_KEY)
def type_(session: Session, key: bytes) -> Reply:
    """Return the type of a value: every value here is a string."""
    return SimpleString(b"string" if key in session.store else b"none")


@command("EXPIRE", 3, keys=ONE_KEY)
def expire(session: Session, key: bytes, seconds: bytes) -> Reply:
    """Let a key expire in so many seconds."""
    return int(session.store.set_lifetime(key, read_lifetime_ms(seconds, unit_ms=1000, name="expire")))


@command("PEXPIRE", 3, keys=ONE_KEY)
def pexpire(session: Session, key: bytes, milliseconds: bytes) -> Reply:
    """Let a key expire in so many milliseconds."""
    return int(session.store.set_lifetime(key, read_lifetime_ms(milliseconds, unit_ms=1, name="pexpire")))


@command("PERSIST", 2, keys=ONE_KEY)
def persist(session: Session, key: bytes) -> Reply:
    """Let a key live for ever."""
    return int(session.store.remove_lifetime(key))


@command("TTL", 2, keys=ONE_KEY)
def ttl(session: Session, key: bytes) -> Reply:
    """Return in how many seconds a key expires; -1: never; -2: there is no such key."""
    remaining_ms = _remaining_ms(session, key)
    return remaining_ms if remaining_ms < 0 else (remaining_ms + 500) // 1000


@command("PTTL", 2, keys=ONE_KEY)
def pttl(session: Session, key: bytes) -> Reply:
    """Return in how many milliseconds a key expires; -1: never; -2: there is no such key."""
    return _remaining_ms(session, key)


@command("KEYS", 2)
def keys(session: Session, pattern: bytes) -> Reply:
    """Return the keys that match a pattern. Looks at every key."""
    matches = read_pattern(pattern)
    return [key for key in session.store.live_keys() if matches(key)]


@command("DBSIZE", 1, group="server")
def dbsize(session: Session) -> Reply:
    """Return the number of keys."""
    return len(session.store.live_keys())


@command("FLUSHDB", -1, group="server")
def flushdb(session: Session, *options: bytes) -> Reply:
    """Delete all keys. ASYNC and SYNC are understood and make no difference."""
    if len(options) > 1 or (options and options[0].upper() not in (b"ASYNC", b"SYNC")):
        raise CommandError("ERR syntax error")
    session.store.clear()
    return OK


@command("FLUSHALL", -1, group="server")
def flushall(session: Session, *options: bytes) -> Reply:
    """Delete all keys of all databases: there is one."""
    return flushdb(session, *options)


def _add(session: Session, key: bytes, amount: int) -> int:
    store = session.store
    current = store.get(key)
    total = amount + (0 if current is None else read_integer(current))
    if not -(2**63) <= total < 2**63:
        raise CommandError("ERR increment or decrement would overflow")
    store.set(key, b"%d" % total, keep_deadline=True)
    return total


def _remaining_ms(session: Session, key: bytes) -> int:
    if key not in session.store:
        return -2
    remaining_ms = session.store.lifetime_ms(key)
    return -1 if remaining_ms is None else remaining_ms
