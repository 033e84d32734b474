//! Output of a connection: who sends what the channel's state holds, and who waits for it to leave.
//!
//! One thread sends at a time, which is a role in the state: the worker that runs the channel, anybody
//! who writes to it, or the loop when the socket takes output again. Sending is done without a lock.
//! It must not know what the bytes mean.

use std::io;
use std::sync::atomic::Ordering;
use std::thread::Thread;
use std::time::{Duration, Instant};

use wiretask_protocol::channel::{CloseReason, Outgoing};

use crate::connection::{Connection, Inner, NO_TOKEN};
use crate::server_core::{Host, Message};
use crate::socket::PeerSocket;
use crate::token::Token;

/// A sender writes down after so many bytes what was sent; a loop then turns to its other connections.
const SEND_BUDGET_BYTES: usize = 1 << 20;
/// How late a thread that waits for its peer notices that the process is about to exit.
const STOP_CHECK: Duration = Duration::from_millis(250);

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// It waits; the worker that runs the channel sends it.
    Buffered,
    /// It waits, and the caller should call `send_now`.
    ShouldSend,
    /// It waits, much waits with it, and the caller should call `send_now`, then `wait_for_room`.
    ShouldWait,
    /// Nothing was taken: the connection is closed, or closing.
    Closed,
}

/// A thread that waits for output to leave.
pub(crate) struct Writer {
    thread: Thread,
    waits_for_empty: bool,
}

impl<H: Host> Connection<H> {
    /// Takes bytes for the peer. Never blocks; the answer says what to do next.
    pub fn write(&self, data: &[u8]) -> Wrote {
        let limits = &self.core.config.limits;
        let mut inner = self.lock();
        if !inner.state.handle_task_output(data, self.core.stamp_ms()) {
            return Wrote::Closed;
        }
        let unsent = inner.state.unsent_bytes();
        if inner.state.is_above_high_watermark(limits) {
            Wrote::ShouldWait
        } else if unsent > 0 && (unsent >= self.core.config.send_bytes || !self.is_run_by_caller()) {
            Wrote::ShouldSend
        } else {
            Wrote::Buffered
        }
    }

    /// Sends what waits, as far as the socket takes it and nobody else is sending.
    ///
    /// # Blocking
    /// One or a few non-blocking system calls.
    pub fn send_now(&self) {
        if self.send_until(|| false).needs_loop {
            self.attend();
        }
    }

    /// Sends what waits, but no more than is fair to the other connections of the loop that calls.
    ///
    /// Returns whether the socket would take more.
    pub(crate) fn send_for_loop(&self) -> bool {
        self.send_until(|| true).is_cut_short
    }

    /// Whether the peer takes what was sent, though the socket takes no more; then the time limit begins anew.
    ///
    /// The system reports a socket as writable when a third of its buffer, which may hold megabytes, is
    /// free again. A peer that reads slowly but steadily may take longer for that than the time limit.
    pub(crate) fn is_peer_reading(&self, stamp_ms: u64) -> bool {
        let mut inner = self.lock();
        let queued = inner.socket.as_ref().and_then(|socket| socket.queued_bytes().ok());
        let is_reading =
            queued.is_some_and(|queued| self.queued_bytes.swap(queued, Ordering::Relaxed) > queued);
        if is_reading {
            inner.state.handle_peer_progress(stamp_ms);
        }
        is_reading
    }

    fn send_until(&self, is_enough: impl Fn() -> bool) -> SendOutcome {
        let mut inner = self.lock();
        let mut needs_loop = false;
        while let Some(mut outgoing) = inner.state.begin_send() {
            let socket = inner.socket.clone();
            drop(inner);
            let (sent, outcome) = match &socket {
                Some(socket) => send_some(socket, &mut outgoing),
                None => (0, Err(io::ErrorKind::NotConnected.into())),
            };
            let is_blocked = matches!(outcome, Ok(Sent::Blocked));
            if is_blocked && let Some(queued) = socket.as_ref().and_then(|socket| socket.queued_bytes().ok())
            {
                self.queued_bytes.store(queued, Ordering::Relaxed);
            }
            drop(socket);
            self.core.stats.bytes_sent.fetch_add(sent as u64, Ordering::Relaxed);
            inner = self.lock();
            inner.state.handle_sent(outgoing, sent, is_blocked, self.core.stamp_ms());
            if outcome.is_err() {
                self.note_peer_gone();
                inner.state.abort(CloseReason::ConnectionLost);
            }
            self.release_writers(&mut inner);
            // A Unix socket is watched for writing only on demand.
            needs_loop |= is_blocked && self.is_unix();
            if matches!(outcome, Ok(Sent::Enough)) && is_enough() {
                let is_cut_short = inner.state.unsent_bytes() > 0;
                return SendOutcome { needs_loop, is_cut_short };
            }
        }
        // It may have to be closed now, or to be read again, which only the loop does.
        needs_loop |= inner.state.needs_owner(&self.core.config.limits);
        SendOutcome { needs_loop, is_cut_short: false }
    }

    fn release_writers(&self, inner: &mut Inner<H>) {
        if inner.writers.is_empty() {
            return;
        }
        let has_room = inner.state.is_below_low_watermark(&self.core.config.limits);
        let is_empty = inner.state.unsent_bytes() == 0;
        inner.writers.retain(|writer| {
            let goes_on = if writer.waits_for_empty { is_empty } else { has_room };
            if goes_on {
                writer.thread.unpark();
            }
            !goes_on
        });
        inner.writers.shrink_to_fit();
    }

    /// Lets writers that wait look again: output was sent, or the connection closed.
    pub(crate) fn release_writers_now(&self) {
        self.release_writers(&mut self.lock());
    }

    /// Waits until little output waits (`waits_for_empty`: none); false: the connection closed, the
    /// deadline passed or `should_stop` says so.
    ///
    /// # Blocking
    /// Until the peer takes the output; the write time-out of the server ends it at the latest.
    pub fn wait_for_room(
        &self,
        waits_for_empty: bool,
        deadline: Option<Instant>,
        should_stop: impl Fn() -> bool,
    ) -> bool {
        loop {
            self.send_now();
            let mut inner = self.lock();
            if inner.state.is_closed() {
                return false;
            }
            let is_done = if waits_for_empty {
                inner.state.unsent_bytes() == 0
            } else {
                inner.state.is_below_low_watermark(&self.core.config.limits)
            };
            if is_done {
                return true;
            }
            let now = Instant::now();
            if should_stop() || deadline.is_some_and(|deadline| now >= deadline) {
                return false;
            }
            let thread = std::thread::current();
            let own_id = thread.id();
            // An earlier wait that ended at its deadline may have left its entry.
            inner.writers.retain(|writer| writer.thread.id() != own_id);
            inner.writers.push(Writer { thread, waits_for_empty });
            drop(inner);
            let pause = deadline.map_or(STOP_CHECK, |deadline| (deadline - now).min(STOP_CHECK));
            std::thread::park_timeout(pause);
        }
    }

    /// Asks the loop to send what waits in about a millisecond if the worker has not by then.
    pub fn flush_soon(&self) {
        let token = self.token.load(Ordering::Acquire);
        if token != NO_TOKEN && self.lock().state.watch_answers_of_worker() {
            self.home.post(Message::FlushSoon(Token(token)));
        }
    }
}

struct SendOutcome {
    needs_loop: bool,
    is_cut_short: bool,
}

#[derive(Clone, Copy, Debug)]
enum Sent {
    All,
    /// The budget is used up.
    Enough,
    Blocked,
}

fn send_some(socket: &PeerSocket, outgoing: &mut Outgoing) -> (usize, io::Result<Sent>) {
    let mut sent = 0;
    while !outgoing.unsent().is_empty() {
        match socket.send_with_flags(outgoing.unsent(), libc::MSG_NOSIGNAL) {
            Ok(0) => return (sent, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => {
                outgoing.advance(n);
                sent += n;
                if sent >= SEND_BUDGET_BYTES {
                    return (sent, Ok(Sent::Enough));
                }
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => return (sent, Ok(Sent::Blocked)),
                io::ErrorKind::Interrupted => {}
                _ => return (sent, Err(error)),
            },
        }
    }
    (sent, Ok(Sent::All))
}
