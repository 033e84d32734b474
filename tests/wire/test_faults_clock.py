"""A wall clock that is set while servers run, by years. Fault R47.

A small library that is loaded before all others moves what the C library says of the wall clock; it needs a C
compiler. That no code of ours looks at it is tested by tests/architecture/test_clocks.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from processes import run

CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

long wall_clock_offset_seconds = 0;

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        now->tv_sec += wall_clock_offset_seconds;
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    int status = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return status;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result)
        *result = now.tv_sec;
    return now.tv_sec;
}
"""

JUMPS = """
import ctypes, os, socket, threading, time
import wiretask
from peers import Peer
from wiretask.examples.echo import EchoServer

offset = ctypes.c_long.in_dll(ctypes.CDLL(os.environ["LD_PRELOAD"]), "wall_clock_offset_seconds")
YEARS = 10 * 365 * 86400

def jump(seconds):
    before = time.time()
    offset.value += seconds
    assert abs(time.time() - before - seconds) < 3600, "the clock was not set"

# Whoever looks at the wall clock sees ten years pass, or ten years to wait.
for years in (YEARS, -YEARS, -YEARS, YEARS):
    adj = wiretask.Adjustments(channel_timeout=3600, request_timeout_seconds=3600, threads=1)
    patient = EchoServer("127.0.0.1", 0, adj=adj)
    hasty = EchoServer("127.0.0.1", 0, adj=wiretask.Adjustments(channel_timeout=1))
    with patient, hasty:
        idle, begun, ended = Peer.of(patient), Peer.of(patient), Peer.of(hasty)
        assert idle.ask(b"x") == b"x"
        begun.send(b"begun ")
        jump(years)
        assert ended.is_closed_by_server()
        begun.send(b"and finished\\n")
        assert begun.read_line() == b"begun and finished\\n"
        assert idle.ask(b"y") == b"y"
        assert patient.stats()["timeouts"] == 0
        dispatcher = wiretask.ThreadedTaskDispatcher()
        dispatcher.addTask(wiretask.Task(None, None))
        jump(years)
        assert dispatcher.stats()["oldest_wait_seconds"] < 3600
        dispatcher.shutdown(timeout=3600)
        jump(-years)
        # A turn of the loop ends.
        mine, other = socket.socketpair()
        entries = {}
        silent = wiretask.Dispatcher(mine, entries)
        timer = threading.Timer(0.05, jump, [years])
        timer.start()
        wiretask.loop(timeout=0.2, map=entries, count=1)
        timer.join()
        silent.close()
        jump(-years)
        for peer in (idle, begun, ended):
            peer.close()
        assert patient.stop(3600) is True
"""


def test_a_wall_clock_that_is_set_by_years_moves_no_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(CLOCK)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", os.fspath(library))
    assert run(JUMPS) == (0, "")
