"""An echo server of dispatchers on one of the modules named `asyncore`. Prints its port.

`--kind`: what class the connections have. `with-send`: `dispatcher_with_send`; `asked`: it overrides `writable`,
which says no; `buffered`: it overrides `writable`, and sends in `handle_write`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import resource
import socket
import sys
import sysconfig
import warnings
from pathlib import Path
from typing import Any

MODULES = {
    "wiretask": None,
    "asyncore of Python": "stdlib",
    "pyasyncore": "purelib",
}
"""Side -> the folder in which its `asyncore` stands; None: it is `wiretask.asyncore`."""


def find_module(side: str) -> Path | str | None:
    """Return the file of the module of a side, or its name; None: it is not installed."""
    folder = MODULES[side]
    if folder is None:
        return "wiretask.asyncore"
    base = Path(sysconfig.get_path(folder)) / "asyncore"
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def load_module(side: str) -> Any:
    """Return the module of a side, whatever others of the same name there are."""
    found = find_module(side)
    if isinstance(found, str):
        return importlib.import_module(found)
    assert found is not None, f"{side} is not installed"
    spec = importlib.util.spec_from_file_location("asyncore", found)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["asyncore"] = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        spec.loader.exec_module(module)
    return module


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--module", choices=list(MODULES), default="wiretask")
    parser.add_argument("--kind", choices=["with-send", "asked", "buffered"], default="with-send")
    options = parser.parse_args()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncore = load_module(options.module)

    class EchoWithSend(asyncore.dispatcher_with_send):  # type: ignore[misc, name-defined]
        """Sends back what it reads."""

        def handle_read(self) -> None:
            if data := self.recv(8192):
                self.send(data)

    class AskedEcho(asyncore.dispatcher):  # type: ignore[misc, name-defined]
        """Sends back what it reads, and is asked whether it wants to write."""

        handle_read = EchoWithSend.handle_read

        def writable(self) -> bool:
            return False

    class BufferedEcho(asyncore.dispatcher):  # type: ignore[misc, name-defined]
        """Sends what it has read when there is room."""

        waiting = b""

        def handle_read(self) -> None:
            self.waiting += self.recv(8192)

        def writable(self) -> bool:
            return bool(self.waiting)

        def handle_write(self) -> None:
            self.waiting = self.waiting[self.send(self.waiting) :]

    echo = {"with-send": EchoWithSend, "asked": AskedEcho, "buffered": BufferedEcho}[options.kind]

    class Listener(asyncore.dispatcher):  # type: ignore[misc, name-defined]
        """Accepts."""

        def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
            echo(sock)

    listener = Listener()
    listener.create_socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    print(listener.socket.getsockname()[1], flush=True)
    asyncore.loop(timeout=30, use_poll=True)


if __name__ == "__main__":
    main()
