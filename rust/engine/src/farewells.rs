//! `Farewells`: the sockets of a loop that linger, and when each is closed for good.
//!
//! The connection is gone by then; a `Lingering` stands among the loop's entries. All linger equally long, so they
//! are in the order of their ends; one that ends early leaves its line behind, whose token leads nowhere. Must not
//! know what was said on the connection, only why it closed.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::Arc;

use mio::Interest;
use wiretask_protocol::channel::CloseReason;

use crate::channel_driver::{ChannelDriver, Entry};
use crate::linger::{LINGER_MS, Lingering, MAX_LINGERING};
use crate::server_core::Host;
use crate::socket::PeerSocket;
use crate::token::Token;

/// What lingers in one loop.
pub(crate) struct Farewells {
    /// By the time at which they are closed.
    due: VecDeque<(u64, Token)>,
    count: usize,
}

impl Farewells {
    pub(crate) const fn new() -> Self {
        Self { due: VecDeque::new(), count: 0 }
    }

    /// When the next one is over.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.due.front().map(|(at, _)| *at)
    }
}

impl<H: Host> ChannelDriver<H> {
    /// Whether a plain close might take from the peer what it has not read yet.
    pub(crate) fn lingers(&self, socket: &PeerSocket, reason: CloseReason) -> bool {
        match reason {
            CloseReason::Finished | CloseReason::ProtocolError => !self.is_draining || socket.has_input(),
            CloseReason::Unserved => true,
            CloseReason::RequestTimeout | CloseReason::BodyFailed => self.core.config.mode.answers,
            CloseReason::EndOfInput => socket.has_input(),
            _ => false,
        }
    }

    /// Keeps the socket until its peer has had time to read the end, if there is anything to wait for and room.
    pub(crate) fn linger(&mut self, socket: Arc<PeerSocket>) {
        if self.is_stopped || self.farewells.count >= MAX_LINGERING {
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
        self.farewells.count += 1;
        self.farewells.due.push_back((self.core.now_ms() + LINGER_MS, token));
    }

    /// Throws away what the peer of a lingering socket sends; the end of it is the end of the socket.
    pub(crate) fn discard(&mut self, token: Token) {
        if let Some(Entry::Lingering(lingering)) = self.entries.get_mut(token)
            && !lingering.goes_on(&mut self.read_buffer)
        {
            self.end_lingering(token);
        }
    }

    /// Closes those that have lingered long enough.
    pub(crate) fn end_farewells(&mut self, now_ms: u64) {
        while let Some(&(at, token)) = self.farewells.due.front()
            && at <= now_ms
        {
            self.farewells.due.pop_front();
            self.end_lingering(token);
        }
    }

    fn end_lingering(&mut self, token: Token) {
        if let Some(Entry::Lingering(lingering)) = self.entries.remove(token) {
            self.farewells.count -= 1;
            drop(self.poll.deregister(lingering.as_fd()));
        }
    }
}
