//! The laws of `ChannelState`, over any order of events. `channel_promises` has the examples.
#![allow(clippy::unwrap_used)]
mod channel_simulation;

use channel_simulation::note::LINE_LIMIT;
use channel_simulation::{Event, LARGEST_WRITE, Simulation};
use proptest::prelude::*;
use wiretask_protocol::channel::ChannelMode;

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (1usize..40).prop_map(Event::PeerSends),
        8 => (1usize..12).prop_map(Event::PeerReads),
        16 => (0usize..30).prop_map(Event::WorkerSteps),
        8 => Just(Event::SendReturns),
        3 => (0usize..30).prop_map(Event::ForeignWrites),
        1 => (30usize..=LARGEST_WRITE).prop_map(Event::ForeignWrites),
        2 => (0usize..80).prop_map(Event::WritesFile),
        6 => Just(Event::SpoolBegins),
        5 => Just(Event::SpoolReturns),
        2 => Just(Event::TasksQueued),
        2 => any::<bool>().prop_map(Event::HoldInput),
        2 => Just(Event::FlushTimer),
        1 => Just(Event::WorkerIsSlow),
        2 => (0u64..700).prop_map(Event::TimePasses),
        1 => any::<bool>().prop_map(Event::RequestBegun),
    ]
}

fn any_ending() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::PeerEnds),
        1 => Just(Event::Drain),
        1 => Just(Event::CloseWhenDone),
        1 => Just(Event::Abort),
        1 => Just(Event::QueueRefuses),
        1 => Just(Event::DiskFills),
    ]
}

/// Events with at most a few endings among them, so that long lives are common.
fn any_life() -> impl Strategy<Value = Vec<Event>> {
    let endings = prop::collection::vec((any_ending(), any::<prop::sample::Index>()), 0..3);
    (prop::collection::vec(any_event(), 0..120), endings).prop_map(|(mut events, endings)| {
        for (ending, place) in endings {
            events.insert(place.index(events.len() + 1), ending);
        }
        events
    })
}

/// Lines, some of them with bodies, blank lines, now and then a line that is too long, and perhaps an unfinished
/// one, or a body that is missing, at the end.
fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        12 => (1usize..LINE_LIMIT).prop_map(|length| [vec![b'x'; length - 1], b"y\n".to_vec()].concat()),
        2 => Just(b"\n".to_vec()),
        3 => (0u8..26, any::<bool>()).prop_map(|(length, waits)| {
            let mut note = vec![b'.', b'+', b'a' + length];
            note.extend_from_slice(if waits { b"?\n" } else { b"\n" });
            note.extend((0..length).map(|index| b'A' + index));
            note
        }),
    ];
    let tail = prop_oneof![
        4 => Just(Vec::new()),
        2 => Just(b"unfin".to_vec()),
        2 => Just(b"+k?\n".to_vec()),
        1 => Just(b"+k?\nABC".to_vec()),
        1 => Just(vec![b'z'; LINE_LIMIT + 5]),
    ];
    (prop::collection::vec(line, 0..20), tail).prop_map(|(lines, tail)| {
        let mut numbered = Vec::new();
        for (index, mut line) in lines.into_iter().enumerate() {
            if line[0] == b'.' {
                numbered.extend(&line[1..]);
                continue;
            }
            if line.len() > 1 {
                // Different neighbours, so that a changed order shows.
                line[0] = b'a' + u8::try_from(index % 26).unwrap();
            }
            line.truncate(LINE_LIMIT);
            let last = line.len() - 1;
            line[last] = b'\n';
            numbered.extend(line);
        }
        numbered.extend(tail);
        numbered
    })
}

fn any_mode() -> impl Strategy<Value = ChannelMode> {
    any::<[bool; 6]>().prop_map(|[raw, report_open, report_close, answers, finishes, streams]| ChannelMode {
        raw,
        report_open,
        report_close,
        answers: answers && !raw,
        finishes_begun: finishes && !raw,
        streams_bodies: streams && !raw,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_life_keeps_the_laws(mode in any_mode(), stream in any_stream(), life in any_life()) {
        let mut simulation = Simulation::new(mode, &stream);
        for event in &life {
            simulation.handle(event);
        }
        simulation.settle_and_check_nothing_is_lost();
    }
}
