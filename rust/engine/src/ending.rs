//! How a loop comes to its end: drained first, if there is time, and then finished.
//!
//! Draining closes the listeners and tells every connection that the answers it has begun are its last; the loop goes
//! on until somebody stops it. Finishing closes what is left, and waits a little for workers that are inside a
//! (non-blocking) send, because only the loop closes a socket. Must not know who stops a server, or when.

use std::sync::Arc;
use std::time::Duration;

use wiretask_protocol::channel::CloseReason;

use crate::channel_driver::{ChannelDriver, ONLY_READABLE};
use crate::connection::Connection;
use crate::poll_loop::Readiness;
use crate::server_core::Host;
use crate::token::Token;

/// How long a loop that stops waits for workers that are inside a (non-blocking) send.
const LAST_CLOSES_MS: u64 = 1000;

impl<H: Host> ChannelDriver<H> {
    /// Takes no more connections, and lets those that are there come to their ends.
    pub(crate) fn drain(&mut self) {
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
}
