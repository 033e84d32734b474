//! Output of small answers: who sends it, when, and what goes on after a refusal.
use super::lines::{LIMITS, PARSED, RAW, action, feed, new_state, send_some, work, write};
use super::send_all;
use wiretask_protocol::channel::{Action, Taken};

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
