"""Hooks on a request's way: `received`, `parser_class`, `handle_request`, `queue_task`, and the tasks."""

from __future__ import annotations

import ctypes
import os
import select
import subprocess
import sys
import threading
from typing import Any

import pytest
from peers import DEADLINE_SECONDS, until
from protocols import Echo, EchoTask, PythonEcho, PythonLine, Tasks, acting

import wiretask
from wiretask.consumers import Delimiter, FixedStream, LengthPrefixed, Line

NATIVE_PARSERS = [
    (Line, b"abc\n", b"abc"),
    (Line.configured(max_bytes=10), b"abc\r\n", b"abc"),
    (FixedStream.configured(3), b"abc", b"abc"),
    (Delimiter.configured(b"--"), b"abc--", b"abc"),
    (LengthPrefixed, b"\0\0\0\x03abc", b"abc"),
]


def on_worker() -> bool:
    return threading.current_thread().name.startswith("wiretask-TestServer-")


# ---- parser_class ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("parser", "message", "value"), NATIVE_PARSERS)
@pytest.mark.parametrize("is_split", [False, True])
def test_native_parser_cuts_the_stream(serving, connect, parser, message, value, is_split):
    server = serving(type("Native", (Echo,), {"parser_class": parser}))
    peer = connect(server)
    for start in range(len(message)) if is_split else ():
        peer.send(message[start : start + 1])
        until(lambda sent=start + 1: server.stats()["bytes_received"] == sent)
    peer.send(b"" if is_split else message)
    assert peer.read_line() == value + b"\n"


def test_native_parser_refuses_what_is_too_large(serving, connect):
    peer = connect(serving(type("Short", (Echo,), {"parser_class": Line.configured(max_bytes=4)})))
    peer.send(b"abc\nabcdefgh\n")
    assert peer.read_to_end() == b"abc\n"


def test_native_parser_needs_no_interpreter(serving):
    """The loop reads, parses, refuses and closes while another thread keeps the interpreter."""
    server = serving(type("Short", (Echo,), {"parser_class": Line.configured(max_bytes=4)}))
    client = (
        "import socket, sys\n"
        f"peer = socket.create_connection(('127.0.0.1', {server.effective_port}))\n"
        "peer.sendall(b'far too long'); assert peer.recv(1) == b''\n"
        "print('closed', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", client], stdout=subprocess.PIPE, stdin=subprocess.PIPE) as process:
        descriptor = process.stdout.fileno()
        # PyDLL keeps the interpreter during the call.
        events = (ctypes.c_char * 8)()
        events[:] = descriptor.to_bytes(4, sys.byteorder) + select.POLLIN.to_bytes(4, sys.byteorder)
        assert ctypes.PyDLL(None).poll(events, 1, int(DEADLINE_SECONDS * 1000)) == 1
        assert os.read(descriptor, 1) == b"c"
        process.communicate()


def test_native_class_that_needs_arguments_is_refused_at_start(serving):
    with pytest.raises(TypeError, match=r"FixedStream\.configured\(n\)"):
        serving(type("Unset", (Echo,), {"parser_class": FixedStream}))


def test_python_parser_gets_the_settings(serving, connect):
    got: list[Any] = []

    class Noting(PythonLine):
        def __init__(self, adj):
            got.append((adj, on_worker()))
            super().__init__(adj)

    server = serving(type("Noted", (PythonEcho,), {"parser_class": Noting}))
    connect(server).ask(b"x")
    assert got == [(server.adj, True)]


def test_python_parser_may_be_a_function(serving, connect):
    class Made(Echo):
        parser_class = staticmethod(lambda adj: Line(max_bytes=adj.recv_bytes))

    assert connect(serving(Made)).ask(b"x") == b"x"


def test_python_parser_gives_each_request_of_a_piece(serving, connect):
    peer = connect(serving(PythonEcho))
    peer.send(b"1\n2\n3\n4")
    assert peer.read(6) == b"1\n2\n3\n"
    peer.send(b"\n")
    assert peer.read(2) == b"4\n"


@pytest.mark.parametrize("channel_class", [Echo, PythonEcho])
def test_empty_requests_are_skipped(serving, connect, channel_class):
    peer = connect(serving(channel_class))
    peer.send(b"\n\nx\n\n")
    peer.end_output()
    assert peer.read_to_end() == b"x\n"


def test_error_of_a_python_parser_closes_after_the_answers_before_it(serving, connect):
    peer = connect(serving(PythonEcho))
    peer.send(b"good\nbad\nnever\n")
    assert peer.read_to_end() == b"good\n"


def test_requests_with_an_error_do_not_reach_handle_request(serving, connect):
    got = []

    class Noting(PythonEcho):
        def handle_request(self, request):
            got.append(request.value)

    peer = connect(serving(Noting))
    peer.send(b"good\nbad\n")
    assert peer.is_closed_by_server()
    assert got == [b"good"]


def test_end_of_input_may_complete_the_last_request(serving, connect):
    class UntilEnd(PythonLine):
        def end_of_input(self):
            self.completed = True

    peer = connect(serving(type("Lenient", (PythonEcho,), {"parser_class": UntilEnd})))
    peer.send(b"a\nb")
    peer.end_output()
    assert peer.read_to_end() == b"a\nb\n"


def test_end_of_input_that_raises_is_an_exception_out_of_a_hook(serving, connect, caplog):
    class Broken(PythonLine):
        def end_of_input(self):
            raise LookupError("unexpected end")

    peer = connect(serving(type("Strict", (PythonEcho,), {"parser_class": Broken})))
    peer.send(b"half")
    peer.end_output()
    assert peer.is_closed_by_server()
    until(lambda: "unexpected end" in caplog.text)


def test_parser_that_consumes_nothing_is_an_error_and_no_endless_loop(serving, connect, caplog):
    class Stubborn(PythonLine):
        def received(self, data):
            return 0

    peer = connect(serving(type("Stuck", (PythonEcho,), {"parser_class": Stubborn})))
    peer.send(b"x\n")
    assert peer.is_closed_by_server()
    until(lambda: "consumed nothing" in caplog.text)


def test_requests_in_pieces_do_not_run_into_the_time_limit_of_one_request(serving, connect):
    """Each piece ends one request and begins the next: the limit is for each, not for all of them."""
    begun: list[bool] = []

    class Noted(PythonEcho):
        def _set_request_begun(self, has_begun):
            begun.append(has_begun)
            super()._set_request_begun(has_begun)

    peer = connect(serving(Noted))
    peer.send(b"a")
    until(lambda: begun == [True])
    for count in (3, 5, 7):
        peer.send(b"a\nb")
        until(lambda count=count: len(begun) == count)
    peer.send(b"\n")
    until(lambda: len(begun) == 8)
    assert begun == [True, False] * 4


# ---- received -------------------------------------------------------------------------------------------


def test_received_gets_the_raw_bytes_in_order_on_a_worker(serving, connect):
    pieces: list[bytes] = []
    threads: set[bool] = set()

    class Raw(wiretask.ServerChannel):
        def received(self, data):
            pieces.append(data)
            threads.add(on_worker())
            if data.endswith(b"."):
                self.write(b"ok\n")

    stream = os.urandom(300_000).replace(b".", b",") + b"."
    peer = connect(serving(Raw))
    peer.send(stream)
    assert peer.read_line() == b"ok\n"
    assert b"".join(pieces) == stream
    assert threads == {True}


def test_received_gets_at_most_recv_bytes_at_once(serving, connect):
    sizes: list[int] = []

    class Raw(wiretask.ServerChannel):
        def received(self, data):
            sizes.append(len(data))

    connect(serving(Raw, adj=wiretask.Adjustments(recv_bytes=100))).send(b"x" * 1234)
    until(lambda: sum(sizes) == 1234)
    assert max(sizes) == 100


def test_received_may_change_the_bytes_and_call_its_base(serving, connect):
    class Upper(PythonEcho):
        def received(self, data):
            super().received(data.upper())

    assert connect(serving(Upper)).ask(b"abc") == b"ABC"


# ---- handle_request, queue_task, tasks ------------------------------------------------------------------


@pytest.mark.parametrize("base", [Echo, PythonEcho])
def test_handle_request_gets_the_completed_consumer_on_a_worker(serving, connect, base):
    class Direct(base):
        def handle_request(self, request):
            assert request.completed
            assert on_worker()
            self.write(request.value[::-1] + b"\n")

    assert connect(serving(Direct)).ask(b"abc") == b"cba"


def test_handle_request_may_queue_several_tasks(serving, connect):
    class Thrice(Echo):
        def handle_request(self, request):
            for _ in range(3):
                super().handle_request(request)

    peer = connect(serving(Thrice))
    peer.send(b"x\n")
    assert peer.read(6) == b"x\nx\nx\n"


def test_handle_request_needs_no_task_class(serving, connect):
    class Direct(wiretask.ServerChannel):
        parser_class = Line
        task_class = None

        def handle_request(self, request):
            self.write(b"ok\n")

    assert connect(serving(Direct)).ask(b"x") == b"ok"


@pytest.mark.parametrize("base", [Echo, PythonEcho])
def test_queue_task_overridden_gets_every_task(serving, connect, base):
    tasks: list[Any] = []

    class Watched(base):
        def queue_task(self, task):
            tasks.append(type(task))
            super().queue_task(task)

    assert connect(serving(Watched)).ask(b"x") == b"x"
    assert tasks == [EchoTask]


class _WithInit(EchoTask):
    def __init__(self, channel, request):
        super().__init__(channel, request)
        self.is_made_as_written = True


class _WithNew(EchoTask):
    def __new__(cls, channel, request):
        task = super().__new__(cls)
        task.is_made_as_written = True
        return task


class _WithSetattr(EchoTask):
    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        super().__setattr__("is_made_as_written", True)


class _Meta(type):
    def __call__(cls, channel, request):
        task = super().__call__(channel, request)
        task.is_made_as_written = True
        return task


class _WithMetaclass(EchoTask, metaclass=_Meta):
    pass


@pytest.mark.parametrize("task_class", [_WithInit, _WithNew, _WithSetattr, _WithMetaclass])
def test_task_is_made_as_its_class_says_each_time(serving, connect, task_class):
    made: list[bool] = []

    class Noted(task_class):
        def service(self):
            made.append(self.is_made_as_written)
            super().service()

    peer = connect(serving(type("Noting", (Echo,), {"task_class": Noted})))
    assert [peer.ask(b"x") for _ in range(3)] == [b"x"] * 3
    assert made == [True] * 3


def test_task_class_may_be_any_callable(serving, connect):
    peer = connect(serving(type("Calling", (Echo,), {"task_class": staticmethod(lambda *args: EchoTask(*args))})))
    assert [peer.ask(b"x") for _ in range(3)] == [b"x"] * 3


@pytest.mark.parametrize("base", [Echo, PythonEcho])
def test_task_is_deferred_then_served(serving, connect, base):
    events: list[str] = []

    class Noted(EchoTask):
        def defer(self):
            events.append("defer")

        def service(self):
            events.append("service")
            super().service()

        def cancel(self):
            events.append("cancel")

    assert connect(serving(type("Noting", (base,), {"task_class": Noted}))).ask(b"x") == b"x"
    assert events == ["defer", "service"]


@pytest.mark.parametrize("base", [Echo, PythonEcho])
def test_task_whose_defer_raises_is_cancelled_and_not_served(serving, connect, base):
    events: list[str] = []

    class Noted(EchoTask):
        def defer(self):
            events.append("defer")
            raise LookupError

        def service(self):
            events.append("service")

        def cancel(self):
            events.append("cancel")

    peer = connect(serving(type("Noting", (base,), {"task_class": Noted})))
    peer.send(b"x\n")
    assert peer.is_closed_by_server()
    assert events == ["defer", "cancel"]


@pytest.mark.parametrize(("task", "error"), [(None, ValueError), (object(), TypeError)])
def test_queue_task_refuses_what_is_no_task(serving, connect, task, error):
    def queue(channel: Any) -> None:
        with pytest.raises(error):
            channel.queue_task(task)
        channel.write(b"refused\n")

    assert connect(serving(acting(queue=queue))).ask(b"queue") == b"refused"


def test_task_class_that_gives_no_task_is_an_exception_out_of_a_hook(serving, connect, caplog):
    peer = connect(serving(type("Odd", (Echo,), {"task_class": staticmethod(lambda *_: None)})))
    peer.send(b"x\n")
    assert peer.is_closed_by_server()
    until(lambda: "Traceback" in caplog.text)


def test_service_of_the_channel_overridden_runs_on_a_worker(serving, connect):
    services: list[bool] = []

    class Wrapped(Echo):
        def service(self):
            services.append(on_worker())
            super().service()

    assert connect(serving(Wrapped)).ask(b"x") == b"x"
    assert services == [True]


def test_defer_of_the_channel_overridden_is_called_before_it_is_queued(serving, connect):
    events: list[str] = []

    class Deferring(Echo):
        def defer(self):
            events.append("defer")

        def service(self):
            events.append("service")
            super().service()

    peer = connect(serving(Deferring))
    # A request that comes while the one before is being finished is served without being queued.
    until(lambda: peer.ask(b"x") and events.count("defer") == 3)
    assert events == ["service"] + ["defer", "service"] * 3


def test_cancel_of_the_channel_overridden_is_called_when_its_dispatcher_is_shut(serving, connect):
    cancelled = threading.Event()
    tasks = Tasks()

    class Cancelling(Echo):
        def cancel(self):
            cancelled.set()
            super().cancel()

    kept: list[Any] = []
    dispatcher = wiretask.ThreadedTaskDispatcher(1)
    server = serving(
        acting(Cancelling, keep=lambda channel: (kept.append(channel), channel.write(b"kept\n"))),
        task_dispatcher=dispatcher,
    )
    peer = connect(server)
    assert peer.ask(b"keep") == b"kept"
    dispatcher.shutdown()
    kept[0].queue_task(tasks.task("late"))
    assert cancelled.wait(DEADLINE_SECONDS)
    until(lambda: ("cancelled", "late") in tasks.outcomes)
    assert tasks.outcomes == [("deferred", "late"), ("cancelled", "late")]
    assert peer.is_closed_by_server()
