"""Hands no-op tasks to one dispatcher and prints as JSON what a task took, by the clock and of the processors.

`flood`: the producers add all their tasks; the clock stops when the workers have served the last. `ping-pong`: each
producer adds one task, waits until it was served, and adds the next. In a flood of several producers every task
counts how often it was served, and the run fails unless that is once.
"""

import argparse
import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any


class Task:
    """A task that does nothing; with the methods of every contract here."""

    def __init__(self) -> None:
        self.served = 0

    def service(self) -> None:
        """Do nothing."""

    def cancel(self) -> None:
        """Never happens here."""
        raise AssertionError("cancelled")

    def defer(self) -> None:
        """Nothing to do before the wait."""


class CountingTask(Task):
    """A task that counts how often it was served."""

    def service(self) -> None:
        """Count."""
        self.served += 1


class CallingTask(Task):
    """A task that calls what it was given."""

    def __init__(self, service: Callable[[], Any]) -> None:
        self.service = service


class LeastDispatcher:
    """The least dispatcher one can write in Python: one queue in C, threads that call `service()`."""

    def __init__(self, workers: int) -> None:
        self.queue: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(workers)]
        for thread in self.threads:
            thread.start()

    def work(self) -> None:
        """Serve until told to end."""
        get = self.queue.get
        while (task := get()) is not None:
            task.service()

    def add(self, task: Task) -> None:
        """Queue the task."""
        task.defer()
        self.queue.put(task)

    def end(self) -> None:
        """End the threads."""
        for _ in self.threads:
            self.queue.put(None)
        for thread in self.threads:
            thread.join()


Adding = tuple[Callable[[Task], Any], Callable[[], Any]]


def least(workers: int) -> Adding:
    """Return how to add a task and how to end, for the dispatcher above."""
    dispatcher = LeastDispatcher(workers)
    return dispatcher.add, dispatcher.end


def wiretask(workers: int) -> Adding:
    """Return how to add a task and how to end."""
    import wiretask

    dispatcher = wiretask.ThreadedTaskDispatcher(workers)
    return dispatcher.addTask, dispatcher.shutdown


def zope(workers: int) -> Adding:
    """Return how to add a task and how to end."""
    from zope.server.taskthreads import ThreadedTaskDispatcher

    dispatcher = ThreadedTaskDispatcher()
    dispatcher.setThreadCount(workers)
    return dispatcher.addTask, dispatcher.shutdown


def waitress(workers: int) -> Adding:
    """Return how to add a task and how to end. Its warning at each task that waits is switched off."""
    from waitress.task import ThreadedTaskDispatcher

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.set_thread_count(workers)
    return dispatcher.add_task, dispatcher.shutdown


DISPATCHERS: dict[str, Callable[[int], Adding]] = {
    "wiretask": wiretask,
    "wiretask-foreign": wiretask,
    "least": least,
    "zope": zope,
    "waitress": waitress,
}


def fitted(kind: type[Task], dispatcher: str) -> type[Any]:
    """Return the class of tasks as users of the dispatcher write it: wiretask's derive from its `Task`."""
    if dispatcher == "wiretask":
        import wiretask

        return type(kind.__name__, (kind, wiretask.Task), {})
    return kind


def flood(add: Callable[[Task], Any], tasks: list[Task], calling: type[Any]) -> None:
    """Add the tasks from this thread."""
    for task in tasks:
        add(task)


def ping_pong(add: Callable[[Task], Any], tasks: list[Task], calling: type[Any]) -> None:
    """Add as many tasks from this thread, each when the one before was served."""
    is_served = threading.Semaphore(0)
    task = calling(is_served.release)
    for _ in tasks:
        add(task)
        is_served.acquire()


def wait_for_workers(add: Callable[[Task], Any], workers: int, calling: type[Any]) -> None:
    """Return when all workers have served what was queued: each has to come to a meeting that is queued behind."""
    meeting = threading.Barrier(workers + 1)
    for _ in range(workers):
        add(calling(meeting.wait))
    meeting.wait(120)


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Return the figures of one run."""
    add, end = DISPATCHERS[options.dispatcher](options.workers)
    produce = {"flood": flood, "ping-pong": ping_pong}[options.shape]
    kind = fitted(Task if options.producers == 1 else CountingTask, options.dispatcher)
    calling = fitted(CallingTask, options.dispatcher)
    share = options.tasks // options.producers
    tasks = [[kind() for _ in range(share)] for _ in range(options.producers)]
    wait_for_workers(add, options.workers, calling)
    start = threading.Barrier(options.producers)

    def run(mine: list[Task]) -> None:
        start.wait()
        produce(add, mine, calling)

    others = [threading.Thread(target=run, args=(mine,)) for mine in tasks[1:]]
    for thread in others:
        thread.start()
    clock, cpu = time.perf_counter_ns(), time.process_time_ns()
    run(tasks[0])
    for thread in others:
        thread.join()
    wait_for_workers(add, options.workers, calling)
    clock, cpu = time.perf_counter_ns() - clock, time.process_time_ns() - cpu
    if produce is flood and options.producers > 1 and any(task.served != 1 for mine in tasks for task in mine):
        raise AssertionError("a task was not served exactly once")
    end()
    count = share * options.producers
    return {"wall_us": clock / count / 1000, "cpu_us": cpu / count / 1000}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--dispatcher", choices=sorted(DISPATCHERS), required=True)
    parser.add_argument("--shape", choices=["flood", "ping-pong"], required=True)
    parser.add_argument("--producers", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--tasks", type=int, required=True)
    print(json.dumps(measure(parser.parse_args())))
