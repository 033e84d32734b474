//! A host that refuses, panics, or accepts connections itself.
#![allow(clippy::unwrap_used)]

mod test_host;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use test_host::{Gate, PATIENCE, Peer, TestServer, config, echo, eventually};
use wiretask_engine::server::Server;
use wiretask_protocol::channel::{ChannelMode, CloseReason};

#[test]
fn a_connection_the_host_refuses_is_closed_and_the_next_is_served() {
    let server = TestServer::echo(config("refusing"));
    server.host().is_refusing.store(true, Ordering::SeqCst);
    let mut client = server.connect();
    client.send(b"hello\n");
    assert_eq!(client.receive_to_the_end(), b"");
    eventually("it is closed", || server.connections() == 0);
    assert_eq!(server.stats().refused.load(Ordering::SeqCst), 1);
    server.host().is_refusing.store(false, Ordering::SeqCst);
    server.connect().ask(b"hello\n");
}

/// Something goes wrong at `place` while a connection lives and dies; then all is well again.
fn survives_a_panic_in(place: &'static str, mode: ChannelMode) {
    let mut config = config(&format!("panic{place}"));
    config.mode = mode;
    config.connection_limit = 2;
    let server = TestServer::echo(config);
    for _ in 0..3 {
        let mut client = server.connect();
        client.ask(b"before\n");
        *server.host().panics_in.lock().unwrap() = place;
        client.send(b"during\n");
        client.reset();
        let mut second = server.connect();
        second.send(b"also during\n");
        second.reset();
        eventually("all are closed", || server.connections() == 0);
        *server.host().panics_in.lock().unwrap() = "nothing";
    }
    server.connect().ask(b"after\n");
}

#[test]
fn the_loop_survives_a_panic_in_submit() {
    survives_a_panic_in("submit", ChannelMode::default());
}

#[test]
fn the_loop_survives_a_panic_in_release() {
    survives_a_panic_in("release", ChannelMode::default());
}

#[test]
fn the_loop_survives_a_panic_in_log() {
    survives_a_panic_in("log", ChannelMode::default());
}

#[test]
fn the_loop_survives_a_panic_in_wake_workers() {
    survives_a_panic_in("wake_workers", ChannelMode::default());
}

#[test]
fn the_loop_survives_a_panic_in_submit_when_opening() {
    let mode = ChannelMode { report_open: true, report_close: true, ..ChannelMode::PLAIN };
    let mut config = config("panicopen");
    config.mode = mode;
    let server = TestServer::echo(config);
    *server.host().panics_in.lock().unwrap() = "submit";
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.receive_to_the_end(), b"");
    }
    *server.host().panics_in.lock().unwrap() = "nothing";
    server.connect().ask(b"after\n");
}

#[test]
fn a_host_that_accepts_itself_gets_every_connection_and_may_let_one_fall() {
    let mut config = config("byhost");
    config.accepts_by_host = true;
    config.io_threads = 2;
    let server = TestServer::echo(config);
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    let mut peers: Vec<Peer> = Vec::new();
    while peers.len() < 4 {
        let index = server.accepts.recv_timeout(PATIENCE).unwrap();
        while let Some(peer) = server.server().accept(index).unwrap() {
            peers.push(peer);
        }
    }
    assert_eq!(server.connections(), 0, "nothing is adopted yet");
    drop(peers.pop());
    assert_eq!(clients.pop().unwrap().receive_to_the_end(), b"");
    for (client, peer) in clients.iter_mut().zip(&peers) {
        client.send(b"early\n");
        // Attention that is asked for before the adoption is not lost.
        peer.write(b"greeting\n");
        peer.send_now();
        assert_eq!(client.receive(9), b"greeting\n");
        Server::adopt(peer);
        assert_eq!(client.receive(6), b"early\n");
    }
    peers.iter().for_each(Server::adopt);
    assert_eq!(server.connections(), 3, "again is not twice");
    assert_eq!(server.server().accept(7).unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn a_host_that_stopped_halfway_is_told_again_when_it_asks() {
    let mut config = config("byhostagain");
    config.accepts_by_host = true;
    let server = TestServer::echo(config);
    let _clients = [server.connect(), server.connect()];
    assert_eq!(server.accepts.recv_timeout(PATIENCE), Ok(0));
    // It takes one and does not ask whether there are more.
    let first = server.server().accept(0).unwrap().unwrap();
    server.server().listen_again(0, true);
    assert_eq!(server.accepts.recv_timeout(PATIENCE), Ok(0));
    server.server().listen_again(0, false);
    assert_eq!(server.accepts.recv_timeout(PATIENCE), Ok(0), "a little later");
    eventually("the second is there", || server.server().accept(0).unwrap().is_some());
    drop(first);
}

#[test]
fn a_host_that_accepts_itself_is_held_at_the_limit() {
    let mut config = config("byhostlimit");
    config.accepts_by_host = true;
    config.connection_limit = 1;
    let server = TestServer::echo(config);
    let mut first = server.connect();
    server.accepts.recv_timeout(PATIENCE).unwrap();
    Server::adopt(&server.server().accept(0).unwrap().unwrap());
    first.ask(b"first\n");
    let mut second = server.connect();
    server.accepts.recv_timeout(PATIENCE).unwrap();
    assert!(server.server().accept(0).unwrap().is_none());
    drop(first);
    eventually("the first is closed", || server.connections() == 0);
    server.accepts.recv_timeout(PATIENCE).unwrap();
    Server::adopt(&server.server().accept(0).unwrap().unwrap());
    second.ask(b"second\n");
}

#[test]
fn an_abort_before_the_adoption_is_not_lost() {
    let mut config = config("abortearly");
    config.accepts_by_host = true;
    let server = TestServer::echo(config);
    let mut client = server.connect();
    server.accepts.recv_timeout(PATIENCE).unwrap();
    let peer = server.server().accept(0).unwrap().unwrap();
    peer.abort(CloseReason::Aborted);
    Server::adopt(&peer);
    assert_eq!(client.receive_to_the_end(), b"");
    eventually("it is closed", || server.connections() == 0);
}

#[test]
fn a_worker_that_cancels_closes_the_connection() {
    let gate = Gate::default();
    gate.open();
    let at_gate = gate.clone();
    let server = TestServer::start(config("cancel"), move |peer, work| {
        at_gate.pass();
        echo(peer, work);
    });
    let mut client = server.connect();
    client.ask(b"hello\n");
    let alive = Arc::clone(&server.host().channels_alive);
    eventually("it has a channel", || alive.load(Ordering::SeqCst) == 1);
    drop(client);
    eventually("it is let go", || alive.load(Ordering::SeqCst) == 0);
    assert_eq!(server.host().released.load(Ordering::SeqCst), 1);
}
