"""`python -m wiretask.examples.keyvalue`: an in-memory store that speaks the Redis protocol (RESP2).

The rooms, in the order in which a request passes through them:
`resp` cuts the stream into requests and makes replies; `server` ties that to wiretask: channel, task, server;
`command_table` finds the command; `data_commands` and `connection_commands` hold them (to add one, start
there); `arguments` reads what they are given; `session` knows one client, and what all share; `store` holds
the keys; `glob` matches them for KEYS.
"""

from wiretask.examples.keyvalue.server import KeyValueServer

__all__ = ["KeyValueServer"]
