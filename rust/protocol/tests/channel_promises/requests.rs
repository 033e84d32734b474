//! What is made of input: requests, look-ahead, what runs when.
use super::lines::{LIMITS, PARSED, RAW, action, feed, make, new_state, work, work_off, write};
use super::{State, send_all};
use wiretask_protocol::channel::{Action, ChannelLimits, CloseReason, Taken, Work};

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
