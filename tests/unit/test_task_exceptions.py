"""ThreadedTaskDispatcher: what comes out of tasks, logging and other threads, and workers that live on."""

from __future__ import annotations

import ctypes
import functools
import logging
import sys
import threading

import pytest
from task_fakes import RecordingTask, wait_until

from wiretask.tasks import ThreadedTaskDispatcher


def raise_it(error):
    raise error


def recurse():
    return recurse() + 1


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError])
def test_any_exception_is_logged_with_its_traceback_and_the_worker_lives_on(kind, caplog):
    with ThreadedTaskDispatcher(1) as dispatcher:
        worker = next(iter(dispatcher._threads.values()))
        dispatcher.addTask(RecordingTask(lambda: raise_it(kind("from a task"))))
        after = RecordingTask()
        dispatcher.addTask(after)
        after.wait()
        assert worker.is_alive()
        assert dispatcher.stats()["errors"] == 1
        assert dispatcher.stats()["threads_lost"] == 0
    record = next(record for record in caplog.records if record.name == "wiretask.task")
    assert (record.levelno, record.exc_info[0]) == (logging.ERROR, kind)
    assert "RecordingTask" in record.getMessage()
    assert "raise_it" in caplog.text


def test_endless_recursion_is_a_recursion_error(caplog):
    with ThreadedTaskDispatcher(1) as dispatcher:
        dispatcher.addTask(RecordingTask(recurse))
        after = RecordingTask()
        dispatcher.addTask(after)
        after.wait()
    assert caplog.records[0].exc_info[0] is RecursionError


def test_task_whose_repr_raises_is_logged_all_the_same(caplog):
    class Nameless(RecordingTask):
        def __repr__(self):
            raise LookupError("no name")

    with ThreadedTaskDispatcher(1) as dispatcher:
        dispatcher.addTask(Nameless(lambda: raise_it(ValueError("from a task"))))
        dispatcher.shutdown(cancel_pending=False)
    assert "Nameless object, whose repr raised LookupError" in caplog.text
    assert "from a task" in caplog.text


class RaisingHandler(logging.Handler):
    def emit(self, record):
        raise OSError("log disk is full")


def test_log_handler_that_raises_is_told_to_the_unraisable_hook(monkeypatch):
    """An old dispatcher's thread ended then, and the pool shrank for good."""
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: told.append((args.exc_type, str(args.exc_value))))
    handler = RaisingHandler()
    logger = logging.getLogger("wiretask.task")
    logger.addHandler(handler)
    try:
        with ThreadedTaskDispatcher(1) as dispatcher:
            worker = next(iter(dispatcher._threads.values()))
            for _ in range(3):
                dispatcher.addTask(RecordingTask(lambda: raise_it(ValueError("from a task"))))
            after = RecordingTask()
            dispatcher.addTask(after)
            after.wait()
            assert worker.is_alive()
            assert dispatcher.stats()["threads_lost"] == 0
    finally:
        logger.removeHandler(handler)
    assert told == [(OSError, "log disk is full")] * 3


class Thrown(BaseException):
    """Comes out of nowhere."""


def throw_into(thread, kind=Thrown):
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(kind))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it may strike in a gc callback
def test_exception_thrown_into_an_idle_worker_costs_no_task(caplog, monkeypatch):
    # It may strike in pytest's own hook, which takes that for an error; this one is C, where nothing strikes.
    monkeypatch.setattr(sys, "unraisablehook", id)
    with ThreadedTaskDispatcher(1) as dispatcher:
        worker = next(iter(dispatcher._threads.values()))
        for _ in range(200):
            wait_until(lambda: dispatcher.stats()["threads_idle"] == 1)
            throw_into(worker)
            task = RecordingTask()
            dispatcher.addTask(task)
            task.wait()
            assert task.outcomes == ["service"]
        assert dispatcher.stats()["threads_alive"] == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it may strike in a gc callback
def test_exceptions_thrown_all_the_time_leave_every_task_its_one_outcome(monkeypatch):
    """An old dispatcher lost tasks and threads to asynchronous exceptions."""
    # It may strike in pytest's own hook, which takes that for an error; this one is C, where nothing strikes.
    monkeypatch.setattr(sys, "unraisablehook", id)
    # An exception thrown into the standard library's logging may leave one of its locks held for ever.
    monkeypatch.setattr(logging.getLogger("wiretask.task"), "disabled", True)
    outcomes = []

    class Counted:
        """Its methods are C functions, on whose entry nothing strikes: begun is done."""

        def __init__(self, number):
            self.service = self.cancel = functools.partial(outcomes.append, number)
            self.defer = int

    total, is_over = 20_000, threading.Event()
    with ThreadedTaskDispatcher(3) as dispatcher:

        def pester():
            while not is_over.is_set():
                for thread in list(dispatcher._threads.values()):
                    if thread.is_alive():
                        throw_into(thread)
                is_over.wait(0.0002)

        pest = threading.Thread(target=pester)
        pest.start()
        for number in range(total):
            dispatcher.addTask(Counted(number))
        wait_until(lambda: dispatcher.stats()["pending"] == 0)
        is_over.set()
        pest.join()
        dispatcher.shutdown(cancel_pending=False, timeout=20)
        stats = dispatcher.stats()
    assert sorted(outcomes) == list(range(total))
    assert stats["added"] == total
    assert stats["errors"] > 0


def test_task_that_cannot_be_started_is_cancelled(caplog):
    class Slippery(RecordingTask):
        reads = 0

        @property
        def service(self):
            type(self).reads += 1
            if type(self).reads > 1:
                raise LookupError("no service today")
            return super().service

    task = Slippery()
    with ThreadedTaskDispatcher(1) as dispatcher:
        dispatcher.addTask(task)
        task.wait()
        assert dispatcher.stats()["threads_alive"] == 1
    assert task.outcomes == ["cancel"]
    assert "could not be started" in caplog.text
