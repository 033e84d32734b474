"""`Store`: keys, values, and when they expire.

Strategy: two dictionaries. A key's time is checked when the key is used (lazily); what nobody uses any more
goes when somebody counts or lists the keys.
One lock for all, held by the caller for the length of a command. A command waits for nothing, so that is
microseconds; every command is atomic, INCR and those of several keys too, as clients of Redis expect; and
where the interpreter runs one thread at a time, a lock for each key would let nothing more run at once.
Must not know: the protocol, connections, the commands.
"""

import threading
import time
from collections.abc import Callable, KeysView

__all__ = ["Store"]


class Store:
    """Values by key, both bytes. Every method but the constructor is called with `lock` held; none blocks.

    Args:
        clock_ms: the time in milliseconds since any moment; must not run backwards.
    """

    def __init__(self, clock_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000) -> None:
        self.lock = threading.Lock()
        self.hits = 0
        self.misses = 0
        self.expired_keys = 0
        self._clock_ms = clock_ms
        # A bytearray stands where a value has been appended to: growing it costs what is added.
        self._values: dict[bytes, bytes | bytearray] = {}
        self._deadlines_ms: dict[bytes, int] = {}

    def __len__(self) -> int:
        """Return how many keys there are, expired ones that nobody has touched since included."""
        return len(self._values)

    def __contains__(self, key: bytes) -> bool:
        """Return whether the key exists."""
        if self._deadlines_ms:
            self._drop_if_expired(key)
        return key in self._values

    def get(self, key: bytes) -> bytes | None:
        """Return the value, or None; counts as a hit or a miss."""
        if self._deadlines_ms:
            self._drop_if_expired(key)
        value = self._values.get(key)
        if value is None:
            self.misses += 1
            return None
        self.hits += 1
        return bytes(value)

    def set(self, key: bytes, value: bytes, *, lifetime_ms: int | None = None, keep_deadline: bool = False) -> None:
        """Set a value. The key's deadline goes, unless it is kept or a new one is given."""
        if self._deadlines_ms:
            self._drop_if_expired(key)
            if not keep_deadline:
                self._deadlines_ms.pop(key, None)
        self._values[key] = value
        if lifetime_ms is not None:
            self._deadlines_ms[key] = self._clock_ms() + lifetime_ms

    def append(self, key: bytes, tail: bytes) -> int:
        """Add to the end of a value (of an empty one, if there is none) and return its new length."""
        value = self._values[key] if key in self else b""
        if not isinstance(value, bytearray):
            value = self._values[key] = bytearray(value)
        value += tail
        return len(value)

    def length(self, key: bytes) -> int:
        """Return the length of the value in bytes; 0 if there is none."""
        return len(self._values[key]) if key in self else 0

    def delete(self, key: bytes) -> bool:
        """Delete a key and return whether it existed."""
        existed = key in self
        self._values.pop(key, None)
        self._deadlines_ms.pop(key, None)
        return existed

    def live_keys(self) -> KeysView[bytes]:
        """Return the keys that have not expired."""
        self.drop_expired()
        return self._values.keys()

    def clear(self) -> None:
        """Delete everything."""
        self._values = {}
        self._deadlines_ms = {}

    def set_lifetime(self, key: bytes, lifetime_ms: int) -> bool:
        """Let an existing key expire in `lifetime_ms` (0 or less: now). Returns whether the key existed."""
        if key not in self:
            return False
        self._deadlines_ms[key] = self._clock_ms() + lifetime_ms
        return True

    def remove_lifetime(self, key: bytes) -> bool:
        """Let a key live for ever. Returns whether it existed and would have expired."""
        return key in self and self._deadlines_ms.pop(key, None) is not None

    def lifetime_ms(self, key: bytes) -> int | None:
        """Return how long an existing key has to live; None if for ever."""
        deadline_ms = self._deadlines_ms.get(key)
        return None if deadline_ms is None else deadline_ms - self._clock_ms()

    def lifetimes_ms(self) -> list[int]:
        """Return the time to live of every key that has one."""
        self.drop_expired()
        now_ms = self._clock_ms()
        return [deadline_ms - now_ms for deadline_ms in self._deadlines_ms.values()]

    def drop_expired(self) -> None:
        """Delete the keys whose time has come."""
        now_ms = self._clock_ms()
        for key in [key for key, deadline_ms in self._deadlines_ms.items() if deadline_ms <= now_ms]:
            self._drop(key)

    def _drop_if_expired(self, key: bytes) -> None:
        deadline_ms = self._deadlines_ms.get(key)
        if deadline_ms is not None and deadline_ms <= self._clock_ms():
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        del self._values[key]
        del self._deadlines_ms[key]
        self.expired_keys += 1
