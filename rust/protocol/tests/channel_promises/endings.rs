//! How a channel closes, and who is told of its opening and its end.
use super::lines::{LIMITS, PARSED, action, feed, make, new_state, send_some, work, work_off, write};
use super::send_all;
use wiretask_protocol::channel::{Action, ChannelMode, CloseReason, Taken, Work};

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
fn the_last_of_a_closed_channel_is_told_in_the_same_run_however_long_it_takes() {
    let mut state = new_state(ChannelMode { report_close: true, ..ChannelMode::PLAIN });
    feed(&mut state, b"1\n");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(work(&mut state), "request 1");
    state.abort(CloseReason::ConnectionLost);
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::ConnectionLost)));
    assert!(matches!(state.next_work(make, &LIMITS, 1000), Some(Work::Closed)));
}
