//! The eight laws of a stream consumer, checked for every consumer of this crate.
//!
//! One generic suite: a consumer is drawn with its limits, a stream is drawn that is partly an encoded message and
//! partly noise, and the stream is delivered whole, byte by byte, and cut at random. Laws: `consumer.rs`. Law 4
//! (memory) is measured in `memory.rs`.
#![allow(clippy::unwrap_used)]
mod consumer_outcome;
mod http_streams;

use consumer_outcome::{deliver, ends_with_the_stream, one_after_another, outcome, read_messages};
use proptest::prelude::*;
use wiretask_protocol::consumer::StreamConsumer;
use wiretask_protocol::error::{ErrorKind, ProtocolError};
use wiretask_protocol::http::response_head::Asked;
use wiretask_protocol::length_prefix::{ByteOrder, LengthFormat};
use wiretask_protocol::limits::HttpLimits;
use wiretask_protocol::native::ConsumerSpec;

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
        any_limits().prop_map(|limits| ConsumerSpec::chunked(limits).unwrap()),
        any_limits().prop_map(|limits| ConsumerSpec::http_request(limits).unwrap()),
        any_limits().prop_map(|limits| ConsumerSpec::http_request(limits).unwrap()),
        (
            any_limits(),
            prop_oneof![3 => Just(Asked::Other), 1 => Just(Asked::Head), 1 => Just(Asked::Connect)]
        )
            .prop_map(|(limits, asked)| ConsumerSpec::http_response(limits, asked).unwrap()),
    ]
}

fn any_limits() -> impl Strategy<Value = HttpLimits> {
    let tight = (16..150u64, 14..40u64, 0..5u64, 0..9u64, 0..9u64, 2..9u64).prop_map(
        |(head, line, max_fields, max_body_bytes, extensions, trailers)| HttpLimits {
            max_head_bytes: head,
            max_request_line_bytes: line,
            max_fields,
            max_body_bytes,
            max_chunk_extension_bytes: extensions,
            max_trailer_bytes: trailers,
        },
    );
    prop_oneof![Just(HttpLimits::DEFAULT), tight]
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
    any_spec().prop_flat_map(|spec| {
        let of_its_own = match spec {
            ConsumerSpec::Chunked { .. } => http_streams::chunked_bodies().boxed(),
            ConsumerSpec::HttpRequest { .. } => http_streams::requests().boxed(),
            ConsumerSpec::HttpResponse { .. } => http_streams::responses().boxed(),
            _ => proptest::collection::vec(any_byte(), 0..40).boxed(),
        };
        let streams = (of_its_own, any::<bool>(), any_value()).prop_map({
            let spec = spec.clone();
            move |(value, is_encoded, noise)| {
                let mut stream = Vec::new();
                let is_http = matches!(
                    spec,
                    ConsumerSpec::Chunked { .. }
                        | ConsumerSpec::HttpRequest { .. }
                        | ConsumerSpec::HttpResponse { .. }
                );
                if is_http || !is_encoded || spec.encode(&value, &mut stream).is_err() {
                    stream.extend_from_slice(&value);
                }
                stream.extend_from_slice(&noise);
                stream
            }
        });
        (Just(spec), streams)
    })
}

/// The longest stream that a consumer may take.
fn longest(spec: &ConsumerSpec) -> u64 {
    match spec {
        ConsumerSpec::Fixed { length_bytes } => *length_bytes,
        // A varint longer than the whole limit is read to its end: the only way above it.
        ConsumerSpec::LengthPrefixed { max_bytes, .. } => (*max_bytes).max(10),
        ConsumerSpec::Line { max_bytes } | ConsumerSpec::Delimiter { max_bytes, .. } => *max_bytes,
        ConsumerSpec::Chunked { limits } => longest_chunked(limits),
        ConsumerSpec::HttpRequest { limits } | ConsumerSpec::HttpResponse { limits, .. } => {
            limits.max_head_bytes + longest_chunked(limits)
        }
    }
}

/// Every byte in a chunk of its own, with all the digits there may be and two line ends; then the last chunk; and one
/// byte more that shows that it is too much.
fn longest_chunked(limits: &HttpLimits) -> u64 {
    limits.max_body_bytes * 21 + 18 + limits.max_chunk_extension_bytes + limits.max_trailer_bytes + 18
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same_outcome(
        (spec, stream) in any_case(), places in proptest::collection::vec(any::<usize>(), 0..8),
    ) {
        let whole = deliver(&mut spec.new_consumer(), [&stream[..]]);
        let byte_by_byte = deliver(&mut spec.new_consumer(), stream.chunks(1));
        let at_random = deliver(&mut spec.new_consumer(), cut(&stream, &places));
        prop_assert_eq!(&whole, &byte_by_byte);
        prop_assert_eq!(&whole, &at_random);
        if let Some(error) = whole.error {
            prop_assert_eq!(error.offset_bytes, whole.consumed as u64);
        }
    }

    #[test]
    fn what_follows_a_message_changes_nothing((spec, stream) in any_case(), more in any_value()) {
        let alone = deliver(&mut spec.new_consumer(), [&stream[..]]);
        if alone.is_completed {
            let longer = [&stream[..alone.consumed], &more].concat();
            prop_assert_eq!(alone, deliver(&mut spec.new_consumer(), [&longer[..]]));
        }
    }

    #[test]
    fn the_limit_counts_stream_bytes((spec, stream) in any_case()) {
        let outcome = deliver(&mut spec.new_consumer(), stream.chunks(1));
        prop_assert!(outcome.consumed as u64 <= longest(&spec));
        if let Some(error) = outcome.error {
            prop_assert!(error.kind.limit_bytes().is_none_or(|limit| limit <= longest(&spec)));
        }
    }

    #[test]
    fn no_byte_is_looked_at_more_than_three_times(
        (spec, stream) in any_case(), places in proptest::collection::vec(any::<usize>(), 0..8),
    ) {
        for pieces in [vec![&stream[..]], stream.chunks(1).collect(), cut(&stream, &places)] {
            let mut consumer = spec.new_consumer();
            let outcome = deliver(&mut consumer, pieces);
            prop_assert!(consumer.examined_bytes() <= 3 * outcome.consumed as u64);
        }
    }

    #[test]
    fn what_was_encoded_is_read_back((spec, _) in any_case(), value in any_value(), more in any_value()) {
        let mut stream = Vec::new();
        if spec.encode(&value, &mut stream).is_ok() {
            let encoded = stream.len();
            stream.extend_from_slice(&more);
            let outcome = deliver(&mut spec.new_consumer(), [&stream[..]]);
            prop_assert_eq!((outcome.consumed, outcome.value), (encoded, Some(value)));
        }
    }

    #[test]
    fn a_reader_reads_what_a_consumer_for_each_message_reads(
        (spec, more) in any_case(),
        values in proptest::collection::vec(any_value(), 0..8),
        places in proptest::collection::vec(any::<usize>(), 0..8),
        is_ended in any::<bool>(),
    ) {
        let mut stream = Vec::new();
        for value in values {
            let _one_that_cannot_be_encoded_is_left_out = spec.encode(&value, &mut stream);
        }
        stream.extend_from_slice(&more);
        for pieces in [vec![&stream[..]], stream.chunks(1).collect(), cut(&stream, &places)] {
            if let Some(reading) = read_messages(&spec, pieces, is_ended) {
                prop_assert_eq!(reading, one_after_another(&spec, &stream, is_ended));
            }
        }
    }

    #[test]
    fn the_end_in_the_middle_is_truncated_and_elsewhere_nothing((spec, stream) in any_case(), place in any::<usize>()) {
        let mut consumer = spec.new_consumer();
        let before = deliver(&mut consumer, [&stream[..place % (stream.len() + 1)]]);
        consumer.end_of_input();
        let after = outcome(&consumer, before.consumed);
        if before.is_started && !before.is_completed && ends_with_the_stream(&consumer) {
            prop_assert_eq!((after.is_completed, after.error), (true, None));
            prop_assert_eq!(consumer.received(b"more"), 0);
        } else if before.is_started && !before.is_completed {
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

/// The figures are for tests/benchmarks, which runs this test for them.
#[test]
fn a_head_byte_by_byte_is_looked_at_less_than_three_times() {
    let limits = HttpLimits { max_head_bytes: 1 << 20, max_fields: 10_000, ..HttpLimits::DEFAULT };
    let mut figures = Vec::new();
    for kibibytes in [1, 4, 16, 64, 256] {
        let start = "GET / HTTP/1.1\r\nHost: a\r\n";
        let field = format!("X-Filler: {}\r\n", "y".repeat(1012));
        let head = format!("{start}{}\r\n", field.repeat(kibibytes));
        let mut consumer = ConsumerSpec::http_request(limits).unwrap().new_consumer();
        for byte in head.as_bytes() {
            assert_eq!(consumer.received(&[*byte]), 1);
        }
        assert_eq!((consumer.is_completed(), consumer.error()), (true, None));
        let examined = consumer.examined_bytes() as f64 / head.len() as f64;
        assert!(examined <= 3.0, "{examined} bytes were looked at for each of {kibibytes} KiB");
        figures.push(format!("{kibibytes} KiB {examined:.2}"));
    }
    println!("Bytes examined for each byte of a head that comes byte by byte: {}.", figures.join(", "));
}

/// A head that comes byte by byte, in one line without end, in many lines, or as chunks: work follows the bytes.
#[test]
fn a_dribbled_http_message_costs_linear_work() {
    let head =
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX: {}\r\n", "y".repeat(200_000));
    let chunks = "1;a=b\r\nx\r\n".repeat(1000);
    let trailers = "0\r\nT: u\r\nV: w\r\n\r\n";
    let stream = format!("{head}{}\r\n{chunks}{trailers}", "A: b\r\n".repeat(100));
    for size in [1, 7, 1000, stream.len()] {
        let mut consumer = ConsumerSpec::http_request(HttpLimits::DEFAULT).unwrap().new_consumer();
        for piece in stream.as_bytes().chunks(size) {
            assert_eq!(consumer.received(piece), piece.len());
        }
        assert_eq!((consumer.is_completed(), consumer.error()), (true, None));
        assert_eq!(consumer.value().len(), 1000);
        assert!(consumer.examined_bytes() <= 3 * stream.len() as u64, "{}", consumer.examined_bytes());
    }
}
