//! The last answer reaches a peer that goes on sending.
#![allow(clippy::unwrap_used)]

mod test_host;

use std::io::{Read, Write};

use test_host::{PATIENCE, Peer, TestServer, config, eventually};
use wiretask_protocol::channel::Work;
use wiretask_protocol::native::NativeConsumer;

/// Much more than the socket buffers of both sides hold without a reader.
const FLOOD_BYTES: usize = 600_000;

fn answer_and_close(peer: &Peer, work: Work<NativeConsumer>) {
    if let Work::Request(_) = work {
        peer.write(&[b'x'; 100_000]);
        peer.close_when_done();
    }
}

#[test]
fn an_answer_is_not_lost_to_input_that_nobody_reads() {
    let server = TestServer::start(config("linger"), answer_and_close);
    for _ in 0..20 {
        let mut stream = server.connect().into_stream();
        stream.write_all(b"bye\n").unwrap();
        stream.write_all(&vec![b'?'; FLOOD_BYTES]).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer.len(), 100_000);
    }
}

#[test]
fn what_came_before_a_broken_request_is_answered_though_more_comes() {
    let server = TestServer::echo(config("lingerbroken"));
    for _ in 0..20 {
        let mut stream = server.connect().into_stream();
        stream.write_all(b"good\n").unwrap();
        stream.write_all(&vec![b'?'; FLOOD_BYTES]).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"good\n");
    }
}

#[test]
fn a_lingering_connection_counts_no_more_and_ends_though_its_peer_stays() {
    let server = TestServer::start(config("lingerstays"), answer_and_close);
    let mut stream = server.connect().into_stream();
    stream.write_all(b"bye\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    eventually("the connection is over", || server.connections() == 0);
    // A closed socket answers with a reset, and the next write fails.
    eventually("the socket is closed", || (&stream).write_all(b"still here\n").is_err());
}

#[test]
fn stopping_does_not_wait_for_a_peer_that_lingers_for_long() {
    let server = TestServer::start(config("lingerstop"), answer_and_close);
    let mut stream = server.connect().into_stream();
    stream.write_all(b"bye\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(server.server().stop(PATIENCE));
}
