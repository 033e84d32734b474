"""ThreadedTaskDispatcher: who keeps whom alive."""

from __future__ import annotations

import functools
import gc
import logging
import threading
import weakref

from task_fakes import Gate, RecordingTask, wait_until

from wiretask.tasks import ThreadedTaskDispatcher


def names():
    return {thread.name for thread in threading.enumerate()}


def has_idle(reference, count):
    return reference().stats()["threads_idle"] == count


def test_idle_worker_does_not_keep_its_last_task_alive():
    """An old dispatcher's worker kept it in a local variable while it waited for the next."""
    with ThreadedTaskDispatcher(1) as dispatcher:
        task = RecordingTask()
        reference = weakref.ref(task)
        dispatcher.addTask(task)
        task.wait()
        del task
        wait_until(lambda: reference() is None)


def test_idle_worker_does_not_keep_a_task_that_raised(monkeypatch):
    # A log record keeps the traceback, and pytest keeps the record.
    monkeypatch.setattr(logging.getLogger("wiretask.task"), "disabled", True)
    with ThreadedTaskDispatcher(1) as dispatcher:
        task = RecordingTask(lambda: 1 / 0)
        reference = weakref.ref(task)
        dispatcher.addTask(task)
        task.wait()
        del task
        wait_until(lambda: reference() is None)


def test_dropped_dispatcher_is_collected_and_its_threads_end():
    """An old dispatcher's threads kept it alive for ever."""
    dispatcher = ThreadedTaskDispatcher(3, name="dropped")
    wait_until(functools.partial(has_idle, weakref.ref(dispatcher), 3))
    reference = weakref.ref(dispatcher)
    del dispatcher
    gc.collect()
    assert reference() is None
    wait_until(lambda: not any("dropped" in name for name in names()))


def test_tasks_of_a_dropped_dispatcher_are_cancelled():
    tasks = [RecordingTask() for _ in range(50)]
    gate = Gate()
    dispatcher = ThreadedTaskDispatcher(1, name="dropped-too")
    dispatcher.addTask(gate.task())
    gate.wait_until_entered()
    for task in tasks:
        dispatcher.addTask(task)
    del dispatcher
    gc.collect()
    for task in tasks:
        task.wait()
    gate.open()
    wait_until(lambda: not any("dropped-too" in name for name in names()))
    assert all(task.outcomes == ["cancel"] for task in tasks)
    assert {task.threads["cancel"] for task in tasks} == {"wiretask-housekeeper"}


def test_tasks_left_by_a_drain_are_cancelled_when_the_dispatcher_is_dropped():
    task = RecordingTask()
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.addTask(task)
    dispatcher.shutdown(cancel_pending=False)
    assert task.outcomes == []
    del dispatcher
    gc.collect()
    task.wait()
    assert task.outcomes == ["cancel"]


def test_queue_is_a_root_that_shutdown_clears():
    class Holding(RecordingTask):
        dispatcher = None

    dispatcher = ThreadedTaskDispatcher()
    task = Holding()
    task.dispatcher = dispatcher
    dispatcher.addTask(task)
    reference = weakref.ref(dispatcher)
    del dispatcher, task
    gc.collect()
    assert reference() is not None
    reference().shutdown()
    gc.collect()
    assert reference() is None


def test_dispatcher_dropped_by_its_own_task_ends():
    dispatcher = ThreadedTaskDispatcher(1, name="suicide")
    holder = [dispatcher]
    task = RecordingTask(lambda: (holder.clear(), gc.collect()))
    dispatcher.addTask(task)
    reference = weakref.ref(dispatcher)
    del dispatcher
    task.wait()
    wait_until(lambda: reference() is None)
    wait_until(lambda: not any("suicide" in name for name in names()))


def test_many_dispatchers_leave_nothing_behind():
    gc.collect()
    before = threading.active_count()
    for _ in range(50):
        dispatcher = ThreadedTaskDispatcher(2)
        dispatcher.addTask(RecordingTask())
        del dispatcher
    gc.collect()
    wait_until(lambda: threading.active_count() <= before + 1)
