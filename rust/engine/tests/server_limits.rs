//! What a server does at its limits: slow readers, full tables, silence, and nothing to do at all.
#![allow(clippy::panic, clippy::unwrap_used)]

mod test_host;

use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use test_host::{
    Client, Gate, PATIENCE, Peer, TestServer, config, echo, eventually, loopback, times_asleep,
    write_patiently,
};
use wiretask_engine::output::Wrote;
use wiretask_engine::waiting_writers::Room;
use wiretask_protocol::channel::Work;

/// A listener whose connections have small buffers in the kernel, so that they are soon full.
fn narrow_listener() -> (OwnedFd, std::net::SocketAddr) {
    let (listener, address) = loopback();
    let socket = Socket::from(listener);
    socket.set_send_buffer_size(8192).unwrap();
    (socket.into(), address)
}

fn narrow_client(address: std::net::SocketAddr) -> Client<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8192).unwrap();
    socket.connect(&address.into()).unwrap();
    Client::new(socket.into())
}

#[test]
fn a_slow_reader_holds_its_writer_and_gets_everything() {
    let mut config = config("slowreader");
    config.limits.high_watermark_bytes = 50_000;
    config.limits.low_watermark_bytes = 10_000;
    config.send_bytes = 20_000;
    let (listener, address) = narrow_listener();
    let server = TestServer::start_on(config, vec![listener], 1, move |peer, _| {
        // For all of it: who sleeps until the next check of the clock does not make it.
        let deadline = Instant::now() + PATIENCE;
        for index in 0..300_u32 {
            let chunk = vec![u8::try_from(index % 251).unwrap(); 10_000];
            match peer.write(&chunk) {
                Wrote::Buffered => {}
                Wrote::ShouldSend => peer.send_now(),
                Wrote::ShouldWait => assert!(peer.wait_for_room(Room::Low, Some(deadline), || false)),
                Wrote::Full => panic!("there was room before"),
                Wrote::Closed => return,
            }
        }
    });
    let mut client = narrow_client(address);
    client.send(b"go\n");
    for index in 0..300_u32 {
        assert_eq!(client.receive(10_000), vec![u8::try_from(index % 251).unwrap(); 10_000]);
    }
    drop(server);
}

#[test]
fn a_writer_that_waits_goes_on_when_its_peer_is_gone() {
    let mut config = config("gonereader");
    config.limits.high_watermark_bytes = 50_000;
    config.limits.low_watermark_bytes = 10_000;
    let (outcomes, seen) = mpsc::channel();
    let (listener, address) = narrow_listener();
    let server = TestServer::start_on(config, vec![listener], 1, move |peer, _| {
        while write_patiently(peer, &[b'x'; 60_000]) {}
        outcomes.send(peer.is_closed()).unwrap();
    });
    let mut client = narrow_client(address);
    client.send(b"go\n");
    client.receive(100_000);
    client.reset();
    assert_eq!(seen.recv_timeout(PATIENCE), Ok(true));
    eventually("it is closed", || server.connections() == 0);
}

#[test]
fn waiting_for_room_ends_at_the_deadline_and_when_it_is_told_to() {
    let mut config = config("deadline");
    config.limits.high_watermark_bytes = 1000;
    config.limits.low_watermark_bytes = 100;
    let (outcomes, seen) = mpsc::channel();
    let (listener, address) = narrow_listener();
    let server = TestServer::start_on(config, vec![listener], 1, move |peer, _| {
        assert_eq!(peer.write(&[b'x'; 3_000_000]), Wrote::ShouldWait);
        let soon = Instant::now() + Duration::from_millis(5);
        outcomes.send(peer.wait_for_room(Room::Empty, Some(soon), || false)).unwrap();
        outcomes.send(peer.wait_for_room(Room::Low, None, || true)).unwrap();
        outcomes.send(peer.wait_for_room(Room::Low, None, || false)).unwrap();
    });
    let mut client = narrow_client(address);
    client.send(b"go\n");
    assert_eq!(seen.recv_timeout(PATIENCE), Ok(false));
    assert_eq!(seen.recv_timeout(PATIENCE), Ok(false));
    client.receive(3_000_000);
    assert_eq!(seen.recv_timeout(PATIENCE), Ok(true));
    drop(server);
}

#[test]
fn input_is_left_in_the_socket_while_too_much_output_waits() {
    let mut config = config("backpress");
    config.limits.high_watermark_bytes = 50_000;
    config.limits.low_watermark_bytes = 10_000;
    let (listener, address) = narrow_listener();
    let server = TestServer::start_on(config, vec![listener], 1, |peer, work| {
        if let Work::Request(_) = work {
            // Not patient: only reading is held back by the watermark.
            peer.write(&[b'x'; 1_000_000]);
        }
    });
    let mut client = narrow_client(address);
    client.send(b"one\n");
    client.receive(1);
    client.send(b"two\n");
    Client::new(TcpStream::connect(address).unwrap()).0.shutdown(Shutdown::Both).unwrap();
    eventually("the loop has seen the line", || server.connections() == 1);
    assert_eq!(server.stats().bytes_received.load(Ordering::SeqCst), 4);
    client.receive(1_999_999);
    assert_eq!(server.stats().bytes_received.load(Ordering::SeqCst), 8);
}

#[test]
fn at_the_connection_limit_the_next_waits_until_one_closes() {
    let mut config = config("connlimit");
    config.connection_limit = 2;
    let server = TestServer::echo(config);
    for _ in 0..20 {
        let (mut first, mut second, mut third) = (server.connect(), server.connect(), server.connect());
        third.send(b"third\n");
        first.ask(b"first\n");
        second.ask(b"second\n");
        assert!(server.connections() <= 2);
        drop(first);
        assert_eq!(third.receive(6), b"third\n");
        second.ask(b"second\n");
    }
}

#[test]
fn many_short_connections_at_a_small_limit_are_all_served() {
    let mut config = config("limitrush");
    config.connection_limit = 3;
    config.io_threads = 2;
    let server = TestServer::echo(config);
    let address = server.address;
    let rush: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(move || {
                for _ in 0..100 {
                    Client::new(TcpStream::connect(address).unwrap()).ask(b"quick\n");
                }
            })
        })
        .collect();
    rush.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(server.stats().accepted.load(Ordering::SeqCst), 400);
}

#[test]
fn a_silent_connection_is_closed_after_the_idle_time() {
    let mut config = config("idle");
    config.limits.idle_timeout_ms = Some(30);
    let server = TestServer::echo(config);
    let mut client = server.connect();
    client.ask(b"hello\n");
    assert_eq!(client.receive_to_the_end(), b"");
    eventually("it is counted", || server.stats().timeouts.load(Ordering::SeqCst) == 1);
}

#[test]
fn an_unfinished_request_is_closed_after_its_time() {
    let mut config = config("reqtime");
    config.limits.request_timeout_ms = Some(30);
    let server = TestServer::echo(config);
    let mut silent = server.connect();
    let mut client = server.connect();
    client.send(b"unfin");
    assert_eq!(client.receive_to_the_end(), b"");
    silent.ask(b"I have no limit\n");
    assert_eq!(server.stats().timeouts.load(Ordering::SeqCst), 1);
}

#[test]
fn a_peer_that_takes_nothing_is_closed_after_the_write_time() {
    let mut config = config("writetime");
    config.limits.write_timeout_ms = Some(50);
    config.limits.high_watermark_bytes = 50_000;
    config.limits.low_watermark_bytes = 10_000;
    let (outcomes, seen) = mpsc::channel();
    let (listener, address) = narrow_listener();
    let server = TestServer::start_on(config, vec![listener], 1, move |peer, _| {
        peer.write(&[b'x'; 3_000_000]);
        outcomes.send(peer.wait_for_room(Room::Low, Some(Instant::now() + PATIENCE), || false)).unwrap();
    });
    let mut client = narrow_client(address);
    client.send(b"go\n");
    assert_eq!(seen.recv_timeout(PATIENCE), Ok(false));
    eventually("it is closed", || server.connections() == 0);
    assert_eq!(server.stats().timeouts.load(Ordering::SeqCst), 1);
}

#[test]
fn a_request_at_work_has_no_time_limit() {
    let mut config = config("worktime");
    config.limits.idle_timeout_ms = Some(30);
    config.limits.request_timeout_ms = Some(30);
    config.limits.write_timeout_ms = Some(30);
    let gate = Gate::default();
    let at_gate = gate.clone();
    let server = TestServer::start(config, move |peer: &Peer, work| {
        if let Work::Request(request) = &work
            && request.value() == b"slow"
        {
            at_gate.pass();
        }
        echo(peer, work);
    });
    let mut client = server.connect();
    client.send(b"slow\n");
    gate.wait_for_arrivals(1);
    // Two others run into their limit, one after the other, before the gate opens.
    for _ in 0..2 {
        assert_eq!(server.connect().receive_to_the_end(), b"");
    }
    gate.open();
    assert_eq!(client.receive(5), b"slow\n");
}

#[test]
fn an_idle_loop_sleeps() {
    let mut config = config("idleloop");
    config.io_threads = 2;
    config.limits.idle_timeout_ms = Some(60_000);
    let server = TestServer::echo(config);
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.ask(b"hello\n"));
    thread::sleep(Duration::from_millis(50));
    let before = times_asleep("idleloop-io");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(times_asleep("idleloop-io"), before);
}

#[test]
fn a_lone_request_wakes_the_loop_once() {
    let server = TestServer::echo(config("onewake"));
    let mut client = server.connect();
    client.ask(b"hello\n");
    let before = times_asleep("onewake-io");
    for _ in 0..200 {
        client.ask(b"hello\n");
        // Longer than a flush would take to come.
        thread::sleep(Duration::from_millis(1));
    }
    let wakes = times_asleep("onewake-io") - before;
    assert!(wakes <= 220, "200 requests woke the loop {wakes} times");
    drop(server);
}
