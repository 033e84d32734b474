"""The law of a task dispatcher: whatever is called in whatever order, every task gets exactly one outcome.

A rule-based machine drives a real dispatcher with real threads; a model says what must have become of each
task.
"""

from __future__ import annotations

import threading
import time

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wiretask.errors import ServerClosedError, TaskQueueFullError
from wiretask.tasks import ThreadedTaskDispatcher

DEADLINE_SECONDS = 20


class ModelTask:
    def __init__(self, behaviour="plain", gate=None):
        self.behaviour, self.gate = behaviour, gate
        self.calls = []

    def defer(self):
        self.calls.append("defer")
        if self.behaviour == "defer raises":
            raise LookupError("defer")

    def service(self):
        self.calls.append("service")
        if self.gate is not None:
            assert self.gate.wait(DEADLINE_SECONDS)
        if self.behaviour == "service raises":
            raise SystemExit("service")

    def cancel(self):
        self.calls.append("cancel")
        if self.behaviour == "cancel raises":
            raise ValueError("cancel")

    @property
    def outcomes(self):
        return [call for call in self.calls if call != "defer"]


def wait_until(is_true):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.0005)


class DispatcherMachine(RuleBasedStateMachine):
    @initialize(max_pending=st.none() | st.integers(1, 4), threads=st.integers(0, 3))
    def make(self, max_pending, threads):
        self.dispatcher = ThreadedTaskDispatcher(threads, max_pending=max_pending)
        self.max_pending, self.target, self.is_open = max_pending, threads, True
        self.tasks, self.gates = [], []
        self.refused = 0

    @rule(
        behaviour=st.sampled_from(["plain", "service raises", "cancel raises", "defer raises"]),
        is_slow=st.booleans(),
    )
    def add(self, behaviour, is_slow):
        gate = None
        if is_slow and behaviour == "plain":
            gate = threading.Event()
            self.gates.append(gate)
        task = ModelTask(behaviour, gate)
        self.tasks.append(task)
        try:
            self.dispatcher.addTask(task)
        except LookupError:
            assert behaviour == "defer raises"
        except TaskQueueFullError:
            assert self.is_open
            assert self.max_pending is not None
            self.refused += 1
        except ServerClosedError:
            assert not self.is_open
            self.refused += 1
        else:
            assert self.is_open
            assert behaviour != "defer raises"
            return
        assert task.calls == ["defer", "cancel"]

    @rule(count=st.integers(0, 4))
    def set_thread_count(self, count):
        self.dispatcher.setThreadCount(count)
        self.target = count
        self.is_open = self.is_open or count > 0

    @rule(count=st.integers(1, 3))
    def set_thread_count_from_a_worker(self, count):
        done = threading.Event()
        task = ModelTask()
        service = task.service

        def set_count():
            service()
            self.dispatcher.setThreadCount(count)
            done.set()

        task.service = set_count
        if not self.is_open or self.target == 0 or self.gates or self.max_pending is not None:
            return
        self.dispatcher.addTask(task)
        self.tasks.append(task)
        assert done.wait(DEADLINE_SECONDS)
        self.target = count

    @rule(cancel_pending=st.booleans())
    def shut_down(self, cancel_pending):
        before = [task for task in self.tasks if not task.outcomes]
        # Some may have ended by the time the call returns, but none can have begun.
        alive_before = self.dispatcher.stats()["threads_alive"]
        running = self.dispatcher.shutdown(cancel_pending, timeout=0 if self.gates else DEADLINE_SECONDS)
        self.is_open, self.target = False, 0
        assert running <= alive_before
        if not self.gates:
            assert running == 0
        if cancel_pending:
            assert self.dispatcher.getPendingTasksEstimate() == 0
            wait_until(lambda: all(task.outcomes for task in before))

    @precondition(lambda self: self.gates)
    @rule()
    def let_the_slow_go_on(self):
        for gate in self.gates:
            gate.set()
        self.gates.clear()

    @precondition(lambda self: self.target > 0 and not self.gates)
    @rule()
    def settle(self):
        wait_until(lambda: self.dispatcher.stats()["pending"] == 0)
        wait_until(lambda: self.dispatcher.stats()["threads_busy"] == 0)
        wait_until(lambda: self.dispatcher.stats()["threads_alive"] == self.target)
        assert all(task.outcomes for task in self.tasks)

    @invariant()
    def nobody_has_two_outcomes(self):
        assert all(len(task.outcomes) <= 1 for task in self.tasks)
        assert all(task.calls[:1] == ["defer"] for task in self.tasks)

    def teardown(self):
        if not hasattr(self, "dispatcher"):
            return
        for gate in self.gates:
            gate.set()
        assert self.dispatcher.shutdown(timeout=DEADLINE_SECONDS) == 0
        assert all(len(task.outcomes) == 1 for task in self.tasks)
        stats = self.dispatcher.stats()
        assert stats["added"] == stats["started"] + stats["cancelled"]
        assert (stats["refused"], stats["pending"], stats["threads_lost"]) == (self.refused, 0, 0)


TestDispatcherMachine = DispatcherMachine.TestCase
TestDispatcherMachine.settings = settings(stateful_step_count=30, deadline=None)
