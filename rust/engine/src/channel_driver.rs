//! `ChannelDriver`: one loop thread of a server, where sockets and channels meet.
//!
//! A turn waits for events, and does what they, messages and the time ask for. Whatever happens to a
//! connection, be it readiness or a message of another thread, ends in `attend`, which asks the
//! channel's state what is to be done: hand the channel to a worker, send, close. Reading, writing and
//! accepting go on until the kernel has no more or a budget is used up; then the descriptor is queued
//! for the next turn, so no peer starves the others. Each concern of a loop has a file of its own:
//! `accepting`, `reading`, `deadlines`, `closing`, `farewells`, `ending`. None of them must know what
//! a worker or a task is.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mio::Interest;
use wiretask_protocol::channel::{Action, CloseReason, Refusal};

use crate::accepting::Accepting;
use crate::connection::{Connection, fd_of};
use crate::deadlines::Deadlines;
use crate::farewells::Farewells;
use crate::linger::Lingering;
use crate::log_event::Level;
use crate::poll_loop::{LoopHandle, PollLoop, Readiness};
use crate::reading::{READ_BUDGET, READ_BUFFER_BYTES};
use crate::server_core::{Host, Message, ServerCore};
use crate::token::{Token, TokenSlab};

/// Messages in one turn before the descriptors get theirs.
const MESSAGE_BUDGET: usize = 1024;

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
    pub(crate) deadlines: Deadlines,
    pub(crate) farewells: Farewells,
    pub(crate) read_buffer: Vec<u8>,
    /// What was ready in the last turn; kept for its room.
    pub(crate) ready: Vec<(Token, Readiness)>,
    /// What is to be looked at in the next turn, whether or not it is ready then.
    pub(crate) again: Vec<(Token, Readiness)>,
    pub(crate) is_draining: bool,
    pub(crate) is_stopped: bool,
}

impl<H: Host> ChannelDriver<H> {
    pub(crate) fn new(core: Arc<ServerCore<H>>) -> io::Result<Self> {
        let deadlines = Deadlines::new(core.config.shortest_timeout_ms());
        Ok(Self {
            core,
            poll: PollLoop::new()?,
            accepting: Accepting::new(),
            entries: TokenSlab::new(),
            deadlines,
            farewells: Farewells::new(),
            read_buffer: vec![0; READ_BUFFER_BYTES],
            ready: Vec::new(),
            again: Vec::new(),
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

    pub(crate) fn handle_messages(&mut self) {
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

    pub(crate) fn connection(&self, token: Token) -> Option<Arc<Connection<H>>> {
        match self.entries.get(token)? {
            Entry::Connection(connection) => Some(Arc::clone(connection)),
            Entry::Listener(_) | Entry::Lingering(_) => None,
        }
    }

    pub(crate) fn handle_ready(&mut self, token: Token, readiness: Readiness) {
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
        let first_line = connection.lock().state.refused_line().to_vec();
        let answer = answers.map(|answers| answers.refusal(refusal, &first_line, connection.peer()));
        let answer = answer.unwrap_or_default();
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
}

pub(crate) const ONLY_READABLE: Readiness =
    Readiness { is_readable: true, is_writable: false, is_read_closed: false, is_error: false };
const ONLY_ATTENTION: Readiness =
    Readiness { is_readable: false, is_writable: false, is_read_closed: false, is_error: false };
