"""A rule-based machine that uses a stream consumer as a server would, and looks at it at any time.

It hands over a stream of several messages piece by piece, starts the next consumer when one is completed, looks
at its attributes in between, hands over nothing, ends the input. A consumer that got the same bytes one by one
says what must be seen: not only at the end of a stream, as in `consumer_laws`, but after every piece.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wiretask.testing.cuts import single_bytes
from wiretask.testing.deliveries import Delivery
from wiretask.testing.laws import ConsumerLaw, LawBroken
from wiretask.testing.outcomes import StreamConsumerLike, public_attributes
from wiretask.testing.streams import damaged

__all__ = ["StreamConsumerMachine", "stream_consumer_machine"]


def stream_consumer_machine(
    factory: Callable[[], StreamConsumerLike],
    streams: st.SearchStrategy[bytes],
    *,
    value_of: Callable[[Any], object] | None = None,
) -> type[StreamConsumerMachine]:
    """Return a machine for the consumers that `factory` makes; the arguments of `check_stream_consumer`.

    Use: `TestMyParser = stream_consumer_machine(MyParser, lines()).TestCase`, in any test runner that runs
    `unittest`; or `hypothesis.stateful.run_state_machine_as_test(...)`.
    """

    class Machine(StreamConsumerMachine):
        @initialize(messages=st.lists(damaged(streams), min_size=1, max_size=4))
        def begin(self, messages: list[bytes]) -> None:
            self.start(factory, b"".join(messages), value_of)

    Machine.__name__ = Machine.__qualname__ = "StreamConsumerMachine"
    return Machine


class StreamConsumerMachine(RuleBasedStateMachine):
    """The machine; `stream_consumer_machine` makes one that can run."""

    def start(
        self, factory: Callable[[], StreamConsumerLike], stream: bytes, value_of: Callable[[Any], object] | None
    ) -> None:
        """Begin with this stream."""
        self._factory = factory
        self._value_of = value_of
        self._rest = stream
        self._given: list[bytes] = []
        self._has_ended = False
        self._delivery = Delivery(factory, self._given, value_of=value_of)

    @precondition(lambda self: self._rest)
    @rule(size=st.one_of(st.integers(1, 3), st.integers(1, 12)))
    def hand_over(self, size: int) -> None:
        """Hand over the next bytes; what is not taken comes again. A completed consumer has a successor then."""
        was_completed = self._delivery.is_completed
        piece = self._rest[:size]
        self._given.append(piece)
        self._delivery.stream += piece
        taken = self._delivery.hand_over(piece)
        self._rest = self._rest[taken:]
        if was_completed:
            self._given = []
            self._has_ended = False
            self._delivery = Delivery(self._factory, self._given, value_of=self._value_of)

    @rule()
    def hand_over_nothing(self) -> None:
        """An empty piece changes nothing."""
        before = self._delivery.outcome()
        self._delivery.hand_over(b"")
        if self._delivery.outcome() != before:
            self._break(ConsumerLaw.SPLIT_INVARIANCE, "an empty piece changed the consumer")

    @rule()
    def look(self) -> None:
        """Look at everything that is public, completed or not; looking changes nothing."""
        before = self._delivery.outcome()
        public_attributes(self._delivery.consumer)
        if self._delivery.outcome() != before:
            self._break(ConsumerLaw.SPLIT_INVARIANCE, "looking at the consumer changed it")

    @precondition(lambda self: not self._has_ended)
    @rule()
    def end_the_input(self) -> None:
        """Say that nothing more will come; twice, since a server may."""
        self._has_ended = True
        self._delivery.end_input()
        once = self._delivery.outcome()
        self._delivery.end_input()
        if self._delivery.outcome() != once:
            self._break(ConsumerLaw.END_OF_INPUT, "a second end of input changed the consumer")

    @invariant()
    def it_is_as_if_all_had_come_byte_by_byte(self) -> None:
        """What can be seen is what a consumer shows that got the same bytes one by one."""
        if not hasattr(self, "_delivery") or self._has_ended:
            return
        expected = Delivery(self._factory, single_bytes(b"".join(self._given)), value_of=self._value_of).run()
        found = self._delivery.outcome()
        if found != expected:
            self._break(
                ConsumerLaw.SPLIT_INVARIANCE,
                "the outcome depends on where the stream is cut",
                ("byte by byte", str(expected)),
                ("got", str(found)),
            )

    def _break(self, law: ConsumerLaw, what: str, *details: tuple[str, str]) -> NoReturn:
        raise LawBroken(law, what, stream=b"".join(self._given), pieces=self._given, details=details)
