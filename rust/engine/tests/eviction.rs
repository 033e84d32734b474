//! A full house: the connection that has been idle the longest makes room, and no other.
#![allow(clippy::unwrap_used)]

mod test_host;

use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use test_host::{Client, Gate, TestServer, config, echo, eventually};
use wiretask_engine::server_core::ServerConfig;
use wiretask_protocol::channel::Work;

fn full_config(name: &str, limit: usize, io_threads: usize, idle_ms: u64) -> ServerConfig {
    let mut config = config(name);
    config.connection_limit = limit;
    config.io_threads = io_threads;
    config.evict_idle_ms = Some(idle_ms);
    config
}

fn evicted(server: &TestServer) -> u64 {
    server.stats().evicted.load(Ordering::SeqCst)
}

#[test]
fn the_one_idle_the_longest_makes_room() {
    let server = TestServer::echo(full_config("oldest", 10, 1, 1));
    let mut clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
    // From the last to the first, so that the order of idling is not that of coming.
    for client in clients.iter_mut().rev() {
        client.ask(b"hello\n");
        // Times are told apart by the tick of a coarse clock.
        thread::sleep(Duration::from_millis(25));
    }
    let mut newcomers: Vec<_> = Vec::new();
    for evictions in 1..=5 {
        newcomers.push(server.connect());
        newcomers.iter_mut().for_each(|newcomer| newcomer.ask(b"served\n"));
        assert_eq!(clients.pop().unwrap().receive_to_the_end(), b"");
        assert_eq!(evicted(&server), evictions);
    }
    for client in clients.iter_mut().chain(&mut newcomers) {
        client.ask(b"still here\n");
    }
    assert_eq!(server.connections(), 10);
}

#[test]
fn every_loop_makes_room() {
    for io_threads in [2, 3] {
        let server = TestServer::echo(full_config("loops", 6, io_threads, 1));
        let mut idle: Vec<_> = (0..6).map(|_| server.connect()).collect();
        idle.iter_mut().for_each(|client| client.ask(b"hello\n"));
        // All have been idle for long enough then.
        thread::sleep(Duration::from_millis(30));
        let mut newcomers = Vec::new();
        for evictions in 1..=6 {
            let mut newcomer = server.connect();
            newcomer.ask(b"served\n");
            assert_eq!(evicted(&server), evictions);
            // It is never the oldest, and its place is never free.
            newcomers.push(newcomer);
        }
        for mut client in idle {
            assert_eq!(client.receive_to_the_end(), b"");
        }
    }
}

#[test]
fn those_who_wait_together_are_all_let_in() {
    for io_threads in [1, 2, 3] {
        let server = TestServer::echo(full_config("together", 6, io_threads, 1));
        let mut idle: Vec<_> = (0..6).map(|_| server.connect()).collect();
        idle.iter_mut().for_each(|client| client.ask(b"hello\n"));
        thread::sleep(Duration::from_millis(30));
        // Nobody goes of itself, so that no other close helps.
        let mut newcomers: Vec<_> = (0..6).map(|_| server.connect()).collect();
        for client in &mut idle {
            assert_eq!(client.receive_to_the_end(), b"");
        }
        newcomers.iter_mut().for_each(|client| client.ask(b"served\n"));
        assert_eq!(evicted(&server), 6);
    }
}

#[test]
fn a_loop_whose_connections_are_all_busy_has_another_one_make_room() {
    let server = TestServer::echo(full_config("others", 4, 2, 1));
    // In turn they belong to the one loop and to the other.
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.ask(b"hello\n"));
    for busy in [0, 2] {
        clients[busy].send(b"half of a");
    }
    eventually("all is read", || server.stats().bytes_received.load(Ordering::SeqCst) == 24 + 18);
    thread::sleep(Duration::from_millis(30));
    let mut newcomers = Vec::new();
    for _ in 0..2 {
        let mut newcomer = server.connect();
        newcomer.ask(b"served\n");
        // Busy too from now on.
        newcomer.send(b"half");
        newcomers.push(newcomer);
    }
    for idle in [1, 3] {
        assert_eq!(clients[idle].receive_to_the_end(), b"");
    }
    for busy in [0, 2] {
        clients[busy].send(b" line\n");
        assert_eq!(clients[busy].receive(15), b"half of a line\n");
    }
    drop(newcomers);
}

#[test]
fn who_has_something_to_do_is_never_closed() {
    for io_threads in [1, 2] {
        let gate = Gate::default();
        let inside = gate.clone();
        let server = TestServer::start(full_config("busy", 4, io_threads, 1), move |peer, work| {
            if matches!(&work, Work::Request(request) if request.value() == b"wait") {
                inside.pass();
            }
            echo(peer, work);
        });
        let mut at_work: Vec<_> = (0..2).map(|_| server.connect()).collect();
        at_work.iter_mut().for_each(|client| client.send(b"wait\n"));
        gate.wait_for_arrivals(2);
        let mut sending: Vec<_> = (0..2).map(|_| server.connect()).collect();
        sending.iter_mut().for_each(|client| client.send(b"half of a"));
        eventually("all is read", || server.stats().bytes_received.load(Ordering::SeqCst) == 28);
        let mut waiting = server.connect();
        waiting.send(b"served\n");
        // Long enough to be closed, if it were for that.
        thread::sleep(Duration::from_millis(200));
        assert_eq!((evicted(&server), server.connections()), (0, 4));
        sending.iter_mut().for_each(|client| client.send(b" line\n"));
        for client in &mut sending {
            assert_eq!(client.receive(15), b"half of a line\n");
        }
        // Now one of these is idle, and is closed for the one that waits.
        assert_eq!(waiting.receive(7), b"served\n");
        assert_eq!(evicted(&server), 1);
        gate.open();
        for client in &mut at_work {
            assert_eq!(client.receive(5), b"wait\n");
        }
    }
}

#[test]
fn nobody_is_closed_while_nobody_waits_or_when_it_is_switched_off() {
    let server = TestServer::echo(full_config("nobody", 3, 1, 0));
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for _ in 0..20 {
        clients.iter_mut().for_each(|client| client.ask(b"hello\n"));
    }
    assert_eq!(evicted(&server), 0);
    let mut off = full_config("off", 1, 1, 0);
    off.evict_idle_ms = None;
    let server = TestServer::echo(off);
    let mut first = server.connect();
    first.ask(b"hello\n");
    let mut waiting = server.connect();
    waiting.send(b"late\n");
    for _ in 0..20 {
        first.ask(b"hello\n");
        thread::sleep(Duration::from_millis(5));
    }
    drop(first);
    assert_eq!(waiting.receive(5), b"late\n");
    assert_eq!(evicted(&server), 0);
}

#[test]
fn a_host_that_accepts_itself_is_told_when_there_is_room() {
    let mut config = full_config("byhost", 1, 1, 1);
    config.accepts_by_host = true;
    let server = TestServer::echo(config);
    let accept = || {
        use wiretask_engine::server::Server;
        loop {
            let index = server.accepts.recv_timeout(test_host::PATIENCE).unwrap();
            if let Some(connection) = server.server().accept(index).unwrap() {
                Server::adopt(&connection);
                return;
            }
        }
    };
    let mut first = server.connect();
    accept();
    first.ask(b"hello\n");
    let mut second = server.connect();
    accept();
    second.ask(b"hello\n");
    assert_eq!(first.receive_to_the_end(), b"");
    assert_eq!(evicted(&server), 1);
}

#[test]
fn a_storm_on_a_house_full_of_idlers_is_served() {
    for io_threads in [1, 2] {
        let server = TestServer::echo(full_config("storm", 300, io_threads, 1));
        let idle: Vec<_> = (0..300).map(|_| TcpStream::connect(server.address).unwrap()).collect();
        eventually("the house is full", || server.connections() == 300);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..70 {
                        Client::new(TcpStream::connect(server.address).unwrap()).ask(b"hello\n");
                    }
                });
            }
        });
        let stats = server.stats();
        assert_eq!(stats.accepted.load(Ordering::SeqCst), 580);
        assert!(evicted(&server) <= 280);
        drop(idle);
    }
}
