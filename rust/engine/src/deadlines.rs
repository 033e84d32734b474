//! `Deadlines`: what a loop does because time has passed, and how long it may sleep until then.
//!
//! Answers that wait behind a slow request of the same connection are sent after a moment, all of a loop together.
//! Timeouts of connections are looked at seldom: each has a timer, no further off than the shortest of the server's
//! timeouts, and when it comes up the channel's state is asked for the true deadline. Accepting and farewells keep
//! their own times, which are asked for here. Must not know what makes a peer too late: that is for the channel's
//! state.

use std::time::Duration;

use wiretask_protocol::channel::{CloseReason, Timeout};

use crate::channel_driver::ChannelDriver;
use crate::server_core::{Host, STAMP_ERROR_MS};
use crate::timer::TimerQueue;
use crate::token::Token;

/// How long answers wait behind a slow request of the same connection.
const FLUSH_DELAY_MS: u64 = 1;

/// When one loop is to look at what.
pub(crate) struct Deadlines {
    timers: TimerQueue,
    /// Of the timeouts that connections have; `None`: they have none.
    shortest_timeout_ms: Option<u64>,
    /// Whose output is to be sent at `flush_at_ms`.
    flush_soon: Vec<Token>,
    flush_at_ms: u64,
}

impl Deadlines {
    pub(crate) fn new(shortest_timeout_ms: Option<u64>) -> Self {
        let granularity_ms = shortest_timeout_ms.map_or(1000, |shortest| (shortest / 16).clamp(1, 1000));
        Self {
            timers: TimerQueue::new(granularity_ms),
            shortest_timeout_ms,
            flush_soon: Vec::new(),
            flush_at_ms: 0,
        }
    }
}

impl<H: Host> ChannelDriver<H> {
    /// How long the loop may sleep; `None`: until something happens.
    pub(crate) fn next_wait(&self) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let deadlines = &self.deadlines;
        let flush = (!deadlines.flush_soon.is_empty()).then_some(deadlines.flush_at_ms);
        let next = [flush, self.farewells.next_ms(), self.accepting.retry_at_ms, deadlines.timers.next_ms()]
            .into_iter()
            .flatten()
            .min()?;
        Some(Duration::from_millis(next.saturating_sub(self.core.now_ms())))
    }

    /// Looks at a connection's deadlines from now on, if connections of this server have any.
    pub(crate) fn watch_time(&mut self, token: Token) {
        if let Some(shortest) = self.deadlines.shortest_timeout_ms
            && self.entries.arm_timer(token.index())
        {
            self.deadlines.timers.schedule(self.core.now_ms() + shortest, token.index());
        }
    }

    /// Sends in a moment what waits behind a slow request, with that of others.
    pub(crate) fn flush_later(&mut self, token: Token) {
        if self.deadlines.flush_soon.is_empty() {
            // The clock counts whole milliseconds: one more is never too early.
            self.deadlines.flush_at_ms = self.core.now_ms() + FLUSH_DELAY_MS + 1;
        }
        self.deadlines.flush_soon.push(token);
    }

    pub(crate) fn flush_held(&mut self) {
        if self.deadlines.flush_soon.is_empty() || self.core.now_ms() < self.deadlines.flush_at_ms {
            return;
        }
        for token in std::mem::take(&mut self.deadlines.flush_soon) {
            if let Some(connection) = self.connection(token) {
                connection.lock().state.want_flush();
                self.guarded(Some(token), |driver| driver.attend_to(&connection, token));
            }
        }
    }

    pub(crate) fn handle_timers(&mut self) {
        let now_ms = self.core.now_ms();
        if self.accepting.retry_at_ms.is_some_and(|at| at <= now_ms) {
            self.accepting.retry_at_ms = None;
            self.listen_again(None);
        }
        self.end_farewells(now_ms);
        while let Some(index) = self.deadlines.timers.pop_expired(now_ms) {
            if let Some(token) = self.entries.handle_timer(index) {
                self.guarded(Some(token), |driver| driver.handle_deadline(token, now_ms));
            }
        }
    }

    fn handle_deadline(&mut self, token: Token, now_ms: u64) {
        let (Some(connection), Some(shortest)) = (self.connection(token), self.deadlines.shortest_timeout_ms)
        else {
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
            self.deadlines.timers.schedule(next, token.index());
        }
    }
}
