"""What a server makes of every kind of request over the wire: `conformance_cases.json`, and `more_...` beside it.

Strategy: a wiretask server for each profile of the cases serves `conformance_app`; every delivery of a case must get
the preferred answer. `/evil`, which follows what is refused, never reaches the application, not even late.
`conformance.py` asks the same of any other server. Source: RFC 9110, RFC 9112, PEP 3333 (sections in the cases).
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conformance import read_cases
from conformance_judge import Case
from conformance_run import Run
from conformance_server import Server

FOLLOW_UP, CASES = read_cases()
PROFILES: dict[str, dict[str, object]] = {
    "default": {},
    "limits": {"max_request_body_size": 1000, "request_timeout_seconds": 2.0, "channel_timeout": 2.0},
    "proxy": {"trusted_proxy": "127.0.0.1", "trusted_proxy_headers": "x-forwarded-proto x-forwarded-ssl"},
}
SERVE = (
    "import sys, conformance_app, wiretask\n"
    "wiretask.serve(conformance_app.app, host='127.0.0.1', port=int(sys.argv[1]), **eval(sys.argv[2]))"
)


class Profile:
    """The server of a profile, and what of the deliveries to it must never reach the application."""

    def __init__(self, name: str, directory: Path) -> None:
        arguments = repr(PROFILES[name]).replace("{", "{{").replace("}", "}}")
        command = shlex.join([sys.executable, "-W", "error", "-c", SERVE, "{port}", arguments])
        self.server = Server(command, directory / "requests.log")
        self.server.start()
        self.run = Run(self.server, FOLLOW_UP)
        self.forbidden: dict[str, str] = {}

    def ask(self, case: Case) -> dict[str, dict[str, Any]]:
        """Return the results of a case, by delivery."""
        results = self.run.case(case)
        if case["expect"].get("evil_must_not_reach"):
            for delivery, result in results.items():
                if "token" in result:
                    self.forbidden[result["token"]] = f"{case['id']} {delivery}"
        return results

    def reached_late(self) -> list[str]:
        """Return the deliveries whose `/evil` has reached the application."""
        time.sleep(0.2)
        self.run.read_log()
        return [self.forbidden[path] for path in self.run.log_paths if path in self.forbidden]


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A function that returns a profile by its name, started when it is first asked for."""
    started: dict[str, Profile] = {}

    def of(name: str) -> Profile:
        if name not in started:
            started[name] = Profile(name, tmp_path_factory.mktemp(name))
        return started[name]

    yield of
    try:
        late = {name: profile.reached_late() for name, profile in started.items()}
        assert not any(late.values()), late
    finally:
        for profile in started.values():
            profile.server.stop()


@pytest.mark.parametrize("case", CASES, ids=[f"{case['id']}-{case['title'].replace(' ', '_')}" for case in CASES])
def test_every_delivery_gets_the_preferred_answer(profiles: Any, case: Case) -> None:
    results = profiles(case["profile"]).ask(case)
    assert results
    wrong = {name: (result["reason"], result["seen"]) for name, result in results.items() if not result["passed"]}
    assert wrong == {}, case["rfc"]
    others = {name: result["seen"] for name, result in results.items() if not result["preferred"]}
    assert others == {}, f"allowed, but not preferred: {case['expect']}"


def test_the_cases_have_names_of_their_own_and_cover_every_profile() -> None:
    assert len({case["id"] for case in CASES}) == len(CASES)
    assert {case["profile"] for case in CASES} == PROFILES.keys()
    assert len(CASES) > 300
