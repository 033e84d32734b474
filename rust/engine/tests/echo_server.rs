//! Echoing lines over real sockets: order, cuts, ends of input, families of addresses, slow requests.
#![allow(clippy::unwrap_used)]

mod test_host;

use std::collections::HashSet;
use std::io::Read;
use std::net::{Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;

use test_host::{
    Client, Gate, PATIENCE, Peer, TestServer, config, echo, eventually, loopback, write_patiently,
};
use wiretask_engine::output::Wrote;
use wiretask_protocol::channel::{ChannelMode, Work};
use wiretask_protocol::native::{ConsumerSpec, NativeConsumer};

fn numbered(count: usize) -> Vec<u8> {
    (0..count).flat_map(|index| format!("line {index}\n").into_bytes()).collect()
}

#[test]
fn a_line_is_answered_again_and_again() {
    let server = TestServer::echo(config("pingpong"));
    let mut client = server.connect();
    for round in 0..300 {
        client.ask(format!("round {round}\n").as_bytes());
    }
}

#[test]
fn pipelined_lines_are_answered_in_order_and_leave_together() {
    let server = TestServer::echo(config("pipeline"));
    let mut client = server.connect();
    let lines = numbered(200);
    client.ask(&lines);
    // A flush of what waits longer than a millisecond may add a few.
    let segments = data_segments_received(&client.0);
    assert!(segments <= 20, "200 answers came in {segments} segments");
}

/// `tcpi_data_segs_in` of `struct tcp_info`: how many pieces the peer sent.
fn data_segments_received(stream: &TcpStream) -> u32 {
    const DATA_SEGS_IN: usize = 152;
    let mut info = [0_u8; 256];
    let mut length = libc::socklen_t::try_from(info.len()).unwrap();
    // SAFETY: the buffer is an owned local of the length that is passed.
    let status = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    assert_eq!(status, 0);
    assert!(length as usize >= DATA_SEGS_IN + 4, "the kernel tells no data segments");
    u32::from_ne_bytes(info[DATA_SEGS_IN..DATA_SEGS_IN + 4].try_into().unwrap())
}

#[test]
fn more_lines_than_the_look_ahead_are_all_answered() {
    let mut config = config("lookahead");
    config.limits.max_ready_requests = 2;
    let server = TestServer::echo(config);
    let mut client = server.connect();
    let lines = numbered(20_000);
    let mut writer = client.0.try_clone().unwrap();
    let sent = lines.clone();
    let sender = thread::spawn(move || std::io::Write::write_all(&mut writer, &sent).unwrap());
    assert!(client.receive(lines.len()) == lines);
    sender.join().unwrap();
}

#[test]
fn input_byte_by_byte_is_one_request() {
    let server = TestServer::echo(config("bytewise"));
    let mut client = server.connect();
    for byte in b"byte by byte\n" {
        client.send(&[*byte]);
    }
    assert_eq!(client.receive(13), b"byte by byte\n");
}

#[test]
fn a_half_close_is_answered_and_then_closed() {
    let server = TestServer::echo(config("halfclose"));
    let mut client = server.connect();
    client.send(b"one\ntwo\n");
    client.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.receive_to_the_end(), b"one\ntwo\n");
    eventually("it is closed", || server.connections() == 0);
    assert_eq!(server.stats().protocol_errors.load(Ordering::SeqCst), 0);
}

#[test]
fn an_end_in_the_middle_of_a_line_closes_after_the_lines_before_it() {
    let server = TestServer::echo(config("truncated"));
    let mut client = server.connect();
    client.send(b"one\ntw");
    client.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.receive_to_the_end(), b"one\n");
    eventually("it is counted", || server.stats().protocol_errors.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_line_that_is_too_long_closes_after_the_lines_before_it() {
    let server = TestServer::echo(config("toolong"));
    let mut client = server.connect();
    client.send(&[b"one\n".to_vec(), vec![b'x'; 1000]].concat());
    assert_eq!(client.receive_to_the_end(), b"one\n");
    eventually("it is counted", || server.stats().protocol_errors.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_reset_of_an_idle_connection_is_noticed() {
    let server = TestServer::echo(config("reset"));
    let mut client = server.connect();
    client.ask(b"hello\n");
    client.reset();
    eventually("it is gone", || server.connections() == 0);
    assert_eq!(server.stats().connections_lost.load(Ordering::SeqCst), 1);
    server.connect().ask(b"next\n");
}

#[test]
fn a_reset_while_a_worker_is_at_work_makes_its_writes_say_closed() {
    let gate = Gate::default();
    let (writes, outcomes) = mpsc::channel();
    let at_gate = gate.clone();
    let server = TestServer::start(config("resetwork"), move |peer, _| {
        at_gate.pass();
        writes.send(peer.write(b"too late")).unwrap();
    });
    let mut client = server.connect();
    client.send(b"work\n");
    gate.wait_for_arrivals(1);
    client.reset();
    eventually("it is gone", || server.connections() == 0);
    gate.open();
    assert_eq!(outcomes.recv_timeout(PATIENCE), Ok(Wrote::Closed));
}

#[test]
fn ipv6_peers_are_served() {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        return eprintln!("no IPv6 here");
    };
    let address = listener.local_addr().unwrap();
    let server = TestServer::start_on(config("ipv6"), vec![listener.into()], 1, |peer, _| {
        peer.write(peer.peer().to_string().as_bytes());
    });
    let stream = TcpStream::connect(address).unwrap();
    let own = stream.local_addr().unwrap().to_string();
    let mut client = Client::new(stream);
    client.send(b"who\n");
    assert_eq!(client.receive(own.len()), own.as_bytes());
    drop(server);
}

fn unix_listener(name: &str) -> (OwnedFd, std::path::PathBuf) {
    let path = std::env::temp_dir().join(format!("wiretask-test-{}-{name}", std::process::id()));
    drop(std::fs::remove_file(&path));
    (UnixListener::bind(&path).unwrap().into(), path)
}

fn unix_client(path: &std::path::Path) -> Client<UnixStream> {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    Client(stream)
}

#[test]
fn several_listeners_of_several_families_are_served() {
    let (first, first_address) = loopback();
    let (second, second_address) = loopback();
    let (third, path) = unix_listener("several");
    let server = TestServer::start_on(config("several"), vec![first, second, third], 2, echo);
    Client::new(TcpStream::connect(first_address).unwrap()).ask(b"first\n");
    Client::new(TcpStream::connect(second_address).unwrap()).ask(b"second\n");
    unix_client(&path).ask(b"third\n");
    std::fs::remove_file(path).unwrap();
    assert_eq!(server.stats().accepted.load(Ordering::SeqCst), 3);
}

#[test]
fn a_unix_socket_takes_large_output_in_its_own_time() {
    let (listener, path) = unix_listener("large");
    let large = Arc::new(vec![b'x'; 3_000_000]);
    let answer = Arc::clone(&large);
    let server = TestServer::start_on(config("unixlarge"), vec![listener], 1, move |peer, work| match work {
        Work::Request(request) if request.value() == b"large" => assert!(write_patiently(peer, &answer)),
        work => echo(peer, work),
    });
    let mut client = unix_client(&path);
    for _ in 0..3 {
        client.send(b"large\n");
        assert!(client.receive(large.len()) == *large);
        client.ask(b"and again small\n");
    }
    // Only what its peer sends wakes the loop now, not what its peer reads.
    let before = test_host::times_asleep("unixlarge-io");
    for _ in 0..50 {
        client.ask(b"x\n");
    }
    let wakes = test_host::times_asleep("unixlarge-io") - before;
    assert!(wakes <= 60, "50 requests woke the loop {wakes} times");
    std::fs::remove_file(path).unwrap();
    drop(server);
}

#[test]
fn three_loops_share_the_connections() {
    let threads = Arc::new(Mutex::new(HashSet::new()));
    let mut config = config("threeloops");
    config.io_threads = 3;
    let server = TestServer::echo(config);
    let mut clients: Vec<_> = (0..12).map(|_| server.connect()).collect();
    for round in 0..20 {
        for client in &mut clients {
            client.ask(format!("round {round}\n").as_bytes());
        }
    }
    let mut loops = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let name = std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default();
        if name.starts_with("threeloops-io-") && threads.lock().unwrap().insert(name.clone()) {
            loops += 1;
            assert!(test_host::times_asleep(name.trim_end()) >= 20, "{name} does nothing");
        }
    }
    assert_eq!(loops, 3);
}

/// Lines that begin with `slow` wait at the gate.
fn gated(gate: &Gate) -> impl Fn(&Peer, Work<NativeConsumer>) + Send + Sync + 'static {
    let gate = gate.clone();
    move |peer, work| {
        if let Work::Request(request) = &work
            && request.value().starts_with(b"slow")
        {
            gate.pass();
        }
        echo(peer, work);
    }
}

#[test]
fn an_answer_does_not_wait_for_the_slow_request_behind_it() {
    let gate = Gate::default();
    let server = TestServer::start(config("behindslow"), gated(&gate));
    let mut client = server.connect();
    client.send(b"fast\nslow\nlast\n");
    assert_eq!(client.receive(5), b"fast\n");
    gate.open();
    assert_eq!(client.receive(10), b"slow\nlast\n");
}

#[test]
fn an_answer_does_not_wait_for_the_second_slow_request_either() {
    let (first, second) = (Gate::default(), Gate::default());
    let gates = (first.clone(), second.clone());
    let server = TestServer::start(config("secondslow"), move |peer, work| {
        if let Work::Request(request) = &work {
            match request.value() {
                b"slow 1" => gates.0.pass(),
                b"slow 2" => gates.1.pass(),
                _ => {}
            }
        }
        echo(peer, work);
    });
    let mut client = server.connect();
    client.send(b"fast 1\nslow 1\nfast 2\nslow 2\n");
    assert_eq!(client.receive(7), b"fast 1\n");
    first.open();
    assert_eq!(client.receive(14), b"slow 1\nfast 2\n");
    second.open();
    assert_eq!(client.receive(7), b"slow 2\n");
}

#[test]
fn a_slow_request_with_others_behind_it_costs_the_loop_nothing() {
    let gate = Gate::default();
    let server = TestServer::start(config("slowidle"), gated(&gate));
    let mut client = server.connect();
    client.send(b"slow\none\ntwo\n");
    gate.wait_for_arrivals(1);
    // The one look a moment after the start, which the loop owes them.
    thread::sleep(std::time::Duration::from_millis(50));
    let before = test_host::times_asleep("slowidle-io");
    thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(test_host::times_asleep("slowidle-io"), before);
    gate.open();
    assert_eq!(client.receive(13), b"slow\none\ntwo\n");
}

#[test]
fn one_slow_request_does_not_stop_another_connection() {
    let gate = Gate::default();
    let server = TestServer::start(config("otherconn"), gated(&gate));
    let mut slow = server.connect();
    slow.send(b"slow\n");
    gate.wait_for_arrivals(1);
    server.connect().ask(b"fast\n");
    gate.open();
    assert_eq!(slow.receive(5), b"slow\n");
}

#[test]
fn any_thread_may_write_whether_a_worker_is_at_work_or_not() {
    let gate = Gate::default();
    let at_gate = gate.clone();
    let (peers, seen) = mpsc::channel::<Peer>();
    let server = TestServer::start(config("foreign"), move |peer, work| {
        peers.send(Arc::clone(peer)).unwrap();
        if let Work::Request(request) = &work
            && request.value() == b"slow"
        {
            at_gate.pass();
        }
        echo(peer, work);
    });
    let mut client = server.connect();
    client.ask(b"hello\n");
    let peer = seen.recv_timeout(PATIENCE).unwrap();
    assert!(!peer.is_run_by_caller());
    assert_eq!(peer.write(b"from elsewhere\n"), Wrote::ShouldSend);
    peer.send_now();
    assert_eq!(client.receive(15), b"from elsewhere\n");
    client.send(b"slow\n");
    gate.wait_for_arrivals(1);
    assert_eq!(peer.write(b"meanwhile\n"), Wrote::ShouldSend);
    peer.send_now();
    assert_eq!(client.receive(10), b"meanwhile\n");
    gate.open();
    assert_eq!(client.receive(5), b"slow\n");
}

#[test]
fn threads_that_write_at_once_are_serialised() {
    let (peers, seen) = mpsc::channel::<Peer>();
    let server = TestServer::start(config("manywriters"), move |peer, _| {
        peers.send(Arc::clone(peer)).unwrap();
    });
    let mut client = server.connect();
    client.send(b"go\n");
    let peer = seen.recv_timeout(PATIENCE).unwrap();
    let writers: Vec<_> = (0..4_u8)
        .map(|id| {
            let peer = Arc::clone(&peer);
            thread::spawn(move || {
                for _ in 0..200 {
                    assert!(write_patiently(&peer, &[b'a' + id; 1000]));
                }
            })
        })
        .collect();
    let all = client.receive(4 * 200 * 1000);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert!(all.chunks(1000).all(|chunk| chunk.iter().all(|byte| *byte == chunk[0])));
}

#[test]
fn the_application_may_close_and_its_output_arrives() {
    let server = TestServer::start(config("appclose"), |peer, _| {
        peer.write(b"bye");
        peer.close_when_done();
        assert_eq!(peer.write(b"more"), Wrote::Closed);
    });
    let mut client = server.connect();
    client.send(b"quit\n");
    assert_eq!(client.receive_to_the_end(), b"bye");
    eventually("it is closed", || server.connections() == 0);
}

#[test]
fn a_foreign_thread_may_close_and_the_output_arrives() {
    let (peers, seen) = mpsc::channel::<Peer>();
    let server = TestServer::start(config("otherclose"), move |peer, _| {
        peers.send(Arc::clone(peer)).unwrap();
    });
    let mut client = server.connect();
    client.send(b"go\n");
    let peer = seen.recv_timeout(PATIENCE).unwrap();
    peer.write(&[b'x'; 500_000]);
    peer.close_when_done();
    assert_eq!(client.receive_to_the_end().len(), 500_000);
    eventually("it is closed", || peer.is_closed() && server.connections() == 0);
    assert!(!peer.tasks_queued());
}

#[test]
fn tasks_queued_elsewhere_get_their_turn_on_a_worker() {
    let (peers, seen) = mpsc::channel::<Peer>();
    let server = TestServer::start(config("tasks"), move |peer, work| match work {
        Work::Tasks => assert_eq!(peer.write(b"task\n"), Wrote::Buffered),
        _ => peers.send(Arc::clone(peer)).unwrap(),
    });
    let mut client = server.connect();
    client.send(b"go\n");
    let peer = seen.recv_timeout(PATIENCE).unwrap();
    for _ in 0..50 {
        assert!(peer.tasks_queued());
        assert_eq!(client.receive(5), b"task\n");
    }
}

#[test]
fn held_input_waits_in_the_socket() {
    let (peers, seen) = mpsc::channel::<Peer>();
    let server = TestServer::start(config("holdinput"), move |peer, work| {
        if let Work::Request(request) = &work
            && request.value() == b"hold"
        {
            peer.hold_input(true);
            peers.send(Arc::clone(peer)).unwrap();
        }
        echo(peer, work);
    });
    let mut client = server.connect();
    client.ask(b"hold\n");
    let peer = seen.recv_timeout(PATIENCE).unwrap();
    client.send(b"held\n");
    // Another connection of the same loop: by its answer the loop has seen the line before it.
    server.connect().ask(b"other\n");
    assert_eq!(server.stats().bytes_received.load(Ordering::SeqCst), 11);
    peer.hold_input(false);
    assert_eq!(client.receive(5), b"held\n");
}

#[test]
fn raw_channels_are_told_everything_in_order() {
    let (events, seen) = mpsc::channel();
    let mut config = config("rawmode");
    config.mode = ChannelMode { raw: true, report_open: true, report_close: true, ..ChannelMode::PLAIN };
    config.parser = ConsumerSpec::fixed(1).unwrap();
    let server = TestServer::start(config, move |peer, work| {
        let event = match work {
            Work::Opened => {
                peer.write(b"hello\n");
                "opened".to_string()
            }
            Work::Bytes(bytes) => {
                peer.write(&bytes);
                String::from_utf8(bytes).unwrap()
            }
            Work::EndOfInput => "end".into(),
            Work::Closed => {
                assert!(peer.socket().is_none(), "told before it was closed");
                "closed".into()
            }
            work => format!("{work:?}"),
        };
        events.send(event).unwrap();
    });
    let mut client = server.connect();
    assert_eq!(client.receive(6), b"hello\n");
    client.ask(b"some bytes");
    client.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.receive_to_the_end(), b"");
    for expected in ["opened", "some bytes", "end", "closed"] {
        assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), expected);
    }
    server.end();
    assert!(seen.recv().is_err(), "one more event");
}

#[test]
fn a_silent_peer_gets_nothing() {
    let server = TestServer::echo(config("silent"));
    let mut client = server.connect();
    client.0.set_nonblocking(true).unwrap();
    server.connect().ask(b"other\n");
    assert_eq!(client.0.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}
