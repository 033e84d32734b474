"""The laws of a task dispatcher, held against ours: whatever is called in whatever order, one outcome a task.

The laws and the machine are those of `wiretask.testing`; added here is what only our dispatcher has: a bound, the
number that `shutdown` returns, and `stats`, which must agree with what the tasks say.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from wiretask.errors import ServerClosedError, TaskQueueFullError
from wiretask.tasks import ThreadedTaskDispatcher
from wiretask.testing import TaskDispatcherMachine, check_task_dispatcher, wait_until


def test_dispatcher_obeys_the_laws() -> None:
    check_task_dispatcher(ThreadedTaskDispatcher)
    check_task_dispatcher(lambda: ThreadedTaskDispatcher(2, max_pending=100))


class DispatcherMachine(TaskDispatcherMachine):
    @initialize(max_pending=st.none() | st.integers(1, 4), threads=st.integers(0, 3))
    def begin(self, max_pending, threads):
        self.max_pending, self.initial_threads = max_pending, threads
        super().begin(threads)

    def make_dispatcher(self):
        return ThreadedTaskDispatcher(self.initial_threads, max_pending=self.max_pending)

    def is_full(self, error):
        return self.max_pending is not None and isinstance(error, TaskQueueFullError)

    def may_wait_for_room(self):
        return self.max_pending is None

    def is_closed(self, error):
        return isinstance(error, ServerClosedError)

    def shut_down_dispatcher(self, cancel_pending, timeout):
        # Some may have ended by the time the call returns, but none can have begun.
        alive_before = self.dispatcher.stats()["threads_alive"]
        running = self.dispatcher.shutdown(cancel_pending, timeout=timeout)
        assert running <= alive_before
        if not self.gates:
            assert running == 0

    @precondition(lambda self: self.target > 0 and not self.gates)
    @rule()
    def settle(self):
        super().settle()
        for name, value in (("pending", 0), ("threads_busy", 0), ("threads_alive", self.target)):
            assert wait_until(lambda: self.dispatcher.stats()[name] == value, self.deadline_seconds)  # noqa: B023

    def teardown(self):
        super().teardown()
        if not hasattr(self, "dispatcher"):
            return
        stats = self.dispatcher.stats()
        assert stats["added"] == stats["started"] + stats["cancelled"]
        assert (stats["refused"], stats["pending"], stats["threads_lost"]) == (self.refused, 0, 0)


TestDispatcherMachine = DispatcherMachine.TestCase
TestDispatcherMachine.settings = settings(stateful_step_count=30, deadline=None)
