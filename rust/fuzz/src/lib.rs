//! What every fuzz target does with its bytes: the laws of `rust/protocol/src/consumer.rs`, asserted.
//!
//! Strategy: the first two bytes of the input choose (the limits, and how the stream is cut), the rest is the stream;
//! so a seed is two characters and a message. A law that is broken panics, and libFuzzer keeps the input.
//! Must not know: where the bytes come from.

#[path = "../../protocol/tests/channel_simulation/mod.rs"]
mod channel_simulation;
#[path = "../../protocol/tests/consumer_outcome/mod.rs"]
mod consumer_outcome;

use channel_simulation::note::LINE_LIMIT;
use channel_simulation::{Event, LARGEST_WRITE, Simulation};
use consumer_outcome::{deliver, ends_with_the_stream, one_after_another, outcome, read_messages};
use wiretask_protocol::channel::ChannelMode;
use wiretask_protocol::consumer::StreamConsumer;
use wiretask_protocol::error::{ErrorKind, ProtocolError};
use wiretask_protocol::limits::HttpLimits;
use wiretask_protocol::native::{ConsumerSpec, SpecError};

/// Events of one life: enough for anything to happen, few enough to be quick.
const MOST_EVENTS: usize = 300;

/// Hold the consumer that `make` makes of the first byte to its laws; what makes no sense is passed over.
pub fn check_consumer(input: &[u8], make: impl Fn(u8) -> Result<ConsumerSpec, SpecError>) {
    let &[choice, cuts, ref stream @ ..] = input else { return };
    let Ok(spec) = make(choice) else { return };
    check_cuts(&spec, stream, cuts);
    check_end_of_input(&spec, stream, cuts);
    check_round_trip(&spec, stream);
    check_reader(&spec, stream, cuts);
}

/// Laws 1, 2, 3, 5 and 6: the same outcome for every cut, nothing taken or changed by what follows, no byte looked
/// at more than three times.
fn check_cuts(spec: &ConsumerSpec, stream: &[u8], cuts: u8) {
    let mut first = spec.new_consumer();
    let whole = deliver(&mut first, [stream]);
    for pieces in [vec![stream], stream.chunks(1).collect(), cut(stream, cuts)] {
        let mut consumer = spec.new_consumer();
        assert_eq!(deliver(&mut consumer, pieces), whole, "law 1: the cut shows");
        assert!(
            consumer.examined_bytes() <= 3 * whole.consumed as u64,
            "law 5: bytes were looked at too often"
        );
    }
    if let Some(error) = whole.error {
        assert_eq!(error.offset_bytes, whole.consumed as u64);
    }
    if whole.is_completed {
        let alone = deliver(&mut spec.new_consumer(), [&stream[..whole.consumed]]);
        assert_eq!(alone, whole, "law 2: what follows the message changes it");
        assert_eq!(first.received(b"more"), 0, "law 2: taken after completion");
        assert_eq!(outcome(&first, whole.consumed), whole);
    }
}

/// Law 8: the end in the middle of a message, and elsewhere.
fn check_end_of_input(spec: &ConsumerSpec, stream: &[u8], place: u8) {
    let mut consumer = spec.new_consumer();
    let before = deliver(&mut consumer, [&stream[..stream.len() * usize::from(place) / 255]]);
    consumer.end_of_input();
    let after = outcome(&consumer, before.consumed);
    if !before.is_started || before.is_completed {
        assert_eq!(before, after, "law 8: an end where the stream may end");
    } else if ends_with_the_stream(&consumer) {
        assert_eq!((after.is_completed, after.error), (true, None));
    } else {
        let error = ProtocolError::new(ErrorKind::Truncated, before.consumed as u64);
        assert_eq!((after.is_completed, after.error), (true, Some(error)), "law 8: an end in the middle");
    }
    if consumer.is_completed() {
        assert_eq!(consumer.received(b"more"), 0);
    }
}

/// Law 7: what can be encoded is read back.
fn check_round_trip(spec: &ConsumerSpec, value: &[u8]) {
    let mut encoded = Vec::new();
    if spec.encode(value, &mut encoded).is_ok() {
        let seen = deliver(&mut spec.new_consumer(), [&encoded[..]]);
        assert_eq!((seen.consumed, seen.value.as_deref()), (encoded.len(), Some(value)), "law 7");
    }
}

/// The messages of the stream, read out of blocks: those that a consumer for each of them reads.
fn check_reader(spec: &ConsumerSpec, stream: &[u8], cuts: u8) {
    let is_ended = cuts % 2 == 1;
    for pieces in [vec![stream], stream.chunks(1).collect(), cut(stream, cuts)] {
        if let Some(reading) = read_messages(spec, pieces, is_ended) {
            assert_eq!(reading, one_after_another(spec, stream, is_ended), "the cut of the blocks shows");
        }
    }
}

/// Pieces of 1 to 16 bytes whose sizes follow from `seed`.
fn cut(stream: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut state = u32::from(seed);
    let mut rest = stream;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (piece, others) = rest.split_at(rest.len().min((state >> 28) as usize + 1));
        pieces.push(piece);
        rest = others;
    }
    pieces
}

/// The default limits, or tight ones, every one of which is reached by a short stream.
pub fn http_limits(choice: u8) -> HttpLimits {
    let tight = u64::from(choice % 16);
    match choice {
        0..128 => HttpLimits::DEFAULT,
        _ => HttpLimits {
            max_head_bytes: 40 + 8 * tight,
            max_request_line_bytes: 16 + 2 * tight,
            max_fields: tight,
            max_body_bytes: 2 * tight,
            max_chunk_extension_bytes: tight,
            max_trailer_bytes: 2 + tight,
        },
    }
}

/// Play a life of a channel: mode, a stream of lines, and two bytes for each event.
pub fn check_channel(input: &[u8]) {
    let &[mode, line_count, ref rest @ ..] = input else { return };
    let mode = ChannelMode {
        raw: mode & 1 != 0,
        report_open: mode & 2 != 0,
        report_close: mode & 4 != 0,
        answers: mode & 9 == 8,
        finishes_begun: mode & 17 == 16,
        streams_bodies: mode & 33 == 32,
    };
    let (lines, events) = rest.split_at(rest.len().min(usize::from(line_count % 32)));
    let mut simulation = Simulation::new(mode, &stream_of(lines));
    for event in events.chunks_exact(2).take(MOST_EVENTS) {
        simulation.handle(&event_of(event[0], event[1]));
    }
    simulation.settle_and_check_nothing_is_lost();
}

/// A line for each byte, one of which may be too long, or one with a body; the high bit leaves out its end.
fn stream_of(lines: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    for (index, byte) in lines.iter().enumerate() {
        if let length @ 64..116 = byte % 128 {
            stream.extend([b'+', b'a' + length % 26]);
            stream.extend_from_slice(if length % 2 == 0 { b"?\n" } else { b"\n" });
            let body = if *byte < 128 { length % 26 } else { length % 3 };
            stream.extend((0..body).map(|index| b'A' + index));
            continue;
        }
        let length = usize::from(byte % 128) % (LINE_LIMIT + 2);
        // Different neighbours, so that a changed order shows.
        stream.extend((0..length).map(|_| b'a' + (index % 26) as u8));
        if *byte < 128 {
            stream.push(b'\n');
        }
    }
    stream
}

fn event_of(kind: u8, argument: u8) -> Event {
    let n = usize::from(argument);
    match kind % 20 {
        0 => Event::PeerSends(n % 40 + 1),
        1 => Event::PeerReads(n % 12 + 1),
        2 => Event::WorkerSteps(n % 30),
        3 => Event::SendReturns,
        4 => Event::ForeignWrites(n % (LARGEST_WRITE + 1)),
        5 => Event::SpoolBegins,
        6 => Event::SpoolReturns,
        7 => Event::TasksQueued,
        8 => Event::HoldInput(n % 2 == 1),
        9 => Event::FlushTimer,
        10 => Event::WorkerIsSlow,
        11 => Event::TimePasses(n as u64 * 3),
        12 => Event::RequestBegun(n % 2 == 1),
        13 => Event::PeerEnds,
        14 => Event::Drain,
        15 => Event::CloseWhenDone,
        16 => Event::Abort,
        17 => Event::QueueRefuses,
        18 => Event::DiskFills,
        _ => Event::WritesFile(n % 80),
    }
}
