//! What a channel answers by itself: refusals, and the word that a peer waits for. By example, with HTTP requests.
use super::{ROOMY, State, send_all};
use wiretask_protocol::channel::{
    Action, BodyPiece, ChannelLimits, ChannelMode, CloseReason, Refusal, Taken, Timeout, Work,
};
use wiretask_protocol::error::ErrorKind;
use wiretask_protocol::limits::HttpLimits;
use wiretask_protocol::native::{ConsumerSpec, NativeConsumer};

const LIMITS: ChannelLimits = ROOMY;

const GET: &[u8] = b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n";
const BAD: &[u8] = b"GET /first HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
const WAITING: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
const ANSWERING: ChannelMode = ChannelMode { answers: true, ..ChannelMode::PLAIN };

fn make() -> NativeConsumer {
    let limits = HttpLimits { max_body_bytes: 100, ..HttpLimits::DEFAULT };
    ConsumerSpec::http_request(limits).unwrap().new_consumer()
}

fn new_state(mode: ChannelMode) -> State {
    State::new(mode, 0)
}

fn feed(state: &mut State, data: &[u8]) {
    state.handle_bytes(data, make, &LIMITS, 0);
}

fn action(state: &mut State) -> Option<Action> {
    state.poll_action(&LIMITS)
}

/// A worker takes one request, answers it and lets the channel go, all at once.
fn serve_one(state: &mut State) {
    assert!(matches!(state.next_work(make, &LIMITS, 0), Some(Work::Request(_))));
    assert_eq!(state.handle_task_output(b"answer", &LIMITS, 0), Taken::All);
    assert!(state.next_work(make, &LIMITS, 0).is_none());
    send_all(state, &LIMITS, 0);
    assert!(state.handle_task_finished(0));
}

#[test]
fn what_the_parser_refuses_is_answered_and_then_the_connection_closes() {
    let mut state = new_state(ANSWERING);
    feed(&mut state, BAD);
    let Some(Action::Refuse(Refusal::Stream(error))) = action(&mut state) else { panic!("no refusal") };
    assert_eq!(error.kind, ErrorKind::RepeatedHost);
    assert_eq!(state.refused_line(), b"GET /first HTTP/1.1");
    assert_eq!(action(&mut state), None);
    state.handle_refusal(b"no!", &LIMITS, 0);
    assert_eq!(state.refused_line(), b"", "it is kept no longer than it is needed");
    assert_eq!(action(&mut state), Some(Action::Send));
    assert_eq!(send_all(&mut state, &LIMITS, 0), b"no!");
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::ProtocolError)));
}

#[test]
fn a_refusal_comes_behind_the_answers_to_what_came_before() {
    let mut state = new_state(ANSWERING);
    feed(&mut state, &[GET, BAD].concat());
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(action(&mut state), None);
    serve_one(&mut state);
    assert!(matches!(action(&mut state), Some(Action::Refuse(_))));
}

#[test]
fn a_channel_without_words_of_its_own_closes_without_an_answer() {
    let mut state = new_state(ChannelMode::PLAIN);
    feed(&mut state, BAD);
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::ProtocolError)));
}

#[test]
fn nobody_is_answered_who_has_ended_in_the_middle_of_a_request() {
    let mut state = new_state(ANSWERING);
    feed(&mut state, b"GET / HT");
    state.handle_end_of_input();
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::Truncated)));
}

#[test]
fn an_empty_answer_is_none() {
    let mut state = new_state(ANSWERING);
    feed(&mut state, BAD);
    assert!(matches!(action(&mut state), Some(Action::Refuse(_))));
    state.handle_refusal(b"", &LIMITS, 0);
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::ProtocolError)));
}

#[test]
fn what_comes_behind_a_refused_request_is_never_looked_at() {
    let mut state = new_state(ANSWERING);
    feed(&mut state, BAD);
    feed(&mut state, GET);
    assert!(matches!(action(&mut state), Some(Action::Refuse(_))));
    feed(&mut state, GET);
    state.handle_refusal(b"no!", &LIMITS, 0);
    assert_eq!(send_all(&mut state, &LIMITS, 0), b"no!");
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::ProtocolError)));
}

#[test]
fn a_request_that_takes_too_long_is_answered_and_an_idle_connection_is_not() {
    let mut state = new_state(ANSWERING);
    feed(&mut state, b"GET / HT");
    assert_eq!(state.poll_timeout(&LIMITS, 300), Timeout::Expired(CloseReason::RequestTimeout));
    state.expire(CloseReason::RequestTimeout);
    assert_eq!(action(&mut state), Some(Action::Refuse(Refusal::Late)));
    assert_eq!(state.refused_line(), b"GET / HT");
    state.handle_refusal(b"late", &LIMITS, 300);
    assert_eq!(send_all(&mut state, &LIMITS, 0), b"late");
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::RequestTimeout)));

    let mut state = new_state(ANSWERING);
    assert_eq!(state.poll_timeout(&LIMITS, 1000), Timeout::Expired(CloseReason::IdleTimeout));
    state.expire(CloseReason::IdleTimeout);
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::IdleTimeout)));
}

#[test]
fn a_peer_that_does_not_take_a_refusal_has_the_time_of_any_output() {
    let mut state = new_state(ANSWERING);
    feed(&mut state, BAD);
    assert!(matches!(action(&mut state), Some(Action::Refuse(_))));
    state.handle_refusal(b"no!", &LIMITS, 100);
    let outgoing = state.begin_send(&LIMITS).unwrap();
    state.handle_sent(outgoing, 0, true, 100);
    assert_eq!(state.poll_timeout(&LIMITS, 599), Timeout::At(600));
    assert_eq!(state.poll_timeout(&LIMITS, 600), Timeout::Expired(CloseReason::WriteTimeout));
}

#[test]
fn a_request_that_no_worker_can_take_is_answered_behind_what_was_written_before() {
    let mut state = new_state(ChannelMode { report_close: true, ..ANSWERING });
    feed(&mut state, GET);
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert!(matches!(state.next_work(make, &LIMITS, 0), Some(Work::Request(_))));
    state.handle_task_output(b"answer", &LIMITS, 0);
    assert!(state.next_work(make, &LIMITS, 0).is_none());
    assert!(state.leave_output(0));
    feed(&mut state, &[GET, b"GET /second"].concat());
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert!(state.cancel_task(), "the host is told of the end now");
    assert!(!state.handle_tasks_queued() && !state.note_known());
    assert_eq!(action(&mut state), Some(Action::Refuse(Refusal::Unserved)));
    assert_eq!(state.refused_line(), b"GET /first HTTP/1.1");
    state.handle_refusal(b"busy", &LIMITS, 0);
    assert_eq!(send_all(&mut state, &LIMITS, 0), b"answerbusy");
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::Unserved)));
    assert!(!state.is_close_due() && state.is_over());
}

#[test]
fn a_request_that_a_worker_has_seen_is_not_answered_by_the_loop() {
    let mut state = new_state(ANSWERING);
    feed(&mut state, &[GET, GET].concat());
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert!(matches!(state.next_work(make, &LIMITS, 0), Some(Work::Request(_))));
    state.cancel_task();
    assert_eq!(action(&mut state), Some(Action::Close(CloseReason::Aborted)));
}

#[test]
fn a_peer_that_waits_is_let_go_ahead_once() {
    let mut state = new_state(ANSWERING);
    feed(&mut state, WAITING);
    assert_eq!(action(&mut state), Some(Action::GoAhead));
    state.handle_go_ahead(b"go", &LIMITS, 0);
    assert_eq!(action(&mut state), Some(Action::Send));
    assert_eq!(send_all(&mut state, &LIMITS, 0), b"go");
    assert_eq!(action(&mut state), None);
    feed(&mut state, b"bo");
    assert_eq!(action(&mut state), None);
    feed(&mut state, b"dy!");
    assert_eq!(action(&mut state), Some(Action::StartTask));
}

#[test]
fn nothing_is_said_when_the_body_has_begun_or_there_is_none() {
    for stream in [
        [WAITING, b"b"].concat(),
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n".to_vec(),
        b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n".to_vec(),
    ] {
        let mut state = new_state(ANSWERING);
        feed(&mut state, &stream);
        assert_eq!(action(&mut state), None);
    }
    let mut state = new_state(ANSWERING);
    feed(&mut state, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(action(&mut state), None);
}

#[test]
fn the_word_comes_behind_the_answers_to_what_came_before() {
    let mut state = new_state(ANSWERING);
    feed(&mut state, &[GET, WAITING].concat());
    assert_eq!(action(&mut state), Some(Action::StartTask));
    assert_eq!(action(&mut state), None);
    serve_one(&mut state);
    assert!(state.needs_owner(&LIMITS));
    assert_eq!(action(&mut state), Some(Action::GoAhead));
}

#[test]
fn an_answer_begins_with_its_first_byte_and_not_before() {
    for (written, needs_go_ahead) in [(&b""[..], true), (b"x", false)] {
        let mut state = new_state(ChannelMode { streams_bodies: true, ..ANSWERING });
        feed(&mut state, WAITING);
        assert_eq!(action(&mut state), Some(Action::StartTask));
        assert!(matches!(state.next_work(make, &LIMITS, 0), Some(Work::Request(_))));
        assert!(state.is_body_streamed());
        assert_eq!(state.handle_task_output(written, &LIMITS, 0), Taken::All);
        assert_eq!(state.take_body(10, 0), BodyPiece::Wait { needs_go_ahead });
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_and_not_asked_for() {
    let mut state = new_state(ANSWERING);
    feed(&mut state, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\nExpect: 100-continue\r\n\r\n");
    let Some(Action::Refuse(Refusal::Stream(error))) = action(&mut state) else { panic!("no refusal") };
    assert_eq!(error.kind.status(), Some(413));
}

#[test]
fn a_channel_without_words_of_its_own_says_nothing_to_a_peer_that_waits() {
    let mut state = new_state(ChannelMode::PLAIN);
    feed(&mut state, WAITING);
    assert_eq!(action(&mut state), None);
}
