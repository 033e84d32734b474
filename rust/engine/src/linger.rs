//! `Lingering`: a socket whose last bytes are on their way, kept until the peer has had time to read them.
//!
//! A close with input unread, or with input still coming, sends a reset, and a reset makes the peer's
//! kernel throw away what it has received and the peer not yet read: the answer that came with the
//! close. So the output is ended first (`shutdown`), and what the peer still sends is thrown away until
//! it ends its side, a little time has passed, or it has sent too much. The channel is gone by then.
//! Knows no loop. Source: RFC 9112, section 9.6.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::socket::PeerSocket;

/// How long a peer may take to read the end.
pub(crate) const LINGER_MS: u64 = 2000;
/// Sockets that linger at once in one loop; those beyond are closed without.
pub(crate) const MAX_LINGERING: usize = 1024;
/// What a peer may still send.
const MAX_DISCARDED_BYTES: usize = 1 << 20;

/// A socket that only waits for its peer's end.
#[derive(Debug)]
pub(crate) struct Lingering {
    socket: Arc<PeerSocket>,
    discarded_bytes: usize,
}

impl Lingering {
    /// Ends the output; `None`: there is nothing to wait for.
    pub(crate) fn begin(socket: Arc<PeerSocket>) -> Option<Self> {
        socket.shutdown(Shutdown::Write).ok()?;
        Some(Self { socket, discarded_bytes: 0 })
    }

    /// Throws away what has come; false: the peer has ended, is lost, or has sent too much.
    pub(crate) fn goes_on(&mut self, buffer: &mut [u8]) -> bool {
        while self.discarded_bytes <= MAX_DISCARDED_BYTES {
            match self.socket.read(buffer) {
                Ok(0) => return false,
                Ok(n) => self.discarded_bytes += n,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return true,
                    io::ErrorKind::Interrupted => {}
                    _ => return false,
                },
            }
        }
        false
    }
}

impl AsFd for Lingering {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
