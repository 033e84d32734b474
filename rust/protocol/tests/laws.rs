//! The eight laws of a stream consumer, checked for every consumer of this crate.
//!
//! One generic suite: a consumer is drawn with its limits, a stream is drawn that is partly an encoded message and
//! partly noise, and the stream is delivered whole, byte by byte, and cut at random. Laws: `consumer.rs`. Law 4
//! (memory) is measured in `memory.rs`.
#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use wiretask_protocol::consumer::StreamConsumer;
use wiretask_protocol::error::{ErrorKind, ProtocolError};
use wiretask_protocol::length_prefix::{ByteOrder, LengthFormat};
use wiretask_protocol::native::{ConsumerSpec, NativeConsumer};

/// All that can be seen of a consumer after a delivery.
#[derive(Debug, PartialEq)]
struct Outcome {
    consumed: usize,
    is_completed: bool,
    is_started: bool,
    is_empty: bool,
    error: Option<ProtocolError>,
    value: Option<Vec<u8>>,
}

fn outcome(consumer: &NativeConsumer, consumed: usize) -> Outcome {
    let is_whole = consumer.is_completed() && consumer.error().is_none();
    Outcome {
        consumed,
        is_completed: consumer.is_completed(),
        is_started: consumer.is_started(),
        is_empty: consumer.is_empty(),
        error: consumer.error().copied(),
        value: is_whole.then(|| consumer.value().to_vec()),
    }
}

/// Feed the pieces in order, checking laws 2 and 3 at every call.
fn deliver<'a>(
    consumer: &mut NativeConsumer,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Outcome, TestCaseError> {
    let mut consumed = 0;
    for piece in pieces {
        let was_completed = consumer.is_completed();
        let taken = consumer.received(piece);
        prop_assert!(taken <= piece.len(), "took more than was given");
        if was_completed {
            prop_assert_eq!(taken, 0, "law 2: consumed after completion");
        } else {
            prop_assert!(
                taken == piece.len() || consumer.is_completed(),
                "left bytes without being completed"
            );
            prop_assert!(taken > 0 || piece.is_empty(), "law 3: no progress");
        }
        consumed += taken;
    }
    Ok(outcome(consumer, consumed))
}

/// Cut `stream` at the given places (taken modulo its length).
fn cut<'a>(stream: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = places.iter().map(|place| place % (stream.len() + 1)).collect();
    ends.push(stream.len());
    ends.sort_unstable();
    let mut start = 0;
    ends.into_iter()
        .map(|end| {
            let piece = &stream[start..end];
            start = end;
            piece
        })
        .collect()
}

fn any_format() -> impl Strategy<Value = LengthFormat> {
    let order = || prop_oneof![Just(ByteOrder::Big), Just(ByteOrder::Little)];
    prop_oneof![
        Just(LengthFormat::U8),
        order().prop_map(LengthFormat::U16),
        order().prop_map(LengthFormat::U32),
        order().prop_map(LengthFormat::U64),
        Just(LengthFormat::Varint),
    ]
}

fn any_spec() -> impl Strategy<Value = ConsumerSpec> {
    prop_oneof![
        (1..40u64).prop_map(|length| ConsumerSpec::fixed(length).unwrap()),
        (1..40u64).prop_map(|max| ConsumerSpec::line(max).unwrap()),
        (proptest::collection::vec(any_byte(), 1..5), 5..60u64)
            .prop_map(|(delimiter, max)| ConsumerSpec::delimiter(&delimiter, max).unwrap()),
        (any_format(), 8..100u64)
            .prop_map(|(format, max)| ConsumerSpec::length_prefixed(format, max).unwrap()),
    ]
}

/// Few different bytes, so that terminators, lengths and false starts are common.
fn any_byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        4 => prop_oneof![Just(b'a'), Just(b'b'), Just(b'\r'), Just(b'\n'), Just(0), Just(1), Just(3)],
        1 => any::<u8>(),
    ]
}

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any_byte(), 0..60)
}

/// A consumer's specification and a stream for it: a message it could have been sent (if the value can be encoded),
/// then noise.
fn any_case() -> impl Strategy<Value = (ConsumerSpec, Vec<u8>)> {
    (any_spec(), proptest::collection::vec(any_byte(), 0..40), any::<bool>(), any_value()).prop_map(
        |(spec, value, is_encoded, noise)| {
            let mut stream = Vec::new();
            if !is_encoded || spec.encode(&value, &mut stream).is_err() {
                stream.extend_from_slice(&value);
            }
            stream.extend_from_slice(&noise);
            (spec, stream)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same_outcome(
        (spec, stream) in any_case(), places in proptest::collection::vec(any::<usize>(), 0..8),
    ) {
        let whole = deliver(&mut spec.new_consumer(), [&stream[..]])?;
        let byte_by_byte = deliver(&mut spec.new_consumer(), stream.chunks(1))?;
        let at_random = deliver(&mut spec.new_consumer(), cut(&stream, &places))?;
        prop_assert_eq!(&whole, &byte_by_byte);
        prop_assert_eq!(&whole, &at_random);
        if let Some(error) = whole.error {
            prop_assert_eq!(error.offset_bytes, whole.consumed as u64);
        }
    }

    #[test]
    fn what_follows_a_message_changes_nothing((spec, stream) in any_case(), more in any_value()) {
        let alone = deliver(&mut spec.new_consumer(), [&stream[..]])?;
        if alone.is_completed {
            let longer = [&stream[..alone.consumed], &more].concat();
            prop_assert_eq!(alone, deliver(&mut spec.new_consumer(), [&longer[..]])?);
        }
    }

    #[test]
    fn the_limit_counts_stream_bytes((spec, stream) in any_case()) {
        let outcome = deliver(&mut spec.new_consumer(), stream.chunks(1))?;
        let max_bytes = match spec {
            ConsumerSpec::Fixed { length_bytes } => length_bytes,
            ConsumerSpec::Line { max_bytes }
            | ConsumerSpec::Delimiter { max_bytes, .. }
            | ConsumerSpec::LengthPrefixed { max_bytes, .. } => max_bytes,
        };
        // A varint longer than the whole limit is read to its end: the only way above it.
        prop_assert!(outcome.consumed as u64 <= max_bytes.max(10));
    }

    #[test]
    fn no_byte_is_looked_at_more_than_three_times(
        (spec, stream) in any_case(), places in proptest::collection::vec(any::<usize>(), 0..8),
    ) {
        for pieces in [vec![&stream[..]], stream.chunks(1).collect(), cut(&stream, &places)] {
            let mut consumer = spec.new_consumer();
            let outcome = deliver(&mut consumer, pieces)?;
            prop_assert!(consumer.examined_bytes() <= 3 * outcome.consumed as u64);
        }
    }

    #[test]
    fn what_was_encoded_is_read_back((spec, _) in any_case(), value in any_value(), more in any_value()) {
        let mut stream = Vec::new();
        if spec.encode(&value, &mut stream).is_ok() {
            let encoded = stream.len();
            stream.extend_from_slice(&more);
            let outcome = deliver(&mut spec.new_consumer(), [&stream[..]])?;
            prop_assert_eq!((outcome.consumed, outcome.value), (encoded, Some(value)));
        }
    }

    #[test]
    fn the_end_in_the_middle_is_truncated_and_elsewhere_nothing((spec, stream) in any_case(), place in any::<usize>()) {
        let mut consumer = spec.new_consumer();
        let before = deliver(&mut consumer, [&stream[..place % (stream.len() + 1)]])?;
        consumer.end_of_input();
        let after = outcome(&consumer, before.consumed);
        if before.is_started && !before.is_completed {
            let error = ProtocolError::new(ErrorKind::Truncated, before.consumed as u64);
            prop_assert_eq!((after.is_completed, after.error), (true, Some(error)));
            prop_assert_eq!(consumer.received(b"more"), 0);
        } else {
            prop_assert_eq!(before, after);
        }
    }
}

/// A stream on which a search that starts anew at each read, or at each false start, is quadratic.
#[test]
fn a_long_message_of_false_starts_costs_linear_work() {
    let delimiter = [b'a'; 1000];
    let spec = ConsumerSpec::delimiter(&delimiter, u64::MAX).unwrap();
    let stream: Vec<u8> = [&delimiter[..999], b"b"].concat().repeat(100);
    for size in [1, 7, 1000, stream.len()] {
        let mut consumer = spec.new_consumer();
        for piece in stream.chunks(size) {
            consumer.received(piece);
        }
        assert!(!consumer.is_completed());
        assert!(consumer.examined_bytes() <= 3 * stream.len() as u64, "{}", consumer.examined_bytes());
    }
}
