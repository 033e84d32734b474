"""The nine interfaces are the published contract, and our classes keep it.

`verifyClass` and `verifyObject` do not look into native methods, so every method's `inspect.signature` is
compared
too: parameter names, order and defaults, without `self`. Classes are imported inside the rows, so that one
missing module fails its own rows only.
"""

from __future__ import annotations

import importlib
import inspect
import queue
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from zope.interface import interface
from zope.interface.verify import verifyClass, verifyObject

from wiretask import interfaces

Signature = list[tuple[str, object]]
REQUIRED = inspect.Parameter.empty

CONTRACT: dict[str, dict[str, Signature | None]] = {
    "ISocket": {
        "listen": [("backlog", REQUIRED)],
        "bind": [("addr", REQUIRED)],
        "connect": [("address", REQUIRED)],
        "accept": [],
        "recv": [("buffer_size", REQUIRED)],
        "send": [("data", REQUIRED)],
        "close": [],
    },
    "ITaskDispatcher": {
        "setThreadCount": [("count", REQUIRED)],
        "addTask": [("task", REQUIRED)],
        "shutdown": [("cancel_pending", True), ("timeout", 5)],
        "getPendingTasksEstimate": [],
    },
    "ITask": {"service": [], "cancel": [], "defer": []},
    "IDispatcherEventHandler": {
        "handle_read_event": [],
        "handle_write_event": [],
        "handle_expt_event": [],
        "handle_error": [],
        "handle_expt": [],
        "handle_read": [],
        "handle_write": [],
        "handle_connect": [],
        "handle_accept": [],
        "handle_close": [],
    },
    "IStreamConsumer": {"received": [("data", REQUIRED)], "completed": None},
    "IServer": {"channel_class": None, "SERVER_IDENT": None},
    "IDispatcherLogging": {
        "log": [("message", REQUIRED)],
        "log_info": [("message", REQUIRED), ("type", "info")],
    },
    "IServerChannel": {"parser_class": None, "task_class": None, "queue_task": [("task", REQUIRED)]},
    "IDispatcher": {
        "add_channel": [("map", None)],
        "del_channel": [("map", None)],
        "create_socket": [("family", REQUIRED), ("type", REQUIRED)],
        "readable": [],
        "writable": [],
    },
}
"""Interface -> own members -> parameters with their defaults; None stands for an attribute."""

BASES = {"IDispatcher": ["ISocket", "IDispatcherEventHandler", "IDispatcherLogging"]}

Factory = Callable[[ExitStack, type[Any]], object]
"""Makes an instance; what must be closed afterwards goes on the stack."""


def plain(stack: ExitStack, kind: type[Any]) -> object:
    return kind()


def dispatcher(stack: ExitStack, kind: type[Any]) -> object:
    ours, theirs = socket.socketpair()
    stack.callback(theirs.close)
    made = kind(ours, {})
    stack.callback(made.close)
    return made


def task(stack: ExitStack, kind: type[Any]) -> object:
    return kind(object(), b"request")


def task_dispatcher(stack: ExitStack, kind: type[Any]) -> object:
    made = kind()
    stack.callback(made.shutdown)
    return made


def with_size(stack: ExitStack, kind: type[Any]) -> object:
    return kind(4)


def with_delimiter(stack: ExitStack, kind: type[Any]) -> object:
    return kind(b"\r\n\r\n")


def server(stack: ExitStack, kind: type[Any]) -> object:
    made = kind("127.0.0.1", 0, start=False)
    stack.callback(made.close)
    return made


def served(stack: ExitStack, attribute: str | None) -> object:
    """Return the channel of a real connection to a real server, or an attribute of it."""
    servers = importlib.import_module("wiretask.servers")
    channels = importlib.import_module("wiretask.channels")
    consumers = importlib.import_module("wiretask.consumers")
    made: queue.Queue[object] = queue.Queue()

    class Channel(channels.ServerChannel):  # type: ignore[misc, name-defined]
        parser_class = consumers.Line

        def handle_request(self, request: object) -> None:
            made.put(self)

    class Server(servers.Server):  # type: ignore[misc, name-defined]
        channel_class = Channel

    running = stack.enter_context(Server("127.0.0.1", 0))
    running.start()
    client = stack.enter_context(socket.create_connection(("127.0.0.1", running.effective_port), 20))
    client.sendall(b"hello\n")
    channel = made.get(timeout=20)
    return getattr(channel, attribute) if attribute else channel


def channel(stack: ExitStack, kind: type[Any]) -> object:
    return served(stack, None)


def connection(stack: ExitStack, kind: type[Any]) -> object:
    return served(stack, "conn")


Row = tuple[str, str, Factory]
"""Interface, "module:class", factory."""

PROVIDERS: list[Row] = [
    ("ISocket", "wiretask.dispatcher:Dispatcher", dispatcher),
    ("IDispatcherEventHandler", "wiretask.dispatcher:Dispatcher", dispatcher),
    ("IDispatcherLogging", "wiretask.dispatcher:Dispatcher", dispatcher),
    ("IDispatcher", "wiretask.dispatcher:Dispatcher", dispatcher),
    ("IStreamConsumer", "wiretask.consumers:FixedStream", with_size),
    ("IStreamConsumer", "wiretask.consumers:Line", plain),
    ("IStreamConsumer", "wiretask.consumers:Delimiter", with_delimiter),
    ("IStreamConsumer", "wiretask.consumers:LengthPrefixed", plain),
    ("ITask", "wiretask.tasks:Task", task),
    ("ITaskDispatcher", "wiretask.tasks:ThreadedTaskDispatcher", task_dispatcher),
    ("IServer", "wiretask.servers:Server", server),
    ("ISocket", "wiretask.servers:Server", server),
    ("IDispatcherEventHandler", "wiretask.servers:Server", server),
    ("IDispatcherLogging", "wiretask.servers:Server", server),
    ("IDispatcher", "wiretask.servers:Server", server),
    ("IServerChannel", "wiretask.channels:ServerChannel", channel),
    ("ITask", "wiretask.channels:ServerChannel", channel),
    ("ISocket", "wiretask.connection:Connection", connection),
]
ROWS = [pytest.param(*row, id=f"{row[0]}-{row[1].removeprefix('wiretask.')}") for row in PROVIDERS]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def load(dotted: str) -> type[Any]:
    module, _, name = dotted.partition(":")
    kind: type[Any] = getattr(importlib.import_module(module), name)
    return kind


def own_signature(member: interface.Element) -> Signature | None:
    if not isinstance(member, interface.Method):
        return None
    info = member.getSignatureInfo()
    assert info["varargs"] is None
    assert info["kwargs"] is None
    return [(name, info["optional"].get(name, REQUIRED)) for name in info["positional"]]


def members_of(name: str) -> dict[str, Signature | None]:
    """All members that the contract asks of a provider of the interface, inherited ones included."""
    members: dict[str, Signature | None] = {}
    for base in BASES.get(name, []):
        members |= CONTRACT[base]
    return members | CONTRACT[name]


def signature_of(method: object, *, bound: bool) -> Signature:
    parameters = list(inspect.signature(method).parameters.values())  # type: ignore[arg-type]
    if not bound:
        parameters = parameters[1:]
    for parameter in parameters:
        assert parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD, f"{parameter} cannot be passed both ways"
    return [(parameter.name, parameter.default) for parameter in parameters]


def test_there_are_nine_interfaces() -> None:
    assert sorted(interfaces.__all__) == sorted(CONTRACT)
    assert len(CONTRACT) == 9


@pytest.mark.parametrize("name", CONTRACT)
def test_an_interface_says_what_the_contract_says(name: str) -> None:
    declared = getattr(interfaces, name)
    assert {member: own_signature(declared[member]) for member in declared.names()} == CONTRACT[name]
    bases = [base.__name__ for base in declared.getBases()]
    assert bases == BASES.get(name, ["Interface"])


@pytest.mark.parametrize("name", CONTRACT)
def test_an_interface_and_its_members_are_documented(name: str) -> None:
    declared = getattr(interfaces, name)
    assert declared.getDoc().strip()
    assert [member for member in declared.names() if not declared[member].getDoc().strip()] == []


@pytest.mark.parametrize(("name", "dotted", "make"), ROWS)
class TestProviders:
    def test_verify_class(self, name: str, dotted: str, make: Factory) -> None:
        assert verifyClass(getattr(interfaces, name), load(dotted))

    def test_verify_object(self, stack: ExitStack, name: str, dotted: str, make: Factory) -> None:
        instance = make(stack, load(dotted))
        assert isinstance(instance, load(dotted))
        assert verifyObject(getattr(interfaces, name), instance)

    def test_signatures_on_the_class(self, name: str, dotted: str, make: Factory) -> None:
        kind = load(dotted)
        for member, expected in members_of(name).items():
            if expected is not None:
                assert signature_of(getattr(kind, member), bound=False) == expected, member

    def test_signatures_on_an_instance(self, stack: ExitStack, name: str, dotted: str, make: Factory) -> None:
        instance = make(stack, load(dotted))
        for member, expected in members_of(name).items():
            if expected is None:
                getattr(instance, member)
            else:
                assert signature_of(getattr(instance, member), bound=True) == expected, member

    def test_methods_are_documented(self, name: str, dotted: str, make: Factory) -> None:
        kind = load(dotted)
        methods = [member for member, expected in members_of(name).items() if expected is not None]
        assert [member for member in methods if not getattr(kind, member).__doc__] == []
