"""For your own tests: does a stream consumer, or a task dispatcher, keep its promises?

    from wiretask.testing import check_stream_consumer, lines

    def test_my_parser_obeys_the_laws() -> None:
        check_stream_consumer(MyParser, lines())

`docs/fuzzing.md` shows the whole way. Needs Hypothesis (`pip install 'wiretask[testing]'`), and no plugin of any
test runner. Nothing else of wiretask imports this package.
"""

from __future__ import annotations

try:
    import hypothesis as _hypothesis
except ImportError as error:
    raise ImportError(
        "wiretask.testing needs Hypothesis: pip install 'wiretask[testing]'", name="hypothesis"
    ) from error

from wiretask.testing.consumer_laws import ConsumerReport, check_stream, check_stream_consumer
from wiretask.testing.consumer_machine import StreamConsumerMachine, stream_consumer_machine
from wiretask.testing.cuts import cut_at, cuts, every_cut, single_bytes
from wiretask.testing.dispatcher_laws import check_task_dispatcher
from wiretask.testing.dispatcher_machine import TaskDispatcherMachine, task_dispatcher_machine
from wiretask.testing.hostile_http import (
    HOSTILE_RULES,
    HostileRequest,
    hostile_http_requests,
    oversized_http_requests,
)
from wiretask.testing.http_messages import (
    HTTPRequestExample,
    HTTPResponseExample,
    chunked_bodies,
    http_requests,
    http_responses,
)
from wiretask.testing.laws import ConsumerLaw, DispatcherLaw, LawBroken
from wiretask.testing.outcomes import Outcome, StreamConsumerLike, outcome_of
from wiretask.testing.probe_tasks import Gate, ProbeTask, TaskDispatcherLike, wait_until
from wiretask.testing.streams import damaged, delimited, encode_varint, length_prefixed, lines, telling_bytes

__all__ = [
    "HOSTILE_RULES",
    "ConsumerLaw",
    "ConsumerReport",
    "DispatcherLaw",
    "Gate",
    "HTTPRequestExample",
    "HTTPResponseExample",
    "HostileRequest",
    "LawBroken",
    "Outcome",
    "ProbeTask",
    "StreamConsumerLike",
    "StreamConsumerMachine",
    "TaskDispatcherLike",
    "TaskDispatcherMachine",
    "check_stream",
    "check_stream_consumer",
    "check_task_dispatcher",
    "chunked_bodies",
    "cut_at",
    "cuts",
    "damaged",
    "delimited",
    "encode_varint",
    "every_cut",
    "hostile_http_requests",
    "http_requests",
    "http_responses",
    "length_prefixed",
    "lines",
    "outcome_of",
    "oversized_http_requests",
    "single_bytes",
    "stream_consumer_machine",
    "task_dispatcher_machine",
    "telling_bytes",
    "wait_until",
]

del _hypothesis
