"""Small servers to learn from, each started by `python -m wiretask.examples.NAME --host H --port N`.

`echo` shows the least a server needs: a native consumer and a task. `keyvalue` shows a protocol of one's own:
a consumer in Python, state shared by all connections, and real clients (`redis-cli`, `redis-benchmark`).
They import only public names of wiretask, as a program of your own would.
"""
