"""The housekeeper: log events, lost ones, long queues, and how it reports."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from types import SimpleNamespace

import pytest
from task_fakes import RecordingTask, busy_dispatcher, wait_until

from wiretask import _native, housekeeper
from wiretask.tasks import ThreadedTaskDispatcher


def test_log_events_of_native_threads_reach_logging(caplog):
    caplog.set_level(logging.DEBUG, "wiretask.server")
    housekeeper.start()
    _native.post_log(logging.WARNING, "100 % of it")
    wait_until(lambda: caplog.records)
    record = caplog.records[0]
    assert (record.name, record.levelno, record.getMessage()) == (
        "wiretask.server",
        logging.WARNING,
        "100 % of it",
    )


def test_log_events_that_do_not_fit_are_counted(caplog):
    housekeeper.start()
    caplog.set_level(logging.DEBUG, "wiretask.server")
    hold, is_held = threading.Event(), threading.Event()

    class Blocking(logging.Handler):
        def emit(self, record):
            is_held.set()
            assert hold.wait(20)

    handler = Blocking()
    logger = logging.getLogger("wiretask.server")
    logger.addHandler(handler)
    try:
        _native.post_log(logging.INFO, "the first")
        assert is_held.wait(20)
        for _ in range(1500):
            _native.post_log(logging.INFO, "many")
        hold.set()
        wait_until(lambda: "500 log messages" in caplog.text)
    finally:
        logger.removeHandler(handler)
    wait_until(lambda: _native.Mailroom.pending() == 0)
    assert len([record for record in caplog.records if record.getMessage() == "many"]) == 1000


def test_starting_twice_starts_one():
    housekeeper.start()
    housekeeper.start()
    assert [thread.name for thread in threading.enumerate()].count("wiretask-housekeeper") == 1


def test_chores_are_performed(caplog):
    calls, watches = [], []
    housekeeper.perform(("call", calls.append, ("called",)), watches)
    task = RecordingTask()
    housekeeper.perform(("cancel", task), watches)
    held = [object()]
    housekeeper.perform(("drop", held), watches)
    housekeeper.perform(("mend", lambda: None), watches)
    assert (calls, task.outcomes, held, watches) == (["called"], ["cancel"], [], [])


def test_handler_and_hook_that_both_raise_end_nothing(monkeypatch):
    def fail(*_):
        raise OSError("again")

    monkeypatch.setattr(sys, "unraisablehook", fail)
    logger = logging.Logger("broken")
    logger.error = fail
    # The interpreter prints the hook's own failure; nothing comes out here.
    monkeypatch.setattr(sys, "stderr", open("/dev/null", "w"))  # noqa: SIM115
    housekeeper.report(logger, "message", error=ValueError())
    sys.stderr.close()


def seconds_of_climb(dispatcher, watch, caplog):
    for second in range(7):
        for _ in range(20):
            dispatcher.addTask(RecordingTask())
        housekeeper.look_at(watch, float(second))


def test_operator_is_told_once_of_a_climb_and_once_of_its_end(caplog):
    caplog.set_level(logging.INFO, "wiretask.task")
    with busy_dispatcher(1) as (dispatcher, gate):
        watch = dispatcher._queue.watch()
        seconds_of_climb(dispatcher, watch, caplog)
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        message = caplog.records[0].getMessage()
        assert "'wiretask' keeps climbing: 120 tasks wait, 100 more" in message
        assert not watch.try_end()
        gate.open()
        wait_until(lambda: dispatcher.getPendingTasksEstimate() == 0)
        housekeeper.look_at(watch, 8.0)
        assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.INFO]
        assert "recovered" in caplog.records[1].getMessage()
        assert watch.try_end()


def test_long_queue_is_watched_by_itself_and_a_short_one_no_more(monkeypatch):
    monkeypatch.setattr(housekeeper, "WATCH_INTERVAL_SECONDS", 0.001)
    looked = []
    monkeypatch.setattr(housekeeper, "look_at", lambda watch, now: looked.append(watch.name))
    dispatcher = ThreadedTaskDispatcher(name="watched")
    for _ in range(3):
        for _ in range(100):
            dispatcher.addTask(RecordingTask())
        looked.clear()
        wait_until(lambda: "watched" in looked)
        dispatcher.setThreadCount(1)
        wait_until(lambda: dispatcher.getPendingTasksEstimate() == 0)
        dispatcher.setThreadCount(0)
    dispatcher.shutdown()


def test_exception_in_a_chore_is_logged_and_the_next_is_done(caplog):
    class Hostile(RecordingTask):
        @property
        def cancel(self):
            raise LookupError("no cancel")

    hostile, friendly = Hostile.__new__(Hostile), RecordingTask()
    housekeeper.perform(("cancel", hostile), [])
    housekeeper.perform(("cancel", friendly), [])
    assert "no cancel" in caplog.text
    assert friendly.outcomes == ["cancel"]


@pytest.mark.parametrize("has_begun_to_end", [True, False])
def test_no_thread_for_the_housekeeper_is_an_error_unless_the_process_ends(
    monkeypatch: pytest.MonkeyPatch, has_begun_to_end: bool
) -> None:
    class Refusing(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't create new thread at interpreter shutdown")

    said = iter([False, has_begun_to_end])
    native = SimpleNamespace(is_exiting=lambda: next(said), Mailroom=SimpleNamespace(claim=object))
    monkeypatch.setattr(housekeeper, "_native", native)
    monkeypatch.setattr(housekeeper, "threading", SimpleNamespace(Thread=Refusing))
    expected = contextlib.nullcontext() if has_begun_to_end else pytest.raises(RuntimeError, match="new thread")
    with expected:
        housekeeper.start()
    assert next(said, None) is None
