//! Peers that ask for much and read nothing: they stop nobody, and what waits for them is bounded.
#![allow(clippy::panic, clippy::unwrap_used)]

mod test_host;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use test_host::slow::{
    ANSWER_BYTES, MEMORY_BYTES, PIECE_BYTES, answer, narrow_client, narrow_listener, serve, spooling_config,
};
use test_host::{PATIENCE, TestServer, eventually};
use wiretask_engine::output::Wrote;
use wiretask_engine::waiting_writers::Room;
use wiretask_protocol::channel::Work;

fn spooled(server: &TestServer) -> usize {
    server.stats().spooled_bytes.load(Ordering::SeqCst)
}

#[test]
fn more_slow_readers_than_workers_stop_nobody_and_get_everything() {
    for io_threads in [1, 2] {
        let mut config = spooling_config("manyslow");
        config.io_threads = io_threads;
        let (listener, address) = narrow_listener();
        let server = TestServer::start_on(config, vec![listener], 2, serve);
        let mut slow: Vec<_> = (0..7).map(|_| narrow_client(address)).collect();
        slow.iter_mut().for_each(|client| client.send(b"big\n"));
        // Writers are held back at the watermark, for as long as `PATIENCE` if nobody needed them.
        let mut fast = narrow_client(address);
        for _ in 0..100 {
            fast.ask(b"hello\n");
        }
        let most = 7 * ANSWER_BYTES;
        eventually("all answers are written", || spooled(&server) > most - 7 * (MEMORY_BYTES + (1 << 20)));
        for client in &mut slow {
            assert!(client.receive(ANSWER_BYTES) == answer(ANSWER_BYTES), "not what was written");
            client.ask(b"and on\n");
        }
        assert_eq!(spooled(&server), 0);
        server.end();
    }
}

#[test]
fn what_is_in_memory_of_a_slow_reader_stays_within_the_limit_for_any_size_of_write() {
    let (seen, states) = mpsc::channel();
    let (listener, address) = narrow_listener();
    let server = TestServer::start_on(spooling_config("bounded"), vec![listener], 1, move |peer, _| {
        let mut highest = 0;
        for size in [1, 100, 5000, PIECE_BYTES, 70_000, 300_000, 2_000_000].repeat(3) {
            assert_ne!(peer.write(&answer(size)), Wrote::Full);
            peer.send_now();
            let (unsent, spooled) = peer.unsent_bytes();
            highest = highest.max(unsent - spooled);
        }
        seen.send(highest).unwrap();
    });
    let mut client = narrow_client(address);
    client.send(b"go\n");
    assert!(states.recv_timeout(PATIENCE).unwrap() <= MEMORY_BYTES + 2 * PIECE_BYTES);
    for size in [1, 100, 5000, PIECE_BYTES, 70_000, 300_000, 2_000_000].repeat(3) {
        assert!(client.receive(size) == answer(size), "not what was written");
    }
    drop(server);
}

#[test]
fn output_that_comes_faster_than_it_is_read_goes_round_in_a_file_that_stays_short() {
    let mut config = spooling_config("ring");
    config.limits.output.max_spooled_bytes = 200_000;
    config.limits.max_unsent_bytes = MEMORY_BYTES + 200_000;
    config.limits.high_watermark_bytes = MEMORY_BYTES + 200_000;
    let (listener, address) = narrow_listener();
    let server = TestServer::start_on(config, vec![listener], 1, serve);
    let mut client = narrow_client(address);
    client.send(b"big\n");
    assert!(client.receive(ANSWER_BYTES) == answer(ANSWER_BYTES), "not what was written");
    drop(server);
}

#[test]
fn nothing_is_taken_beyond_the_limit_and_a_writer_waits_there_until_its_deadline() {
    let mut config = spooling_config("full");
    config.limits.output.max_spooled_bytes = 200_000;
    config.limits.max_unsent_bytes = MEMORY_BYTES + 200_000;
    let (seen, outcomes) = mpsc::channel();
    let (listener, address) = narrow_listener();
    let server = TestServer::start_on(config, vec![listener], 1, move |peer, _| {
        let mut written = 0;
        while peer.write(&[b'x'; 10_000]) != Wrote::Full {
            peer.send_now();
            written += 10_000;
        }
        let (unsent, _) = peer.unsent_bytes();
        assert!(unsent <= MEMORY_BYTES + 200_000 && unsent > MEMORY_BYTES + 190_000 - 2 * PIECE_BYTES);
        let soon = Instant::now() + Duration::from_millis(5);
        assert!(!peer.wait_for_room(Room::For(10_000), Some(soon), || false));
        seen.send(written).unwrap();
        assert!(peer.wait_for_room(Room::For(10_000), None, || false));
        assert_ne!(peer.write(b"the end"), Wrote::Full);
    });
    let mut client = narrow_client(address);
    client.send(b"go\n");
    let written = outcomes.recv_timeout(PATIENCE).unwrap();
    client.receive(written);
    assert_eq!(client.receive(7), b"the end");
    drop(server);
}

#[test]
fn a_writer_that_waited_in_vain_does_not_wait_again_until_its_peer_has_read() {
    let mut config = spooling_config("patience");
    config.writer_patience = Duration::from_millis(5);
    let (seen, outcomes) = mpsc::channel();
    let (listener, address) = narrow_listener();
    let server = TestServer::start_on(config, vec![listener], 1, move |peer, _| {
        for _ in 0..2 {
            assert_eq!(peer.write(&[b'x'; 3 << 20]), Wrote::ShouldWait);
            assert!(peer.hold_back(|| false));
            assert_eq!(peer.write(b"more"), Wrote::ShouldSend);
            seen.send(()).unwrap();
            assert!(peer.wait_for_room(Room::Low, None, || false));
        }
    });
    let mut client = narrow_client(address);
    client.send(b"go\n");
    for _ in 0..2 {
        outcomes.recv_timeout(PATIENCE).unwrap();
        client.receive((3 << 20) + 4);
    }
    drop(server);
}

#[test]
fn requests_of_a_peer_that_reads_nothing_are_not_started() {
    let (started, hits) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counter = (Arc::clone(&started), Arc::clone(&hits));
    let (listener, address) = narrow_listener();
    let mut config = spooling_config("heldback");
    config.writer_patience = Duration::ZERO;
    let server = TestServer::start_on(config, vec![listener], 1, move |peer, work| {
        let is_big = matches!(&work, Work::Request(request) if request.value() == b"big");
        if is_big { &counter.0 } else { &counter.1 }.fetch_add(1, Ordering::SeqCst);
        serve(peer, work);
    });
    let mut greedy = narrow_client(address);
    greedy.send(&b"big\n".repeat(4));
    eventually("one is answered", || spooled(&server) > ANSWER_BYTES / 2);
    // The only worker is free.
    let mut other = narrow_client(address);
    for _ in 0..100 {
        other.ask(b"hello\n");
    }
    assert_eq!(hits.load(Ordering::SeqCst), 100);
    assert_eq!(started.load(Ordering::SeqCst), 1);
    for _ in 0..4 {
        assert!(greedy.receive(ANSWER_BYTES) == answer(ANSWER_BYTES), "not what was written");
    }
    assert_eq!(started.load(Ordering::SeqCst), 4);
    drop(server);
}

#[test]
fn a_directory_in_which_nothing_can_be_written_costs_the_connection_and_is_logged_once() {
    let mut config = spooling_config("nodir");
    config.spool_directory = PathBuf::from("/nowhere/at/all");
    let (listener, address) = narrow_listener();
    let server = TestServer::start_on(config, vec![listener], 2, serve);
    let mut other = narrow_client(address);
    other.ask(b"before\n");
    for _ in 0..5 {
        let mut slow = narrow_client(address);
        slow.send(b"big\n");
        assert!(slow.receive_to_the_end().len() < ANSWER_BYTES);
    }
    other.ask(b"after\n");
    eventually("they are counted", || server.stats().spool_failures.load(Ordering::SeqCst) == 5);
    let logged = server.host().logged.lock().unwrap().clone();
    let lines: Vec<_> = logged.iter().filter(|line| line.contains("/nowhere/at/all")).collect();
    assert_eq!(lines.len(), 1, "{logged:?}");
    drop(server);
}
