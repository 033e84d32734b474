//! Each promise of the documentation of `ChannelState`, by example. `channel_laws.rs` has the laws.
#![allow(clippy::unwrap_used)]

mod channel_examples;

use channel_examples::{ROOMY, State, send_all};
use wiretask_protocol::channel::{
    Action, ChannelLimits, ChannelMode, CloseReason, OutputLimits, Taken, Timeout, Work,
};
use wiretask_protocol::native::{ConsumerSpec, NativeConsumer};

const LINE_LIMIT: usize = 12;

const LIMITS: ChannelLimits = ChannelLimits {
    max_ready_requests: 2,
    max_ready_bytes: 100,
    max_waiting_bytes: 8,
    max_piece_bytes: 5,
    high_watermark_bytes: 20,
    low_watermark_bytes: 6,
    ..ROOMY
};

fn make() -> NativeConsumer {
    ConsumerSpec::line(LINE_LIMIT as u64).unwrap().new_consumer()
}

const RAW: ChannelMode = ChannelMode { raw: true, ..ChannelMode::PLAIN };
const PARSED: ChannelMode = ChannelMode::PLAIN;

fn new_state(mode: ChannelMode) -> State {
    State::new(mode, 0)
}

fn feed(state: &mut State, data: &[u8]) {
    state.handle_bytes(data, make, &LIMITS, 0);
}

fn write(state: &mut State, data: &[u8]) -> Taken {
    state.handle_task_output(data, &LIMITS, 0)
}

fn action(state: &mut State) -> Option<Action> {
    state.poll_action(&LIMITS)
}

/// The next piece of work, in words.
fn work(state: &mut State) -> String {
    match state.next_work(make, &LIMITS, 0) {
        None => "nothing".into(),
        Some(Work::Request(request)) => format!("request {}", request.value().escape_ascii()),
        Some(Work::Bytes(bytes)) => format!("bytes {}", bytes.escape_ascii()),
        Some(work) => format!("{work:?}"),
    }
}

/// Offers what waits to a socket that takes so many bytes.
fn send_some(state: &mut State, taken: usize, now_ms: u64) {
    let mut outgoing = state.begin_send(&LIMITS).unwrap();
    outgoing.advance(taken);
    state.handle_sent(outgoing, taken, true, now_ms);
}

/// A worker serves everything that is there and lets the channel go.
fn work_off(state: &mut State, now_ms: u64) -> Vec<String> {
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

#[test]
fn a_completed_request_starts_a_task_once() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"on");
    assert_eq!(action(&mut state), None);
    feed(&mut state, b"e\ntwo\n");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(action(&mut state), None);
    assert_eq!(work_off(&mut state, 0), ["request one", "request two"]);
    assert_eq!(action(&mut state), None);
}

#[test]
fn blank_requests_are_skipped() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"\n\r\n\n");
    assert_eq!(action(&mut state), None);
    feed(&mut state, b"\none\n");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work_off(&mut state, 0), ["request one"]);
}

#[test]
fn look_ahead_stops_at_its_limit_and_goes_on_when_there_is_room() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"1\n2\n3\n4\n5\n");
    assert!(!state.wants_input(&LIMITS));
    state.pause_reading();
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(action(&mut state), None);
    assert_eq!(work_off(&mut state, 0), ["request 1", "request 2", "request 3", "request 4", "request 5"]);
    assert_eq!(action(&mut state), Some(Action::ResumeReading));
    assert_eq!(action(&mut state), None);
}

#[test]
fn requests_behind_the_look_ahead_are_parsed_without_moving_what_waits() {
    // 32768 requests from one read, with room for one: quadratic copying would take half a gigabyte.
    let limits = ChannelLimits { max_ready_requests: 1, ..LIMITS };
    let mut state = new_state(PARSED);
    let data = b"x\n".repeat(1 << 15);
    state.handle_bytes(&data, make, &limits, 0);
    let mut served = 0;
    while state.next_work(make, &limits, 0).is_some() {
        served += 1;
    }
    assert_eq!(served, 1 << 15);
}

#[test]
fn raw_input_comes_in_pieces_of_the_limit() {
    let mut state = new_state(RAW);
    feed(&mut state, b"abcdefgh");
    assert!(!state.wants_input(&LIMITS));
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work(&mut state), "bytes abcde");
    feed(&mut state, b"ijklm");
    assert_eq!(work(&mut state), "bytes fghij");
    assert_eq!(work(&mut state), "bytes klm");
    assert_eq!(work(&mut state), "nothing");
}

#[test]
fn raw_end_of_input_is_reported_once_after_the_last_bytes() {
    let mut state = new_state(RAW);
    feed(&mut state, b"ab");
    state.handle_end_of_input();
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work(&mut state), "bytes ab");
    assert!(!state.handle_task_finished(0));
    assert_eq!(work(&mut state), "EndOfInput");
    assert_eq!(work(&mut state), "nothing");
    assert!(state.handle_task_finished(0));
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::EndOfInput)));
}

#[test]
fn end_of_input_between_requests_closes_when_all_is_answered() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"one\n");
    state.handle_end_of_input();
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work(&mut state), "request one");
    assert_eq!(write(&mut state, b"answer"), Taken::All);
    assert_eq!(action(&mut state), None);
    assert_eq!(send_all(&mut state, &LIMITS, 0), b"answer");
    assert!(state.handle_task_finished(0));
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::EndOfInput)));
}

#[test]
fn end_of_input_in_the_middle_of_a_request_is_truncated_and_what_came_before_is_served() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"one\ntw");
    state.handle_end_of_input();
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work_off(&mut state, 0), ["request one"]);
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::Truncated)));
}

#[test]
fn end_of_input_behind_unparsed_bytes_is_judged_when_they_are_parsed() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"1\n2\n3\n4");
    state.handle_end_of_input();
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work_off(&mut state, 0), ["request 1", "request 2", "request 3"]);
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::Truncated)));
}

#[test]
fn after_a_framing_error_nothing_is_parsed_and_what_came_before_is_served() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"one\nfar too long a line\ntwo\n");
    assert!(state.error().is_some());
    feed(&mut state, b"three\n");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work_off(&mut state, 0), ["request one"]);
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::ProtocolError)));
    assert_eq!(action(&mut state), None);
}

#[test]
fn work_that_came_meanwhile_keeps_the_channel_with_its_worker() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"one\n");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work(&mut state), "request one");
    assert_eq!(work(&mut state), "nothing");
    feed(&mut state, b"two\n");
    assert_eq!(action(&mut state), None);
    assert!(!state.handle_task_finished(0));
    assert_eq!(work(&mut state), "request two");
}

#[test]
fn an_open_report_comes_before_any_input_and_a_close_report_last() {
    let mut state = new_state(ChannelMode { report_open: true, report_close: true, ..ChannelMode::PLAIN });
    assert_eq!(action(&mut state), Some(Action::StartTask));
    feed(&mut state, b"one\n");
    state.handle_end_of_input();
    assert_eq!(work_off(&mut state, 0), ["Opened", "request one"]);
    assert_eq!(work(&mut state), "nothing");
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::EndOfInput)));
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work_off(&mut state, 0), ["Closed"]);
    assert_eq!(action(&mut state), None);
}

#[test]
fn the_close_is_not_reported_before_it_was_said() {
    let mut state = new_state(ChannelMode { report_close: true, ..ChannelMode::PLAIN });
    feed(&mut state, b"one\n");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work(&mut state), "request one");
    state.abort(CloseReason::Aborted);
    assert_eq!(work(&mut state), "nothing");
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::Aborted)));
    assert_eq!(work(&mut state), "Closed");
    assert!(state.handle_task_finished(0));
    assert_eq!(action(&mut state), None);
}

#[test]
fn a_close_is_not_reported_if_the_opening_never_was() {
    let mut state = new_state(ChannelMode { report_open: true, report_close: true, ..ChannelMode::PLAIN });
    state.abort(CloseReason::ConnectionLost);
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::ConnectionLost)));
    assert_eq!(action(&mut state), None);
}

#[test]
fn output_of_a_worker_waits_until_it_is_done_or_a_flush_is_wanted() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"one\n");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work(&mut state), "request one");
    assert_eq!(write(&mut state, b"answer"), Taken::All);
    assert_eq!(action(&mut state), None);
    state.want_flush();
    assert_eq!(action(&mut state), Some(Action::Send));
}

#[test]
fn a_run_goes_on_with_what_comes_at_its_end_unless_others_wait() {
    for others_wait in [false, true] {
        let mut state = new_state(PARSED);
        feed(&mut state, b"1\n2\n");
        assert_eq!(action(&mut state), Some(Action::StartTask));
        assert_eq!(work(&mut state), "request 1");
        assert_eq!(work(&mut state), "request 2");
        assert_eq!(work(&mut state), "nothing");
        feed(&mut state, b"3\n");
        if others_wait {
            state.give_way();
            assert_eq!(work(&mut state), "nothing");
            assert!(state.handle_task_finished(0));
            assert_eq!(action(&mut state), Some(Action::StartTask));
        } else {
            assert!(!state.handle_task_finished(0));
        }
        assert_eq!(work(&mut state), "request 3");
    }
}

#[test]
fn a_lone_request_is_not_watched() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"one\n");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert!(!state.watch_answers());
}

#[test]
fn several_requests_are_watched_once_and_not_again_while_one_takes_long() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"1\n2\n3\n");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert!(state.watch_answers());
    assert_eq!(work(&mut state), "request 1");
    assert!(!state.watch_answers_of_next_work());
    state.want_flush();
    assert_eq!(action(&mut state), None);
    assert!(!state.watch_answers());
    // Its answer comes to wait behind the next one, which may take long too.
    assert_eq!(write(&mut state, b"answer"), Taken::All);
    assert_eq!(work(&mut state), "request 2");
    assert!(state.watch_answers_of_next_work());
    assert!(!state.watch_answers_of_next_work());
}

#[test]
fn one_at_a_time_sends() {
    let mut state = new_state(PARSED);
    assert_eq!(write(&mut state, b"ab"), Taken::All);
    let outgoing = state.begin_send(&LIMITS).unwrap();
    assert_eq!(write(&mut state, b"cd"), Taken::All);
    assert!(state.begin_send(&LIMITS).is_none());
    assert_eq!(action(&mut state), None);
    state.handle_sent(outgoing, 0, false, 0);
    assert_eq!(send_all(&mut state, &LIMITS, 0), b"abcd");
}

#[test]
fn a_refused_send_goes_on_where_it_stopped_once_the_socket_is_writable() {
    let mut state = new_state(PARSED);
    assert_eq!(write(&mut state, b"abcdef"), Taken::All);
    send_some(&mut state, 4, 0);
    assert!(state.is_blocked());
    assert_eq!(state.unsent_bytes(), 2);
    assert_eq!(action(&mut state), None);
    assert_eq!(write(&mut state, b"gh"), Taken::All);
    assert_eq!(action(&mut state), None);
    state.handle_writable();
    assert_eq!(action(&mut state), Some(Action::Send));
    assert_eq!(send_all(&mut state, &LIMITS, 0), b"efgh");
}

#[test]
fn what_was_refused_once_does_not_wait_for_a_worker_that_takes_long() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"one\n");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work(&mut state), "request one");
    assert_eq!(write(&mut state, b"abcdef"), Taken::All);
    send_some(&mut state, 4, 0);
    state.handle_writable();
    assert_eq!(action(&mut state), Some(Action::Send));
}

#[test]
fn writable_between_the_last_send_and_the_end_of_the_task_is_not_lost() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"one\n");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work(&mut state), "request one");
    assert_eq!(write(&mut state, b"abcdef"), Taken::All);
    send_some(&mut state, 4, 0);
    state.handle_writable();
    assert!(!state.handle_task_finished(0), "the worker can send, and does");
    assert_eq!(send_all(&mut state, &LIMITS, 0), b"ef");
    assert!(state.handle_task_finished(0));
}

#[test]
fn writable_between_the_refusal_and_its_report_is_not_lost() {
    let mut state = new_state(PARSED);
    assert_eq!(write(&mut state, b"ab"), Taken::All);
    let outgoing = state.begin_send(&LIMITS).unwrap();
    state.handle_writable();
    state.handle_sent(outgoing, 0, true, 0);
    assert!(!state.is_blocked());
    assert_eq!(action(&mut state), Some(Action::Send));
}

#[test]
fn reading_pauses_above_the_high_watermark_and_goes_on_at_the_low_one() {
    let mut state = new_state(PARSED);
    assert_eq!(write(&mut state, &[b'x'; 20]), Taken::All);
    assert!(!state.is_above_high_watermark(&LIMITS) && state.wants_input(&LIMITS));
    assert_eq!(write(&mut state, b"y"), Taken::All);
    assert!(state.is_above_high_watermark(&LIMITS) && !state.wants_input(&LIMITS));
    state.pause_reading();
    send_some(&mut state, 14, 0);
    assert!(!state.is_below_low_watermark(&LIMITS));
    assert_eq!(action(&mut state), None, "between the watermarks nothing changes");
    state.handle_writable();
    send_some(&mut state, 1, 0);
    assert!(state.is_below_low_watermark(&LIMITS));
    assert_eq!(action(&mut state), Some(Action::ResumeReading));
}

#[test]
fn close_when_done_starts_no_request_and_sends_what_is_pending() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"1\n2\n");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work(&mut state), "request 1");
    assert_eq!(write(&mut state, b"bye"), Taken::All);
    state.close_when_done();
    assert!(state.is_closing() && !state.is_closed());
    assert_eq!(write(&mut state, b"too late"), Taken::Closed);
    assert_eq!(work(&mut state), "nothing");
    assert_eq!(action(&mut state), Some(Action::Send));
    send_some(&mut state, 2, 0);
    assert!(state.handle_task_finished(0));
    assert_eq!(action(&mut state), None, "output is pending");
    state.handle_writable();
    assert_eq!(action(&mut state), Some(Action::Send));
    assert_eq!(send_all(&mut state, &LIMITS, 0), b"e");
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::Finished)));
}

#[test]
fn a_drain_answers_what_was_read_and_drops_what_is_unfinished() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"1\n2\n3\nunfin");
    state.drain();
    assert!(!state.wants_input(&LIMITS));
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work_off(&mut state, 0), ["request 1", "request 2", "request 3"]);
    assert_eq!(state.error(), None, "the server stopped, the peer did nothing wrong");
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::EndOfInput)));
}

#[test]
fn a_drain_closes_an_idle_connection() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"unfin");
    state.drain();
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::EndOfInput)));
}

#[test]
fn an_abort_drops_output_and_requests_and_waits_for_the_sender() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"1\n");
    assert_eq!(write(&mut state, b"answer"), Taken::All);
    let outgoing = state.begin_send(&LIMITS).unwrap();
    state.abort(CloseReason::ConnectionLost);
    state.abort(CloseReason::Aborted);
    assert!(state.is_closed());
    assert_eq!(action(&mut state), None, "somebody is sending");
    state.handle_sent(outgoing, 3, true, 0);
    assert!(state.needs_owner(&LIMITS));
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::ConnectionLost)));
    assert_eq!(action(&mut state), None);
    assert_eq!(work(&mut state), "nothing");
}

#[test]
fn queued_tasks_get_their_turn_even_if_the_connection_closes() {
    let mut state = new_state(PARSED);
    assert!(state.handle_tasks_queued());
    state.abort(CloseReason::ConnectionLost);
    assert!(state.handle_tasks_queued(), "they share the turn of those before them");
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::ConnectionLost)));
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work_off(&mut state, 0), ["Tasks"]);
    assert!(!state.handle_tasks_queued());
    assert_eq!(action(&mut state), None);
}

#[test]
fn a_channel_that_could_not_be_queued_closes_and_asks_for_nothing_more() {
    let mut state = new_state(ChannelMode { report_close: true, ..ChannelMode::PLAIN });
    feed(&mut state, b"1\n");
    assert!(state.handle_tasks_queued());
    assert_eq!(action(&mut state), Some(Action::StartTask));
    state.cancel_task();
    assert!(!state.is_running());
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::Aborted)));
    assert_eq!(action(&mut state), None);
}

#[test]
fn held_input_is_left_in_the_socket_and_read_again_afterwards() {
    let mut state = new_state(PARSED);
    state.hold_input(true, 0);
    assert!(state.is_input_held() && !state.wants_input(&LIMITS));
    assert_eq!(action(&mut state), None);
    state.hold_input(false, 0);
    assert_eq!(action(&mut state), Some(Action::ResumeReading));
    state.hold_input(false, 0);
    assert_eq!(action(&mut state), None, "it was not held");
}

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
fn a_channel_that_is_known_is_told_of_the_opening_and_the_close_however_early_it_is_lost() {
    let mut state = new_state(ChannelMode { report_open: true, report_close: true, ..ChannelMode::PLAIN });
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert!(state.note_known());
    state.abort(CloseReason::ConnectionLost);
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::ConnectionLost)));
    assert_eq!(work_off(&mut state, 0), ["Opened", "Closed"]);
}

#[test]
fn a_channel_that_was_given_up_is_run_again_for_what_is_to_be_told() {
    let mut state = new_state(ChannelMode { report_close: true, ..ChannelMode::PLAIN });
    feed(&mut state, b"1\n2\n");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    let run = state.current_run();
    assert_eq!(work(&mut state), "request 1");
    state.give_up_task();
    assert_eq!(state.current_run(), None);
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::Aborted)));
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_ne!(state.current_run(), run);
    assert_eq!(work_off(&mut state, 0), ["Tasks", "Closed"]);
}

#[test]
fn a_run_that_takes_long_ends_so_that_other_channels_get_their_turn() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"1\n2\n3\n");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    let next = |state: &mut State, now_ms| state.next_work(make, &LIMITS, now_ms).is_some();
    assert!(next(&mut state, 1000), "a run begins with its first work, however late");
    assert!(next(&mut state, 1009));
    assert!(!next(&mut state, 1010));
    assert!(state.handle_task_finished(1010));
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert!(next(&mut state, 1011));
}

#[test]
fn tasks_that_keep_coming_do_not_keep_requests_from_being_served() {
    let mut state = new_state(PARSED);
    feed(&mut state, b"1\n2\n");
    assert!(state.handle_tasks_queued());
    assert_eq!(action(&mut state), Some(Action::StartTask));
    for expected in ["Tasks", "request 1", "Tasks", "request 2", "Tasks", "Tasks"] {
        assert_eq!(work(&mut state), expected);
        assert!(state.handle_tasks_queued());
    }
}

#[test]
fn the_last_of_a_closed_channel_is_told_in_the_same_run_however_long_it_takes() {
    let mut state = new_state(ChannelMode { report_close: true, ..ChannelMode::PLAIN });
    feed(&mut state, b"1\n");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work(&mut state), "request 1");
    state.abort(CloseReason::ConnectionLost);
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::ConnectionLost)));
    assert!(matches!(state.next_work(make, &LIMITS, 1000), Some(Work::Closed)));
}

// ---- output that moves to the spool -------------------------------------------------------------

fn spooling_limits() -> ChannelLimits {
    let output = OutputLimits { piece_bytes: 10, max_memory_bytes: 10, max_spooled_bytes: 40 };
    ChannelLimits {
        high_watermark_bytes: 50,
        low_watermark_bytes: 20,
        max_unsent_bytes: 50,
        output,
        ..LIMITS
    }
}

/// A state whose peer has taken nothing of 40 bytes: ten in memory, thirty in the spool.
fn spooled_state(limits: &ChannelLimits) -> State {
    let mut state = new_state(PARSED);
    assert_eq!(state.handle_task_output(&[b'x'; 40], limits, 0), Taken::All);
    let outgoing = state.begin_send(limits).unwrap();
    state.handle_sent(outgoing, 0, true, 0);
    for position in [0, 10, 20] {
        let spooling = state.begin_spool(limits).unwrap();
        assert_eq!((spooling.position, spooling.bytes.len()), (position, 10));
        state.handle_spooled();
    }
    assert!(state.begin_spool(limits).is_none());
    state
}

#[test]
fn what_the_sender_is_reading_from_the_spool_still_takes_its_place_there() {
    let limits = spooling_limits();
    let mut state = spooled_state(&limits);
    assert_eq!((state.unsent_bytes(), state.spooled_bytes()), (40, 30));
    assert_eq!(state.handle_task_output(&[b'y'; 10], &limits, 0), Taken::All);
    assert_eq!(state.begin_spool(&limits).unwrap().position, 30);
    state.handle_spooled();
    state.handle_writable();
    let mut first = state.begin_send(&limits).unwrap();
    first.advance(10);
    state.handle_sent(first, 10, false, 0);
    let mut loading = state.begin_send(&limits).unwrap();
    assert_eq!(loading.to_load(), Some((0, 10)));
    assert_eq!(state.handle_task_output(&[b'z'; 10], &limits, 0), Taken::All);
    assert!(state.begin_spool(&limits).is_none(), "it would be written over what is being read");
    loading.load(vec![b'x'; 10]);
    loading.advance(5);
    state.handle_sent(loading, 5, true, 0);
    assert_eq!(state.begin_spool(&limits).unwrap().position, 40);
}

#[test]
fn a_worker_does_not_wait_for_what_another_thread_is_moving() {
    let limits = spooling_limits();
    let mut state = new_state(PARSED);
    feed(&mut state, b"one\n");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work(&mut state), "request one");
    assert_eq!(state.handle_task_output(&[b'x'; 20], &limits, 0), Taken::All);
    let mut outgoing = state.begin_send(&limits).unwrap();
    assert!(state.begin_spool(&limits).is_some());
    outgoing.advance(10);
    state.handle_sent(outgoing, 10, false, 0);
    assert!(state.begin_send(&limits).is_none(), "what is on its way comes first");
    assert!(state.handle_task_finished(0));
    state.handle_spooled();
    assert_eq!(state.begin_send(&limits).unwrap().to_load(), Some((0, 10)));
}

#[test]
fn nothing_is_taken_beyond_the_limit_unless_nothing_waits() {
    let limits = spooling_limits();
    let mut state = spooled_state(&limits);
    assert!(state.has_room_for(10, &limits) && !state.has_room_for(11, &limits));
    assert_eq!(state.handle_task_output(&[b'y'; 11], &limits, 0), Taken::Full);
    assert_eq!(state.unsent_bytes(), 40);
    assert_eq!(new_state(PARSED).handle_task_output(&[b'y'; 1000], &limits, 0), Taken::All);
}

#[test]
fn an_abort_forgets_the_spool_also_under_a_spooler() {
    let limits = spooling_limits();
    let mut state = spooled_state(&limits);
    assert_eq!(state.handle_task_output(&[b'y'; 10], &limits, 0), Taken::All);
    assert!(state.begin_spool(&limits).is_some());
    state.abort(CloseReason::Aborted);
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::Aborted)));
    state.handle_spooled();
    assert_eq!((state.unsent_bytes(), state.spooled_bytes()), (0, 0));
    assert!(state.begin_spool(&limits).is_none() && state.begin_send(&limits).is_none());
}

// ---- requests that are held back ----------------------------------------------------------------

#[test]
fn a_request_is_not_started_while_much_output_waits_and_its_worker_is_let_go() {
    for mode in [PARSED, RAW] {
        let mut state = new_state(mode);
        feed(&mut state, b"1\n");
        assert_eq!(action(&mut state), Some(Action::StartTask));
        assert_ne!(work(&mut state), "nothing");
        assert_eq!(write(&mut state, &[b'x'; 21]), Taken::All);
        feed(&mut state, b"2\n");
        assert_eq!(work(&mut state), "nothing");
        send_some(&mut state, 1, 0);
        assert!(state.handle_task_finished(0));
        assert_eq!(action(&mut state), None);
        // Down to the low watermark, and no sooner.
        state.handle_writable();
        send_some(&mut state, 13, 0);
        assert_eq!((state.unsent_bytes(), action(&mut state)), (7, None));
        state.handle_writable();
        send_some(&mut state, 1, 0);
        assert_eq!(action(&mut state), Some(Action::StartTask));
        assert_ne!(work(&mut state), "nothing");
    }
}

#[test]
fn requests_are_read_ahead_up_to_a_number_of_bytes() {
    let limits = ChannelLimits { max_ready_requests: 100, max_ready_bytes: 10, ..LIMITS };
    let mut state = new_state(PARSED);
    state.handle_bytes(b"123\n456\n", make, &limits, 0);
    assert!(state.wants_input(&limits));
    state.handle_bytes(b"789\nabc\n", make, &limits, 0);
    assert!(!state.wants_input(&limits));
    let mut served = Vec::new();
    assert_eq!(state.poll_action(&limits), Some(Action::StartTask));
    while let Some(Work::Request(request)) = state.next_work(make, &limits, 0) {
        served.push(request.value().to_vec());
    }
    assert_eq!(served, [b"123", b"456", b"789", b"abc"]);
    assert!(state.wants_input(&limits));
}

#[test]
fn one_request_larger_than_the_look_ahead_is_served() {
    let limits = ChannelLimits { max_ready_bytes: 1, ..LIMITS };
    let mut state = new_state(PARSED);
    state.handle_bytes(b"12345678", make, &limits, 0);
    assert!(state.wants_input(&limits));
    state.handle_bytes(b"9\n", make, &limits, 0);
    assert_eq!(state.poll_action(&limits), Some(Action::StartTask));
}

// ---- idle connections ---------------------------------------------------------------------------

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
