"""An asyncio protocol that sends back what comes, on its loop. `--uvloop`: on uvloop's loop. Prints its port."""

import asyncio
import sys


class Echo(asyncio.Protocol):
    """One connection: neither cuts lines nor has tasks."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Send the bytes back."""
        self.transport.write(data)


async def main() -> None:
    """Serve for ever."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if "--uvloop" in sys.argv:
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
