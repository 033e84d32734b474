//! Bodies that a worker takes as they come, over real sockets.
#![allow(clippy::panic, clippy::unwrap_used)]

mod test_host;

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;

use test_host::{Gate, PATIENCE, Peer, TestServer, config, eventually};
use wiretask_engine::server_core::{LoopAnswers, ServerConfig};
use wiretask_engine::socket::PeerAddress;
use wiretask_protocol::channel::{BodyFailure, BodyPiece, Refusal, Work};
use wiretask_protocol::error::ErrorKind;
use wiretask_protocol::limits::HttpLimits;
use wiretask_protocol::native::{ConsumerSpec, NativeConsumer};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[derive(Debug)]
struct Words;

impl LoopAnswers for Words {
    fn refusal(&self, refusal: &Refusal, _: &[u8], _: &PeerAddress) -> Vec<u8> {
        format!("refused: {refusal:?}").into_bytes()
    }

    fn go_ahead(&self) -> &[u8] {
        b"go ahead|"
    }
}

fn streaming(name: &str) -> ServerConfig {
    let mut config = config(name);
    config.parser = ConsumerSpec::http_request(HttpLimits::DEFAULT).unwrap();
    config.loop_answers = Some(Arc::new(Words));
    config.mode.streams_bodies = true;
    config.mode.finishes_begun = true;
    config
}

fn head(fields: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").into_bytes()
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from((index * 7 + index / 251) % 251).unwrap()).collect()
}

/// All of the body, as a well-behaved application takes it.
fn take_all(peer: &Peer, request: &mut NativeConsumer) -> Result<Vec<u8>, BodyFailure> {
    let mut body = request.take_value();
    loop {
        match peer.take_body(10_000) {
            BodyPiece::Bytes(piece) => {
                assert!((1..=10_000).contains(&piece.len()));
                body.extend(piece);
            }
            BodyPiece::End => return Ok(body),
            BodyPiece::Failed(failure) => return Err(failure),
            BodyPiece::Wait { .. } => {
                peer.wait_for_body(|| false);
            }
        }
    }
}

fn sum(body: &[u8]) -> String {
    let sum = body.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    format!("{} {sum:x}|", body.len())
}

fn summarize(peer: &Peer, work: Work<NativeConsumer>) {
    let Work::Request(mut request) = work else { return };
    let answer = match take_all(peer, &mut request) {
        Ok(body) => sum(&body),
        Err(failure) => format!("{failure:?}|"),
    };
    peer.write(answer.as_bytes());
}

#[test]
fn bodies_of_any_length_and_framing_come_whole_with_requests_behind_them() {
    let server = TestServer::start(streaming("streams"), summarize);
    for length in [0, 1, 5000, 65_536, 200_000, 3_000_000] {
        let body = content(length);
        let plain = [&head(&format!("Content-Length: {length}"))[..], &body].concat();
        let mut chunked = head("Transfer-Encoding: chunked");
        for chunk in body.chunks(30_000) {
            chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            chunked.extend_from_slice(chunk);
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        let mut client = server.connect();
        client.send(&[&plain[..], GET, &chunked, &plain, GET].concat());
        let (one, none) = (sum(&body), sum(b""));
        let expected = format!("{one}{none}{one}{one}{none}");
        assert_eq!(String::from_utf8(client.receive(expected.len())).unwrap(), expected);
    }
}

#[test]
fn a_request_is_served_before_its_body_has_come_and_gets_it_drop_by_drop() {
    let (pieces, seen) = mpsc::channel();
    let server = TestServer::start(streaming("streamdrops"), move |peer, _| {
        pieces.send(Vec::new()).unwrap();
        loop {
            match peer.take_body(100) {
                BodyPiece::Bytes(piece) => pieces.send(piece).unwrap(),
                BodyPiece::Wait { .. } => assert!(peer.wait_for_body(|| false)),
                BodyPiece::End => return,
                BodyPiece::Failed(failure) => panic!("{failure:?}"),
            }
        }
    });
    let mut client = server.connect();
    client.send(&head("Content-Length: 6"));
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), b"");
    for drop in [b"ab", b"cd", b"ef"] {
        client.send(drop);
        assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), drop);
    }
}

#[test]
fn what_nobody_takes_stays_with_its_peer() {
    let gate = Gate::default();
    let at_gate = gate.clone();
    let server = TestServer::start(streaming("streamfull"), move |peer, work| {
        at_gate.pass();
        summarize(peer, work);
    });
    let body = content(16_000_000);
    let stream = [&head(&format!("Content-Length: {}", body.len()))[..], &body].concat();
    let client = server.connect();
    let mut sending = test_host::Client(client.0.try_clone().unwrap());
    let sender = thread::spawn(move || sending.send(&stream));
    gate.wait_for_arrivals(1);
    // Whatever it gets to read it reads now: the loop goes to sleep.
    let received = || server.stats().bytes_received.load(Ordering::Relaxed);
    let mut before = 0;
    eventually("the loop has stopped reading", || std::mem::replace(&mut before, received()) == received());
    assert!(received() < 1_000_000, "{}", received());
    gate.open();
    let mut client = client;
    let expected = sum(&body);
    assert_eq!(String::from_utf8(client.receive(expected.len())).unwrap(), expected);
    sender.join().unwrap();
}

#[test]
fn a_peer_that_waits_for_a_word_gets_it_when_the_body_is_asked_for() {
    let gate = Gate::default();
    let at_gate = gate.clone();
    let server = TestServer::start(streaming("streamasks"), move |peer, work| {
        at_gate.pass();
        assert!(peer.is_body_unasked());
        summarize(peer, work);
    });
    let mut client = server.connect();
    client.send(&head("Content-Length: 3\r\nExpect: 100-continue"));
    gate.wait_for_arrivals(1);
    assert_eq!(server.stats().bytes_sent.load(Ordering::Relaxed), 0);
    gate.open();
    assert_eq!(client.receive(9), b"go ahead|");
    client.send(b"abc");
    let expected = sum(b"abc");
    assert_eq!(String::from_utf8(client.receive(expected.len())).unwrap(), expected);
}

#[test]
fn an_answer_without_the_body_ends_a_connection_whose_peer_was_not_let_send_it() {
    let server = TestServer::start(streaming("streamunasked"), |peer, _| {
        peer.write(b"no, thanks");
        // It has begun to answer: another word would be in the middle of that.
        assert_eq!(peer.take_body(10), BodyPiece::Wait { needs_go_ahead: false });
    });
    let mut client = server.connect();
    client.send(&head("Content-Length: 3\r\nExpect: 100-continue"));
    assert_eq!(client.receive_to_the_end(), b"no, thanks");
}

#[test]
fn what_the_application_leaves_of_a_body_is_thrown_away_if_it_is_short() {
    let server = TestServer::start(streaming("streamrest"), |peer, work| {
        let Work::Request(request) = work else { return };
        if peer.is_body_streamed() && request.value().is_empty() {
            peer.write(b"first ");
        } else {
            peer.write(b"second ");
        }
    });
    let mut client = server.connect();
    client.send(&head("Content-Length: 100000"));
    assert_eq!(client.receive(6), b"first ");
    client.send(&[&content(100_000)[..], GET].concat());
    assert_eq!(client.receive(7), b"second ");
    // And of a long one nothing but the beginning.
    client.send(&head("Content-Length: 100000000"));
    assert_eq!(client.receive(6), b"first ");
    let body = content(700_000);
    client.send(&body);
    assert_eq!(client.receive_to_the_end(), b"");
    eventually("it is closed", || server.connections() == 0);
}

#[test]
fn a_body_that_does_not_come_whole_fails_and_is_never_short() {
    let mut config = streaming("streamfails");
    config.limits.request_timeout_ms = Some(300);
    let (failures, seen) = mpsc::channel();
    let server = TestServer::start(config, move |peer, work| {
        let Work::Request(mut request) = work else { return };
        let outcome = take_all(peer, &mut request);
        peer.write(b"sorry");
        failures.send(outcome).unwrap();
    });
    let begin = [&head("Content-Length: 1000")[..], b"some"].concat();
    let mut ended = server.connect();
    ended.send(&begin);
    ended.0.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), Err(BodyFailure::Disconnected));
    assert_eq!(ended.receive_to_the_end(), b"sorry");
    let mut reset = server.connect();
    reset.send(&begin);
    eventually("it is being served", || server.stats().begun.load(Ordering::Relaxed) == 2);
    reset.reset();
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), Err(BodyFailure::Disconnected));
    let mut late = server.connect();
    late.send(&begin);
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), Err(BodyFailure::Late));
    assert_eq!(late.receive_to_the_end(), b"sorry");
    let mut broken = server.connect();
    broken.send(&head("Transfer-Encoding: chunked"));
    eventually("it is being served", || server.stats().begun.load(Ordering::Relaxed) == 4);
    broken.send(b"3\r\nabc\r\nxyz\r\n");
    let Err(BodyFailure::Stream(error)) = seen.recv_timeout(PATIENCE).unwrap() else { panic!("no fault") };
    assert_eq!(error.kind, ErrorKind::BadChunkSize);
    // One answer, and not another one of the loop's.
    assert_eq!(broken.receive_to_the_end(), b"sorry");
    eventually("all are closed", || server.connections() == 0);
}

#[test]
fn a_body_that_is_coming_comes_to_its_end_while_the_server_drains() {
    let server = TestServer::start(streaming("streamdrain"), summarize);
    let mut client = server.connect();
    client.send(&[&head("Content-Length: 6")[..], b"abc"].concat());
    eventually("it is being served", || server.stats().begun.load(Ordering::Relaxed) == 1);
    server.server().drain();
    client.send(b"def");
    assert_eq!(String::from_utf8(client.receive_to_the_end()).unwrap(), sum(b"abcdef"));
}
