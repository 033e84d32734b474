"""The process of `wiretask serve` before it serves: its descriptors, and its signals while the application is loaded.

Must not know: servers, applications, what the options are called.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from types import FrameType

from wiretask.running_server import DESCRIPTORS_OF_AN_APPLICATION

__all__ = ["fill_standard_descriptors", "is_unclaimed", "raise_descriptor_limit", "take_early_signals"]


def fill_standard_descriptors() -> None:
    """Have no socket under the number of a standard stream that is closed: what is written there goes nowhere."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free: this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def take_early_signals() -> None:
    """Have signals do what they should while the application is loaded, which may take long."""
    if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
        signal.signal(signal.SIGUSR1, _overhear)
    # The system spares the first process of a container what a signal does by default.
    if os.getpid() == 1 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end_at_once)


def raise_descriptor_limit(connections: int) -> None:
    """Have as many descriptors as so many connections and an application need, as far as this user may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + DESCRIPTORS_OF_AN_APPLICATION
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def is_unclaimed(number: signal.Signals) -> bool:
    """Whether the application has left the signal alone while it was loaded."""
    return signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler, _overhear, _end_at_once)


def _overhear(number: int, frame: FrameType | None) -> None:
    """Log rotation sends SIGUSR1: there is no log yet."""


def _end_at_once(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)
