//! Ranges of files as output, over real sockets.
#![allow(clippy::unwrap_used)]

mod test_host;

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use socket2::Socket;
use test_host::{Client, PATIENCE, Peer, TestServer, config, echo, eventually, loopback, write_patiently};
use wiretask_engine::output::Wrote;
use wiretask_engine::sent_file::SentFile;
use wiretask_protocol::channel::Work;

const LENGTH: usize = 5_000_000;

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from((index * 7 + index / 251) % 251).unwrap()).collect()
}

/// A file of its own, which is gone with the test's end of it.
struct OwnFile(PathBuf);

impl OwnFile {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("wiretask-sent-{name}-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn open(&self) -> Arc<SentFile> {
        Arc::new(SentFile::new(File::open(&self.0).unwrap().into()))
    }

    /// How many descriptors of this process are open on it.
    fn descriptors(&self) -> usize {
        let links = std::fs::read_dir("/proc/self/fd").unwrap();
        links
            .filter_map(|link| std::fs::read_link(link.unwrap().path()).ok())
            .filter(|path| *path == self.0)
            .count()
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

fn send_file(peer: &Peer, file: &Arc<SentFile>, offset: u64, length: usize) -> bool {
    match peer.write_file(file, offset, length) {
        Wrote::ShouldSend => {
            peer.send_now();
            true
        }
        Wrote::Buffered => true,
        _ => false,
    }
}

#[test]
fn a_file_comes_between_what_was_written_before_and_behind_it() {
    let file = Arc::new(OwnFile::new("between", &content(LENGTH)));
    let seen = Arc::clone(&file);
    let server = TestServer::start(config("filebetween"), move |peer, _| {
        let open = seen.open();
        peer.write(b"before|");
        assert!(send_file(peer, &open, 0, LENGTH));
        peer.write(b"|between|");
        assert!(send_file(peer, &open, 1000, 2000));
        assert!(send_file(peer, &open, 4_999_999, 1));
        assert!(send_file(peer, &open, 7, 0));
        peer.write(b"|behind");
    });
    let whole = content(LENGTH);
    let expected =
        [b"before|", &whole[..], b"|between|", &whole[1000..3000], &whole[4_999_999..], b"|behind"].concat();
    for _ in 0..3 {
        let mut client = server.connect();
        client.send(b"go\ngo\n");
        for _ in 0..2 {
            assert!(client.receive(expected.len()) == expected);
        }
    }
    eventually("the file is let go", || file.descriptors() == 0);
}

#[test]
fn a_slow_reader_of_a_file_keeps_no_worker_and_takes_no_memory() {
    let file = Arc::new(OwnFile::new("slow", &content(LENGTH)));
    let seen = Arc::clone(&file);
    let (listener, address) = loopback();
    let listener = Socket::from(listener);
    listener.set_send_buffer_size(8192).unwrap();
    let mut config = config("fileslow");
    config.limits.high_watermark_bytes = 50_000;
    config.limits.low_watermark_bytes = 10_000;
    let server = TestServer::start_on(config, vec![listener.into()], 1, move |peer, work| {
        let Work::Request(request) = &work else { return };
        if request.value() == b"file" {
            assert!(send_file(peer, &seen.open(), 0, LENGTH));
            assert!(write_patiently(peer, b"behind"));
            assert_eq!(peer.unsent_bytes().1, 0);
        } else {
            echo(peer, work);
        }
    });
    let mut clients: Vec<_> = (0..5)
        .map(|_| {
            let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_recv_buffer_size(8192).unwrap();
            socket.connect(&address.into()).unwrap();
            Client::new(socket.into())
        })
        .collect();
    clients.iter_mut().for_each(|client| client.send(b"file\n"));
    // The one worker has time for others all the while.
    let mut other = Client::new(std::net::TcpStream::connect(address).unwrap());
    other.ask(b"hello\n");
    let whole = content(LENGTH);
    for client in &mut clients {
        assert!(client.receive(LENGTH) == whole);
        assert_eq!(client.receive(6), b"behind");
        other.ask(b"hello again\n");
    }
    eventually("the file is let go", || file.descriptors() == 0);
    drop(server);
}

#[test]
fn a_file_that_gets_shorter_ends_the_connection_and_is_logged() {
    let file = Arc::new(OwnFile::new("shrinks", &content(100_000)));
    let seen = Arc::clone(&file);
    let server = TestServer::start(config("fileshrinks"), move |peer, _| {
        peer.write(b"head");
        send_file(peer, &seen.open(), 0, 100_001);
    });
    for _ in 0..3 {
        let mut client = server.connect();
        client.send(b"go\n");
        let told = client.receive_to_the_end();
        assert!(told.len() <= 100_004);
    }
    eventually("they are counted", || server.stats().file_failures.load(Ordering::Relaxed) == 3);
    let logged = server.host().logged.lock().unwrap();
    assert_eq!(logged.iter().filter(|line| line.contains("got shorter")).count(), 1);
    drop(logged);
    eventually("the file is let go", || file.descriptors() == 0);
}

#[test]
fn a_peer_that_is_gone_ends_the_sending_and_raises_no_signal() {
    // SAFETY: no handler, and nothing of this process counts on SIGPIPE being ignored but what is tested.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let file = Arc::new(OwnFile::new("gone", &content(LENGTH)));
    let seen = Arc::clone(&file);
    let done = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&done);
    let server = TestServer::start(config("filegone"), move |peer, _| {
        let open = seen.open();
        // Long after the peer is gone.
        while send_file(peer, &open, 0, LENGTH) {}
        count.fetch_add(1, Ordering::SeqCst);
    });
    for rounds in 1..=20 {
        let mut client = server.connect();
        client.send(b"go\n");
        client.receive(1000);
        if rounds % 2 == 0 {
            client.reset()
        } else {
            drop(client)
        }
        eventually("the worker is done", || done.load(Ordering::SeqCst) == rounds);
    }
    eventually("the file is let go", || file.descriptors() == 0);
}

#[test]
fn what_the_system_cannot_send_is_read_and_sent_and_unix_sockets_get_files_too() {
    let path = std::env::temp_dir().join(format!("wiretask-sent-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let file = Arc::new(OwnFile::new("unix", &content(LENGTH)));
    let seen = Arc::clone(&file);
    let server = TestServer::start_on(config("fileunix"), vec![listener.into()], 1, move |peer, work| {
        let Work::Request(request) = work else { return };
        let open = match request.value() {
            // The kernel has no way to splice from it.
            b"odd" => Arc::new(SentFile::new(File::open("/dev/zero").unwrap().into())),
            _ => seen.open(),
        };
        assert!(send_file(peer, &open, 0, LENGTH));
    });
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for (request, expected) in [(&b"file\n"[..], content(LENGTH)), (b"odd\n", vec![0; LENGTH])] {
        stream.write_all(request).unwrap();
        let mut got = vec![1; LENGTH];
        stream.read_exact(&mut got).unwrap();
        assert!(got == expected);
    }
    drop(server);
    std::fs::remove_file(path).unwrap();
}
