"""A rule-based machine that drives a task dispatcher with real threads, in orders of calls nobody thought of.

A model says what must have become of each task; only `ITaskDispatcher` is called. The scenes of
`dispatcher_laws` say *which* promise is broken; this finds that one is, by a sequence of calls that Hypothesis
makes short.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NoReturn

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wiretask.testing.laws import DispatcherLaw, LawBroken
from wiretask.testing.probe_tasks import Gate, ProbeTask, TaskDispatcherLike, wait_until

__all__ = ["TaskDispatcherMachine", "task_dispatcher_machine"]


def task_dispatcher_machine(
    factory: Callable[[], TaskDispatcherLike], *, deadline_seconds: float = 20
) -> type[TaskDispatcherMachine]:
    """Return a machine for the dispatchers that `factory` makes, without threads or with some.

    Use: `TestMyDispatcher = task_dispatcher_machine(MyDispatcher).TestCase`, in any test runner that runs
    `unittest`; or `hypothesis.stateful.run_state_machine_as_test(...)`.
    """

    class Machine(TaskDispatcherMachine):
        def make_dispatcher(self) -> TaskDispatcherLike:
            return factory()

    Machine.deadline_seconds = deadline_seconds
    Machine.__name__ = Machine.__qualname__ = "TaskDispatcherMachine"
    return Machine


class TaskDispatcherMachine(RuleBasedStateMachine):
    """The machine; a subclass defines `make_dispatcher`, and may add rules and invariants of its own.

    Attributes:
        dispatcher: what is driven.
        tasks: all that were given to it; gates: those that are closed.
        target: the number of workers that was set last; is_open: whether tasks must be taken.
        refused: how many tasks were not taken.
        deadline_seconds: how long a faulty dispatcher is waited for.
    """

    deadline_seconds: float = 20

    def make_dispatcher(self) -> TaskDispatcherLike:
        """A fresh dispatcher."""
        raise NotImplementedError("define make_dispatcher(), or use task_dispatcher_machine()")

    def is_full(self, error: Exception) -> bool:
        """Whether this exception of addTask() may say that no more tasks may wait. No, unless overridden."""
        return False

    def is_closed(self, error: Exception) -> bool:
        """Whether this exception of addTask() may say that the dispatcher is shut down. Yes, unless overridden."""
        return True

    @initialize(threads=st.integers(0, 3))
    def begin(self, threads: int) -> None:
        """Make a dispatcher with so many workers."""
        self.tasks: list[ProbeTask] = []
        self.gates: list[Gate] = []
        self.dispatcher: Any = self.make_dispatcher()
        self.target, self.is_open, self.refused = threads, True, 0
        self.dispatcher.setThreadCount(threads)

    @rule(
        behaviour=st.sampled_from(["plain", "service raises", "cancel raises", "defer raises"]),
        is_slow=st.booleans(),
    )
    def add(self, behaviour: str, is_slow: bool) -> None:
        """Add a task, and see whether it is taken."""
        raises = behaviour.partition(" ")[0]
        gate = Gate(self.deadline_seconds) if is_slow and behaviour == "plain" else None
        task = ProbeTask(
            gate.stay if gate is not None else _raise_system_exit if raises == "service" else None,
            on_defer=_raise_lookup_error if raises == "defer" else None,
            on_cancel=_raise_value_error if raises == "cancel" else None,
        )
        if gate is not None:
            self.gates.append(gate)
        self.tasks.append(task)
        try:
            self.dispatcher.addTask(task)
        except LookupError as error:
            if raises != "defer":
                _break(DispatcherLaw.REFUSAL, f"addTask() raised {error!r}", error)
        except Exception as error:
            if not (self.is_full(error) if self.is_open else self.is_closed(error)):
                state = "an open dispatcher" if self.is_open else "a dispatcher that was shut down"
                _break(DispatcherLaw.REFUSAL, f"addTask() of {state} raised {error!r}", error)
            self.refused += 1
        else:
            if raises == "defer":
                _break(DispatcherLaw.DEFER, "defer() raised, and addTask() did not")
            if not self.is_open:
                _break(DispatcherLaw.REFUSAL, "addTask() of a dispatcher that was shut down raised nothing")
            return
        if task.calls != ["defer", "cancel"]:
            _break(DispatcherLaw.REFUSAL, f"a task that was not taken got {task.calls}")

    @rule(count=st.integers(0, 4))
    def set_thread_count(self, count: int) -> None:
        """Set the number of workers, which opens the dispatcher if there are any."""
        self.dispatcher.setThreadCount(count)
        self.target = count
        self.is_open = self.is_open or count > 0

    @precondition(lambda self: self.is_open and self.target > 0 and not self.gates and self.may_wait_for_room())
    @rule(count=st.integers(1, 3))
    def set_thread_count_from_a_worker(self, count: int) -> None:
        """Have a task set the number of workers."""
        done = threading.Event()

        def work() -> None:
            self.dispatcher.setThreadCount(count)
            done.set()

        task = ProbeTask(work)
        self.tasks.append(task)
        try:
            self.dispatcher.addTask(task)
        except Exception as error:
            _break(DispatcherLaw.REFUSAL, f"addTask() of an open dispatcher raised {error!r}", error)
        if not done.wait(self.deadline_seconds):
            _break(DispatcherLaw.THREAD_COUNT, "a task that calls setThreadCount() does not come to its end")
        self.target = count

    def may_wait_for_room(self) -> bool:
        """Whether a task that is added now is certainly taken. Yes, unless overridden."""
        return True

    @rule(cancel_pending=st.booleans())
    def shut_down(self, cancel_pending: bool) -> None:
        """Shut the dispatcher down; if told so, nothing may wait any more."""
        waiting = [task for task in self.tasks if not task.outcomes]
        self.shut_down_dispatcher(cancel_pending, 0 if self.gates else self.deadline_seconds)
        self.is_open, self.target = False, 0
        if not cancel_pending:
            return
        estimate = self.dispatcher.getPendingTasksEstimate()
        if estimate:
            _break(DispatcherLaw.ESTIMATE, f"after shutdown() the estimate is {estimate}")
        if not wait_until(lambda: all(task.outcomes for task in waiting), self.deadline_seconds):
            _break(DispatcherLaw.SHUTDOWN, "a task that waited at shutdown() was not cancelled")

    def shut_down_dispatcher(self, cancel_pending: bool, timeout: float) -> None:
        """Call `shutdown`; a subclass may look at what it returns."""
        self.dispatcher.shutdown(cancel_pending, timeout)

    @precondition(lambda self: self.gates)
    @rule()
    def let_the_slow_go_on(self) -> None:
        """Open all gates."""
        for gate in self.gates:
            gate.open()
        self.gates.clear()

    @precondition(lambda self: self.target > 0 and not self.gates)
    @rule()
    def settle(self) -> None:
        """Wait until everything was served."""
        if not wait_until(lambda: all(task.outcomes for task in self.tasks), self.deadline_seconds):
            _break(DispatcherLaw.ONE_OUTCOME, "a task with a free worker is not served")
        if not wait_until(lambda: self.dispatcher.getPendingTasksEstimate() == 0, self.deadline_seconds):
            _break(DispatcherLaw.ESTIMATE, "when all tasks were served, the estimate is not 0")

    @invariant()
    def nobody_has_two_outcomes(self) -> None:
        """At no time has a task more than one, nor any before defer()."""
        for task in self.tasks:
            if len(task.outcomes) > 1:
                _break(DispatcherLaw.ONE_OUTCOME, f"a task got {task.calls}")
            if task.calls[:1] != ["defer"]:
                _break(DispatcherLaw.DEFER, f"a task got {task.calls}")

    def teardown(self) -> None:
        """Shut down, and hold everybody to exactly one outcome."""
        if not hasattr(self, "dispatcher"):
            return
        for gate in self.gates:
            gate.open()
        self.shut_down_dispatcher(True, self.deadline_seconds)
        if not wait_until(lambda: all(task.outcomes for task in self.tasks), self.deadline_seconds):
            _break(DispatcherLaw.ONE_OUTCOME, "a task was neither served nor cancelled, though all is shut down")
        self.nobody_has_two_outcomes()


def _raise_system_exit() -> None:
    raise SystemExit("of service()")


def _raise_lookup_error() -> None:
    raise LookupError("of defer()")


def _raise_value_error() -> None:
    raise ValueError("of cancel()")


def _break(law: DispatcherLaw, what: str, cause: BaseException | None = None) -> NoReturn:
    raise LawBroken(law, what) from cause
