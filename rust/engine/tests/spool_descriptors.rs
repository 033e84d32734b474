//! Every temporary file ends with its connection. One test in a process of its own, since it counts those open.
#![allow(clippy::unwrap_used)]

mod test_host;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use test_host::slow::{narrow_client, narrow_listener, serve, spooling_config};
use test_host::{Peer, TestServer, eventually};
use wiretask_protocol::channel::{CloseReason, Work};

#[test]
fn a_spool_ends_with_its_connection_whoever_closes_it() {
    let peers: Arc<Mutex<Vec<Peer>>> = Arc::default();
    let kept = Arc::clone(&peers);
    let (listener, address) = narrow_listener();
    let server = TestServer::start_on(spooling_config("ends"), vec![listener], 2, move |peer, work| {
        if matches!(work, Work::Request(_)) {
            kept.lock().unwrap().push(Arc::clone(peer));
        }
        serve(peer, work);
    });
    let slow_client = || {
        let mut client = narrow_client(address);
        client.send(b"big\n");
        client
    };
    let mut clients: Vec<_> = (0..3).map(|_| slow_client()).collect();
    eventually("all are slow", || open_spools() == 3);
    clients.pop().unwrap().reset();
    eventually("one is gone", || open_spools() == 2);
    let open = peers.lock().unwrap().iter().find(|peer| !peer.is_closed()).cloned().unwrap();
    open.abort(CloseReason::Aborted);
    eventually("another one is gone", || open_spools() == 1);
    drop(clients);
    let spooled = || server.stats().spooled_bytes.load(Ordering::SeqCst);
    eventually("all are gone", || open_spools() == 0 && spooled() == 0);
    let mut reader = slow_client();
    eventually("it is slow", || open_spools() == 1);
    reader.receive(test_host::slow::ANSWER_BYTES);
    eventually("it has read everything", || open_spools() == 0);
    // This one is there when the server stops.
    let last = slow_client();
    eventually("it is slow", || open_spools() == 1);
    server.end();
    eventually("all are gone", || open_spools() == 0);
    drop((last, reader, open));
}

/// Files without a name that this process has open in the temporary directory.
fn open_spools() -> usize {
    let directory = std::env::temp_dir();
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = links.filter_map(|entry| entry.unwrap().path().read_link().ok());
    targets
        .filter(|target| target.starts_with(&directory) && target.to_string_lossy().ends_with("(deleted)"))
        .count()
}
