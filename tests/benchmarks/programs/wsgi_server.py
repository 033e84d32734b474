"""Serves an application of `wsgi_applications.py` with one server, with settings that its users would choose.

    wsgi_server.py SERVER PORT THREADS

The application is named by the environment variable BENCHMARK_APPLICATION. No server writes an access log, but ours
where BENCHMARK_ACCESS_LOG says which, and none has a limit of connections below what is measured.
"""

import os
import sys

from wsgi_applications import application

CONNECTIONS = 20_000


def run_wiretask(port, threads):
    import wiretask

    log = {}
    kind, path = os.environ.get("BENCHMARK_ACCESS_LOG"), os.environ.get("BENCHMARK_ACCESS_LOG_FILE")
    if kind == "logger":
        import logging

        logging.basicConfig(filename=path, level=logging.INFO, format="%(message)s")
        log = {"access_log": True}
    elif kind:
        log = {"access_log": path, "access_log_format": kind}
    wiretask.serve(application, host="127.0.0.1", port=port, threads=threads, connection_limit=CONNECTIONS, **log)


def run_waitress(port, threads):
    import logging

    import waitress

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it tells of every request that waits
    waitress.serve(
        application,
        host="127.0.0.1",
        port=port,
        threads=threads,
        connection_limit=CONNECTIONS,
        asyncore_use_poll=True,
        max_request_body_size=1 << 31,  # it refuses a body of exactly its default, 1 GiB
        _quiet=True,
    )


def run_bjoern(port, threads):
    import bjoern

    bjoern.run(application, "127.0.0.1", port)


def run_fastpysgi(port, threads):
    import fastpysgi

    fastpysgi.server.loglevel = 0
    fastpysgi.server.read_buffer_size = 64 * 1024
    fastpysgi.server.tcp_nodelay = 1
    fastpysgi.server.max_content_length = 1 << 40
    fastpysgi.run(application, "127.0.0.1", port)


def run_cheroot(port, threads):
    from cheroot.wsgi import Server

    server = Server(("127.0.0.1", port), application, numthreads=threads, max=threads, request_queue_size=1024)
    server.keep_alive_conn_limit = CONNECTIONS
    server.start()


def run_none(port, threads):
    """No server: what the application costs alone. Prints the CPU of a request in microseconds."""
    import io
    import json
    import time
    from wsgiref.util import setup_testing_defaults

    base = {}
    setup_testing_defaults(base)

    def ask():
        answer = application(base | {"wsgi.input": io.BytesIO()}, lambda status, headers, exc_info=None: None)
        b"".join(answer)
        getattr(answer, "close", lambda: None)()

    for _ in range(200):
        ask()
    begun = time.process_time_ns()
    for _ in range(3000):
        ask()
    print(json.dumps({"cpu_us": (time.process_time_ns() - begun) / 3_000_000}))


if __name__ == "__main__":
    name, port_number, thread_count = sys.argv[1:]
    globals()[f"run_{name}"](int(port_number), int(thread_count))
