//! Threads that wait on a connection: for output to leave, or for more of a body.
//!
//! One that waits sends what it can first, and is woken by whoever makes room. It must not know what the bytes mean,
//! nor how they are sent.

use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::connection::{Connection, Inner};
use crate::server_core::Host;

/// How late a thread that waits for its peer notices that the process is about to exit.
const STOP_CHECK: Duration = Duration::from_millis(250);
/// How late a thread that is held back notices that it is needed elsewhere.
const NEED_CHECK: Duration = Duration::from_millis(10);

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// All output has left.
    Empty,
    /// Little output waits: the low watermark.
    Low,
    /// So many bytes would be taken.
    For(usize),
    /// Not for output: `take_body` has something to give.
    Body,
}

/// A thread that waits for output to leave.
pub(crate) struct Writer {
    thread: Thread,
    room: Room,
}

impl<H: Host> Connection<H> {
    /// Lets writers that wait look again: output was sent, or the connection closed.
    pub(crate) fn release_writers(&self, inner: &mut Inner<H>) {
        if inner.is_patience_over && inner.state.is_below_low_watermark(&self.core.config.limits) {
            inner.is_patience_over = false;
        }
        if inner.writers.is_empty() {
            return;
        }
        let mut writers = std::mem::take(&mut inner.writers);
        writers.retain(|writer| {
            let goes_on = inner.state.is_closed() || self.has_room(inner, writer.room);
            if goes_on {
                writer.thread.unpark();
            }
            !goes_on
        });
        writers.shrink_to_fit();
        inner.writers = writers;
    }

    fn has_room(&self, inner: &Inner<H>, room: Room) -> bool {
        let limits = &self.core.config.limits;
        match room {
            Room::Empty => inner.state.unsent_bytes() == 0,
            Room::Low => inner.state.is_below_low_watermark(limits),
            Room::For(length) => inner.state.has_room_for(length, limits),
            Room::Body => inner.state.is_body_ready(),
        }
    }

    /// As `release_writers`, for who has not locked the connection.
    pub(crate) fn release_writers_now(&self) {
        self.release_writers(&mut self.lock());
    }

    /// When a writer that finds no room is to give up; `None`: never.
    #[must_use]
    pub fn write_deadline(&self) -> Option<Instant> {
        let limit_ms = self.core.config.limits.write_timeout_ms?;
        Instant::now().checked_add(Duration::from_millis(limit_ms))
    }

    /// Waits until there is room; false: the connection closed, the deadline passed or `should_stop` says so.
    ///
    /// # Blocking
    /// Until the peer takes the output; without a deadline, the write time-out of the server ends it
    /// once the peer takes nothing.
    pub fn wait_for_room(
        &self,
        room: Room,
        deadline: Option<Instant>,
        should_stop: impl Fn() -> bool,
    ) -> bool {
        self.wait(room, deadline, STOP_CHECK, should_stop) == Waited::Room
    }

    /// Sends what waits, and waits until `take_body` has something to give; false: the connection closed (and
    /// `take_body` says so) or `should_stop` says so.
    ///
    /// # Blocking
    /// Until the peer goes on with the body; the time limit of requests ends it, once the peer does not.
    pub fn wait_for_body(&self, should_stop: impl Fn() -> bool) -> bool {
        self.wait(Room::Body, None, STOP_CHECK, should_stop) == Waited::Room
    }

    /// Sends, and holds a writer back as long as that helps and costs nobody anything: until little output
    /// waits, but no longer than `ServerConfig::writer_patience`, and not while other channels wait for
    /// a worker. Once it has waited in vain no writer of the connection waits here until the output has
    /// fallen to the low watermark; so a slow reader costs little, however much is written to it.
    ///
    /// Returns false if the connection is closed or `should_stop` says so.
    ///
    /// # Blocking
    /// As it says.
    pub fn hold_back(&self, should_stop: impl Fn() -> bool) -> bool {
        let deadline = Instant::now().checked_add(self.core.config.writer_patience);
        let is_needed = || should_stop() || self.core.has_waiting_work();
        match self.wait(Room::Low, deadline, NEED_CHECK, is_needed) {
            Waited::Room => true,
            Waited::Closed => false,
            Waited::InVain => {
                let mut inner = self.lock();
                inner.is_patience_over = !self.has_room(&inner, Room::Low);
                !inner.state.is_closed() && !should_stop()
            }
        }
    }

    fn wait(
        &self,
        room: Room,
        deadline: Option<Instant>,
        look_again: Duration,
        should_stop: impl Fn() -> bool,
    ) -> Waited {
        loop {
            self.send_now();
            let mut inner = self.lock();
            if inner.state.is_closed() {
                return Waited::Closed;
            }
            if self.has_room(&inner, room) {
                return Waited::Room;
            }
            let now = Instant::now();
            if should_stop() || deadline.is_some_and(|deadline| now >= deadline) {
                return Waited::InVain;
            }
            let thread = std::thread::current();
            let own_id = thread.id();
            // An earlier wait that ended at its deadline may have left its entry.
            inner.writers.retain(|writer| writer.thread.id() != own_id);
            inner.writers.push(Writer { thread, room });
            drop(inner);
            let pause = deadline.map_or(look_again, |deadline| (deadline - now).min(look_again));
            std::thread::park_timeout(pause);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    Room,
    Closed,
    InVain,
}
