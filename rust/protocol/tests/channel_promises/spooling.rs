//! Output that moves to the spool.
use super::State;
use super::lines::{LIMITS, PARSED, action, feed, new_state, work};
use wiretask_protocol::channel::{Action, ChannelLimits, CloseReason, OutputLimits, Taken};

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
