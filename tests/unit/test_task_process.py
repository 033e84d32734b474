"""ThreadedTaskDispatcher: the end of the process, and the child of a fork. In processes of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PREAMBLE = """
import gc, logging, os, sys, threading, time
from wiretask.tasks import Task, ThreadedTaskDispatcher

class Work(Task):
    def __init__(self, work, on_cancel=lambda: None):
        self.work, self.on_cancel = work, on_cancel
    def service(self):
        self.work()
    def cancel(self):
        self.on_cancel()

entered = threading.Semaphore(0)
def enter(then):
    def work():
        entered.release()
        then()
    return Work(work)
"""

EXITS = {
    "idle": "dispatcher = ThreadedTaskDispatcher(8)",
    "busy_in_sleep": """
        dispatcher = ThreadedTaskDispatcher(4)
        for _ in range(4):
            dispatcher.addTask(enter(lambda: time.sleep(3600)))
        for _ in range(4):
            entered.acquire()
    """,
    "busy_in_a_lock": """
        dispatcher = ThreadedTaskDispatcher(2)
        lock = threading.Lock()
        lock.acquire()
        for _ in range(2):
            dispatcher.addTask(enter(lock.acquire))
            entered.acquire()
    """,
    "busy_in_python": """
        def spin():
            while True:
                pass
        dispatcher = ThreadedTaskDispatcher(2)
        for _ in range(2):
            dispatcher.addTask(enter(spin))
        for _ in range(2):
            entered.acquire()
    """,
    "adding_in_a_tight_loop": """
        def flood():
            while True:
                try:
                    dispatcher.addTask(Work(lambda: None))
                except Exception:
                    pass
        dispatcher = ThreadedTaskDispatcher(3, max_pending=1000)
        for _ in range(2):
            dispatcher.addTask(enter(flood))
        for _ in range(2):
            entered.acquire()
    """,
    "waking_and_sleeping_all_the_time": """
        def flood():
            while True:
                try:
                    dispatcher.addTask(Work(lambda: None))
                except Exception:
                    pass
                time.sleep(0)
        dispatcher = ThreadedTaskDispatcher(4)
        threads = [threading.Thread(target=flood, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(0.02)
    """,
    "setting_counts_all_the_time": """
        def swing():
            while True:
                dispatcher.setThreadCount(1)
                dispatcher.setThreadCount(3)
        dispatcher = ThreadedTaskDispatcher(3)
        dispatcher.addTask(enter(swing))
        entered.acquire()
    """,
    "in_shutdown": """
        logging.disable()
        dispatcher = ThreadedTaskDispatcher(1)
        dispatcher.addTask(enter(lambda: time.sleep(3600)))
        entered.acquire()
        threading.Thread(target=dispatcher.shutdown, args=(True, 3600), daemon=True).start()
    """,
    "after_shutdown": "ThreadedTaskDispatcher(4).shutdown()",
    "shut_down_by_an_exit_function_that_runs_last": """
        dispatcher = ThreadedTaskDispatcher(2)
        early.append(dispatcher.shutdown)
    """,
    "dispatcher_in_a_cycle": """
        dispatcher = ThreadedTaskDispatcher()
        work = Work(lambda: None)
        work.dispatcher = dispatcher
        dispatcher.addTask(work)
    """,
    "exit_called_by_a_task": """
        logging.disable()
        dispatcher = ThreadedTaskDispatcher(1)
        dispatcher.addTask(enter(sys.exit))
        entered.acquire()
    """,
}
EARLY = """
import atexit
early = []
atexit.register(lambda: [call() for call in early])
"""


def run(script, *, timeout=60):
    code = EARLY + PREAMBLE + textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-X", "faulthandler", "-c", code],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.parametrize("case", list(EXITS))
def test_process_ends_without_noise(case):
    """A thread that comes back through Rust while the interpreter ends aborts the process (R40)."""
    for _ in range(20):
        done = run(EXITS[case])
        assert (done.returncode, done.stderr) == (0, "")


def test_what_waits_at_exit_is_cancelled():
    done = run("""
        dispatcher = ThreadedTaskDispatcher()
        for _ in range(3):
            dispatcher.addTask(Work(lambda: None, lambda: print("cancelled")))
    """)
    assert (done.returncode, done.stderr, done.stdout.split()) == (0, "", ["cancelled"] * 3)


def test_child_of_a_fork_starts_anew_and_leaves_the_parents_tasks_alone():
    """Old dispatchers' children had a queue and no thread, or a lock that nobody held any more."""
    done = run("""
        cancelled = []
        dispatcher = ThreadedTaskDispatcher(2)
        hold = threading.Event()
        for _ in range(2):
            dispatcher.addTask(enter(lambda: hold.wait(60)))
        for _ in range(2):
            entered.acquire()
        served = []
        for number in range(10):
            dispatcher.addTask(Work(lambda number=number: served.append(number), lambda: cancelled.append(1)))
        pid = os.fork()
        if pid == 0:
            assert dispatcher.getPendingTasksEstimate() == 0
            assert threading.active_count() == 1
            done = threading.Event()
            dispatcher.addTask(Work(done.set))
            assert done.wait(20)
            assert dispatcher.stats()["threads_alive"] == 2
            assert dispatcher.shutdown() == 0
            gc.collect()
            assert cancelled == [] and served == []
            print("child is well", flush=True)
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        hold.set()
        assert dispatcher.shutdown(cancel_pending=False, timeout=20) == 0
        assert sorted(served) == list(range(10))
        print("parent is well")
    """)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["child is well", "parent is well"]


def test_forks_with_live_workers_and_half_pushed_queues_never_dead_lock():
    done = run(
        """
        dispatcher = ThreadedTaskDispatcher(4)
        is_over = threading.Event()
        def flood():
            while not is_over.is_set():
                for _ in range(50):
                    dispatcher.addTask(Work(lambda: None))
                time.sleep(0)
        flooder = threading.Thread(target=flood)
        flooder.start()
        for round in range(500):
            pid = os.fork()
            if pid == 0:
                done = threading.Event()
                dispatcher.addTask(Work(done.set))
                if not done.wait(20):
                    os._exit(1)
                code = 2 if dispatcher.shutdown(timeout=20) else 0
                if round % 10:
                    os._exit(code)
                sys.exit(code)
            assert os.waitpid(pid, 0)[1] == 0, round
        is_over.set()
        flooder.join()
        assert dispatcher.shutdown(cancel_pending=False, timeout=20) == 0
        stats = dispatcher.stats()
        assert stats["added"] == stats["started"], stats
        """,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_task_that_forks_has_a_child_that_can_use_the_dispatcher():
    done = run("""
        dispatcher = ThreadedTaskDispatcher(2)
        codes = []
        def fork():
            pid = os.fork()
            if pid == 0:
                done = threading.Event()
                dispatcher.addTask(Work(done.set))
                is_well = done.wait(20) and dispatcher.shutdown() == 0
                os._exit(0 if is_well else 1)
            codes.append(os.waitpid(pid, 0)[1])
        for _ in range(20):
            dispatcher.addTask(Work(fork))
        while len(codes) < 20:
            time.sleep(0.001)
        assert dispatcher.shutdown(timeout=60) == 0
        assert codes == [0] * 20, codes
    """)
    assert (done.returncode, done.stderr) == (0, "")


def test_grandchild_and_shut_dispatcher_after_fork():
    done = run("""
        from wiretask.errors import ServerClosedError
        dispatcher, shut = ThreadedTaskDispatcher(1), ThreadedTaskDispatcher(1)
        shut.shutdown()
        for generation in range(3):
            pid = os.fork()
            if pid:
                assert os.waitpid(pid, 0)[1] == 0
                break
            done = threading.Event()
            dispatcher.addTask(Work(done.set))
            assert done.wait(20)
            try:
                shut.addTask(Work(done.set))
            except ServerClosedError:
                pass
            else:
                raise AssertionError
    """)
    assert (done.returncode, done.stderr) == (0, "")
