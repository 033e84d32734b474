"""The table of commands: `command` enters one, `execute` looks one up and runs it.

To add a command, write a function in `data_commands` or `connection_commands`:

    @command("STRLEN", 2, keys=(1, 1, 1))
    def strlen(session: Session, key: bytes) -> Reply:
        \"\"\"Returns the length of a string value.\"\"\"
        return session.store.length(key)

It gets the client's session and the arguments as bytes, and returns what `encode_reply` knows: None, int,
bytes (data), SimpleString (a status), or a list of these. It raises CommandError for an error; the first line
of its docstring is what `redis-cli` shows as help. It runs with the store's lock held, so it must not wait.
Must not know: sockets, channels, how requests and replies are encoded.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from wiretask.examples.keyvalue.resp import Reply, SimpleString
from wiretask.examples.keyvalue.session import Session

__all__ = [
    "COMMANDS",
    "OK",
    "Command",
    "CommandError",
    "command",
    "execute",
    "unknown_subcommand",
    "wrong_arity",
]

OK = SimpleString(b"OK")


class CommandError(Exception):
    """An error that the client gets as the reply. The text begins with a code such as `ERR`, as in Redis."""


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the table."""

    name: str
    arity: int
    """How many words, the name included; -3 means three or more (Redis' convention)."""
    group: str
    keys: tuple[int, int, int]
    """Where the keys stand: first and last word (-1: the last one of all) and the step; zeros for none."""
    run: Callable[..., Reply]

    @property
    def summary(self) -> str:
        """What the command does, in one line."""
        return (self.run.__doc__ or "").partition("\n")[0]

    def accepts(self, word_count: int) -> bool:
        """Return whether the command can have so many words, its name included."""
        return word_count == self.arity if self.arity >= 0 else word_count >= -self.arity


COMMANDS: dict[bytes, Command] = {}
"""All commands by name, in capitals."""

Function = TypeVar("Function", bound=Callable[..., Reply])


def command(
    name: str, arity: int, *, group: str = "generic", keys: tuple[int, int, int] = (0, 0, 0)
) -> Callable[[Function], Function]:
    """Return a decorator that enters a function into the table. See `Command` for the arguments."""

    def enter(function: Function) -> Function:
        COMMANDS[name.encode()] = Command(name, arity, group, keys, function)
        return function

    return enter


def execute(session: Session, words: Sequence[bytes]) -> Reply:
    """Run a command and return its reply.

    Args:
        words: the command's name, in any case, and its arguments; at least one.
    Raises:
        CommandError: there is no such command, or it cannot be done. Nothing has been changed then.
    Threads: any. Locks: holds the store's lock while the command runs.
    """
    found = COMMANDS.get(words[0].upper())
    if found is None:
        raise CommandError(_unknown_command(words))
    if not found.accepts(len(words)):
        raise wrong_arity(found.name)
    shared = session.shared
    with shared.store.lock:
        shared.commands_processed += 1
        session.last_command = found.name
        return found.run(session, *words[1:])


def wrong_arity(name: str) -> CommandError:
    """Return the error for a command (`client|setname` for a subcommand) with too few or too many words."""
    return CommandError(f"ERR wrong number of arguments for '{name.lower()}' command")


def unknown_subcommand(name: str, subcommand: bytes) -> CommandError:
    """Return the error for a word that the command `name` does not know."""
    return CommandError(f"ERR unknown subcommand '{_shown(subcommand)}'. Try {name} HELP.")


def _unknown_command(words: Sequence[bytes]) -> str:
    arguments = _shown_arguments(words[1:])
    return f"ERR unknown command '{_shown(words[0])}', with args beginning with: {arguments}"


def _shown_arguments(arguments: Iterable[bytes]) -> str:
    """Return the first arguments in quotes, about as many as fit 128 characters."""
    shown = ""
    for argument in arguments:
        if len(shown) >= 128:
            break
        shown += f"'{argument[: 128 - len(shown)].decode('latin-1')}' "
    return shown


def _shown(word: bytes) -> str:
    return word[:128].decode("latin-1")
