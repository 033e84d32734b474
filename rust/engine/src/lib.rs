//! Sockets, threads and queues of wiretask. Knows no Python.
