"""Hooks for what goes wrong and what is written down: `handle_error`, `log`, `log_info`."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from peers import DEADLINE_SECONDS, until
from protocols import Echo, EchoTask, PythonEcho, PythonLine, acting

import wiretask
from wiretask.consumers import Line

BOOM = LookupError("boom")


def boom(*_: Any) -> None:
    raise BOOM


class Reporting(Echo):
    """Notes the exceptions that handle_error is called for, and where."""

    def handle_error(self) -> None:
        import sys

        worker = threading.current_thread().name.startswith("wiretask-TestServer-")
        self.errors.append((sys.exception(), worker))
        self.close_when_done()


FAILING_HOOKS = {
    "handle_connect": {"handle_connect": boom},
    "received": {"received": boom},
    "parser_class": {"parser_class": staticmethod(boom)},
    "parser.received": {"parser_class": type("P", (PythonLine,), {"received": boom})},
    "handle_request": {"handle_request": boom},
    "task_class": {"task_class": staticmethod(boom)},
    "queue_task": {"queue_task": boom},
    "task.defer": {"task_class": type("T", (EchoTask,), {"defer": boom})},
    "task.service": {"task_class": type("T", (EchoTask,), {"service": boom})},
}


@pytest.mark.parametrize("hook", FAILING_HOOKS)
@pytest.mark.parametrize("parser", [Line, PythonLine])
def test_exception_out_of_a_hook_is_handled_once_on_a_worker(serving, connect, hook, parser):
    errors: list[Any] = []
    attributes = {"parser_class": parser, "errors": errors} | FAILING_HOOKS[hook]
    peer = connect(serving(type("Failing", (Reporting,), attributes)))
    peer.send(b"x\n")
    assert peer.is_closed_by_server()
    assert errors == [(BOOM, True)]


def test_exception_out_of_handle_close_is_handled(serving, connect):
    errors: list[Any] = []
    peer = connect(serving(type("Failing", (Reporting,), {"errors": errors, "handle_close": boom})))
    peer.ask(b"x")
    peer.close()
    until(lambda: errors)
    assert errors == [(BOOM, True)]


@pytest.mark.parametrize("error", [LookupError, SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
@pytest.mark.parametrize("base", [Echo, PythonEcho])
def test_task_that_raises_is_logged_with_its_traceback(serving, connect, caplog, base, error):
    def fail(channel: Any) -> None:
        raise error("a task's own words")

    peer = connect(serving(acting(base, fail=fail)))
    peer.send(b"fail\n")
    assert peer.is_closed_by_server()
    record = until(lambda: next((r for r in caplog.records if r.name == "wiretask.task"), None))
    assert record.levelno == logging.ERROR
    assert "Acting" in record.getMessage()
    assert record.exc_info is not None
    assert "a task's own words" in caplog.text


@pytest.mark.parametrize("error", [LookupError, SystemExit, KeyboardInterrupt])
def test_worker_survives_a_task_that_raises(serving, connect, error):
    threads: set[int] = set()

    def fail(channel: Any) -> None:
        threads.add(threading.get_ident())
        raise error

    server = serving(acting(fail=fail), adj=wiretask.Adjustments(threads=1))
    for _ in range(5):
        peer = connect(server)
        peer.send(b"fail\n")
        assert peer.is_closed_by_server()
    assert len(threads) == 1
    assert server.stats()["tasks"]["threads_lost"] == 0


def test_output_before_the_exception_is_sent(serving, connect):
    def fail(channel: Any) -> None:
        channel.write(b"half an answer")
        raise LookupError

    peer = connect(serving(acting(fail=fail)))
    peer.send(b"fail\n")
    assert peer.read_to_end() == b"half an answer"


def test_handle_error_may_answer_and_go_on(serving, connect):
    class Patient(acting(fail=boom, ok=lambda channel: channel.write(b"ok\n"))):
        def handle_error(self):
            self.write(b"failed\n")

    peer = connect(serving(Patient))
    assert peer.ask(b"fail") == b"failed"
    assert peer.ask(b"ok") == b"ok"


def test_handle_error_that_raises_is_logged_and_the_connection_aborted(serving, connect, caplog):
    class Hopeless(acting(fail=boom)):
        def handle_error(self):
            raise ZeroDivisionError("and again")

    server = serving(Hopeless)
    peer = connect(server)
    peer.send(b"fail\n")
    assert peer.is_closed_by_server()
    until(lambda: "exception in handle_error" in caplog.text)
    assert "boom" in caplog.text
    assert "and again" in caplog.text


def test_repr_that_raises_does_not_hide_the_exception(serving, connect, caplog):
    class Unprintable(acting(fail=boom)):
        __repr__ = boom

    peer = connect(serving(Unprintable))
    peer.send(b"fail\n")
    assert peer.is_closed_by_server()
    until(lambda: "whose repr raised" in caplog.text)


def test_log_handler_that_raises_costs_neither_worker_nor_connection(serving, connect):
    class Broken(logging.Handler):
        emit = boom

    handler = Broken()
    logger = logging.getLogger("wiretask.task")
    unraisable: list[Any] = []
    import sys

    previous, sys.unraisablehook = sys.unraisablehook, unraisable.append
    logger.addHandler(handler)
    try:
        server = serving(acting(fail=boom), adj=wiretask.Adjustments(threads=1))
        for _ in range(3):
            peer = connect(server)
            peer.send(b"fail\n")
            assert peer.is_closed_by_server()
    finally:
        logger.removeHandler(handler)
        sys.unraisablehook = previous


def test_write_to_a_peer_that_is_gone_is_no_error_of_the_server(serving, connect, caplog):
    caplog.set_level(logging.DEBUG, "wiretask")
    began, go = threading.Event(), threading.Event()

    def late(channel: Any) -> None:
        began.set()
        assert go.wait(DEADLINE_SECONDS)
        until(lambda: channel.closed)
        channel.write(b"too late")

    peer = connect(serving(acting(late=late)))
    peer.send(b"late\n")
    assert began.wait(DEADLINE_SECONDS)
    peer.reset()
    go.set()
    record = until(lambda: next((r for r in caplog.records if "while it was served" in r.message), None))
    assert record.levelno == logging.DEBUG
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


# ---- log and log_info -----------------------------------------------------------------------------------


class HitLog:
    def __init__(self) -> None:
        self.hits: list[str] = []

    def log(self, message: str) -> None:
        self.hits.append(message)


HITTING = acting(hit=lambda channel: (channel.log("a hit"), channel.write(b"\n")))


def test_hits_of_a_channel_go_to_hit_log(serving, connect):
    hit_log = HitLog()
    connect(serving(HITTING, hit_log=hit_log)).ask(b"hit")
    assert hit_log.hits == ["a hit"]


def test_hits_without_hit_log_go_to_the_access_logger(serving, connect, caplog):
    caplog.set_level(logging.INFO, "wiretask.access")
    connect(serving(HITTING)).ask(b"hit")
    assert ("wiretask.access", logging.INFO, "a hit") in caplog.record_tuples


def test_hits_pass_through_log_of_the_server(serving, connect):
    hits: list[str] = []

    class Hitting(wiretask.Server):
        channel_class = HITTING

        def log(self, message):
            hits.append(message)

    connect(serving(Hitting)).ask(b"hit")
    assert hits == ["a hit"]


def test_log_of_the_channel_overridden_is_honoured(serving, connect):
    hits: list[str] = []
    hitting = type("Own", (HITTING,), {"log": lambda self, message: hits.append(message)})
    connect(serving(hitting)).ask(b"hit")
    assert hits == ["a hit"]


LEVELS = [("debug", 10), ("info", 20), ("warning", 30), ("error", 40), ("unheard of", 20)]


@pytest.mark.parametrize(("kind", "level"), LEVELS)
def test_log_info_of_a_channel_logs_at_the_level_of_the_type(serving, connect, caplog, kind, level):
    caplog.set_level(logging.DEBUG, "wiretask.server")
    peer = connect(serving(acting(say=lambda channel: (channel.log_info("100%", kind), channel.write(b"\n")))))
    peer.ask(b"say")
    assert ("wiretask.server", level, "100%") in caplog.record_tuples


@pytest.mark.parametrize(("kind", "level"), LEVELS)
def test_log_info_of_a_server_logs_at_the_level_of_the_type(serving, caplog, kind, level):
    caplog.set_level(logging.DEBUG, "wiretask.server")
    serving(Echo).log_info("100%", kind)
    assert ("wiretask.server", level, "100%") in caplog.record_tuples


def test_log_info_of_the_channel_overridden_is_honoured(serving, connect):
    messages: list[tuple[str, str]] = []

    class Talking(acting(say=lambda channel: (channel.log_info("hello", "error"), channel.write(b"\n")))):
        def log_info(self, message, type="info"):
            messages.append((message, type))

    connect(serving(Talking)).ask(b"say")
    assert messages == [("hello", "error")]


def test_verbose_server_tells_where_it_listens_through_log_info(serving):
    messages: list[tuple[str, str]] = []

    class Talking(wiretask.Server):
        channel_class = Echo

        def log_info(self, message, type="info"):
            messages.append((message, type))

    server = serving(Talking, verbose=True)
    assert messages == [(f"serving on 127.0.0.1:{server.effective_port}", "info")]
