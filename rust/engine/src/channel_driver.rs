//! `ChannelDriver`: one loop thread of a server, where sockets and channels meet.
//!
//! It accepts, reads, feeds the channel's state and does what the state asks for: hand the channel
//! to a worker, send, close. Everything that is posted by other threads ends in `attend`, which asks
//! the state again. Reading, writing and accepting go on until the kernel has no more or a budget is
//! used up; then the descriptor is queued for the next turn, so no peer starves the others. It must
//! not know what a worker or a task is.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::Interest;
use wiretask_protocol::channel::{Action, CloseReason, Refusal, Timeout};

use crate::accepting::Accepting;
use crate::body_files::Kept;
use crate::connection::{Connection, fd_of};
use crate::linger::{LINGER_MS, Lingering, MAX_LINGERING};
use crate::log_event::Level;
use crate::poll_loop::{LoopHandle, PollLoop, Readiness};
use crate::server_core::{Host, Message, STAMP_ERROR_MS, ServerCore};
use crate::socket::PeerSocket;
use crate::timer::TimerQueue;
use crate::token::{Token, TokenSlab};

const READ_BUFFER_BYTES: usize = 64 * 1024;
/// Reads of one connection in one turn before the others get theirs.
const READ_BUDGET: usize = 4;
/// How long answers wait behind a slow request of the same connection.
const FLUSH_DELAY_MS: u64 = 1;
/// Messages in one turn before the descriptors get theirs.
const MESSAGE_BUDGET: usize = 1024;
/// How long a loop that stops waits for workers that are inside a (non-blocking) send.
const LAST_CLOSES_MS: u64 = 1000;

pub(crate) enum Entry<H: Host> {
    Listener(usize),
    Connection(Arc<Connection<H>>),
    Lingering(Lingering),
}

/// One loop. Made on any thread; one at a time turns it (`polling_role`).
pub(crate) struct ChannelDriver<H: Host> {
    pub(crate) core: Arc<ServerCore<H>>,
    pub(crate) poll: PollLoop<Message<H>>,
    pub(crate) accepting: Accepting<H>,
    pub(crate) entries: TokenSlab<Entry<H>>,
    pub(crate) timers: TimerQueue,
    pub(crate) shortest_timeout_ms: Option<u64>,
    read_buffer: Vec<u8>,
    ready: Vec<(Token, Readiness)>,
    pub(crate) again: Vec<(Token, Readiness)>,
    flush_soon: Vec<Token>,
    flush_at_ms: u64,
    /// Lingering sockets by the time at which they are closed: all linger equally long.
    farewells: VecDeque<(u64, Token)>,
    lingering_count: usize,
    pub(crate) is_draining: bool,
    pub(crate) is_stopped: bool,
}

impl<H: Host> ChannelDriver<H> {
    pub(crate) fn new(core: Arc<ServerCore<H>>) -> io::Result<Self> {
        let shortest_timeout_ms = core.config.shortest_timeout_ms();
        let granularity_ms = shortest_timeout_ms.map_or(1000, |shortest| (shortest / 16).clamp(1, 1000));
        Ok(Self {
            core,
            poll: PollLoop::new()?,
            accepting: Accepting::new(),
            entries: TokenSlab::new(),
            timers: TimerQueue::new(granularity_ms),
            shortest_timeout_ms,
            read_buffer: vec![0; READ_BUFFER_BYTES],
            ready: Vec::new(),
            again: Vec::new(),
            flush_soon: Vec::new(),
            flush_at_ms: 0,
            farewells: VecDeque::new(),
            lingering_count: 0,
            is_draining: false,
            is_stopped: false,
        })
    }

    pub(crate) fn handle(&self) -> Arc<LoopHandle<Message<H>>> {
        self.poll.handle()
    }

    pub(crate) fn set_peers(&mut self, peers: Vec<Arc<LoopHandle<Message<H>>>>) {
        self.accepting.peers = peers;
    }

    /// Whether the loop is to be turned no more, and finished.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Closes every connection. Called once, at the end, on the loop's own thread.
    pub(crate) fn finish(mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        self.close_listeners();
        for token in self.entries.tokens() {
            self.guarded(Some(token), |driver| driver.abort(token, CloseReason::Aborted));
        }
        self.close_the_last(&mut ready);
        self.core.wake_workers();
    }

    /// Closes what a worker was sending on when the loop stopped (its `Attend` comes in a moment), and
    /// what lingers.
    fn close_the_last(&mut self, ready: &mut Vec<(Token, Readiness)>) {
        let deadline_ms = self.core.now_ms() + LAST_CLOSES_MS;
        self.handle_messages();
        while !self.entries.is_empty() && self.core.now_ms() < deadline_ms {
            if self.poll.wait(Some(Duration::from_millis(10)), || false, ready).is_err() {
                break;
            }
            for &(token, readiness) in ready.iter() {
                self.guarded(Some(token), |driver| driver.handle_ready(token, readiness));
            }
            self.handle_messages();
        }
        for token in self.entries.tokens() {
            self.guarded(Some(token), |driver| driver.forget(token));
        }
    }

    /// Waits until something is to be done or `is_called`, and does it; what is ready for workers is queued,
    /// and waking them left to the caller. `Message::Stop` makes it the last turn.
    ///
    /// # Blocking
    /// Until then. Detached from whatever should not wait.
    pub(crate) fn turn(&mut self, is_called: &dyn Fn() -> bool) {
        let mut ready = std::mem::take(&mut self.ready);
        if let Err(error) = self.poll.wait(self.next_wait(), is_called, &mut ready) {
            self.core.log(Level::Error, format!("the loop cannot poll and stops: {error}"));
            self.is_stopped = true;
            return;
        }
        self.take_again(&mut ready);
        for &(token, readiness) in &ready {
            self.guarded(Some(token), |driver| driver.handle_ready(token, readiness));
        }
        self.ready = ready;
        self.handle_messages();
        self.flush_held();
        self.handle_timers();
    }

    /// Adds what was queued for this turn, each token once.
    fn take_again(&mut self, ready: &mut Vec<(Token, Readiness)>) {
        if self.again.is_empty() {
            return;
        }
        self.again.sort_unstable_by_key(|(token, _)| token.0);
        self.again.dedup_by(|(token, readiness), (kept, kept_readiness)| {
            let is_same = token == kept;
            if is_same {
                *kept_readiness = kept_readiness.union(*readiness);
            }
            is_same
        });
        ready.append(&mut self.again);
    }

    fn handle_messages(&mut self) {
        for _ in 0..MESSAGE_BUDGET {
            let Some(message) = self.poll.take_message() else { return };
            self.guarded(None, |driver| driver.handle_message(message));
        }
    }

    /// Runs one step; a bug in it costs the one connection and not the loop.
    pub(crate) fn guarded(&mut self, token: Option<Token>, step: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| step(self))).is_ok() {
            return;
        }
        self.core.log(Level::Error, "a bug: a connection's event panicked; it is closed".into());
        let Some(token) = token else { return };
        let close = AssertUnwindSafe(|| self.abort(token, CloseReason::Aborted));
        if catch_unwind(close).is_err() {
            self.forget(token);
        }
    }

    /// Lets a connection go that cannot be closed in order.
    fn forget(&mut self, token: Token) {
        if let Some(Entry::Connection(connection)) = self.entries.remove(token) {
            connection.refuse();
        }
    }

    fn next_wait(&self) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let flush = (!self.flush_soon.is_empty()).then_some(self.flush_at_ms);
        let farewell = self.farewells.front().map(|(at, _)| *at);
        let next = [flush, farewell, self.accepting.retry_at_ms, self.timers.next_ms()]
            .into_iter()
            .flatten()
            .min()?;
        Some(Duration::from_millis(next.saturating_sub(self.core.now_ms())))
    }

    fn handle_message(&mut self, message: Message<H>) {
        match message {
            Message::Adopt(newcomer) => self.adopt(newcomer),
            Message::Attend(token) => self.guarded(Some(token), |driver| driver.attend(token)),
            Message::FlushSoon(token) => self.flush_later(token),
            Message::ListenAgain(index) => self.listen_again(index),
            Message::AcceptFailed(index, error) => {
                self.handle_accept_fault(index, &error);
            }
            Message::ListenLater => self.listen_later(),
            Message::MakeRoom(request) => self.make_room(request),
            Message::RoomAnswer(retry_at_ms) => self.handle_room_answer(retry_at_ms),
            Message::Drain => self.drain(),
            Message::Stop => self.is_stopped = true,
        }
    }

    fn connection(&self, token: Token) -> Option<Arc<Connection<H>>> {
        match self.entries.get(token)? {
            Entry::Connection(connection) => Some(Arc::clone(connection)),
            Entry::Listener(_) | Entry::Lingering(_) => None,
        }
    }

    fn handle_ready(&mut self, token: Token, readiness: Readiness) {
        let connection = match self.entries.get(token) {
            None => return,
            Some(&Entry::Listener(index)) => return self.accept(index),
            Some(Entry::Lingering(_)) => return self.discard(token),
            Some(Entry::Connection(connection)) => Arc::clone(connection),
        };
        if readiness.is_writable {
            connection.lock().state.handle_writable();
        }
        if readiness.is_read_closed || readiness.is_error {
            connection.note_peer_gone();
        }
        if readiness.is_readable || readiness.is_read_closed || readiness.is_error {
            self.read(&connection, token, readiness);
        }
        self.attend_to(&connection, token);
    }

    // ---- reading --------------------------------------------------------------------------------

    fn read(&mut self, connection: &Arc<Connection<H>>, token: Token, readiness: Readiness) {
        let core = Arc::clone(&self.core);
        let limits = &core.config.limits;
        let make = || core.config.parser.new_consumer();
        for _ in 0..READ_BUDGET {
            let socket = {
                let mut inner = connection.lock();
                if inner.is_keeping_body() {
                    drop(inner);
                    match connection.keep_body() {
                        Kept::All | Kept::Part => continue,
                        Kept::Failed => return,
                    }
                }
                if !inner.state.wants_input(limits) {
                    inner.state.pause_reading();
                    if readiness.is_error {
                        inner.state.abort(CloseReason::ConnectionLost);
                    }
                    return;
                }
                let Some(socket) = inner.socket.clone() else { return };
                socket
            };
            let outcome = socket.read(&mut self.read_buffer);
            drop(socket);
            match outcome {
                Ok(0) => {
                    connection.note_peer_gone();
                    let mut inner = connection.lock();
                    inner.state.handle_end_of_input();
                    return connection.release_writers(&mut inner);
                }
                Ok(n) => {
                    core.stats.bytes_received.fetch_add(n as u64, Ordering::Relaxed);
                    let data = self.read_buffer.get(..n).unwrap_or(&[]);
                    let mut inner = connection.lock();
                    inner.state.handle_bytes(data, make, limits, core.stamp_ms());
                    let is_overflowing = inner.state.is_body_overflowing(limits);
                    // A worker may wait for the body.
                    connection.release_writers(&mut inner);
                    drop(inner);
                    if is_overflowing {
                        match connection.keep_body() {
                            Kept::All => {}
                            Kept::Part => continue,
                            Kept::Failed => return,
                        }
                    }
                    // A short read has emptied the socket; an end of input behind it shows by itself.
                    if n < READ_BUFFER_BYTES && !connection.is_peer_gone() {
                        return;
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return,
                    io::ErrorKind::Interrupted => {}
                    _ => {
                        connection.note_peer_gone();
                        return connection.lock().state.abort(CloseReason::ConnectionLost);
                    }
                },
            }
        }
        self.again.push((token, readiness));
    }

    // ---- doing what the state asks for ----------------------------------------------------------

    fn attend(&mut self, token: Token) {
        if let Some(connection) = self.connection(token) {
            self.attend_to(&connection, token);
        }
    }

    pub(crate) fn attend_to(&mut self, connection: &Arc<Connection<H>>, token: Token) {
        let core = Arc::clone(&self.core);
        let mut resumes_left = READ_BUDGET;
        loop {
            let mut inner = connection.lock();
            let action = inner.state.poll_action(&core.config.limits);
            let waits_behind = inner.state.watch_answers();
            // Out of reach before anybody can be told that the connection is gone.
            let closed = match action {
                Some(Action::Close(_)) => {
                    connection.note_close(&inner);
                    inner.take_socket()
                }
                _ => None,
            };
            drop(inner);
            if waits_behind {
                self.flush_later(token);
            }
            match action {
                None => break,
                Some(Action::StartTask) => self.submit(connection),
                Some(Action::Send) => {
                    if connection.send_for_loop() {
                        self.again.push((token, ONLY_ATTENTION));
                        break;
                    }
                }
                // A worker as fast as its peer could keep the loop here for ever.
                Some(Action::ResumeReading) if resumes_left == 0 => self.again.push((token, ONLY_READABLE)),
                Some(Action::ResumeReading) => {
                    resumes_left -= 1;
                    self.read(connection, token, ONLY_READABLE);
                }
                Some(Action::Refuse(refusal)) => self.refuse(connection, &refusal),
                Some(Action::GoAhead) => self.let_go_ahead(connection),
                Some(Action::Close(reason)) => self.close(connection, token, closed, reason),
            }
        }
        if connection.is_unix() {
            self.watch_for_writing(connection, token);
        }
    }

    fn submit(&self, connection: &Arc<Connection<H>>) {
        self.core.stats.dispatched.fetch_add(1, Ordering::Relaxed);
        if !self.core.submit(connection) {
            // Without a channel nobody is to be told.
            let _is_told_by_nobody = connection.cancel_work();
            // One that is answered first is counted when it closes.
            if connection.is_closed() {
                self.core.stats.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn refuse(&self, connection: &Connection<H>, refusal: &Refusal) {
        let core = &self.core;
        let answers = core.config.loop_answers.as_ref();
        let answer = answers.map(|answers| answers.refusal(refusal, connection.peer())).unwrap_or_default();
        connection.lock().state.handle_refusal(&answer, &core.config.limits, core.stamp_ms());
    }

    fn let_go_ahead(&self, connection: &Connection<H>) {
        let core = &self.core;
        let Some(answers) = &core.config.loop_answers else { return };
        let word = answers.go_ahead();
        connection.lock().state.handle_go_ahead(word, &core.config.limits, core.stamp_ms());
    }

    /// Watches a Unix socket for writing while it is blocked, and only then.
    fn watch_for_writing(&self, connection: &Connection<H>, token: Token) {
        let (is_wanted, socket) = {
            let inner = connection.lock();
            (inner.state.is_blocked(), inner.socket.clone())
        };
        let Some(socket) = socket else { return };
        if connection.is_watched_for_writing.swap(is_wanted, Ordering::Relaxed) == is_wanted {
            return;
        }
        let interest = match is_wanted {
            true => Interest::READABLE | Interest::WRITABLE,
            false => Interest::READABLE,
        };
        if let Err(error) = self.poll.reregister(fd_of(&socket), token, interest) {
            self.core.log(Level::Error, format!("cannot watch a connection: {error}"));
        }
    }

    fn abort(&mut self, token: Token, reason: CloseReason) {
        if let Some(connection) = self.connection(token) {
            connection.lock().state.abort(reason);
            self.attend_to(&connection, token);
        }
    }

    fn close(
        &mut self,
        connection: &Arc<Connection<H>>,
        token: Token,
        socket: Option<Arc<PeerSocket>>,
        reason: CloseReason,
    ) {
        drop(self.entries.remove(token));
        if let Some(socket) = socket {
            // Closing takes the descriptor out of the poll; a last sender may still hold it.
            drop(self.poll.deregister(fd_of(&socket)));
            if !connection.is_peer_gone() && self.lingers(&socket, reason) {
                self.linger(socket);
            }
        }
        connection.end_spool();
        connection.end_bodies();
        connection.release_writers_now();
        connection.let_go_if_over();
        self.count_reason(connection, reason);
        self.core.count_closed();
    }

    /// Whether a plain close might take from the peer what it has not read yet.
    fn lingers(&self, socket: &PeerSocket, reason: CloseReason) -> bool {
        match reason {
            CloseReason::Finished | CloseReason::ProtocolError => !self.is_draining || socket.has_input(),
            CloseReason::Unserved => true,
            CloseReason::RequestTimeout | CloseReason::BodyFailed => self.core.config.mode.answers,
            CloseReason::EndOfInput => socket.has_input(),
            _ => false,
        }
    }

    fn linger(&mut self, socket: Arc<PeerSocket>) {
        if self.is_stopped || self.lingering_count >= MAX_LINGERING {
            return;
        }
        let Some(mut lingering) = Lingering::begin(socket) else { return };
        if !lingering.goes_on(&mut self.read_buffer) {
            return;
        }
        let Some(token) = self.entries.insert(Entry::Lingering(lingering)) else { return };
        let Some(Entry::Lingering(lingering)) = self.entries.get(token) else { return };
        if self.poll.register(lingering.as_fd(), token, Interest::READABLE).is_err() {
            drop(self.entries.remove(token));
            return;
        }
        self.lingering_count += 1;
        self.farewells.push_back((self.core.now_ms() + LINGER_MS, token));
    }

    fn discard(&mut self, token: Token) {
        if let Some(Entry::Lingering(lingering)) = self.entries.get_mut(token)
            && !lingering.goes_on(&mut self.read_buffer)
        {
            self.end_lingering(token);
        }
    }

    fn end_lingering(&mut self, token: Token) {
        if let Some(Entry::Lingering(lingering)) = self.entries.remove(token) {
            self.lingering_count -= 1;
            drop(self.poll.deregister(lingering.as_fd()));
        }
    }

    fn count_reason(&self, connection: &Connection<H>, reason: CloseReason) {
        let stats = &self.core.stats;
        let (counter, level) = match reason {
            CloseReason::ProtocolError | CloseReason::Truncated => (&stats.protocol_errors, Level::Debug),
            CloseReason::IdleTimeout => (&stats.timeouts, Level::Debug),
            CloseReason::RequestTimeout | CloseReason::WriteTimeout => (&stats.timeouts, Level::Info),
            CloseReason::ConnectionLost => (&stats.connections_lost, Level::Debug),
            CloseReason::SpoolFailed | CloseReason::BodyFailed => (&stats.spool_failures, Level::Debug),
            CloseReason::FileFailed => (&stats.file_failures, Level::Debug),
            CloseReason::Evicted => (&stats.evicted, Level::Debug),
            CloseReason::Unserved => (&stats.refused, Level::Info),
            CloseReason::Finished | CloseReason::EndOfInput | CloseReason::Aborted => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if self.core.config.log_socket_errors {
            self.core.log(level, format!("connection from {} closed: {reason:?}", connection.peer()));
        }
    }

    // ---- time -----------------------------------------------------------------------------------

    fn flush_later(&mut self, token: Token) {
        if self.flush_soon.is_empty() {
            // The clock counts whole milliseconds: one more is never too early.
            self.flush_at_ms = self.core.now_ms() + FLUSH_DELAY_MS + 1;
        }
        self.flush_soon.push(token);
    }

    fn flush_held(&mut self) {
        if self.flush_soon.is_empty() || self.core.now_ms() < self.flush_at_ms {
            return;
        }
        for token in std::mem::take(&mut self.flush_soon) {
            if let Some(connection) = self.connection(token) {
                connection.lock().state.want_flush();
                self.guarded(Some(token), |driver| driver.attend_to(&connection, token));
            }
        }
    }

    fn handle_timers(&mut self) {
        let now_ms = self.core.now_ms();
        if self.accepting.retry_at_ms.is_some_and(|at| at <= now_ms) {
            self.accepting.retry_at_ms = None;
            self.listen_again(None);
        }
        while let Some(&(at, token)) = self.farewells.front()
            && at <= now_ms
        {
            self.farewells.pop_front();
            self.end_lingering(token);
        }
        while let Some(index) = self.timers.pop_expired(now_ms) {
            if let Some(token) = self.entries.handle_timer(index) {
                self.guarded(Some(token), |driver| driver.handle_deadline(token, now_ms));
            }
        }
    }

    fn handle_deadline(&mut self, token: Token, now_ms: u64) {
        let (Some(connection), Some(shortest)) = (self.connection(token), self.shortest_timeout_ms) else {
            return;
        };
        // What it is compared with was stamped so.
        let stamp_ms = self.core.stamp_ms();
        let timeout = connection.lock().state.poll_timeout(&self.core.config.limits, stamp_ms);
        let next = match timeout {
            Timeout::Expired(CloseReason::WriteTimeout) if connection.is_peer_reading(stamp_ms) => {
                now_ms + shortest
            }
            Timeout::Expired(reason) => {
                connection.lock().state.expire(reason);
                connection.release_writers_now();
                self.attend_to(&connection, token);
                if self.entries.get(token).is_none() {
                    return;
                }
                // There is an answer, which has a limit too.
                now_ms + shortest
            }
            Timeout::At(at) => now_ms + at.saturating_sub(stamp_ms).min(shortest).max(STAMP_ERROR_MS),
            Timeout::None => now_ms + shortest,
        };
        if self.entries.arm_timer(token.index()) {
            self.timers.schedule(next, token.index());
        }
    }

    // ---- ending ---------------------------------------------------------------------------------

    fn drain(&mut self) {
        self.is_draining = true;
        self.close_listeners();
        for token in self.entries.tokens() {
            if let Some(connection) = self.connection(token) {
                self.guarded(Some(token), |driver| driver.drain_one(&connection, token));
            }
        }
    }

    pub(crate) fn drain_one(&mut self, connection: &Arc<Connection<H>>, token: Token) {
        if self.core.config.mode.finishes_begun {
            // A request that was sent before the end has begun, though nobody has looked at it.
            self.read(connection, token, ONLY_READABLE);
        }
        connection.lock().state.drain();
        connection.release_writers_now();
        self.attend_to(connection, token);
    }
}

pub(crate) const ONLY_READABLE: Readiness =
    Readiness { is_readable: true, is_writable: false, is_read_closed: false, is_error: false };
const ONLY_ATTENTION: Readiness =
    Readiness { is_readable: false, is_writable: false, is_read_closed: false, is_error: false };
