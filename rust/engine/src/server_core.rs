//! `ServerCore`: what the loops, the connections and the embedding share of one server.
//!
//! The embedding (Python, or a test) is the `Host`: it queues connections for its workers and keeps
//! a channel object a connection. Nothing here knows what a worker is.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use wiretask_protocol::channel::{ChannelLimits, ChannelMode, Refusal};
use wiretask_protocol::native::ConsumerSpec;

use crate::clock::coarse_millis;
use crate::connection::{Connection, Newcomer};
use crate::duty::Duty;
use crate::held_answers::HeldAnswers;
use crate::log_event::Level;
use crate::poll_loop::LoopHandle;
use crate::socket::PeerAddress;
use crate::spool::{Spool, SpoolGrave};
use crate::token::Token;

/// How often, at most, the same trouble is logged.
const LOG_PAUSE_MS: u64 = 10_000;

/// What embeds a server: it runs the channels. Called on loop threads and on any other; it must
/// neither block nor wait for an interpreter.
pub trait Host: Send + Sync + Sized + 'static {
    /// What the host keeps for each connection.
    type Channel: Send;

    /// Queues a connection, for a worker that calls `start_work`; workers are woken by `wake_workers`.
    ///
    /// # Errors
    /// The connection, if it cannot be queued; it is then closed.
    fn submit(&self, connection: Arc<Connection<Self>>) -> Result<(), Arc<Connection<Self>>>;

    /// Wakes workers for what was submitted since the last call.
    fn wake_workers(&self);

    /// Offers idle workers a duty that brings them work, until `end_duty`; false: it is not taken.
    fn offer_duty(&self, duty: &Arc<dyn Duty>) -> bool;

    /// The duty that was offered and taken is to be stood no more.
    fn end_duty(&self, duty: &Arc<dyn Duty>);

    /// Whether something waits for a worker now, so that one which merely waits for its peer is needed.
    fn has_waiting_work(&self) -> bool;

    /// Lets a channel go; it will never be asked for anything again.
    fn release(&self, channel: Self::Channel);

    /// Connections wait at a listener that the host accepts from itself (`accepts_by_host`).
    fn accept_ready(core: &Arc<ServerCore<Self>>, listener_index: usize);

    /// Notes an event for the log.
    fn log(&self, level: Level, message: String);
}

/// The words that a loop has for a peer by itself, without a worker. Called on loop threads: it must not block.
pub trait LoopAnswers: std::fmt::Debug + Send + Sync {
    /// The whole answer to what is refused of this peer; the connection closes behind it. Empty: it closes without.
    /// `first_line` is how the refused message begins, as far as it is known: bytes of the peer.
    fn refusal(&self, refusal: &Refusal, first_line: &[u8], peer: &PeerAddress) -> Vec<u8>;

    /// What is said to a peer that waits for a word before it sends the rest of its request.
    fn go_ahead(&self) -> &[u8];
}

/// What one server is set to.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Shown in thread names.
    pub name: String,
    /// The parser that runs on the loop; never fed when `mode.raw` is set.
    pub parser: ConsumerSpec,
    /// Which events workers want. `mode.answers` is as `loop_answers` says.
    pub mode: ChannelMode,
    /// The loop's own words; `None`: it has none, and what it refuses it closes.
    pub loop_answers: Option<Arc<dyn LoopAnswers>>,
    /// The limits of every channel.
    pub limits: ChannelLimits,
    /// A write is sent by the writer once so much output waits, in bytes.
    pub send_bytes: usize,
    /// How long a writer is held back when much output waits, at most.
    pub writer_patience: Duration,
    /// Where output goes that is too much for memory; nothing goes there if
    /// `limits.output.max_spooled_bytes` is 0.
    pub spool_directory: PathBuf,
    /// Connections held at once (at least 1).
    pub connection_limit: usize,
    /// At the limit, a connection that has been idle for so long makes room for a new one; `None`: none does.
    pub evict_idle_ms: Option<u64>,
    /// Loop threads (at least 1).
    pub io_threads: usize,
    /// The host accepts connections itself, told by `Host::accept_ready`.
    pub accepts_by_host: bool,
    /// Whether errors of connections are logged.
    pub log_socket_errors: bool,
}

impl ServerConfig {
    /// The shortest time limit: no connection goes longer without being looked at.
    pub(crate) fn shortest_timeout_ms(&self) -> Option<u64> {
        let limits = &self.limits;
        [limits.idle_timeout_ms, limits.request_timeout_ms, limits.write_timeout_ms]
            .into_iter()
            .flatten()
            .min()
    }
}

/// Counters of one server; they only rise, but for the first three.
#[derive(Debug, Default)]
pub struct ServerStats {
    /// Connections held now.
    pub connections: AtomicUsize,
    /// Closed connections whose close the host's worker has yet to be told.
    pub closes_untold: AtomicUsize,
    /// Output that waits in temporary files, in bytes.
    pub spooled_bytes: AtomicUsize,
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Errors of accept, time-outs of descriptors included.
    pub accept_errors: AtomicU64,
    /// Bytes read.
    pub bytes_received: AtomicU64,
    /// Bytes sent.
    pub bytes_sent: AtomicU64,
    /// Channels handed to workers.
    pub dispatched: AtomicU64,
    /// Pieces of work that workers began.
    pub begun: AtomicU64,
    /// Connections closed because they could not be queued.
    pub refused: AtomicU64,
    /// Connections closed for what their peer sent.
    pub protocol_errors: AtomicU64,
    /// Connections closed by a time limit.
    pub timeouts: AtomicU64,
    /// Connections reset or otherwise lost.
    pub connections_lost: AtomicU64,
    /// Connections closed because a file that was to be sent could not be read.
    pub file_failures: AtomicU64,
    /// Requests whose bodies were too long for memory.
    pub bodies_in_files: AtomicU64,
    /// Connections closed because their output, or the body of a request, could not be kept in a file.
    pub spool_failures: AtomicU64,
    /// Idle connections closed to make room for others.
    pub evicted: AtomicU64,
}

/// A request to close an idle connection, which goes from loop to loop until one can.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoomRequest {
    /// Loops that could not.
    pub(crate) asked: usize,
    /// When, in milliseconds, one of them will be able to at the earliest.
    pub(crate) next_ms: Option<u64>,
}

/// What other threads tell a loop.
pub enum Message<H: Host> {
    /// Take this connection in.
    Adopt(Newcomer<H>),
    /// Something about this connection wants the loop.
    Attend(Token),
    /// Send what this connection holds in about a millisecond, if its worker has not by then.
    FlushSoon(Token),
    /// Accept again: there is room, or the host is done with the listener of this index.
    ListenAgain(Option<usize>),
    /// The host got this error from the listener of this index.
    AcceptFailed(usize, io::Error),
    /// The host could not accept: report its listeners again a little later.
    ListenLater,
    /// As many connections are held as may be and another one waits: close an idle one.
    MakeRoom(RoomRequest),
    /// What became of it: there is room now, or not before this time in milliseconds.
    RoomAnswer(Option<u64>),
    /// Close the listeners, let connections end.
    Drain,
    /// Close everything and end the thread.
    Stop,
}

/// How far `stamp_ms` may be from `now_ms`, in milliseconds.
pub(crate) const STAMP_ERROR_MS: u64 = 10;

/// What the parts of one server share.
pub struct ServerCore<H: Host> {
    /// What embeds the server.
    pub host: H,
    /// What it is set to.
    pub config: ServerConfig,
    /// Its counters.
    pub stats: ServerStats,
    /// Answers that wait a moment while a worker turns the loop.
    pub(crate) held: HeldAnswers<H>,
    /// The server stops: connections are to come to their end.
    pub(crate) is_draining: AtomicBool,
    pub(crate) is_accepting_held: AtomicBool,
    pub(crate) ended: (Mutex<()>, Condvar),
    /// The loop that accepts.
    pub(crate) acceptor: OnceLock<Arc<LoopHandle<Message<H>>>>,
    /// Where temporary files end.
    pub(crate) spools: Arc<SpoolGrave>,
    spool_log_at_ms: AtomicU64,
    file_log_at_ms: AtomicU64,
    limit_log_at_ms: AtomicU64,
    epoch: Instant,
    coarse_epoch_ms: u64,
}

impl<H: Host> ServerCore<H> {
    pub(crate) fn new(host: H, mut config: ServerConfig) -> Self {
        config.mode.answers = config.loop_answers.is_some();
        Self {
            host,
            config,
            stats: ServerStats::default(),
            held: HeldAnswers::new(),
            is_draining: AtomicBool::new(false),
            is_accepting_held: AtomicBool::new(false),
            ended: (Mutex::new(()), Condvar::new()),
            acceptor: OnceLock::new(),
            spools: Arc::default(),
            spool_log_at_ms: AtomicU64::new(0),
            file_log_at_ms: AtomicU64::new(0),
            limit_log_at_ms: AtomicU64::new(0),
            epoch: Instant::now(),
            coarse_epoch_ms: coarse_millis(),
        }
    }

    /// Milliseconds since the server was made, on a steady clock.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The same to within `STAMP_ERROR_MS`, and cheap: for what is stamped with every request.
    pub(crate) fn stamp_ms(&self) -> u64 {
        coarse_millis().saturating_sub(self.coarse_epoch_ms)
    }

    /// Whether as many connections are held as may be. The acceptor then waits for one to close.
    pub(crate) fn holds_accepting(&self) -> bool {
        if !self.is_full() {
            return false;
        }
        self.is_accepting_held.store(true, Ordering::SeqCst);
        // A connection may have closed just before the hold was written down.
        self.is_full()
    }

    /// Whether as many connections are held as may be.
    pub(crate) fn is_full(&self) -> bool {
        self.stats.connections.load(Ordering::SeqCst) >= self.config.connection_limit
    }

    /// A connection that was counted is no more.
    pub(crate) fn count_closed(&self) {
        if self.stats.connections.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.tell_ended();
        }
        if self.is_accepting_held.load(Ordering::SeqCst)
            && self.is_accepting_held.swap(false, Ordering::SeqCst)
            && let Some(acceptor) = self.acceptor.get()
        {
            acceptor.post(Message::ListenAgain(None));
        }
    }

    /// The host's worker has been told of a close, or never will be.
    pub(crate) fn count_close_told(&self) {
        if self.stats.closes_untold.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.tell_ended();
        }
    }

    fn tell_ended(&self) {
        drop(self.ended.0.lock());
        self.ended.1.notify_all();
    }

    /// Whether there is no connection, nor one whose close is yet to be told.
    pub(crate) fn has_ended(&self) -> bool {
        // In this order: a close is counted as untold before its connection is counted off.
        self.stats.connections.load(Ordering::SeqCst) == 0
            && self.stats.closes_untold.load(Ordering::SeqCst) == 0
    }

    /// How many pieces of work workers have begun.
    pub(crate) fn begun(&self) -> u64 {
        self.stats.begun.load(Ordering::Relaxed)
    }

    /// A file for the output of one connection.
    pub(crate) fn new_spool(&self) -> io::Result<Spool> {
        Spool::new(&self.config.spool_directory, self.config.limits.output.max_spooled_bytes as u64)
    }

    /// A file for the body of one request.
    pub(crate) fn new_body_file(&self) -> io::Result<Spool> {
        Spool::new(&self.config.spool_directory, u64::MAX)
    }

    /// Tells the operator, once in a while, that files which are to be sent cannot be read.
    pub(crate) fn log_file_failure(&self, error: &io::Error) {
        if self.is_log_due(&self.file_log_at_ms) {
            let text = format!(
                "closing a connection in the middle of a file: it cannot be read, or has got shorter: {error}"
            );
            self.log(Level::Error, text);
        }
    }

    /// Tells the operator, once in a while, that bodies of requests cannot be kept.
    pub(crate) fn log_body_failure(&self, error: &io::Error) {
        if self.is_log_due(&self.spool_log_at_ms) {
            let directory = self.config.spool_directory.display();
            let text = format!(
                "refusing a request whose body does not fit into memory: cannot keep it in a temporary file in \
                 {directory}: {error}"
            );
            self.log(Level::Error, text);
        }
    }

    /// Tells the operator, once in a while, that temporary files fail.
    pub(crate) fn log_spool_failure(&self, error: &io::Error) {
        if self.is_log_due(&self.spool_log_at_ms) {
            let directory = self.config.spool_directory.display();
            let text = format!(
                "closing a connection whose output does not fit into memory: cannot keep it in a temporary \
                 file in {directory}: {error}"
            );
            self.log(Level::Error, text);
        }
    }

    /// Tells the operator, once in a while, that connections are closed to make room.
    pub(crate) fn log_eviction(&self) {
        if self.is_log_due(&self.limit_log_at_ms) {
            let limit = self.config.connection_limit;
            let text = format!(
                "all {limit} connections of connection_limit are taken: those idle the longest are closed for others"
            );
            self.log(Level::Warning, text);
        }
    }

    fn is_log_due(&self, next_at_ms: &AtomicU64) -> bool {
        let now_ms = self.now_ms();
        let next = |at_ms: u64| (now_ms >= at_ms).then_some(now_ms + LOG_PAUSE_MS);
        next_at_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    // The host is somebody else's code: a panic in it costs that one call and not a loop.

    pub(crate) fn submit(&self, connection: &Arc<Connection<H>>) -> bool {
        self.call_host(|host| host.submit(Arc::clone(connection))).is_some_and(|outcome| outcome.is_ok())
    }

    pub(crate) fn has_waiting_work(&self) -> bool {
        self.call_host(H::has_waiting_work).unwrap_or(true)
    }

    pub(crate) fn wake_workers(&self) {
        self.call_host(H::wake_workers);
    }

    pub(crate) fn offer_duty(&self, duty: &Arc<dyn Duty>) -> bool {
        self.call_host(|host| host.offer_duty(duty)).unwrap_or(false)
    }

    pub(crate) fn end_duty(&self, duty: &Arc<dyn Duty>) {
        self.call_host(|host| host.end_duty(duty));
    }

    pub(crate) fn release(&self, channel: H::Channel) {
        self.call_host(|host| host.release(channel));
    }

    pub(crate) fn accept_ready(core: &Arc<Self>, listener_index: usize) {
        core.call_host(|_| H::accept_ready(core, listener_index));
    }

    pub(crate) fn log(&self, level: Level, message: String) {
        // If the log itself panics there is nobody left to tell.
        drop(catch_unwind(AssertUnwindSafe(|| self.host.log(level, message))));
    }

    fn call_host<R>(&self, call: impl FnOnce(&H) -> R) -> Option<R> {
        let outcome = catch_unwind(AssertUnwindSafe(|| call(&self.host))).ok();
        if outcome.is_none() {
            self.log(Level::Error, "a bug: what embeds the server panicked".into());
        }
        outcome
    }
}
