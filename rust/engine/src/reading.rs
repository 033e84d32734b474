//! How a loop reads from one connection, and feeds its state.
//!
//! Reading goes on until the socket is empty, the state wants no more, or the connection has had its share of the
//! turn; then it is queued for the next one. All connections of a loop are read into one buffer. What is too long of
//! a body is moved to its file before more is read. Must not know what the bytes mean: that is for the channel's
//! state.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wiretask_protocol::channel::CloseReason;

use crate::body_files::Kept;
use crate::channel_driver::ChannelDriver;
use crate::connection::Connection;
use crate::poll_loop::Readiness;
use crate::server_core::Host;
use crate::token::Token;

pub(crate) const READ_BUFFER_BYTES: usize = 64 * 1024;
/// Reads of one connection in one turn before the others get theirs.
pub(crate) const READ_BUDGET: usize = 4;

impl<H: Host> ChannelDriver<H> {
    /// Reads what there is, within the connection's share of the turn.
    pub(crate) fn read(&mut self, connection: &Arc<Connection<H>>, token: Token, readiness: Readiness) {
        for _ in 0..READ_BUDGET {
            let socket = {
                let limits = &self.core.config.limits;
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
                    if !self.feed(connection, n) {
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

    /// Hands the state the `n` bytes that were read; false: there is nothing more to be read for now.
    fn feed(&self, connection: &Connection<H>, n: usize) -> bool {
        let core = &self.core;
        let limits = &core.config.limits;
        let make = || core.config.parser.new_consumer();
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
                Kept::Part => return true,
                Kept::Failed => return false,
            }
        }
        // A short read has emptied the socket; an end of input behind it shows by itself.
        n >= READ_BUFFER_BYTES || connection.is_peer_gone()
    }
}
