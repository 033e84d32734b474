"""Servers in Python whose sockets, queues and parsers run in Rust."""
