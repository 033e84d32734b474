"""A line echo server on Python's socketserver: one thread for each connection. Prints its port."""

import socket
import socketserver


class LineEcho(socketserver.StreamRequestHandler):
    """One connection."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Send each line back."""
        for line in self.rfile:
            self.wfile.write(line)


class Server(socketserver.ThreadingTCPServer):
    """The listener."""

    daemon_threads = True
    request_queue_size = socket.SOMAXCONN


with Server(("127.0.0.1", 0), LineEcho) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
