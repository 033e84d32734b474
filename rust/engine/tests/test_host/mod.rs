//! A server with a small host: std threads for workers, a std channel for their queue, no Python.
//!
//! What a test asks for is the handler: it is called for each piece of work, on a worker. Every wait
//! here has a deadline; nothing sleeps to let something else happen.
#![allow(dead_code, clippy::panic, clippy::unwrap_used)]

pub mod slow;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use wiretask_engine::channel_run::Next;
use wiretask_engine::connection::Connection;
use wiretask_engine::duty::Duty;
use wiretask_engine::log_event::Level;
use wiretask_engine::output::Wrote;
use wiretask_engine::server::Server;
use wiretask_engine::server_core::{Host, ServerConfig, ServerCore, ServerStats};
use wiretask_engine::waiting_writers::Room;
use wiretask_protocol::channel::{ChannelLimits, ChannelMode, OutputLimits, Work};
use wiretask_protocol::native::{ConsumerSpec, NativeConsumer};

pub const PATIENCE: Duration = Duration::from_secs(20);

pub type Peer = Arc<Connection<TestHost>>;
pub type Handler = dyn Fn(&Peer, Work<NativeConsumer>) + Send + Sync;

/// Counts how many are alive, so that a channel that is never let go shows.
pub struct Channel(Arc<AtomicUsize>);

impl Channel {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(alive))
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub struct TestHost {
    queue: Mutex<Option<mpsc::Sender<Peer>>>,
    accepts: Mutex<mpsc::Sender<usize>>,
    pub is_refusing: AtomicBool,
    /// Submitted and not yet taken by a worker.
    pub waiting: AtomicUsize,
    /// Taken by a worker that has not let go of it yet, though the peer may have its answer.
    pub running: AtomicUsize,
    pub panics_in: Mutex<&'static str>,
    pub released: AtomicUsize,
    pub channels_alive: Arc<AtomicUsize>,
    pub logged: Mutex<Vec<String>>,
}

impl TestHost {
    fn maybe_panic(&self, place: &str) {
        let is_here = *self.panics_in.lock().unwrap() == place;
        assert!(!is_here, "the host panics in {place}, as it was told to");
    }
}

impl Host for TestHost {
    type Channel = Channel;

    fn submit(&self, connection: Peer) -> Result<(), Peer> {
        self.maybe_panic("submit");
        if self.is_refusing.load(Ordering::SeqCst) {
            return Err(connection);
        }
        match &*self.queue.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(queue) => {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                queue.send(connection).map_err(|refused| refused.0)
            }
            None => Err(connection),
        }
    }

    fn has_waiting_work(&self) -> bool {
        self.maybe_panic("has_waiting_work");
        self.waiting.load(Ordering::SeqCst) > 0
    }

    fn wake_workers(&self) {
        self.maybe_panic("wake_workers");
    }

    fn offer_duty(&self, _duty: &Arc<dyn Duty>) -> bool {
        self.maybe_panic("offer_duty");
        false
    }

    fn end_duty(&self, _duty: &Arc<dyn Duty>) {}

    fn release(&self, channel: Channel) {
        self.released.fetch_add(1, Ordering::SeqCst);
        drop(channel);
        self.maybe_panic("release");
    }

    fn accept_ready(core: &Arc<ServerCore<Self>>, listener_index: usize) {
        core.host.maybe_panic("accept_ready");
        core.host.accepts.lock().unwrap().send(listener_index).unwrap();
    }

    fn log(&self, _level: Level, message: String) {
        self.logged.lock().unwrap().push(message);
        self.maybe_panic("log");
    }
}

/// A running server with its workers, on a loopback port unless it was given listeners.
pub struct TestServer {
    pub server: Option<Server<TestHost>>,
    pub address: SocketAddr,
    pub accepts: mpsc::Receiver<usize>,
    workers: Vec<JoinHandle<()>>,
}

pub fn config(name: &str) -> ServerConfig {
    ServerConfig {
        name: name.into(),
        parser: ConsumerSpec::line(1000).unwrap(),
        mode: ChannelMode::default(),
        loop_answers: None,
        limits: ChannelLimits {
            max_ready_requests: 256,
            max_ready_bytes: 1 << 20,
            max_waiting_bytes: 65536,
            max_piece_bytes: 8192,
            high_watermark_bytes: 1 << 24,
            low_watermark_bytes: 1 << 22,
            max_unsent_bytes: 1 << 24,
            max_body_memory_bytes: None,
            output: OutputLimits { piece_bytes: 1 << 16, max_memory_bytes: 1 << 20, max_spooled_bytes: 0 },
            idle_timeout_ms: None,
            request_timeout_ms: None,
            write_timeout_ms: None,
        },
        send_bytes: 65536,
        writer_patience: PATIENCE,
        spool_directory: std::env::temp_dir(),
        connection_limit: 1000,
        evict_idle_ms: None,
        io_threads: 1,
        accepts_by_host: false,
        log_socket_errors: true,
    }
}

pub fn loopback() -> (OwnedFd, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener.into(), address)
}

/// Answers every line with itself.
pub fn echo(peer: &Peer, work: Work<NativeConsumer>) {
    if let Work::Request(request) = work {
        peer.write(&[request.value(), b"\n"].concat());
    }
}

/// Writes as a well-behaved application does: sends, and waits while too much waits.
pub fn write_patiently(peer: &Peer, data: &[u8]) -> bool {
    match peer.write(data) {
        Wrote::Buffered => true,
        Wrote::Closed => false,
        Wrote::ShouldSend => {
            peer.send_now();
            true
        }
        Wrote::ShouldWait => peer.hold_back(|| false),
        Wrote::Full => {
            let has_room =
                peer.wait_for_room(Room::For(data.len()), Some(Instant::now() + PATIENCE), || false);
            has_room && write_patiently(peer, data)
        }
    }
}

impl TestServer {
    pub fn echo(config: ServerConfig) -> Self {
        Self::start(config, echo)
    }

    pub fn start(
        config: ServerConfig,
        handler: impl Fn(&Peer, Work<NativeConsumer>) + Send + Sync + 'static,
    ) -> Self {
        let (listener, address) = loopback();
        let mut server = Self::start_on(config, vec![listener], 4, handler);
        server.address = address;
        server
    }

    pub fn start_on(
        config: ServerConfig,
        listeners: Vec<OwnedFd>,
        workers: usize,
        handler: impl Fn(&Peer, Work<NativeConsumer>) + Send + Sync + 'static,
    ) -> Self {
        let (queue, tasks) = mpsc::channel::<Peer>();
        let (accepts_sender, accepts) = mpsc::channel();
        let host = TestHost {
            queue: Mutex::new(Some(queue)),
            accepts: Mutex::new(accepts_sender),
            is_refusing: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            panics_in: Mutex::new("nothing"),
            released: AtomicUsize::new(0),
            channels_alive: Arc::new(AtomicUsize::new(0)),
            logged: Mutex::new(Vec::new()),
        };
        let server = Server::start(config, listeners, host).unwrap();
        let tasks = Arc::new(Mutex::new(tasks));
        let handler: Arc<Handler> = Arc::new(handler);
        let workers = (0..workers)
            .map(|_| {
                let (tasks, handler) = (Arc::clone(&tasks), Arc::clone(&handler));
                thread::spawn(move || work(&tasks, &*handler))
            })
            .collect();
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        Self { server: Some(server), address: nowhere, accepts, workers }
    }

    pub fn server(&self) -> &Server<TestHost> {
        self.server.as_ref().unwrap()
    }

    pub fn host(&self) -> &TestHost {
        &self.server().core().host
    }

    pub fn stats(&self) -> &ServerStats {
        &self.server().core().stats
    }

    pub fn connections(&self) -> usize {
        self.stats().connections.load(Ordering::SeqCst)
    }

    pub fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address).unwrap())
    }

    /// Ends everything in order: loops, queue, workers.
    pub fn end(mut self) {
        self.end_in_order();
    }

    fn end_in_order(&mut self) {
        let Some(server) = &self.server else { return };
        let has_stopped = server.stop(PATIENCE);
        drop(self.host().queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        for worker in self.workers.drain(..) {
            drop(worker.join());
        }
        if thread::panicking() {
            return;
        }
        assert!(has_stopped, "the loops did not end");
        assert_eq!(self.connections(), 0, "connections are counted that are no more");
        let alive = Arc::clone(&self.host().channels_alive);
        drop(self.server.take());
        eventually("every channel is let go", || alive.load(Ordering::SeqCst) == 0);
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.end_in_order();
    }
}

fn work(tasks: &Mutex<mpsc::Receiver<Peer>>, handler: &Handler) {
    loop {
        let Ok(peer) = tasks.lock().unwrap().recv() else { return };
        peer.core().host.running.fetch_add(1, Ordering::SeqCst);
        peer.core().host.waiting.fetch_sub(1, Ordering::SeqCst);
        let alive = &peer.core().host.channels_alive;
        let has_channel = peer.with_channel(|channel| channel.is_some());
        if !has_channel {
            drop(peer.attach_channel(Channel::new(alive)));
        }
        let mut next = peer.start_work();
        loop {
            let work = match next {
                Next::Work(work) => work,
                Next::Finish => match peer.finish_work() {
                    Some(work) => work,
                    None => break,
                },
            };
            let is_last = matches!(work, Work::Closed);
            handler(&peer, work);
            if is_last && let Some(channel) = peer.detach_channel() {
                peer.core().host.release(channel);
            }
            next = peer.start_work();
        }
        peer.core().host.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A blocking peer whose every wait ends.
pub struct Client<S = TcpStream>(pub S);

impl Client<TcpStream> {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub fn into_stream(self) -> TcpStream {
        self.0
    }

    /// Closes with a reset instead of an end of input.
    pub fn reset(self) {
        let socket = socket2::Socket::from(self.0);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

impl<S: Read + Write> Client<S> {
    pub fn send(&mut self, data: &[u8]) {
        self.0.write_all(data).unwrap();
    }

    pub fn receive(&mut self, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.0.read_exact(&mut data).unwrap();
        data
    }

    pub fn ask(&mut self, data: &[u8]) {
        self.send(data);
        assert_eq!(self.receive(data.len()).escape_ascii().to_string(), data.escape_ascii().to_string());
    }

    /// What comes until the connection ends, in order or by reset.
    pub fn receive_to_the_end(&mut self) -> Vec<u8> {
        let mut data = Vec::new();
        let mut piece = [0; 65536];
        loop {
            match self.0.read(&mut piece) {
                Ok(0) => return data,
                Ok(n) => data.extend_from_slice(&piece[..n]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return data,
                Err(error) => panic!("receiving: {error}"),
            }
        }
    }
}

pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A door that a worker waits at and a test opens.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<(usize, bool)>, Condvar)>);

impl Gate {
    /// Waits until the gate is open.
    pub fn pass(&self) {
        let (lock, changed) = &*self.0;
        let mut guard = lock.lock().unwrap();
        guard.0 += 1;
        changed.notify_all();
        let (guard, outcome) = changed.wait_timeout_while(guard, PATIENCE, |(_, is_open)| !*is_open).unwrap();
        drop(guard);
        assert!(!outcome.timed_out(), "nobody opened the gate");
    }

    pub fn open(&self) {
        self.0.0.lock().unwrap().1 = true;
        self.0.1.notify_all();
    }

    /// Waits until so many have come to the gate.
    pub fn wait_for_arrivals(&self, count: usize) {
        let (lock, changed) = &*self.0;
        let guard = lock.lock().unwrap();
        let (_guard, outcome) =
            changed.wait_timeout_while(guard, PATIENCE, |(arrivals, _)| *arrivals < count).unwrap();
        assert!(!outcome.timed_out(), "nobody came to the gate");
    }
}

/// How often the threads of this name have gone to sleep.
pub fn times_asleep(thread_name: &str) -> u64 {
    let mut total = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.trim_end().starts_with(thread_name) {
            let status = std::fs::read_to_string(path.join("status")).unwrap();
            let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
            total += line.split_whitespace().last().unwrap().parse::<u64>().unwrap();
        }
    }
    total
}
