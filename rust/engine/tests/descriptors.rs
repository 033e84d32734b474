//! Every descriptor comes back. One test in a process of its own, since it counts those of the process.
#![allow(clippy::unwrap_used)]

mod test_host;

use std::sync::atomic::Ordering;

use test_host::{PATIENCE, TestServer, config, eventually};
use wiretask_engine::server::Server;

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn the_number_of_descriptors_comes_back_to_where_it_began() {
    let before = open_descriptors();
    for round in 0..3 {
        let mut config = config(&format!("fds{round}"));
        config.io_threads = 2;
        config.connection_limit = 30;
        let server = TestServer::echo(config);
        let idle = open_descriptors();
        let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
        clients.iter_mut().for_each(|client| client.ask(b"hello\n"));
        for (index, mut client) in clients.into_iter().enumerate() {
            if index % 2 == 0 {
                client.send(b"and gone\n");
                client.reset();
            }
        }
        eventually("all are closed", || server.connections() == 0 && open_descriptors() == idle);
        server.host().is_refusing.store(true, Ordering::SeqCst);
        let mut refused = server.connect();
        refused.send(b"hello\n");
        assert_eq!(refused.receive_to_the_end(), b"");
        // These are open when the server stops.
        let clients: Vec<_> = (0..5).map(|_| server.connect()).collect();
        server.end();
        drop((clients, refused));
        eventually("all is closed", || open_descriptors() == before);
    }
    let mut by_host = config("fdsbyhost");
    by_host.accepts_by_host = true;
    let server = TestServer::echo(by_host);
    let clients = [server.connect(), server.connect()];
    server.accepts.recv_timeout(PATIENCE).unwrap();
    let peer = server.server().accept(0).unwrap().unwrap();
    assert!(server.server().stop(PATIENCE));
    Server::adopt(&peer);
    drop((peer, clients));
    server.end();
    eventually("all is closed", || open_descriptors() == before);
}
