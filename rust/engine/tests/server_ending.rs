//! Draining, stopping, and what comes after the end.
#![allow(clippy::unwrap_used)]

mod test_host;

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use test_host::{
    Client, Gate, PATIENCE, Peer, TestServer, config, echo, eventually, loopback, write_patiently,
};
use wiretask_engine::output::Wrote;
use wiretask_engine::server::Server;
use wiretask_protocol::channel::{ChannelMode, Work};

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

#[test]
fn a_drain_closes_idle_connections_and_the_listeners() {
    let server = TestServer::echo(config("drainidle"));
    let mut client = server.connect();
    client.ask(b"hello\n");
    server.server().drain();
    assert_eq!(client.receive_to_the_end(), b"");
    assert!(server.server().wait_drained(soon()));
    eventually("nobody listens", || TcpStream::connect(server.address).is_err());
    server.server().drain();
    server.end();
}

#[test]
fn a_drain_waits_for_what_was_read() {
    let gate = Gate::default();
    let at_gate = gate.clone();
    let mut config = config("drainbusy");
    config.io_threads = 2;
    let server = TestServer::start(config, move |peer, work| {
        at_gate.pass();
        echo(peer, work);
    });
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(b"one\ntwo\nunfin"));
    gate.wait_for_arrivals(3);
    server.server().drain();
    assert!(!server.server().wait_drained(Instant::now() + Duration::from_millis(20)));
    gate.open();
    for client in &mut clients {
        assert_eq!(client.receive_to_the_end(), b"one\ntwo\n");
    }
    assert!(server.server().wait_drained(soon()));
    assert_eq!(server.stats().protocol_errors.load(Ordering::SeqCst), 0);
}

#[test]
fn a_stop_closes_under_a_worker_which_then_finishes_in_peace() {
    let gate = Gate::default();
    let at_gate = gate.clone();
    let (outcomes, seen) = mpsc::channel();
    let server = TestServer::start(config("stopbusy"), move |peer, _| {
        at_gate.pass();
        outcomes.send((peer.write(b"too late"), peer.tasks_queued())).unwrap();
    });
    let mut client = server.connect();
    client.send(b"work\n");
    gate.wait_for_arrivals(1);
    assert!(server.server().stop(PATIENCE));
    assert_eq!(server.connections(), 0);
    assert_eq!(client.receive_to_the_end(), b"");
    gate.open();
    assert_eq!(seen.recv_timeout(PATIENCE), Ok((Wrote::Closed, false)));
    assert!(server.server().stop(PATIENCE), "again");
    server.end();
}

#[test]
fn a_stop_in_the_middle_of_many_sends_loses_no_count() {
    for round in 0..5 {
        let mut config = config(&format!("stopsend{round}"));
        config.io_threads = 2;
        config.limits.high_watermark_bytes = 1 << 20;
        config.limits.low_watermark_bytes = 1 << 19;
        let (listener, address) = loopback();
        let server =
            TestServer::start_on(
                config,
                vec![listener],
                8,
                |peer, _| {
                    while write_patiently(peer, &[b'x'; 100_000]) {}
                },
            );
        let is_over = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let mut client = Client::new(TcpStream::connect(address).unwrap());
                client.send(b"go\n");
                let is_over = Arc::clone(&is_over);
                thread::spawn(move || {
                    client.receive_to_the_end();
                    assert!(is_over.load(Ordering::SeqCst), "ended too early");
                })
            })
            .collect();
        eventually("all have come", || server.connections() == 8);
        eventually("much was sent", || server.stats().bytes_sent.load(Ordering::SeqCst) > 16_000_000);
        is_over.store(true, Ordering::SeqCst);
        server.end();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    }
}

#[test]
fn a_stop_while_connections_come_in_loses_none() {
    for round in 0..10 {
        let mut config = config(&format!("stopcome{round}"));
        config.io_threads = 3;
        let server = TestServer::echo(config);
        let address = server.address;
        let is_over = Arc::new(AtomicBool::new(false));
        let comers: Vec<_> = (0..2)
            .map(|_| {
                let is_over = Arc::clone(&is_over);
                thread::spawn(move || {
                    // A listener that closes may drop the handshake, which is tried again after a second.
                    let short = Duration::from_millis(20);
                    while !is_over.load(Ordering::SeqCst) {
                        drop(TcpStream::connect_timeout(&address, short));
                    }
                })
            })
            .collect();
        eventually("some came", || server.stats().accepted.load(Ordering::SeqCst) > 50);
        // This checks that no connection is counted afterwards.
        server.end();
        is_over.store(true, Ordering::SeqCst);
        comers.into_iter().for_each(|comer| comer.join().unwrap());
    }
}

#[test]
fn a_stop_tells_every_channel_that_it_is_closed() {
    let (events, seen) = mpsc::channel();
    let mut config = config("stoptold");
    config.mode = ChannelMode { report_open: true, report_close: true, ..ChannelMode::PLAIN };
    let server = TestServer::start(config, move |_, work| events.send(format!("{work:?}")).unwrap());
    let clients = [server.connect(), server.connect()];
    for _ in &clients {
        assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), "Opened");
    }
    server.end();
    assert_eq!(seen.iter().collect::<Vec<_>>(), ["Closed", "Closed"]);
}

#[test]
fn tasks_queued_before_a_stop_get_their_turn() {
    let (events, seen) = mpsc::channel();
    let (peers, known) = mpsc::channel::<Peer>();
    let server = TestServer::start(config("stoptasks"), move |peer, work| match work {
        Work::Tasks => events.send(()).unwrap(),
        _ => peers.send(Arc::clone(peer)).unwrap(),
    });
    let mut clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(b"go\n"));
    let peers: Vec<_> = clients.iter().map(|_| known.recv_timeout(PATIENCE).unwrap()).collect();
    let stopper = thread::spawn(move || server.end());
    let promised = peers.iter().filter(|peer| peer.tasks_queued()).count();
    stopper.join().unwrap();
    drop(peers);
    assert_eq!(seen.iter().count(), promised);
}

#[test]
fn a_connection_for_a_loop_that_has_ended_is_refused() {
    let mut config = config("adoptlate");
    config.accepts_by_host = true;
    let server = TestServer::echo(config);
    let mut client = server.connect();
    assert_eq!(server.accepts.recv_timeout(PATIENCE), Ok(0));
    let peer = server.server().accept(0).unwrap().unwrap();
    assert!(server.server().stop(PATIENCE));
    Server::adopt(&peer);
    assert!(peer.is_closed());
    assert_eq!(client.receive_to_the_end(), b"");
    assert_eq!(server.connections(), 0);
}

#[test]
fn dropping_a_server_ends_its_loops() {
    let mut server = TestServer::echo(config("dropped"));
    let mut client = server.connect();
    client.ask(b"hello\n");
    drop(server.server.take());
    assert_eq!(client.receive_to_the_end(), b"");
}

#[test]
fn a_patient_drain_lets_requests_that_were_sent_or_begun_come_to_their_end() {
    let mut config = config("drainpatient");
    config.mode.finishes_begun = true;
    let server = TestServer::start(config, |peer, work| {
        let word: &[u8] = if peer.is_draining() { b"last " } else { b"" };
        peer.write(word);
        echo(peer, work);
    });
    let (mut idle, mut begun, mut sent) = (server.connect(), server.connect(), server.connect());
    for client in [&mut idle, &mut begun, &mut sent] {
        client.ask(b"hello\n");
    }
    begun.send(b"unfin");
    sent.send(b"sent\n");
    server.server().drain();
    assert_eq!(idle.receive_to_the_end(), b"");
    // It may have been served before.
    assert!(sent.receive_to_the_end().ends_with(b"sent\n"));
    eventually("the others are closed", || server.connections() == 1);
    begun.send(b"ished\nand no more\n");
    assert_eq!(begun.receive_to_the_end(), b"last unfinished\n");
    assert!(server.server().wait_drained(soon()));
    server.end();
}
