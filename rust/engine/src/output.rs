//! Output of a connection: who sends what the channel's state holds.
//!
//! One thread sends at a time, which is a role in the state: the worker that runs the channel, anybody
//! who writes to it, or the loop when the socket takes output again. What is too much for memory is
//! moved to the spool by whoever wrote it, and read back by the sender, in pieces. All system calls are
//! made without a lock. It must not know what the bytes mean.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wiretask_protocol::channel::{CloseReason, FileRange, Outgoing, Taken};

use crate::connection::{Connection, Inner, NO_TOKEN};
use crate::sent_file::{SendFault, SentFile};
use crate::server_core::{Host, Message};
use crate::socket::PeerSocket;
use crate::spool::Spool;
use crate::token::Token;

/// After so many bytes a loop turns to its other connections.
const SEND_BUDGET_BYTES: usize = 1 << 20;

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// It waits; the worker that runs the channel sends it.
    Buffered,
    /// It waits, and the caller should call `send_now`.
    ShouldSend,
    /// It waits, much waits with it, and the caller should call `hold_back`, or at least `send_now`.
    ShouldWait,
    /// Nothing was taken: as much waits as may. The caller may call `wait_for_room`, and try again.
    Full,
    /// Nothing was taken: the connection is closed, or closing.
    Closed,
}

impl<H: Host> Connection<H> {
    /// Takes bytes for the peer. Never blocks; the answer says what to do next.
    pub fn write(&self, data: &[u8]) -> Wrote {
        let limits = &self.core.config.limits;
        let mut inner = self.lock();
        match inner.state.handle_task_output(data, limits, self.core.stamp_ms()) {
            Taken::All => {}
            Taken::Full => return Wrote::Full,
            Taken::Closed => return Wrote::Closed,
        }
        let unsent = inner.state.unsent_bytes();
        if inner.state.is_above_high_watermark(limits) && !inner.is_patience_over {
            return Wrote::ShouldWait;
        }
        let is_much = unsent >= self.core.config.send_bytes || inner.state.is_spool_due(limits);
        if unsent > 0 && (is_much || !self.is_run_by_caller()) { Wrote::ShouldSend } else { Wrote::Buffered }
    }

    /// Has a range of a file sent, behind all that was written before and from where it is: it is not read into
    /// memory. Never blocks; never asks to wait. The file must stay as long: one that gets shorter ends the connection.
    pub fn write_file(&self, file: &Arc<SentFile>, offset: u64, length: usize) -> Wrote {
        let mut inner = self.lock();
        let range = FileRange { offset, length };
        match inner.state.handle_task_file(range, &self.core.config.limits, self.core.stamp_ms()) {
            Taken::All if length == 0 => return Wrote::Buffered,
            Taken::All => {}
            Taken::Full => return Wrote::Full,
            Taken::Closed => return Wrote::Closed,
        }
        inner.files.push_back(Arc::clone(file));
        Wrote::ShouldSend
    }

    /// Bytes that were written and not yet taken by the socket; and of these, those in the temporary file.
    #[must_use]
    pub fn unsent_bytes(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.state.unsent_bytes(), inner.state.spooled_bytes())
    }

    /// Sends what waits, as far as the socket takes it and nobody else is sending; what is then too much
    /// for memory is moved to the spool.
    ///
    /// # Blocking
    /// Non-blocking system calls, and writes to a file.
    pub fn send_now(&self) {
        loop {
            let outcome = self.send_until(usize::MAX);
            if outcome.needs_loop {
                self.attend();
            }
            // What was on its way to the spool was in the way of what came behind it: so it is sent again.
            if !(outcome.is_spool_due && self.spool_overflow()) {
                return;
            }
        }
    }

    /// Sends what waits, but no more than is fair to the other connections of the loop that calls.
    ///
    /// Returns whether the socket would take more.
    pub(crate) fn send_for_loop(&self) -> bool {
        self.send_until(SEND_BUDGET_BYTES).is_cut_short
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

    fn send_until(&self, budget_bytes: usize) -> SendOutcome {
        let limits = &self.core.config.limits;
        let mut inner = self.lock();
        let mut sent_bytes = 0;
        let mut needs_loop = false;
        let mut failure = None;
        while sent_bytes < budget_bytes
            && let Some(mut outgoing) = inner.state.begin_send(limits)
        {
            let (socket, spool) = (inner.socket.clone(), inner.spool.clone());
            let file = if outgoing.file().is_some() { inner.files.front().cloned() } else { None };
            self.note_spooled(&mut inner);
            drop(inner);
            let mut is_loaded = load(spool.as_deref(), &mut outgoing);
            let (sent, outcome) = match (&is_loaded, &socket, file.as_deref()) {
                (Err(_), _, _) => (0, Ok(Sent::All)),
                (Ok(()), None, _) => (0, Err(io::ErrorKind::NotConnected.into())),
                (Ok(()), Some(socket), None) => send_some(socket, &mut outgoing),
                (Ok(()), Some(socket), Some(file)) => match send_file(socket, file, &mut outgoing) {
                    (sent, Ok(outcome)) => (sent, Ok(outcome)),
                    (sent, Err(SendFault::Socket(error))) => (sent, Err(error)),
                    (sent, Err(SendFault::File(error))) => {
                        is_loaded = Err(error);
                        (sent, Ok(Sent::All))
                    }
                },
            };
            let is_file_sent = outgoing.file().is_some_and(|range| range.length == 0);
            let is_file = file.is_some();
            let is_blocked = matches!(outcome, Ok(Sent::Blocked));
            if is_blocked && let Some(queued) = socket.as_ref().and_then(|socket| socket.queued_bytes().ok())
            {
                self.queued_bytes.store(queued, Ordering::Relaxed);
            }
            drop((socket, spool));
            self.core.stats.bytes_sent.fetch_add(sent as u64, Ordering::Relaxed);
            sent_bytes = sent_bytes.saturating_add(sent);
            inner = self.lock();
            inner.state.handle_sent(outgoing, sent, is_blocked, self.core.stamp_ms());
            if is_file_sent {
                inner.files.pop_front();
                if inner.files.is_empty() {
                    inner.files = VecDeque::new();
                }
            }
            if let Err(error) = is_loaded {
                inner.state.abort(if is_file { CloseReason::FileFailed } else { CloseReason::SpoolFailed });
                failure = Some((error, is_file));
            }
            if outcome.is_err() {
                self.note_peer_gone();
                inner.state.abort(CloseReason::ConnectionLost);
            }
            self.release_writers(&mut inner);
            // A Unix socket is watched for writing only on demand.
            needs_loop |= is_blocked && self.is_unix();
        }
        let is_cut_short = sent_bytes >= budget_bytes && inner.state.unsent_bytes() > 0;
        // It may have to be closed now, or to be read again, which only the loop does.
        needs_loop |= !is_cut_short && inner.state.needs_owner(limits);
        let is_spool_due = inner.state.is_spool_due(limits);
        // The file is gone when nothing waits any more.
        let spool = if inner.state.unsent_bytes() == 0 { inner.spool.take() } else { None };
        drop(inner);
        match failure {
            Some((error, true)) => self.core.log_file_failure(&error),
            Some((error, false)) => self.core.log_spool_failure(&error),
            None => {}
        }
        if let Some(spool) = spool {
            self.core.spools.bury(spool);
        }
        SendOutcome { needs_loop, is_cut_short, is_spool_due }
    }

    /// Moves what is too much for memory to the spool; whether there was any.
    ///
    /// # Blocking
    /// Writes to a file, a piece at a time.
    fn spool_overflow(&self) -> bool {
        let mut inner = self.lock();
        let mut is_any = false;
        while let Some(spooling) = inner.state.begin_spool(&self.core.config.limits) {
            is_any = true;
            let spool = inner.spool.clone();
            drop(inner);
            let outcome = spool.map_or_else(|| self.core.new_spool().map(Arc::new), Ok).and_then(|spool| {
                spool.write(spooling.position, &spooling.bytes)?;
                Ok(spool)
            });
            drop(spooling);
            inner = self.lock();
            match outcome {
                Ok(spool) if !inner.state.is_closed() => {
                    inner.state.handle_spooled();
                    inner.spool = Some(spool);
                    self.note_spooled(&mut inner);
                }
                // Nobody will read it any more.
                Ok(_) => {}
                Err(error) => {
                    inner.state.abort(CloseReason::SpoolFailed);
                    self.release_writers(&mut inner);
                    drop(inner);
                    self.core.log_spool_failure(&error);
                    self.attend();
                    return false;
                }
            }
        }
        is_any
    }

    /// Counts what is in the spool now.
    fn note_spooled(&self, inner: &mut Inner<H>) {
        let now = inner.state.spooled_bytes();
        if now == inner.spooled_counted {
            return;
        }
        let counter = &self.core.stats.spooled_bytes;
        if now > inner.spooled_counted {
            counter.fetch_add(now - inner.spooled_counted, Ordering::Relaxed);
        } else {
            counter.fetch_sub(inner.spooled_counted - now, Ordering::Relaxed);
        }
        inner.spooled_counted = now;
    }

    /// Lets the file go: the connection is closed.
    pub(crate) fn end_spool(&self) {
        let mut inner = self.lock();
        self.note_spooled(&mut inner);
        let spool = inner.spool.take();
        let files = std::mem::take(&mut inner.files);
        drop(inner);
        drop(files);
        if let Some(spool) = spool {
            self.core.spools.bury(spool);
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
    is_spool_due: bool,
}

#[derive(Clone, Copy, Debug)]
enum Sent {
    All,
    Blocked,
}

/// Reads a piece that is in the spool from there.
fn load(spool: Option<&Spool>, outgoing: &mut Outgoing) -> io::Result<()> {
    if let Some((position, length)) = outgoing.to_load() {
        let spool = spool.ok_or(io::ErrorKind::NotFound)?;
        outgoing.load(spool.read(position, length)?);
    }
    Ok(())
}

/// Sends a chunk of a range of a file.
fn send_file(
    socket: &PeerSocket,
    file: &SentFile,
    outgoing: &mut Outgoing,
) -> (usize, Result<Sent, SendFault>) {
    let Some(range) = outgoing.file().filter(|range| range.length > 0) else { return (0, Ok(Sent::All)) };
    match file.send(socket, range.offset, range.length) {
        Ok(n) => {
            outgoing.advance(n);
            (n, Ok(Sent::All))
        }
        Err(SendFault::Socket(error)) if error.kind() == io::ErrorKind::WouldBlock => (0, Ok(Sent::Blocked)),
        Err(fault) => (0, Err(fault)),
    }
}

/// What comes before a file leaves together with its beginning.
#[cfg(target_os = "linux")]
const MORE_FOLLOWS: libc::c_int = libc::MSG_MORE;
#[cfg(not(target_os = "linux"))]
const MORE_FOLLOWS: libc::c_int = 0;

fn send_some(socket: &PeerSocket, outgoing: &mut Outgoing) -> (usize, io::Result<Sent>) {
    let mut sent = 0;
    let flags = libc::MSG_NOSIGNAL | if outgoing.is_before_file() { MORE_FOLLOWS } else { 0 };
    while !outgoing.unsent().is_empty() {
        match socket.send_with_flags(outgoing.unsent(), flags) {
            Ok(0) => return (sent, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => {
                outgoing.advance(n);
                sent += n;
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
