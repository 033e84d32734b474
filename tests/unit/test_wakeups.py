"""`Wakeup` where a signal handler raises in the middle of it."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

from wiretask.wakeups import Wakeup


def test_one_that_ctrl_c_left_half_made_goes_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    monkeypatch.setattr(threading, "RLock", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Wakeup()
    assert complaints == []
