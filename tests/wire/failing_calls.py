"""System calls that the kernel lets fail when it is told to: for faults that nobody can provoke from outside.

A seccomp filter asks a child of the process what is to become of each call; the child answers with an error, or
lets the call go on. The kernel does the rest, so that nothing under test is replaced. (No thread could answer: the
call may be made by one that holds the interpreter.) Only in a program of its own: a filter stays for the life of
the process. Linux from 5.5 on, x86-64 and aarch64.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import signal
import struct
from collections.abc import Iterable

_CALLS = {"x86_64": {"accept4": 288, "seccomp": 317}, "aarch64": {"accept4": 242, "seccomp": 277}}

_NO_NEW_PRIVILEGES, _SIGNAL_WHEN_PARENT_ENDS = 38, 1
_SET_MODE_FILTER = 1
_NEW_LISTENER = 8
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ASK, _ALLOW = 0x7FC00000, 0x7FFF0000
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_GO_ON = 1


def fail_accepts(errors: Iterable[int]) -> None:
    """Let accept(2) fail with these errors, one after the other, and then work.

    To be called on the main thread before any other is started: it counts for those that are started later. When
    the child is gone, accept fails with ENOSYS.
    """
    numbers = _CALLS[platform.machine()]
    filters = b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in (
            (_LOAD_WORD, 0, 0, 0),
            (_JUMP_IF_EQUAL, 0, 1, numbers["accept4"]),
            (_RETURN, 0, 0, _ASK),
            (_RETURN, 0, 0, _ALLOW),
        )
    )
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(filters)
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(filters) // 8, ctypes.addressof(buffer)))
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    listener = libc.syscall(numbers["seccomp"], _SET_MODE_FILTER, _NEW_LISTENER, program)
    if listener < 0:
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")
    if os.fork() == 0:
        try:
            libc.prctl(_SIGNAL_WHEN_PARENT_ENDS, signal.SIGKILL, 0, 0, 0)
            _answer(listener, list(errors))
        finally:
            os._exit(1)
    os.close(listener)


def _answer(listener: int, errors: list[int]) -> None:
    while True:
        request = bytearray(80)
        fcntl.ioctl(listener, _RECEIVE, request)
        (number,) = struct.unpack_from("Q", request)
        answer = (number, 0, -errors.pop(0), 0) if errors else (number, 0, 0, _GO_ON)
        fcntl.ioctl(listener, _SEND, bytearray(struct.pack("QqiI", *answer)))
