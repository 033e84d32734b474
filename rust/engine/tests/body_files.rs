//! Bodies that are too long for memory, over real sockets.
#![allow(clippy::unwrap_used)]

mod test_host;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use test_host::{Peer, TestServer, config, eventually};
use wiretask_engine::server_core::{LoopAnswers, ServerConfig};
use wiretask_engine::socket::PeerAddress;
use wiretask_protocol::channel::{Refusal, Work};
use wiretask_protocol::limits::HttpLimits;
use wiretask_protocol::native::{ConsumerSpec, NativeConsumer};

const MEMORY: usize = 100_000;

#[derive(Debug)]
struct Words;

impl LoopAnswers for Words {
    fn refusal(&self, refusal: &Refusal, _: &[u8], _: &PeerAddress) -> Vec<u8> {
        format!("{refusal:?}").into_bytes()
    }

    fn go_ahead(&self) -> &[u8] {
        b"go ahead"
    }
}

fn keeping(name: &str) -> ServerConfig {
    let mut config = config(name);
    config.parser = ConsumerSpec::http_request(HttpLimits::DEFAULT).unwrap();
    config.loop_answers = Some(Arc::new(Words));
    config.limits.max_body_memory_bytes = Some(MEMORY);
    config.limits.max_ready_bytes = 1 << 22;
    config
}

/// Bytes of which no two neighbouring stretches are equal.
fn body(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from((index * 7 + index / 251 + seed) % 251).unwrap()).collect()
}

fn post(body: &[u8]) -> Vec<u8> {
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn post_chunked(body: &[u8]) -> Vec<u8> {
    let mut stream = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(30_000) {
        stream.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        stream.extend_from_slice(chunk);
        stream.extend_from_slice(b"\r\n");
    }
    stream.extend_from_slice(b"0\r\n\r\n");
    stream
}

/// Answers with where the body was, how long it is, and a sum of it.
fn summarize(peer: &Peer, work: Work<NativeConsumer>) {
    let Work::Request(mut request) = work else { return };
    let file = peer.take_body_file(&mut request).unwrap();
    let (place, body) = match &file {
        Some(file) => {
            let length = usize::try_from(file.length()).unwrap();
            (
                "file",
                (0..length).step_by(50_000).flat_map(|at| file.read(at as u64, 50_000).unwrap()).collect(),
            )
        }
        None => ("memory", request.take_value()),
    };
    assert!(peer.take_body_file(&mut request).unwrap().is_none());
    peer.write(summary(place, &body).as_bytes());
}

fn summary(place: &str, body: &[u8]) -> String {
    let sum = body.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    format!("{place} {} {sum:x}\n", body.len())
}

/// Files of this process that have no name, in a directory of the test's own.
fn open_files(directory: &PathBuf) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    links
        .filter_map(|link| std::fs::read_link(link.unwrap().path()).ok())
        .filter(|target| target.starts_with(directory))
        .count()
}

fn own_directory(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("wiretask-bodies-{name}-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    directory
}

#[test]
fn bodies_of_any_length_come_whole_each_in_its_own_file() {
    let mut config = keeping("bodies");
    let directory = own_directory("whole");
    config.spool_directory.clone_from(&directory);
    let server = TestServer::start(config, summarize);
    let mut client = server.connect();
    let lengths = [0, 10, MEMORY - 1, MEMORY, MEMORY + 70_000, 500_000, 1_000_000, 1_500_000, 3_000_000];
    for (seed, length) in lengths.into_iter().enumerate() {
        let body = body(length, seed);
        let place = if length > MEMORY + 65_536 { "file" } else { "memory" };
        for stream in [post(&body), post_chunked(&body)] {
            client.send(&stream);
            // What comes with the last read may fit by a hair: the limit is looked at between reads.
            let expected = summary(place, &body);
            let answer = String::from_utf8(client.receive(expected.len())).unwrap();
            assert_eq!(answer, expected);
        }
    }
    eventually("the files are gone", || open_files(&directory) == 0);
    assert_eq!(server.stats().bodies_in_files.load(Ordering::Relaxed), 10);
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
    drop(server);
    std::fs::remove_dir(directory).unwrap();
}

#[test]
fn much_memory_is_moved_to_the_file_in_pieces() {
    let mut config = keeping("largepieces");
    config.limits.max_body_memory_bytes = Some(1 << 20);
    let server = TestServer::start(config, summarize);
    let mut client = server.connect();
    for (seed, length) in [1_200_000, 4_000_000].into_iter().enumerate() {
        let body = body(length, seed);
        client.send(&post_chunked(&body));
        let expected = summary("file", &body);
        assert_eq!(String::from_utf8(client.receive(expected.len())).unwrap(), expected);
    }
}

#[test]
fn pipelined_bodies_are_not_mixed_up() {
    let gate = test_host::Gate::default();
    let at_gate = gate.clone();
    let server = TestServer::start(keeping("pipelinedbodies"), move |peer, work| {
        at_gate.pass();
        summarize(peer, work);
    });
    let mut client = server.connect();
    let bodies: Vec<_> = [300_000, 20, 400_000, 0, 250_000]
        .into_iter()
        .enumerate()
        .map(|(seed, length)| body(length, seed))
        .collect();
    let stream: Vec<u8> = bodies.iter().flat_map(|body| post(body)).collect();
    client.send(&stream);
    eventually("all are read", || {
        server.stats().bytes_received.load(Ordering::Relaxed) == u64::try_from(stream.len()).unwrap()
    });
    gate.open();
    let places = ["file", "memory", "file", "memory", "file"];
    let expected: String = places.iter().zip(&bodies).map(|(place, body)| summary(place, body)).collect();
    assert_eq!(String::from_utf8(client.receive(expected.len())).unwrap(), expected);
}

#[test]
fn a_disk_that_fails_costs_one_request_and_is_logged_once() {
    let mut config = keeping("baddisk");
    config.spool_directory = "/nowhere/at/all".into();
    let server = TestServer::start(config, summarize);
    let mut other = server.connect();
    for _ in 0..3 {
        let mut client = server.connect();
        client.send(&[post(b"before"), post(&body(900_000, 1))].concat());
        let told = String::from_utf8(client.receive_to_the_end()).unwrap();
        assert_eq!(told, summary("memory", b"before") + "Unkept");
        other.send(&post(b"other"));
        let expected = summary("memory", b"other");
        assert_eq!(String::from_utf8(other.receive(expected.len())).unwrap(), expected);
    }
    eventually("they are counted", || server.stats().spool_failures.load(Ordering::Relaxed) == 3);
    let logged = server.host().logged.lock().unwrap();
    let about_disk: Vec<_> = logged.iter().filter(|line| line.contains("/nowhere/at/all")).collect();
    assert_eq!(about_disk.len(), 1, "{about_disk:?}");
}

#[test]
fn a_peer_that_goes_in_the_middle_leaves_no_file_and_its_worker_gets_the_whole_body_or_none() {
    let mut config = keeping("gonebodies");
    let directory = own_directory("gone");
    config.spool_directory.clone_from(&directory);
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    let gate = test_host::Gate::default();
    let at_gate = gate.clone();
    let server = TestServer::start(config, move |peer, work| {
        let Work::Request(mut request) = work else { return };
        at_gate.pass();
        eventually("the connection is gone", || peer.core().stats.connections.load(Ordering::SeqCst) == 0);
        let file = peer.take_body_file(&mut request).unwrap().unwrap();
        assert_eq!(file.length(), 500_000);
        assert_eq!(file.read(499_990, 50).unwrap(), body(500_000, 3)[499_990..]);
        count.fetch_add(1, Ordering::SeqCst);
    });
    // One dies in the middle of a body, one when it has sent it.
    let mut halfway = server.connect();
    halfway.send(&post(&body(2_000_000, 2))[..1_000_000]);
    eventually("a file is there", || open_files(&directory) == 1);
    halfway.reset();
    eventually("it is gone", || open_files(&directory) == 0);
    let mut whole = server.connect();
    whole.send(&post(&body(500_000, 3)));
    gate.wait_for_arrivals(1);
    whole.reset();
    gate.open();
    eventually("the worker is done", || served.load(Ordering::SeqCst) == 1);
    eventually("the file is gone", || open_files(&directory) == 0);
    drop(server);
    std::fs::remove_dir(directory).unwrap();
}
