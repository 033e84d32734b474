//! Requests with bodies, by example: how long they may take, and what becomes of them when the server stops.
use super::{ROOMY, State};
use wiretask_protocol::channel::{
    Action, BODY_PROGRESS_BYTES, ChannelLimits, ChannelMode, CloseReason, Timeout, Work,
};
use wiretask_protocol::limits::HttpLimits;
use wiretask_protocol::native::{ConsumerSpec, NativeConsumer};

const LIMITS: ChannelLimits = ChannelLimits { max_ready_bytes: 1 << 20, max_unsent_bytes: 5000, ..ROOMY };

fn make() -> NativeConsumer {
    ConsumerSpec::http_request(HttpLimits::DEFAULT).unwrap().new_consumer()
}

fn new_state() -> State {
    State::new(ChannelMode::PLAIN, 0)
}

fn head(length: usize) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

fn feed(state: &mut State, data: &[u8], now_ms: u64) {
    state.handle_bytes(data, make, &LIMITS, now_ms);
}

fn ends_at(state: &State, now_ms: u64) -> u64 {
    match state.poll_timeout(&LIMITS, now_ms) {
        Timeout::At(at) => at,
        timeout => panic!("{timeout:?} at {now_ms}"),
    }
}

#[test]
fn a_head_has_its_time_from_the_first_byte_and_the_body_from_there() {
    let mut state = new_state();
    let head = head(10 * BODY_PROGRESS_BYTES);
    let (first, rest) = head.split_at(10);
    feed(&mut state, first, 100);
    feed(&mut state, &rest[..10], 200);
    assert_eq!(ends_at(&state, 200), 400);
    feed(&mut state, &rest[10..], 300);
    assert_eq!(ends_at(&state, 300), 600);
}

#[test]
fn a_body_that_goes_on_may_take_any_time_and_one_that_drips_may_not() {
    let mut state = new_state();
    feed(&mut state, &head(5 * BODY_PROGRESS_BYTES), 0);
    for step in 1..=4 {
        feed(&mut state, &vec![b'x'; BODY_PROGRESS_BYTES], step * 200);
        assert_eq!(ends_at(&state, step * 200), step * 200 + 300);
    }
    // The rest, drop by drop.
    for drop in 1..=29 {
        feed(&mut state, b"x", 800 + drop * 10);
        assert_eq!(ends_at(&state, 800 + drop * 10), 1100);
    }
    assert_eq!(state.poll_timeout(&LIMITS, 1100), Timeout::Expired(CloseReason::RequestTimeout));
}

#[test]
fn the_time_begins_anew_when_output_that_was_in_the_way_has_left() {
    let mut state = new_state();
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    feed(&mut state, &[&get[..], &head(10), b"12345"].concat(), 0);
    assert_eq!(state.poll_action(&LIMITS), Some(Action::StartTask));
    assert!(matches!(state.next_work(make, &LIMITS, 0), Some(Work::Request(_))));
    state.handle_task_output(&[b'x'; 3000], &LIMITS, 0);
    assert!(state.next_work(make, &LIMITS, 0).is_none());
    for now_ms in [0, 400, 800] {
        let mut outgoing = state.begin_send(&LIMITS).unwrap();
        assert!(!state.wants_input(&LIMITS) || now_ms == 800);
        outgoing.advance(1000);
        state.handle_sent(outgoing, 1000, now_ms < 800, now_ms);
        if now_ms == 0 {
            assert!(state.handle_task_finished(0));
        }
        state.handle_writable();
    }
    assert_eq!(ends_at(&state, 800), 1100);
}

const PATIENT: ChannelMode = ChannelMode { finishes_begun: true, ..ChannelMode::PLAIN };
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_drained_connection_without_a_request_closes_at_once() {
    let mut state = State::new(PATIENT, 0);
    state.drain();
    assert_eq!(state.poll_action(&LIMITS), Some(Action::Close(CloseReason::EndOfInput)));
}

#[test]
fn a_request_that_has_begun_is_read_to_its_end_and_answered_and_nothing_behind_it() {
    let mut state = State::new(PATIENT, 0);
    feed(&mut state, &head(5), 0);
    state.drain();
    assert_eq!(state.poll_action(&LIMITS), None);
    assert!(state.wants_input(&LIMITS));
    feed(&mut state, b"12", 0);
    assert_eq!(state.poll_action(&LIMITS), None);
    feed(&mut state, &[b"345", GET].concat(), 0);
    assert!(!state.wants_input(&LIMITS));
    assert_eq!(state.poll_action(&LIMITS), Some(Action::StartTask));
    let Some(Work::Request(request)) = state.next_work(make, &LIMITS, 0) else { panic!("no request") };
    assert_eq!(request.value(), b"12345");
    assert!(state.next_work(make, &LIMITS, 0).is_none());
    assert!(state.handle_task_finished(0));
    assert_eq!(state.poll_action(&LIMITS), Some(Action::Close(CloseReason::EndOfInput)));
}

#[test]
fn a_request_that_has_begun_has_no_more_than_its_time_after_the_drain() {
    let mut state = State::new(PATIENT, 0);
    feed(&mut state, b"GET / H", 100);
    state.drain();
    assert_eq!(ends_at(&state, 200), 400);
    assert_eq!(state.poll_timeout(&LIMITS, 400), Timeout::Expired(CloseReason::RequestTimeout));
}

#[test]
fn without_patience_what_has_begun_is_dropped() {
    let mut state = new_state();
    feed(&mut state, &head(5), 0);
    state.drain();
    assert_eq!(state.poll_action(&LIMITS), Some(Action::Close(CloseReason::EndOfInput)));
}

#[test]
fn what_waited_unread_when_the_drain_came_is_answered_and_then_it_ends() {
    let mut state = State::new(PATIENT, 0);
    feed(&mut state, &GET.repeat(6), 0);
    state.drain();
    assert_eq!(state.poll_action(&LIMITS), Some(Action::StartTask));
    let mut served = 0;
    while let Some(Work::Request(_)) = state.next_work(make, &LIMITS, 0) {
        served += 1;
    }
    assert_eq!(served, 6);
    assert!(state.handle_task_finished(0));
    assert_eq!(state.poll_action(&LIMITS), Some(Action::Close(CloseReason::EndOfInput)));
}
