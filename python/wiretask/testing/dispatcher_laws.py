"""The laws of a task dispatcher, each a short scene that is played on a fresh one.

A scene adds tasks that record what becomes of them, and says what must have become of them. Nothing is drawn at
random here: `dispatcher_machine` looks for orders of calls that nobody thought of.

Source: `wiretask.interfaces.ITaskDispatcher` and `ITask`.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from wiretask.testing.dispatcher_stage import Stage, shown_calls
from wiretask.testing.laws import DispatcherLaw
from wiretask.testing.probe_tasks import ProbeTask, TaskDispatcherLike, wait_until

__all__ = ["check_task_dispatcher"]

#: What a task may raise: an error, and what ends a program or a thread elsewhere.
_EXCEPTIONS: tuple[type[BaseException], ...] = (ValueError, SystemExit, KeyboardInterrupt, GeneratorExit)


def check_task_dispatcher(
    factory: Callable[[], TaskDispatcherLike],
    *,
    laws: Iterable[DispatcherLaw] = tuple(DispatcherLaw),
    deadline_seconds: float = 20,
) -> None:
    """Check that a dispatcher keeps its promises.

    Args:
        factory: makes a fresh dispatcher, without threads or with some, and room for a hundred tasks; the kit shuts
            it down.
        laws: which laws to check; all, unless a dispatcher breaks one on purpose.
        deadline_seconds: how long to wait for what must happen; only a faulty dispatcher is waited for so long.
    Raises:
        LawBroken: a law is broken; the message says by what, and the law.
    Blocking: a second or so for one that is correct. Works in any test runner.
    """
    wanted = set(laws)
    for law, scene in _SCENES:
        if law not in wanted:
            continue
        stage = Stage(law, factory, deadline_seconds)
        try:
            scene(stage)
            stage.finish()
        finally:
            stage.clear()


# One outcome


def _tasks_without_threads_wait_and_are_cancelled(stage: Stage) -> None:
    stage.set_threads(0)
    for _ in range(3):
        stage.add()


def _many_tasks_on_threads_that_come_and_go(stage: Stage) -> None:
    for count in (2, 1, 3, 0, 2):
        stage.set_threads(count)
        for _ in range(10):
            stage.add()


def _an_object_that_is_added_twice_is_two_tasks(stage: Stage) -> None:
    task = ProbeTask()
    for _ in range(2):
        stage.attempt("addTask()", lambda: stage.dispatcher.addTask(task))
    stage.set_threads(1)
    stage.expect(lambda: len(task.outcomes) == 2, "an object that was added twice did not get two outcomes")


def _tasks_added_while_it_is_shut_down(stage: Stage) -> None:
    """Several threads add while another shuts down: each task is taken or refused, and has one outcome."""
    stage.set_threads(2)
    begun = threading.Barrier(4)

    def add() -> None:
        begun.wait(stage.deadline_seconds)
        for _ in range(20):
            task = ProbeTask()
            stage.tasks.append(task)
            with suppress(Exception):
                stage.dispatcher.addTask(task)

    threads = [threading.Thread(target=add, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    begun.wait(stage.deadline_seconds)
    stage.shut_down()
    for thread in threads:
        thread.join(stage.deadline_seconds)


# defer


def _defer_comes_first_in_the_adding_thread(stage: Stage) -> None:
    stage.set_threads(1)
    own = threading.get_ident()
    for _ in range(5):
        task = stage.add()
        if task.calls[:1] != ["defer"]:
            stage.fail(f"when addTask() had returned, the task had got {shown_calls(task)}")
        stage.expect(lambda task=task: task.outcomes, "a task was not served")  # type: ignore[misc]
        if task.calls.count("defer") != 1 or task.threads["defer"] != own:
            where = "the adding thread" if task.threads["defer"] == own else "another thread"
            stage.fail(f"the task got {shown_calls(task)}, defer() in {where}")


def _what_defer_raises_comes_out(stage: Stage) -> None:
    stage.set_threads(1)

    def refuse() -> None:
        raise LookupError("of defer")

    task = ProbeTask(on_defer=refuse)
    stage.tasks.append(task)
    try:
        stage.dispatcher.addTask(task)
    except LookupError:
        pass
    except Exception as error:
        stage.fail(f"defer() raised LookupError, and addTask() {error!r}", error)
    else:
        stage.fail("defer() raised LookupError, and addTask() did not")
    stage.expect_outcome(task, "cancel", "a task whose defer() raised")


# Workers


def _service_runs_on_a_worker(stage: Stage) -> None:
    own = threading.get_ident()
    early = stage.add()
    if early.threads.get("service") == own:
        stage.fail("service() was called by addTask(), in the thread that added")
    stage.set_threads(1)
    for task in (early, stage.add()):
        stage.expect_outcome(task, "service", "a task with a free worker")
        if task.threads["service"] == own:
            stage.fail("service() ran in the thread that added the task")


def _tasks_start_in_order(stage: Stage) -> None:
    stage.fill(1)
    started: list[int] = []
    for number in range(20):
        stage.add(ProbeTask(functools.partial(started.append, number)))
    stage.gate.open()
    stage.expect(lambda: len(started) == 20, f"only {len(started)} of 20 tasks were served")
    if started != list(range(20)):
        stage.fail(f"tasks 0, 1, 2 ... 19 were started in the order {started}")


# Exceptions


def _service_that_raises_ends_no_worker(stage: Stage) -> None:
    stage.set_threads(1)
    for cls in _EXCEPTIONS:
        failing = stage.add(ProbeTask(_raising(cls)))
        stage.expect_outcome(failing, "service", f"a task that raises {cls.__name__}")
        following = stage.add()
        stage.expect_outcome(following, "service", f"the task behind one that raised {cls.__name__}")


def _cancel_that_raises_stops_no_other(stage: Stage) -> None:
    stage.set_threads(0)
    for cls in _EXCEPTIONS:
        stage.add(ProbeTask(on_cancel=_raising(cls)))
        stage.add()
    with suppress(*_EXCEPTIONS):  # whether it comes out of shutdown is not said
        stage.dispatcher.shutdown(True, stage.deadline_seconds)
    for task in stage.tasks:
        stage.expect_outcome(task, "cancel", "a task among some whose cancel() raises")


def _raising(cls: type[BaseException]) -> Callable[[], None]:
    def work() -> None:
        raise cls("of a task")

    return work


# Threads


def _count_is_how_many_run_at_once(stage: Stage) -> None:
    stage.fill(1, behind=0)
    for _ in range(4):
        stage.add(ProbeTask(stage.gate.stay))
    stage.set_threads(3)
    stage.expect(lambda: stage.gate.inside >= 3, "with setThreadCount(3), three tasks do not run at once")
    if stage.gate.inside > 3:
        stage.fail(f"with setThreadCount(3), {stage.gate.inside} tasks run at once")


def _fewer_threads_do_not_wait_and_do_not_serve(stage: Stage) -> None:
    waiting = stage.fill(2, behind=3)
    stage.set_threads(0)
    stage.gate.open()
    stage.expect(lambda: stage.gate.inside == 0, "a running task was not finished")
    if any(wait_until(lambda task=task: task.outcomes, 0.02) for task in waiting):  # type: ignore[misc]
        stage.fail("a task was begun after setThreadCount(0)")
    stage.set_threads(1)
    for task in waiting:
        stage.expect_outcome(task, "service", "a task that waited while there were no threads")


def _a_task_may_change_the_count(stage: Stage) -> None:
    stage.set_threads(2)
    task = stage.add(ProbeTask(lambda: stage.dispatcher.setThreadCount(1)))
    stage.expect_outcome(task, "service", "a task that calls setThreadCount()")
    stage.expect_outcome(stage.add(), "service", "the task behind one that called setThreadCount()")


# Shutdown


def _shutdown_cancels_what_waits_and_spares_what_runs(stage: Stage) -> None:
    waiting = stage.fill(1, behind=3)
    running = stage.tasks[0]
    stage.shut_down(timeout=0)
    for task in waiting:
        stage.expect_outcome(task, "cancel", "a task that waited at shutdown()")
    if running.outcomes != ["service"]:
        stage.fail(f"a running task got {shown_calls(running)}")
    stage.gate.open()
    stage.shut_down()


def _shutdown_waits_for_what_runs(stage: Stage) -> None:
    stage.set_threads(1)
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(0.05)
        ended.set()

    stage.add(ProbeTask(work))
    stage.expect(begun.is_set, "a task was not served")
    stage.shut_down()
    if not ended.is_set():
        stage.fail("shutdown() returned before the running task had ended, long before its timeout")


def _shutdown_may_be_called_by_a_task(stage: Stage) -> None:
    stage.set_threads(1)
    returned = threading.Event()

    def work() -> None:
        stage.dispatcher.shutdown(True, 2 * stage.deadline_seconds)
        returned.set()

    stage.add(ProbeTask(work))
    stage.expect(returned.is_set, "shutdown() called by a task waits for that task")


# Draining, refusal


def _draining_serves_what_waits(stage: Stage) -> None:
    waiting = stage.fill(1, behind=5)
    opener = threading.Timer(0.02, stage.gate.open)
    opener.daemon = True
    opener.start()
    stage.shut_down(cancel_pending=False)
    for task in waiting:
        stage.expect_outcome(task, "service", "a task that waited at shutdown(cancel_pending=False)")


def _after_shutdown_tasks_are_refused(stage: Stage) -> None:
    stage.set_threads(1)
    stage.shut_down()
    for _ in range(2):
        task = ProbeTask()
        stage.tasks.append(task)
        try:
            stage.dispatcher.addTask(task)
        except Exception:
            pass
        else:
            stage.fail("addTask() after shutdown() raised nothing")
        stage.expect_outcome(task, "cancel", "a task that was added after shutdown()")
    stage.set_threads(1)
    stage.expect_outcome(stage.add(), "service", "a task added after setThreadCount(1) opened it again")


# What is no task, and how many wait


def _none_is_no_task(stage: Stage) -> None:
    nothing: Any = None
    for count in (0, 1):
        stage.set_threads(count)
        try:
            stage.dispatcher.addTask(nothing)
        except (ValueError, TypeError):
            pass
        except Exception as error:
            stage.fail(f"addTask(None) raised {error!r}", error)
        else:
            stage.fail("addTask(None) raised nothing")
    stage.expect_outcome(stage.add(), "service", "a task added after None")


def _the_estimate_is_how_many_wait(stage: Stage) -> None:
    counts = [_estimate(stage)]
    stage.fill(1, behind=3)
    counts.append(_estimate(stage))
    stage.gate.open()
    stage.expect(lambda: all(task.outcomes for task in stage.tasks), "a task was not served")
    counts.append(_estimate(stage))
    stage.set_threads(0)
    stage.add()
    counts.append(_estimate(stage))
    stage.shut_down()
    counts.append(_estimate(stage))
    if counts != [0, 3, 0, 1, 0]:
        stage.fail(f"0, 3, 0, 1, 0 tasks waited, and the estimates were {', '.join(map(str, counts))}")


def _estimate(stage: Stage) -> int:
    count: int = stage.attempt("getPendingTasksEstimate()", stage.dispatcher.getPendingTasksEstimate)
    return count


#: In this order, so that the plainest breach is the one that is named.
_SCENES: tuple[tuple[DispatcherLaw, Callable[[Stage], None]], ...] = (
    (DispatcherLaw.NOT_A_TASK, _none_is_no_task),
    (DispatcherLaw.WORKER, _service_runs_on_a_worker),
    (DispatcherLaw.DEFER, _defer_comes_first_in_the_adding_thread),
    (DispatcherLaw.ONE_OUTCOME, _tasks_without_threads_wait_and_are_cancelled),
    (DispatcherLaw.DEFER, _what_defer_raises_comes_out),
    (DispatcherLaw.ORDER, _tasks_start_in_order),
    (DispatcherLaw.SURVIVAL, _service_that_raises_ends_no_worker),
    (DispatcherLaw.SURVIVAL, _cancel_that_raises_stops_no_other),
    (DispatcherLaw.THREAD_COUNT, _count_is_how_many_run_at_once),
    (DispatcherLaw.THREAD_COUNT, _fewer_threads_do_not_wait_and_do_not_serve),
    (DispatcherLaw.THREAD_COUNT, _a_task_may_change_the_count),
    (DispatcherLaw.ONE_OUTCOME, _many_tasks_on_threads_that_come_and_go),
    (DispatcherLaw.ONE_OUTCOME, _an_object_that_is_added_twice_is_two_tasks),
    (DispatcherLaw.ESTIMATE, _the_estimate_is_how_many_wait),
    (DispatcherLaw.SHUTDOWN, _shutdown_cancels_what_waits_and_spares_what_runs),
    (DispatcherLaw.SHUTDOWN, _shutdown_waits_for_what_runs),
    (DispatcherLaw.SHUTDOWN, _shutdown_may_be_called_by_a_task),
    (DispatcherLaw.DRAIN, _draining_serves_what_waits),
    (DispatcherLaw.REFUSAL, _after_shutdown_tasks_are_refused),
    (DispatcherLaw.ONE_OUTCOME, _tasks_added_while_it_is_shut_down),
)
