"""ThreadedTaskDispatcher: shutting down, from anywhere, and what becomes of the tasks."""

from __future__ import annotations

import logging
import threading

import pytest
from task_fakes import DEADLINE_SECONDS, Gate, RecordingTask, busy_dispatcher, wait_until

from wiretask.errors import ServerClosedError
from wiretask.tasks import ThreadedTaskDispatcher


def test_pending_tasks_are_cancelled_before_the_backlog_is_worked_off():
    """An old dispatcher's stop markers stood behind the backlog, which was thus served first."""
    with busy_dispatcher(2) as (dispatcher, gate):
        backlog = [RecordingTask() for _ in range(100)]
        for task in backlog:
            dispatcher.addTask(task)
        assert dispatcher.shutdown(timeout=0) == 2
        assert all(task.outcomes == ["cancel"] for task in backlog)
        assert dispatcher.getPendingTasksEstimate() == 0
        assert dispatcher.stats()["cancelled"] == 100
        gate.open()


def test_drain_serves_what_waits_then_stops():
    tasks = [RecordingTask() for _ in range(100)]
    dispatcher = ThreadedTaskDispatcher(2)
    for task in tasks:
        dispatcher.addTask(task)
    assert dispatcher.shutdown(cancel_pending=False, timeout=DEADLINE_SECONDS) == 0
    assert all(task.outcomes == ["service"] for task in tasks)


def test_drain_that_runs_out_of_time_leaves_tasks_queued_until_opened_again():
    with busy_dispatcher(1) as (dispatcher, gate):
        waiting = RecordingTask()
        dispatcher.addTask(waiting)
        assert dispatcher.shutdown(cancel_pending=False, timeout=0) == 1
        with pytest.raises(ServerClosedError):
            dispatcher.addTask(RecordingTask())
        gate.open()
        wait_until(lambda: dispatcher.stats()["threads_alive"] == 0)
        assert (waiting.outcomes, dispatcher.getPendingTasksEstimate()) == ([], 1)
        dispatcher.setThreadCount(1)
        waiting.wait()
        assert waiting.outcomes == ["service"]


def test_cancel_that_raises_is_logged_and_the_rest_is_cancelled(caplog):
    """An old dispatcher lost the tasks behind it."""

    class Raising(RecordingTask):
        def cancel(self):
            super().cancel()
            raise SystemExit("in cancel")

        def __repr__(self):
            raise LookupError("in repr")

    tasks = [Raising() for _ in range(20)]
    dispatcher = ThreadedTaskDispatcher()
    for task in tasks:
        dispatcher.addTask(task)
    assert dispatcher.shutdown() == 0
    assert all(task.outcomes == ["cancel"] for task in tasks)
    records = [record for record in caplog.records if record.name == "wiretask.task"]
    assert len(records) == 20
    assert all(record.exc_info[0] is SystemExit for record in records)
    assert "whose repr raised LookupError" in records[0].getMessage()


def test_ctrl_c_in_the_middle_cancels_the_rest_and_is_raised():
    class Interrupted(RecordingTask):
        def cancel(self):
            super().cancel()
            raise KeyboardInterrupt

    tasks = [RecordingTask(), Interrupted(), RecordingTask()]
    dispatcher = ThreadedTaskDispatcher()
    for task in tasks:
        dispatcher.addTask(task)
    with pytest.raises(KeyboardInterrupt):
        dispatcher.shutdown()
    assert [task.outcomes for task in tasks] == [["cancel"]] * 3


def test_task_without_cancel_any_more_does_not_stop_the_rest(caplog):
    tasks = [RecordingTask() for _ in range(3)]
    dispatcher = ThreadedTaskDispatcher()
    for task in tasks:
        dispatcher.addTask(task)
    tasks[1].cancel = None
    assert dispatcher.shutdown() == 0
    assert [task.outcomes for task in tasks] == [["cancel"], [], ["cancel"]]
    assert "NoneType" in caplog.text


@pytest.mark.parametrize("cancel_pending", [True, False])
def test_worker_that_shuts_down_does_not_wait_for_itself(cancel_pending):
    """An old dispatcher waited for the calling worker until the time was over, and leaked its thread."""
    results = []
    dispatcher = ThreadedTaskDispatcher(3)
    caller = RecordingTask(lambda: results.append(dispatcher.shutdown(cancel_pending, timeout=3600)))
    dispatcher.addTask(caller)
    wait_until(lambda: results)
    assert results == [0]
    wait_until(lambda: dispatcher.stats()["threads_alive"] == 0)
    assert dispatcher.shutdown() == 0


def test_two_workers_that_shut_down_leave_out_only_themselves():
    results = []
    barrier = threading.Barrier(2)

    def work():
        barrier.wait(DEADLINE_SECONDS)
        results.append(dispatcher.shutdown(timeout=0.05))
        barrier.wait(DEADLINE_SECONDS)

    dispatcher = ThreadedTaskDispatcher(2)
    dispatcher.addTask(RecordingTask(work))
    dispatcher.addTask(RecordingTask(work))
    wait_until(lambda: len(results) == 2)
    assert results == [1, 1]
    assert dispatcher.shutdown(timeout=DEADLINE_SECONDS) == 0


def test_worker_of_another_dispatcher_is_waited_for():
    other = ThreadedTaskDispatcher(1)
    with busy_dispatcher(1) as (dispatcher, _):
        results = []
        other.addTask(RecordingTask(lambda: results.append(dispatcher.shutdown(timeout=0))))
        wait_until(lambda: results)
        assert results == [1]
    other.shutdown()


def test_running_threads_are_counted_and_logged(caplog):
    with busy_dispatcher(2) as (dispatcher, _):
        assert dispatcher.shutdown(timeout=0) == 2
        assert "2 thread(s)" in caplog.text
        assert caplog.records[-1].levelno == logging.WARNING


def test_shutdown_twice_and_with_nothing_to_do():
    dispatcher = ThreadedTaskDispatcher(2)
    assert [dispatcher.shutdown(), dispatcher.shutdown(), dispatcher.shutdown(False, -1)] == [0, 0, 0]
    assert ThreadedTaskDispatcher().shutdown() == 0


def test_shutdown_from_many_threads_at_once():
    for _ in range(20):
        dispatcher = ThreadedTaskDispatcher(3)
        tasks = [RecordingTask() for _ in range(50)]
        for task in tasks:
            dispatcher.addTask(task)
        results = []

        def shut_down(dispatcher=dispatcher, results=results):
            results.append(dispatcher.shutdown())

        callers = [threading.Thread(target=shut_down) for _ in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert results == [0] * 4
        assert all(len(task.outcomes) == 1 for task in tasks)


def test_every_task_added_around_a_shutdown_has_one_outcome():
    """An old dispatcher left a task that was added during or after the shutdown without any."""
    for _ in range(20):
        dispatcher = ThreadedTaskDispatcher(2)
        tasks = [[RecordingTask() for _ in range(100)] for _ in range(3)]

        def add(mine, dispatcher=dispatcher):
            for task in mine:
                try:
                    dispatcher.addTask(task)
                except ServerClosedError:
                    assert task.outcomes == ["cancel"]

        adders = [threading.Thread(target=add, args=(mine,)) for mine in tasks]
        for adder in adders:
            adder.start()
        dispatcher.shutdown()
        for adder in adders:
            adder.join()
        assert dispatcher.getPendingTasksEstimate() == 0
        for mine in tasks:
            for task in mine:
                task.wait()
                assert len(task.outcomes) == 1


def test_context_manager_shuts_down():
    gate = Gate()
    with ThreadedTaskDispatcher(1) as dispatcher:
        gate.open()
        dispatcher.addTask(gate.task())
    with pytest.raises(ServerClosedError):
        dispatcher.addTask(RecordingTask())


def test_no_thread_is_left_after_shutdown():
    dispatcher = ThreadedTaskDispatcher(5, name="gone")
    assert dispatcher.shutdown() == 0
    assert not [thread for thread in threading.enumerate() if "gone" in thread.name]
