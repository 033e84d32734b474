"""The command line of the keyvalue example."""

import sys

from wiretask.examples.keyvalue.server import KeyValueServer
from wiretask.examples.launcher import launch

if __name__ == "__main__":
    sys.exit(
        launch(
            KeyValueServer,
            name="keyvalue",
            description="An in-memory store that speaks the Redis protocol.",
            default_port=6380,
            try_with="redis-cli -h {host} -p {port}",
        )
    )
