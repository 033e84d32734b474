"""`tasks`: what it takes to hand a no-op task to a worker thread, beside other dispatchers.

Strategy: `programs/dispatch.py` measures one dispatcher in a process of its own.
"""

from __future__ import annotations

from functools import partial

from .machinery import has_module, program, run_json
from .results import Case, Metric, Report
from .settings import Settings, measure_rounds

__all__ = ["bench_tasks"]

METRICS = [Metric("wall_us", "wall clock, µs/task", 2), Metric("cpu_us", "CPU, µs/task", 2)]
SIDES = {
    "wiretask": ("wiretask", "wiretask"),
    "SimpleQueue, the least": ("least", "queue"),
    "waitress": ("waitress", "waitress.task"),
    "zope.server": ("zope", "zope.server.taskthreads"),
    "wiretask, tasks of a foreign class": ("wiretask-foreign", "wiretask"),
}


def bench_tasks(settings: Settings) -> Report:
    """Measure both shapes, with one producer and worker and with several."""
    report = Report("tasks", "Handing no-op tasks to worker threads", METRICS, ["wall_us", "cpu_us"], "cpu_us")
    known = {}
    for side, (dispatcher, module) in SIDES.items():
        if has_module(module):
            known[side] = dispatcher
        else:
            report.notes.append(f"{side} is not installed: left out.")
    for shape, tasks in (("flood", settings.flood_tasks), ("ping-pong", settings.ping_pong_tasks)):
        for producers, workers in ((1, 1), (8, 4)):
            arguments = ["--shape", shape, "--producers", producers, "--workers", workers, "--tasks", tasks]
            sides = [
                (side, partial(run_json, program("dispatch", "--dispatcher", dispatcher, *arguments)))
                for side, dispatcher in known.items()
            ]
            name = f"{shape}, {producers} producer{'s' * (producers > 1)} : {workers} worker{'s' * (workers > 1)}"
            report.cases.append(measure_rounds(Case(name), settings.rounds, sides))
    return report
