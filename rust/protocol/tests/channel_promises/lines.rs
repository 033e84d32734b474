//! A channel whose requests are lines, tight limits, and what happens to it.
use super::{ROOMY, State, send_all};
use wiretask_protocol::channel::{Action, ChannelLimits, ChannelMode, Taken, Work};
use wiretask_protocol::native::{ConsumerSpec, NativeConsumer};

pub const LINE_LIMIT: usize = 12;

pub const LIMITS: ChannelLimits = ChannelLimits {
    max_ready_requests: 2,
    max_ready_bytes: 100,
    max_waiting_bytes: 8,
    max_piece_bytes: 5,
    high_watermark_bytes: 20,
    low_watermark_bytes: 6,
    ..ROOMY
};

pub fn make() -> NativeConsumer {
    ConsumerSpec::line(LINE_LIMIT as u64).unwrap().new_consumer()
}

pub const RAW: ChannelMode = ChannelMode { raw: true, ..ChannelMode::PLAIN };
pub const PARSED: ChannelMode = ChannelMode::PLAIN;

pub fn new_state(mode: ChannelMode) -> State {
    State::new(mode, 0)
}

pub fn feed(state: &mut State, data: &[u8]) {
    state.handle_bytes(data, make, &LIMITS, 0);
}

pub fn write(state: &mut State, data: &[u8]) -> Taken {
    state.handle_task_output(data, &LIMITS, 0)
}

pub fn action(state: &mut State) -> Option<Action> {
    state.poll_action(&LIMITS)
}

/// The next piece of work, in words.
pub fn work(state: &mut State) -> String {
    match state.next_work(make, &LIMITS, 0) {
        None => "nothing".into(),
        Some(Work::Request(request)) => format!("request {}", request.value().escape_ascii()),
        Some(Work::Bytes(bytes)) => format!("bytes {}", bytes.escape_ascii()),
        Some(work) => format!("{work:?}"),
    }
}

/// Offers what waits to a socket that takes so many bytes.
pub fn send_some(state: &mut State, taken: usize, now_ms: u64) {
    let mut outgoing = state.begin_send(&LIMITS).unwrap();
    outgoing.advance(taken);
    state.handle_sent(outgoing, taken, true, now_ms);
}

/// A worker serves everything that is there and lets the channel go.
pub fn work_off(state: &mut State, now_ms: u64) -> Vec<String> {
    let mut done = Vec::new();
    loop {
        match work(state) {
            nothing if nothing == "nothing" => break,
            work => done.push(work),
        }
    }
    send_all(state, &LIMITS, now_ms);
    assert!(state.handle_task_finished(now_ms));
    done
}
