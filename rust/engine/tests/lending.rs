//! A loop that is lent to workers: what was promised without lending holds with it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod test_host;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use test_host::{Client, Gate, PATIENCE, config, eventually, loopback};
use wiretask_engine::channel_run::Next as Work;
use wiretask_engine::connection::Connection;
use wiretask_engine::duty::Duty;
use wiretask_engine::log_event::Level;
use wiretask_engine::server::Server;
use wiretask_engine::server_core::{Host, ServerCore};
use wiretask_engine::worker_pool::{Next, PoolState, WorkerPool};
use wiretask_protocol::channel::Work as ChannelWork;

type Peer = Arc<Connection<PoolHost>>;

/// A host whose workers are those of a pool, as Python's are.
struct PoolHost {
    pool: Arc<WorkerPool<Peer>>,
    loans: AtomicU64,
    is_lent: AtomicBool,
}

impl Host for PoolHost {
    type Channel = ();

    fn submit(&self, connection: Peer) -> Result<(), Peer> {
        self.pool.push_quietly(connection).map(drop).map_err(|refused| refused.item)
    }

    fn wake_workers(&self) {
        self.pool.wake();
    }

    fn has_waiting_work(&self) -> bool {
        self.pool.pending() > 0
    }

    fn offer_duty(&self, duty: &Arc<dyn Duty>) -> bool {
        let is_taken = self.pool.offer_duty(duty);
        self.loans.fetch_add(u64::from(is_taken), Ordering::SeqCst);
        self.is_lent.store(is_taken, Ordering::SeqCst);
        is_taken
    }

    fn end_duty(&self, duty: &Arc<dyn Duty>) {
        self.is_lent.store(false, Ordering::SeqCst);
        self.pool.end_duty(duty);
    }

    fn release(&self, (): ()) {}

    fn accept_ready(_core: &Arc<ServerCore<Self>>, _listener_index: usize) {}

    fn log(&self, _level: Level, message: String) {
        panic!("nothing should be logged: {message}");
    }
}

/// An echo server that waits at `gate` before it answers a line of "wait".
struct EchoServer {
    server: Server<PoolHost>,
    address: SocketAddr,
    workers: Vec<JoinHandle<()>>,
    gate: Gate,
    written_bytes: Arc<AtomicU64>,
}

impl EchoServer {
    fn start(name: &str, workers: usize) -> Self {
        let pool = Arc::new(WorkerPool::new(None));
        pool.set_target(workers);
        let (listener, address) = loopback();
        let (loans, is_lent) = (AtomicU64::new(0), AtomicBool::new(false));
        let host = PoolHost { pool, loans, is_lent };
        let server = Server::start(config(name), vec![listener], host).unwrap();
        let mut this = Self {
            server,
            address,
            workers: Vec::new(),
            gate: Gate::default(),
            written_bytes: Arc::default(),
        };
        this.start_workers();
        this
    }

    fn start_workers(&mut self) {
        while let Some(mut seat) = self.host().pool.claim_seat() {
            let (gate, written_bytes) = (self.gate.clone(), Arc::clone(&self.written_bytes));
            self.workers.push(thread::spawn(move || {
                while let Next::Item(peer) = seat.next(None) {
                    serve(&peer, &gate, &written_bytes);
                }
            }));
        }
    }

    fn host(&self) -> &PoolHost {
        &self.server.core().host
    }

    fn is_lent(&self) -> bool {
        self.host().is_lent.load(Ordering::SeqCst)
    }

    fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address).unwrap())
    }

    fn end(self) {
        assert!(self.server.stop(PATIENCE), "the loop did not end");
        self.host().pool.close(PoolState::Closed);
        self.workers.into_iter().for_each(|worker| worker.join().unwrap());
    }
}

fn serve(peer: &Peer, gate: &Gate, written_bytes: &AtomicU64) {
    loop {
        let work = match peer.start_work() {
            Work::Work(work) => work,
            Work::Finish if peer.finish_and_hold() => return,
            Work::Finish => match peer.finish_work() {
                Some(work) => work,
                None => return,
            },
        };
        if let ChannelWork::Request(request) = work {
            if request.value() == b"wait" {
                gate.pass();
            }
            let answer = [request.value(), b"\n"].concat();
            written_bytes.fetch_add(answer.len() as u64, Ordering::SeqCst);
            peer.write(&answer);
        }
    }
}

/// Asks as fast as it can, and checks each answer, until it is dropped.
struct Load {
    should_end: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(server: &EchoServer, clients: usize) -> Self {
        let (should_end, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let threads = (0..clients)
            .map(|number| {
                let mut client = server.connect();
                let (should_end, answers) = (Arc::clone(&should_end), Arc::clone(&answers));
                thread::spawn(move || {
                    for count in 0.. {
                        if should_end.load(Ordering::Relaxed) {
                            return;
                        }
                        client.ask(format!("client {number} line {count}\n").as_bytes());
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        Self { should_end, answers, threads }
    }

    fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    fn end(self) {
        self.should_end.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn a_busy_loop_is_lent_and_every_answer_is_right() {
    let server = EchoServer::start("lent", 4);
    let load = Load::on(&server, 8);
    eventually("the loop is lent", || server.is_lent());
    let before = load.answers();
    eventually("it goes on", || load.answers() > before + 2000);
    load.end();
    server.end();
}

#[test]
fn an_idle_loop_is_taken_back() {
    let server = EchoServer::start("idle", 2);
    let load = Load::on(&server, 8);
    eventually("the loop is lent", || server.is_lent());
    load.end();
    eventually("the loop is taken back", || !server.is_lent());
    server.connect().ask(b"later\n");
    server.end();
}

#[test]
fn a_slow_request_stops_nobody() {
    let server = EchoServer::start("slow", 2);
    let load = Load::on(&server, 8);
    eventually("the loop is lent", || server.is_lent());
    let mut slow = server.connect();
    slow.send(b"wait\n");
    server.gate.wait_for_arrivals(1);
    let before = load.answers();
    eventually("the others go on", || load.answers() > before + 2000);
    server.connect().ask(b"new\n");
    server.gate.open();
    assert_eq!(slow.receive(5), b"wait\n");
    load.end();
    server.end();
}

#[test]
fn an_answer_that_is_held_does_not_wait_for_a_slow_request_behind_it() {
    for _ in 0..20 {
        let server = EchoServer::start("held", 1);
        let load = Load::on(&server, 32);
        let mut slow = server.connect();
        eventually("the loop is lent", || server.is_lent());
        // Most likely it comes to its turn when others of the same turn have been answered.
        slow.send(b"wait\n");
        server.gate.wait_for_arrivals(1);
        let written = server.written_bytes.load(Ordering::SeqCst);
        let sent = || server.server.core().stats.bytes_sent.load(Ordering::SeqCst);
        eventually("all that was answered is sent", || sent() == written);
        server.gate.open();
        assert_eq!(slow.receive(5), b"wait\n");
        load.end();
        server.end();
    }
}

#[test]
fn a_server_stops_while_its_loop_is_lent() {
    for _ in 0..20 {
        let server = EchoServer::start("stop", 2);
        let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
        eventually("the loop is lent", || {
            // Enough for several milliseconds, as what is lent is lent to much that comes without a pause.
            for _ in 0..100 {
                clients.iter_mut().for_each(|client| client.ask(b"line\n"));
            }
            server.is_lent()
        });
        server.end();
    }
}

#[test]
fn workers_come_and_go_while_the_loop_is_lent() {
    let mut server = EchoServer::start("come", 3);
    let load = Load::on(&server, 8);
    for round in 0..30 {
        eventually("the loop is lent", || server.is_lent());
        server.host().pool.set_target(round % 3);
        let before = load.answers();
        if round % 3 > 0 {
            server.start_workers();
            eventually("it goes on", || load.answers() > before + 100);
        }
        server.host().pool.set_target(3);
        server.start_workers();
    }
    load.end();
    server.end();
}

#[test]
fn a_client_that_sends_much_while_the_loop_is_lent_gets_all_answers_in_order() {
    let server = EchoServer::start("much", 2);
    let load = Load::on(&server, 4);
    eventually("the loop is lent", || server.is_lent());
    let mut client = server.connect();
    let lines: Vec<u8> = (0..20_000).flat_map(|number| format!("{number}\n").into_bytes()).collect();
    let mut writer = client.0.try_clone().unwrap();
    let sent = lines.clone();
    let writing = thread::spawn(move || writer.write_all(&sent).unwrap());
    assert_eq!(client.receive(lines.len()), lines);
    writing.join().unwrap();
    load.end();
    server.end();
}
