//! What the loop says by itself, over real sockets: refusals, and the word that a peer waits for.
#![allow(clippy::unwrap_used)]

mod test_host;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use test_host::{Client, Gate, PATIENCE, Peer, TestServer, config, eventually};
use wiretask_engine::server_core::{LoopAnswers, ServerConfig};
use wiretask_engine::socket::PeerAddress;
use wiretask_protocol::channel::{Refusal, Work};
use wiretask_protocol::limits::HttpLimits;
use wiretask_protocol::native::{ConsumerSpec, NativeConsumer};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const BAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
const WAITING: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

/// The gate is where the loop waits before it refuses.
#[derive(Clone, Default)]
struct Words(Option<Gate>);

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Words")
    }
}

impl LoopAnswers for Words {
    fn refusal(&self, refusal: &Refusal, _: &[u8], _peer: &PeerAddress) -> Vec<u8> {
        self.0.iter().for_each(Gate::pass);
        match refusal {
            Refusal::Stream(error) => error.kind.name().into(),
            Refusal::Late => b"late".to_vec(),
            Refusal::Unkept => b"no room".to_vec(),
            Refusal::Unserved => b"busy".to_vec(),
        }
    }

    fn go_ahead(&self) -> &[u8] {
        b"go ahead"
    }
}

fn answering(name: &str) -> ServerConfig {
    let mut config = config(name);
    config.parser = ConsumerSpec::http_request(HttpLimits::DEFAULT).unwrap();
    config.loop_answers = Some(Arc::new(Words::default()));
    config
}

fn answer(peer: &Peer, work: Work<NativeConsumer>) {
    if let Work::Request(request) = work {
        peer.write(&[b"answer ", request.value()].concat());
    }
}

fn told(client: &mut Client) -> String {
    String::from_utf8(client.receive_to_the_end()).unwrap()
}

#[test]
fn what_is_refused_is_answered_behind_what_came_before_though_more_comes() {
    let server = TestServer::start(answering("refusing"), answer);
    for _ in 0..20 {
        let mut client = server.connect();
        client.send(&[GET, BAD].concat());
        client.send(&vec![b'?'; 600_000]);
        assert_eq!(told(&mut client), "answer repeated_host");
    }
    eventually("all are closed", || server.connections() == 0);
    assert_eq!(server.stats().protocol_errors.load(Ordering::Relaxed), 20);
}

#[test]
fn a_refusal_does_not_cut_an_answer_that_is_being_made() {
    let gate = Gate::default();
    let at_gate = gate.clone();
    let server = TestServer::start(answering("refusinglater"), move |peer, _| {
        peer.write(b"first half, ");
        peer.send_now();
        at_gate.pass();
        peer.write(b"second half, ");
    });
    let mut client = server.connect();
    client.send(GET);
    gate.wait_for_arrivals(1);
    client.send(BAD);
    eventually("the loop has read it", || server.stats().bytes_received.load(Ordering::Relaxed) > 60);
    gate.open();
    assert_eq!(told(&mut client), "first half, second half, repeated_host");
}

#[test]
fn who_is_late_with_a_request_is_told_and_who_asks_nothing_is_not() {
    let mut config = answering("late");
    config.limits.request_timeout_ms = Some(100);
    config.limits.idle_timeout_ms = Some(100);
    let server = TestServer::start(config, answer);
    let (mut late, mut idle) = (server.connect(), server.connect());
    late.send(b"GET / HTT");
    assert_eq!(told(&mut late), "late");
    assert_eq!(told(&mut idle), "");
    eventually("both are closed", || server.connections() == 0);
    assert_eq!(server.stats().timeouts.load(Ordering::Relaxed), 2);
}

#[test]
fn a_peer_that_reads_no_refusal_does_not_stay() {
    let mut config = answering("deaf");
    config.limits.write_timeout_ms = Some(100);
    let server = TestServer::start(config, |peer, _| {
        peer.write(&vec![b'x'; 1 << 23]);
    });
    let mut client = server.connect();
    client.send(&[GET, BAD].concat());
    eventually("it is closed", || {
        server.stats().accepted.load(Ordering::SeqCst) == 1 && server.connections() == 0
    });
}

#[test]
fn a_request_for_which_there_is_no_worker_is_answered() {
    let server = TestServer::start(answering("busy"), answer);
    let mut client = server.connect();
    client.send(GET);
    assert_eq!(client.receive(7), b"answer ");
    eventually("the worker is done", || server.host().running.load(Ordering::SeqCst) == 0);
    server.host().is_refusing.store(true, Ordering::SeqCst);
    let mut other = server.connect();
    other.send(GET);
    assert_eq!(told(&mut other), "busy");
    eventually("it is counted", || server.stats().refused.load(Ordering::Relaxed) == 1);
    client.send(GET);
    assert_eq!(told(&mut client), "busy");
    assert!(server.server().stop(PATIENCE));
}

#[test]
fn a_peer_that_waits_for_a_word_gets_it_in_its_turn() {
    let server = TestServer::start(answering("goahead"), answer);
    let mut client = server.connect();
    for _ in 0..50 {
        client.send(&[GET, WAITING].concat());
        assert_eq!(client.receive(15), b"answer go ahead");
        client.send(b"12345");
        assert_eq!(client.receive(12), b"answer 12345");
        // Who does not wait is not told.
        client.send(&[WAITING, b"67890"].concat());
        assert_eq!(client.receive(12), b"answer 67890");
    }
}

#[test]
fn a_request_that_was_sent_before_a_patient_drain_is_answered_though_nobody_had_looked_at_it() {
    let mut config = answering("drainunread");
    let gate = Gate::default();
    config.loop_answers = Some(Arc::new(Words(Some(gate.clone()))));
    config.mode.finishes_begun = true;
    let server = TestServer::start(config, answer);
    let (mut early, mut bad) = (server.connect(), server.connect());
    eventually("both are there", || server.connections() == 2);
    bad.send(BAD);
    gate.wait_for_arrivals(1);
    // Now the loop does not look.
    early.send(GET);
    server.server().drain();
    gate.open();
    assert_eq!(told(&mut early), "answer ");
    assert_eq!(told(&mut bad), "repeated_host");
}
