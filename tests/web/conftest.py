"""Fixtures for the tests of the WSGI server: `serving` runs an application, `program` runs one in its own process.

The server under test is `wiretask.create_server`. To see how another server with waitress's interface fares, name
its module: `WIRETASK_TEST_SERVER=waitress python -m pytest tests/web` (what fails there is waitress's business).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "wire"))  # for its programs and peers, which are the same here

from sites import Site


@pytest.fixture
def serving() -> Iterator[Callable[..., Site]]:
    """A function that serves an application on a free local port and returns its `Site`.

    It takes the application, `validated=False` for one that breaks PEP 3333 on purpose or must get at the
    server's own objects, and the arguments of `create_server`. All is closed at the end of the test.
    """
    with contextlib.ExitStack() as closing:

        def serve(application: Any, **options: Any) -> Site:
            site = Site(application, **options)
            closing.callback(site.close)
            return site

        yield serve
