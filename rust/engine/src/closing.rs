//! How one connection of a loop closes.
//!
//! Its state has said why; the loop takes the socket out of the poll, lets it linger if its peer may still have to
//! read, ends what the connection kept in files, wakes those who wait for it and counts the reason. Only the loop
//! does this. Must not know when a connection is to close: that is for the channel's state.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wiretask_protocol::channel::CloseReason;

use crate::channel_driver::{ChannelDriver, Entry};
use crate::connection::{Connection, fd_of};
use crate::log_event::Level;
use crate::server_core::Host;
use crate::socket::PeerSocket;
use crate::token::Token;

impl<H: Host> ChannelDriver<H> {
    /// Closes a connection at once, in order.
    pub(crate) fn abort(&mut self, token: Token, reason: CloseReason) {
        if let Some(connection) = self.connection(token) {
            connection.lock().state.abort(reason);
            self.attend_to(&connection, token);
        }
    }

    /// Closes a connection whose state says so; `socket` was taken out of its reach before.
    pub(crate) fn close(
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

    /// Lets a connection go that cannot be closed in order.
    pub(crate) fn forget(&mut self, token: Token) {
        if let Some(Entry::Connection(connection)) = self.entries.remove(token) {
            connection.refuse();
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
}
