//! Time limits, and what counts as idle.
use super::lines::{LIMITS, PARSED, RAW, action, feed, make, new_state, send_some, work, work_off, write};
use super::send_all;
use wiretask_protocol::channel::{Action, ChannelLimits, ChannelMode, CloseReason, Taken, Timeout};

#[test]
fn a_request_has_no_time_limit_while_its_input_is_held_and_its_full_time_afterwards() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"beg");
    state.hold_input(true, 0);
    assert_eq!(state.poll_timeout(&LIMITS, 400), Timeout::At(1000));
    state.hold_input(false, 400);
    assert_eq!(state.poll_timeout(&LIMITS, 400), Timeout::At(700));
}

#[test]
fn an_idle_connection_expires() {
    let state = new_state(PARSED);
    assert_eq!(state.poll_timeout(&LIMITS, 999), Timeout::At(1000));
    assert_eq!(state.poll_timeout(&LIMITS, 1000), Timeout::Expired(CloseReason::IdleTimeout));
    let never = ChannelLimits { idle_timeout_ms: None, ..LIMITS };
    assert_eq!(state.poll_timeout(&never, u64::MAX), Timeout::None);
}

#[test]
fn a_request_that_has_begun_has_its_time_from_its_first_byte() {
    let mut state = new_state(PARSED);
    state.handle_bytes(b"b", make, &LIMITS, 100);
    state.handle_bytes(b"e", make, &LIMITS, 300);
    assert_eq!(state.poll_timeout(&LIMITS, 399), Timeout::At(400));
    assert_eq!(state.poll_timeout(&LIMITS, 400), Timeout::Expired(CloseReason::RequestTimeout));
}

#[test]
fn a_request_a_raw_parser_has_begun_has_its_time() {
    let mut state = new_state(RAW);
    state.set_request_begun(true, 100);
    state.set_request_begun(true, 200);
    assert_eq!(state.poll_timeout(&LIMITS, 200), Timeout::At(400));
    state.set_request_begun(false, 300);
    assert_eq!(state.poll_timeout(&LIMITS, 300), Timeout::At(1000));
}

#[test]
fn a_worker_has_all_the_time_it_takes() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"one\ntw");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(state.poll_timeout(&LIMITS, 9999), Timeout::None);
    assert_eq!(work_off(&mut state, 5000), ["request one"]);
    assert_eq!(state.poll_timeout(&LIMITS, 5000), Timeout::At(5300));
}

#[test]
fn the_write_limit_begins_when_the_socket_first_refuses() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"one\n");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work(&mut state), "request one");
    assert_eq!(write(&mut state, b"answer"), Taken::All);
    // The worker took its time; the socket is full of earlier answers.
    send_some(&mut state, 0, 9000);
    assert_eq!(state.poll_timeout(&LIMITS, 9000), Timeout::At(9500));
    // To be writable and to refuse again is no progress.
    state.handle_writable();
    send_some(&mut state, 0, 9400);
    assert_eq!(state.poll_timeout(&LIMITS, 9400), Timeout::At(9500));
    state.handle_writable();
    send_some(&mut state, 1, 9450);
    assert_eq!(state.poll_timeout(&LIMITS, 9450), Timeout::At(9950));
    assert_eq!(state.poll_timeout(&LIMITS, 9950), Timeout::Expired(CloseReason::WriteTimeout));
}

#[test]
fn a_closed_channel_has_no_time_limit() {
    let mut state = new_state(PARSED);
    state.abort(CloseReason::Aborted);
    assert_eq!(state.poll_timeout(&LIMITS, u64::MAX), Timeout::None);
}

#[test]
fn a_connection_is_idle_when_it_has_nothing_at_all_to_do() {
    let mut state = new_state(PARSED);
    assert_eq!(state.idle_since_ms(), Some(0));
    state.handle_bytes(b"on", make, &LIMITS, 3);
    assert_eq!(state.idle_since_ms(), None, "a request has begun");
    state.handle_bytes(b"e\n", make, &LIMITS, 4);
    assert_eq!(state.idle_since_ms(), None, "a request waits");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work(&mut state), "request one");
    assert_eq!(state.idle_since_ms(), None, "a worker has it");
    assert_eq!(write(&mut state, b"answer"), Taken::All);
    send_some(&mut state, 1, 5);
    assert!(state.handle_task_finished(6));
    assert_eq!(state.idle_since_ms(), None, "output waits");
    state.handle_writable();
    send_all(&mut state, &LIMITS, 7);
    assert_eq!(state.idle_since_ms(), Some(6));
    assert!(state.handle_tasks_queued());
    assert_eq!(state.idle_since_ms(), None, "tasks wait");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    work_off(&mut state, 8);
    state.hold_input(true, 9);
    assert_eq!(state.idle_since_ms(), None, "the application wants no input for now");
    state.hold_input(false, 10);
    assert_eq!(state.idle_since_ms(), Some(10));
    state.abort(CloseReason::Evicted);
    assert_eq!(state.idle_since_ms(), None, "it is closed");
    let mut raw = new_state(RAW);
    raw.set_request_begun(true, 0);
    assert_eq!(raw.idle_since_ms(), None, "a parser of the worker's is in the middle of a request");
    assert_eq!(
        new_state(ChannelMode { report_open: true, ..PARSED }).idle_since_ms(),
        None,
        "nobody was told"
    );
}
