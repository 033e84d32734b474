"""ThreadedTaskDispatcher: the number of its threads."""

from __future__ import annotations

import random
import sys
import threading

import pytest
from task_fakes import Gate, RecordingTask, busy_dispatcher, wait_until

from wiretask.tasks import ThreadedTaskDispatcher


def thread_names(dispatcher):
    return {thread.name for thread in threading.enumerate() if thread.name.startswith(f"wiretask-{dispatcher.name}-")}


def test_threads_are_named_daemons_with_the_lowest_free_numbers():
    with ThreadedTaskDispatcher(3, name="named") as dispatcher:
        assert thread_names(dispatcher) == {f"wiretask-named-{n}" for n in range(3)}
        assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("wiretask-"))
        dispatcher.setThreadCount(1)
        wait_until(lambda: thread_names(dispatcher) == {"wiretask-named-0"})
        dispatcher.setThreadCount(2)
        assert thread_names(dispatcher) == {f"wiretask-named-{n}" for n in range(2)}


def test_more_than_a_word_of_threads():
    with ThreadedTaskDispatcher(150) as dispatcher:
        barrier = threading.Barrier(150)
        tasks = [RecordingTask(lambda: barrier.wait(20)) for _ in range(150)]
        for task in tasks:
            dispatcher.addTask(task)
        for task in tasks:
            task.wait()
        assert dispatcher.shutdown() == 0
        assert (barrier.n_waiting, barrier.broken) == (0, False)


def test_shrinking_does_not_wait_for_the_backlog():
    """An old dispatcher queued stop markers behind the tasks: shrinking first worked off what waited."""
    with busy_dispatcher(2) as (dispatcher, gate):
        backlog = [gate.task() for _ in range(50)]
        for task in backlog:
            dispatcher.addTask(task)
        dispatcher.setThreadCount(0)
        gate.open()
        wait_until(lambda: dispatcher.stats()["threads_alive"] == 0)
        assert dispatcher.getPendingTasksEstimate() == 50
        assert all(task.outcomes == [] for task in backlog)


def test_stopping_threads_counts_as_no_task():
    with busy_dispatcher(4) as (dispatcher, _):
        dispatcher.setThreadCount(1)
        assert dispatcher.getPendingTasksEstimate() == 0


def test_idle_threads_leave_at_once():
    with ThreadedTaskDispatcher(8) as dispatcher:
        wait_until(lambda: dispatcher.stats()["threads_idle"] == 8)
        dispatcher.setThreadCount(0)
        wait_until(lambda: dispatcher.stats()["threads_alive"] == 0)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_worker_may_set_the_count(count):
    with ThreadedTaskDispatcher(2) as dispatcher:
        task = RecordingTask(lambda: dispatcher.setThreadCount(count))
        dispatcher.addTask(task)
        task.wait()
        wait_until(lambda: dispatcher.stats()["threads_alive"] == count)


def test_down_and_up_again_never_miscounts():
    with busy_dispatcher(4) as (dispatcher, gate):
        for _ in range(100):
            dispatcher.setThreadCount(1)
            dispatcher.setThreadCount(4)
        assert dispatcher.stats()["threads_alive"] == 4
        gate.open()
        wait_until(lambda: dispatcher.stats()["threads_idle"] == 4)
        assert dispatcher.stats()["threads_lost"] == 0


def test_count_set_from_many_threads_under_load_serves_every_task_once():
    tasks = [RecordingTask() for _ in range(2000)]
    with ThreadedTaskDispatcher(2) as dispatcher:

        def change(seed):
            chance = random.Random(seed)
            for _ in range(60):
                dispatcher.setThreadCount(chance.randint(0, 6))

        changers = [threading.Thread(target=change, args=(seed,)) for seed in range(4)]
        for thread in changers:
            thread.start()
        for task in tasks:
            dispatcher.addTask(task)
        for thread in changers:
            thread.join()
        dispatcher.setThreadCount(3)
        for task in tasks:
            task.wait()
        wait_until(lambda: dispatcher.stats()["threads_alive"] == 3)
        stats = dispatcher.stats()
    assert all(task.outcomes == ["service"] for task in tasks)
    assert (stats["threads_lost"], stats["started"]) == (0, 2000)


class ThreadsAreShort(threading.Thread):
    """Threads of which the system gives but a few."""

    left = 0

    def start(self):
        if type(self).left == 0 and "housekeeper" not in self.name:
            raise RuntimeError("can't start new thread")
        type(self).left -= 1
        super().start()


def test_failure_to_start_a_thread_raises_and_keeps_the_counts_right(monkeypatch):
    with ThreadedTaskDispatcher(1) as dispatcher:
        with monkeypatch.context() as patch:
            patch.setattr(threading, "Thread", ThreadsAreShort)
            patch.setattr(ThreadsAreShort, "left", 2)
            with pytest.raises(RuntimeError, match="can't start"):
                dispatcher.setThreadCount(5)
        stats = dispatcher.stats()
        assert (stats["threads_target"], stats["threads_alive"], stats["threads_lost"]) == (3, 3, 0)
        dispatcher.setThreadCount(5)
        assert dispatcher.stats()["threads_alive"] == 5
        gate = Gate()
        for _ in range(5):
            dispatcher.addTask(gate.task())
        gate.wait_until_entered(5)
        gate.open()


def test_dead_worker_that_cannot_be_replaced_is_replaced_later(monkeypatch, caplog):
    with ThreadedTaskDispatcher(1) as dispatcher:
        with monkeypatch.context() as patch:
            patch.setattr(threading, "Thread", ThreadsAreShort)
            patch.setattr(ThreadsAreShort, "left", 0)
            worker = next(iter(dispatcher._threads.values()))
            lose_worker(dispatcher)
            worker.join(20)
            wait_until(lambda: "cannot replace" in caplog.text)
        task = RecordingTask()
        dispatcher.addTask(task)
        task.wait()
        assert dispatcher.stats()["threads_alive"] == 1


def lose_worker(dispatcher):
    """Have the worker's thread end without being told to: its end of the queue says 'leave' by mistake."""

    def leave_behind_its_back():
        frame = sys._getframe()
        while "worker" not in frame.f_locals:
            frame = frame.f_back
        frame.f_locals["worker"].leave()

    dispatcher.addTask(RecordingTask(leave_behind_its_back))


def test_worker_that_dies_is_replaced():
    with ThreadedTaskDispatcher(2) as dispatcher:
        for _ in range(10):
            lose_worker(dispatcher)
        wait_until(lambda: dispatcher.stats()["threads_lost"] == 10)
        wait_until(lambda: dispatcher.stats()["threads_alive"] == 2)
        gate = Gate()
        for _ in range(2):
            dispatcher.addTask(gate.task())
        gate.wait_until_entered(2)
        gate.open()
