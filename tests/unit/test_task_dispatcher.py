"""ThreadedTaskDispatcher: the interface, adding tasks, bounds, counters."""

from __future__ import annotations

import inspect
import signal
import threading

import pytest
from task_fakes import Gate, RecordingTask, busy_dispatcher, wait_until
from zope.interface.verify import verifyClass, verifyObject

from wiretask.errors import ServerClosedError, TaskQueueFullError
from wiretask.interfaces import ITask, ITaskDispatcher
from wiretask.tasks import Task, ThreadedTaskDispatcher


def signature_of(method):
    parameters = inspect.signature(method).parameters.values()
    return [(p.name, p.default, p.kind) for p in parameters if p.name != "self"]


@pytest.mark.parametrize("name", list(ITaskDispatcher))
def test_signatures_are_those_of_the_interface(name):
    wanted = ITaskDispatcher[name].getSignatureInfo()
    found = signature_of(getattr(ThreadedTaskDispatcher, name))
    assert tuple(name for name, _, _ in found) == wanted["positional"]
    assert {n: d for n, d, _ in found if d is not inspect.Parameter.empty} == wanted["optional"]


def test_interfaces_are_provided():
    assert verifyClass(ITaskDispatcher, ThreadedTaskDispatcher)
    assert verifyClass(ITask, Task)
    assert verifyObject(ITask, Task(None, None))
    with ThreadedTaskDispatcher() as dispatcher:
        assert verifyObject(ITaskDispatcher, dispatcher)


def test_task_is_deferred_here_and_served_there():
    task = RecordingTask()
    with ThreadedTaskDispatcher(1, name="there") as dispatcher:
        dispatcher.addTask(task)
        task.wait()
    assert task.calls == ["defer", "service"]
    assert task.threads == {"defer": threading.current_thread().name, "service": "wiretask-there-0"}


def test_tasks_start_in_order():
    order = []
    tasks = [RecordingTask(lambda n=n: order.append(n)) for n in range(200)]
    with ThreadedTaskDispatcher(1) as dispatcher:
        for task in tasks:
            dispatcher.addTask(task)
        dispatcher.shutdown(cancel_pending=False)
    assert order == list(range(200))


def test_tasks_wait_until_there_are_threads():
    task = RecordingTask()
    with ThreadedTaskDispatcher() as dispatcher:
        dispatcher.addTask(task)
        assert (dispatcher.getPendingTasksEstimate(), task.outcomes) == (1, [])
        dispatcher.setThreadCount(1)
        task.wait()
        assert dispatcher.getPendingTasksEstimate() == 0


def test_none_is_a_value_error():
    with ThreadedTaskDispatcher() as dispatcher, pytest.raises(ValueError, match="None"):
        dispatcher.addTask(None)


@pytest.mark.parametrize("missing", ["service", "cancel", "defer"])
def test_object_without_a_method_is_a_type_error_that_names_it(missing):
    methods = {name: lambda self: None for name in ("service", "cancel", "defer") if name != missing}
    with ThreadedTaskDispatcher() as dispatcher:
        with pytest.raises(TypeError, match=rf"needs {missing}\(\)"):
            dispatcher.addTask(type("Incomplete", (), methods)())
        assert dispatcher.getPendingTasksEstimate() == 0


@pytest.mark.parametrize("kind", [Task, RecordingTask])
def test_class_of_tasks_is_no_task(kind):
    with ThreadedTaskDispatcher() as dispatcher, pytest.raises(TypeError, match=kind.__qualname__):
        dispatcher.addTask(kind)


def test_full_queue_refuses_and_cancels():
    with busy_dispatcher(max_pending=2) as (dispatcher, _):
        waiting = [RecordingTask(), RecordingTask()]
        for task in waiting:
            dispatcher.addTask(task)
        refused = RecordingTask()
        with pytest.raises(TaskQueueFullError, match="2 tasks"):
            dispatcher.addTask(refused)
        assert refused.calls == ["defer", "cancel"]
        assert dispatcher.getPendingTasksEstimate() == 2
        assert dispatcher.stats()["refused"] == 1
        assert dispatcher.stats()["highest_pending"] == 2


def test_room_in_a_full_queue_is_used_again():
    with busy_dispatcher(max_pending=1) as (dispatcher, gate):
        first, second = RecordingTask(), RecordingTask()
        dispatcher.addTask(first)
        gate.open()
        first.wait()
        dispatcher.addTask(second)
        second.wait()
        assert second.outcomes == ["service"]


def test_added_after_shutdown_is_refused_and_cancelled_until_opened_again():
    dispatcher = ThreadedTaskDispatcher(1)
    dispatcher.shutdown()
    refused, taken = RecordingTask(), RecordingTask()
    with pytest.raises(ServerClosedError, match="setThreadCount"):
        dispatcher.addTask(refused)
    assert refused.calls == ["defer", "cancel"]
    dispatcher.setThreadCount(0)
    with pytest.raises(ServerClosedError):
        dispatcher.addTask(RecordingTask())
    dispatcher.setThreadCount(1)
    dispatcher.addTask(taken)
    taken.wait()
    dispatcher.shutdown()
    assert taken.outcomes == ["service"]


class RaisingDefer(RecordingTask):
    def defer(self):
        super().defer()
        raise LookupError("in defer")


def test_defer_that_raises_cancels_and_raises_again():
    task = RaisingDefer()
    with ThreadedTaskDispatcher() as dispatcher:
        with pytest.raises(LookupError, match="in defer"):
            dispatcher.addTask(task)
        assert dispatcher.getPendingTasksEstimate() == 0
    assert task.calls == ["defer", "cancel"]


class Recursive(RecordingTask):
    """Calls back into its dispatcher from `defer` or `cancel`: no lock may be held then."""

    def __init__(self, dispatcher, when):
        super().__init__()
        self.dispatcher, self.when = dispatcher, when

    def _call_back(self):
        self.dispatcher.getPendingTasksEstimate()
        self.dispatcher.stats()
        self.dispatcher.setThreadCount(1 if self.when == "defer" else 0)
        if self.when == "defer":
            self.dispatcher.addTask(RecordingTask())
        else:
            self.dispatcher.shutdown(timeout=0)
            with pytest.raises(ServerClosedError):
                self.dispatcher.addTask(RecordingTask())

    def defer(self):
        super().defer()
        if self.when == "defer":
            self._call_back()

    def cancel(self):
        super().cancel()
        if self.when == "cancel":
            self._call_back()


@pytest.mark.parametrize("when", ["defer", "cancel"])
def test_task_may_call_back_into_the_dispatcher(when):
    dispatcher = ThreadedTaskDispatcher()
    task = Recursive(dispatcher, when)
    dispatcher.addTask(task)
    assert dispatcher.shutdown() == 0
    task.wait()
    assert len(task.outcomes) == 1


def test_task_may_add_tasks():
    with ThreadedTaskDispatcher(1) as dispatcher:
        last = RecordingTask()
        dispatcher.addTask(RecordingTask(lambda: dispatcher.addTask(last)))
        last.wait()
    assert last.outcomes == ["service"]


def test_adding_in_a_signal_handler_does_not_dead_lock():
    """Old dispatchers held a lock in addTask, which a handler interrupted and asked for again."""
    tasks = [RecordingTask() for _ in range(300)]
    with ThreadedTaskDispatcher(2) as dispatcher:
        handled = iter(tasks)
        old = signal.signal(signal.SIGUSR1, lambda *_: dispatcher.addTask(next(handled)))
        try:
            for _ in tasks:
                signal.raise_signal(signal.SIGUSR1)
                dispatcher.addTask(RecordingTask())
        finally:
            signal.signal(signal.SIGUSR1, old)
        for task in tasks:
            task.wait()
    assert all(task.outcomes == ["service"] for task in tasks)


def test_slow_task_does_not_stop_another():
    with ThreadedTaskDispatcher(2) as dispatcher:
        gate, quick = Gate(), RecordingTask()
        dispatcher.addTask(gate.task())
        gate.wait_until_entered()
        dispatcher.addTask(quick)
        quick.wait()
        gate.open()


def test_counters_add_up_when_nothing_moves():
    with busy_dispatcher(2) as (dispatcher, gate):
        waiting = [RecordingTask() for _ in range(5)]
        for task in waiting:
            dispatcher.addTask(task)
        stats = dispatcher.stats()
        assert stats["added"] == 7 == stats["started"] + stats["pending"]
        assert (stats["threads_alive"], stats["threads_busy"], stats["threads_idle"]) == (2, 2, 0)
        assert dispatcher.getPendingTasksEstimate() == 5
        gate.open()
        for task in waiting:
            task.wait()
        wait_until(lambda: dispatcher.stats()["threads_idle"] == 2)
        assert dispatcher.stats()["started"] == 7
    stats = dispatcher.stats()
    assert (stats["threads_alive"], stats["threads_target"], stats["cancelled"]) == (0, 0, 0)


class CountingDispatcher(ThreadedTaskDispatcher):
    """A subclass that overrides addTask."""

    def __init__(self, *arguments, **options):
        self.seen = []
        super().__init__(*arguments, **options)

    def addTask(self, task):  # noqa: N802
        self.seen.append(task)
        super().addTask(task)


def test_add_task_can_be_overridden():
    with CountingDispatcher(1) as dispatcher:
        task = RecordingTask()
        dispatcher.addTask(task)
        task.wait()
    assert dispatcher.seen == [task]


@pytest.mark.parametrize("count", [-1, 4097, 10**30])
def test_impossible_thread_counts_are_refused(count):
    with pytest.raises(ValueError, match=r"0\.\.4096"):
        ThreadedTaskDispatcher(count)
    with ThreadedTaskDispatcher(1) as dispatcher:
        with pytest.raises(ValueError, match=r"0\.\.4096"):
            dispatcher.setThreadCount(count)
        assert dispatcher.stats()["threads_target"] == 1


@pytest.mark.parametrize("arguments", [{"threads": "4"}, {"max_pending": 1.5}, {"name": 5}])
def test_arguments_of_the_wrong_type_are_refused_by_name(arguments):
    with pytest.raises(TypeError, match=next(iter(arguments))):
        ThreadedTaskDispatcher(**arguments)


@pytest.mark.parametrize("timeout", [None, "5"])
def test_timeout_that_is_no_number_shuts_nothing(timeout):
    task = RecordingTask()
    with ThreadedTaskDispatcher(1) as dispatcher:
        with pytest.raises(TypeError, match="timeout"):
            dispatcher.shutdown(timeout=timeout)
        dispatcher.addTask(task)
        task.wait()


def test_max_pending_must_be_positive():
    with pytest.raises(ValueError, match="max_pending"):
        ThreadedTaskDispatcher(max_pending=0)


class Channel:
    is_closing = False

    def close_when_done(self):
        self.is_closing = True


def test_base_task_closes_its_channel_when_cancelled():
    channel = Channel()
    Task(channel, "request").cancel()
    assert channel.is_closing
    Task(None, "request").cancel()


def test_base_task_names_the_class_that_has_no_service():
    class Forgetful(Task):
        pass

    with pytest.raises(NotImplementedError, match="Forgetful"):
        Forgetful(None, None).service()
