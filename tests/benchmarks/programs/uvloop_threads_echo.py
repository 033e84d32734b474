"""A line echo server on uvloop that answers each line by a function in a pool of threads. Prints its port.

The least that does on uvloop what wiretask does: lines are cut, and a line is answered by blocking code on one of
four threads, one line of a connection at a time and in order.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import uvloop

pool = ThreadPoolExecutor(4)


def answer(line: bytes) -> bytes:
    """Return the answer to a line. Runs on a thread of the pool."""
    return line + b"\n"


class LineEcho(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with nothing."""
        self.transport = transport
        self.loop = asyncio.get_running_loop()
        self.unfinished = b""
        self.waiting: list[bytes] = []
        self.is_running = False

    def data_received(self, data: bytes) -> None:
        """Cut the lines, and start the first if none runs."""
        *lines, self.unfinished = (self.unfinished + data).split(b"\n")
        self.waiting.extend(lines)
        if self.waiting and not self.is_running:
            self.start()

    def start(self) -> None:
        """Hand the next line to the pool."""
        self.is_running = True
        future = self.loop.run_in_executor(pool, answer, self.waiting.pop(0))
        future.add_done_callback(self.handle_answer)

    def handle_answer(self, future: "asyncio.Future[bytes]") -> None:
        """Send the answer, and start the next line if there is one."""
        self.transport.write(future.result())
        self.is_running = False
        if self.waiting:
            self.start()


async def main() -> None:
    """Serve for ever."""
    server = await asyncio.get_running_loop().create_server(LineEcho, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


uvloop.run(main())
