"""The laws of a stream consumer, checked on anything that has `received` and `completed`.

`check_stream` holds one stream, cut in one way, to every law that one stream can show; it draws nothing at
random, so that any fuzzer can drive it. `check_stream_consumer` has Hypothesis look for a stream and a cut that
break a law, and adds the laws that need many bytes (limit, memory, work).

Source: design, section 4; `wiretask.interfaces.IStreamConsumer`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import hypothesis
from hypothesis import strategies as st

from wiretask.errors import IncompleteMessageError
from wiretask.testing.consumer_cost import is_visible
from wiretask.testing.consumer_search import search_costs, search_streams, search_values
from wiretask.testing.cuts import cut_at, single_bytes
from wiretask.testing.deliveries import Delivery
from wiretask.testing.laws import ConsumerLaw, LawBroken
from wiretask.testing.outcomes import Outcome, StreamConsumerLike

__all__ = ["ConsumerReport", "check_stream", "check_stream_consumer"]

#: At each of so many first places a stream is cut in two, besides the cuts that are drawn.
_BYTES_CUT_EVERYWHERE = 40


@dataclass(frozen=True)
class ConsumerReport:
    """Which laws were checked, and why others were not. A law that stands in neither was not applicable."""

    checked: frozenset[ConsumerLaw]
    not_checked: dict[ConsumerLaw, str]
    #: How many examples Hypothesis has made for it.
    examples: int = 0


@dataclass(frozen=True)
class _Subject:
    """What is checked, and how."""

    factory: Callable[[], Any]
    encode: Callable[[Any], bytes] | None = None
    value_of: Callable[[Any], object] | None = None
    max_bytes: int | None = None
    may_end_with_input: bool = False
    buffer_types: tuple[Callable[[bytes], Any], ...] = (bytes, bytearray, memoryview)

    def delivery(self, pieces: Sequence[bytes], buffer_type: Callable[[bytes], Any] = bytes) -> Delivery:
        if buffer_type is memoryview:
            return Delivery(self.factory, pieces, buffer_type=_writable_view, value_of=self.value_of)
        return Delivery(self.factory, pieces, buffer_type=buffer_type, value_of=self.value_of)


def check_stream_consumer(
    factory: Callable[[], StreamConsumerLike],
    streams: st.SearchStrategy[bytes] | Iterable[bytes],
    encode: Callable[[Any], bytes] | None = None,
    *,
    values: st.SearchStrategy[Any] | None = None,
    value_of: Callable[[Any], object] | None = None,
    max_bytes: int | None = 1024 * 1024,
    memory_factor: float = 32,
    may_end_with_input: bool = False,
    buffer_types: Iterable[Callable[[bytes], Any]] = (bytes, bytearray, memoryview),
    settings: hypothesis.settings | None = None,
) -> ConsumerReport:
    """Look for a stream and a cut for which the consumer breaks a law.

    Args:
        factory: makes a fresh consumer; a consumer class without required arguments, say.
        streams: messages as they come over the wire, as a Hypothesis strategy or as examples. They need not be
            good ones; the kit damages them, and appends to them, by itself.
        encode: makes the bytes of which a consumer reads a value back, for the law of the round trip. May raise
            ValueError for what cannot be encoded.
        values: what to encode. None: the values that were read from the streams, which cannot show a parser
            that changes every value in the same way; give values where you can.
        value_of: what is the value of a consumer that is completed, e.g. `operator.attrgetter("value")`. None:
            `value`, where there is such an attribute and values are encoded; and all public attributes where
            outcomes are compared.
        max_bytes: the most that one message may take of a stream; None if there is no limit on purpose.
        memory_factor: as many times the bytes given may be held, for a consumer written in Python.
        may_end_with_input: true for a protocol in which the end of the stream can complete a message.
        buffer_types: what data is handed over as. `(bytes,)` for a consumer that takes nothing else.
        settings: of Hypothesis, e.g. `settings(max_examples=5000)`; None: those of the current profile.
    Returns:
        Which laws were checked, and why others were not.
    Raises:
        LawBroken: a law is broken; the message shows the smallest stream and cut that were found, and the law.
    Blocking: as long as the examples take. Works in any test runner.
    """
    subject = _Subject(factory, encode, value_of, max_bytes, may_end_with_input, tuple(buffer_types))
    examples: tuple[bytes, ...] = ()
    if not isinstance(streams, st.SearchStrategy):
        examples = tuple(streams)
        streams = st.sampled_from(examples)
    for example in examples:
        for pieces in ([example], single_bytes(example)):
            _check(subject, pieces, len(example) // 2, b"x")
    profile = settings if settings is not None else hypothesis.settings()
    count = search_streams(functools.partial(_check, subject), streams, profile)
    if encode is not None and values is not None:
        count += search_values(functools.partial(_check_round_trip, subject), values, profile)
    work_was_seen, cost_count = search_costs(factory, streams, max_bytes, memory_factor, profile)
    return _report(subject, work_was_seen, count + cost_count)


def check_stream(
    factory: Callable[[], StreamConsumerLike],
    pieces: Sequence[bytes],
    encode: Callable[[Any], bytes] | None = None,
    *,
    what_follows: bytes = b"\n",
    value_of: Callable[[Any], object] | None = None,
    max_bytes: int | None = None,
    may_end_with_input: bool = False,
    buffer_types: Iterable[Callable[[bytes], Any]] = (bytes, bytearray, memoryview),
) -> None:
    """Hold the consumer to every law that one stream, in these pieces, can show: all but those of cost.

    Draws nothing at random: for other fuzzers, and to pin what was found.

    Args:
        pieces: the stream, as it is cut.
        what_follows: bytes to put behind the message, which must not matter. The others: as for
            `check_stream_consumer`.
    Raises:
        LawBroken: a law is broken.
    """
    subject = _Subject(factory, encode, value_of, max_bytes, may_end_with_input, tuple(buffer_types))
    _check(subject, pieces, len(pieces[0]) if pieces else 0, what_follows)


def _check(subject: _Subject, pieces: Sequence[bytes], place: int, what_follows: bytes) -> None:
    """One stream against all the laws that it can show."""
    stream = b"".join(pieces)
    bytewise = subject.delivery(single_bytes(stream))
    by_bytes = bytewise.run()
    whole = subject.delivery([stream]).run()
    _compare(subject, stream, [stream], whole, by_bytes)
    for end in range(1, min(len(stream), _BYTES_CUT_EVERYWHERE)):
        in_two = cut_at(stream, [end])
        _compare(subject, stream, in_two, subject.delivery(in_two).run(), by_bytes)
    for buffer_type in subject.buffer_types:
        delivery = subject.delivery(pieces, buffer_type)
        outcome = delivery.run()
        if buffer_type is bytes:
            _compare(subject, stream, pieces, outcome, by_bytes)
        elif outcome != by_bytes:
            name = getattr(buffer_type, "__name__", repr(buffer_type))
            _break(
                ConsumerLaw.INTERFACE,
                f"another outcome when handed each piece as {name}, and re-used after the call: what must last must "
                "be copied",
                stream,
                pieces,
                ("as bytes", by_bytes),
                ("got", outcome),
            )
    if subject.max_bytes is not None and by_bytes.consumed_bytes > subject.max_bytes:
        _break(
            ConsumerLaw.BOUNDED_MEMORY,
            f"{by_bytes.consumed_bytes} bytes were taken for one message; max_bytes is {subject.max_bytes}",
            stream,
            None,
        )
    if by_bytes.is_completed:
        _check_what_follows(subject, stream[: by_bytes.consumed_bytes] + what_follows, by_bytes)
        if subject.encode is not None and by_bytes.error is None:
            value = _value_to_encode(subject, bytewise.consumer)
            _check_round_trip(subject, value, what_follows)
    if hasattr(bytewise.consumer, "end_of_input"):
        _check_end_of_input(subject, stream[:place])


def _compare(subject: _Subject, stream: bytes, pieces: Sequence[bytes], outcome: Outcome, by_bytes: Outcome) -> None:
    """The same bytes, cut in another way, must have given the same outcome."""
    if outcome == by_bytes:
        return
    is_greedy = (
        by_bytes.is_completed
        and outcome.is_completed
        and by_bytes.error is None
        and outcome.error is None
        and outcome.consumed_bytes > by_bytes.consumed_bytes
    )
    if is_greedy:
        _break(
            ConsumerLaw.NO_OVER_READING,
            f"{outcome.consumed_bytes} bytes were taken, though it is complete after {by_bytes.consumed_bytes}: the "
            "rest belongs to the next message",
            stream,
            pieces,
            ("byte by byte", by_bytes),
            ("got", outcome),
        )
    if by_bytes.is_completed and outcome.consumed_bytes == by_bytes.consumed_bytes < len(stream):
        _check_what_follows(subject, stream, by_bytes)
    _break(
        ConsumerLaw.SPLIT_INVARIANCE,
        "the outcome depends on where the stream is cut",
        stream,
        pieces,
        ("byte by byte", by_bytes),
        ("got", outcome),
    )


def _check_what_follows(subject: _Subject, stream: bytes, expected: Outcome) -> None:
    """The message alone, and with something behind it, must give the same; what the cut does is not asked here."""
    alone = subject.delivery([stream[: expected.consumed_bytes]]).run()
    outcome = subject.delivery([stream]).run()
    if outcome != expected and alone == expected:
        _break(
            ConsumerLaw.NO_OVER_READING,
            f"what follows the message, after {expected.consumed_bytes} bytes, changes the outcome",
            stream,
            None,
            ("expected", expected),
            ("got", outcome),
        )


def _check_round_trip(subject: _Subject, value: Any, what_follows: bytes) -> None:
    assert subject.encode is not None
    try:
        encoded = bytes(subject.encode(value))
    except ValueError:
        return
    delivery = subject.delivery([encoded + what_follows])
    outcome = delivery.run()
    if (outcome.consumed_bytes, outcome.is_completed, outcome.error) != (len(encoded), True, None):
        _break(
            ConsumerLaw.ROUND_TRIP,
            f"what was encoded from {value!r}, {len(encoded)} bytes, is not read back as one message",
            encoded + what_follows,
            None,
            ("got", outcome),
        )
    found = _value_to_encode(subject, delivery.consumer)
    if found != value:
        _break(
            ConsumerLaw.ROUND_TRIP,
            f"encoded from {value!r}, and read back as {found!r}",
            encoded + what_follows,
            None,
        )


def _value_to_encode(subject: _Subject, consumer: Any) -> Any:
    return consumer.value if subject.value_of is None else subject.value_of(consumer)


def _check_end_of_input(subject: _Subject, stream: bytes) -> None:
    """The end of input after this much: the same whatever the cut, and an error in the middle of a message."""
    outcomes = []
    for pieces in ([stream], single_bytes(stream)):
        delivery = subject.delivery(pieces)
        before = delivery.run()
        delivery.end_input()
        after = delivery.outcome()
        if stream and not before.is_completed:
            _check_truncated(subject, stream, after, getattr(delivery.consumer, "error", None))
            delivery.hand_over(b"more")
        elif after != before:
            where = "after completion" if before.is_completed else "before the first byte"
            _break(
                ConsumerLaw.END_OF_INPUT,
                f"the end of input changes something {where}",
                stream,
                pieces,
                ("before", before),
                ("after", after),
            )
        outcomes.append(after)
    if outcomes[0] != outcomes[1]:
        _break(
            ConsumerLaw.SPLIT_INVARIANCE,
            "the outcome after the end of input depends on where the stream was cut",
            stream,
            None,
            ("byte by byte", outcomes[1]),
            ("whole", outcomes[0]),
        )


def _check_truncated(subject: _Subject, stream: bytes, after: Outcome, error: object) -> None:
    if subject.may_end_with_input and after.is_completed and after.error is None:
        return
    if not (
        after.is_completed
        and isinstance(error, IncompleteMessageError)
        and (error.kind, error.offset_bytes) == ("truncated", len(stream))
    ):
        _break(
            ConsumerLaw.END_OF_INPUT,
            f"the end of input in the middle of a message, after {len(stream)} bytes, is no "
            "IncompleteMessageError of kind 'truncated' at that offset",
            stream,
            None,
            ("got", after),
        )


def _writable_view(piece: bytes) -> memoryview:
    return memoryview(bytearray(piece))


def _break(
    law: ConsumerLaw, what: str, stream: bytes, pieces: Sequence[bytes] | None, *details: tuple[str, Outcome]
) -> NoReturn:
    shown = [(name, str(outcome)) for name, outcome in details]
    raise LawBroken(law, what, stream=stream, pieces=pieces, details=shown)


def _report(subject: _Subject, work_was_seen: bool, examples: int) -> ConsumerReport:
    consumer = subject.factory()
    missing: dict[ConsumerLaw, str] = {}
    if subject.encode is None:
        missing[ConsumerLaw.ROUND_TRIP] = "no encoder was given"
    if not hasattr(consumer, "end_of_input"):
        missing[ConsumerLaw.END_OF_INPUT] = "the consumer has no end_of_input()"
    if not is_visible(consumer):
        missing[ConsumerLaw.LINEAR_WORK] = "native code: its work cannot be counted from Python"
        if subject.max_bytes is None:
            missing[ConsumerLaw.BOUNDED_MEMORY] = "native code, and no max_bytes"
    elif not work_was_seen:
        missing[ConsumerLaw.LINEAR_WORK] = "every message was over before the work for it could be counted"
    return ConsumerReport(frozenset(ConsumerLaw) - set(missing), missing, examples)
