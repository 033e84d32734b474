//! `SentFiles`: the files of which parts wait to be sent on one connection, and how such a part is sent.
//!
//! Strategy: sendfile(2) where there is one, so that the bytes do not pass through this process; reading and sending
//! elsewhere, and for files that do not support it. A file is kept until the last part of it has been sent.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use wiretask_protocol::channel::{FileRange, Outgoing};

use crate::socket::PeerSocket;

/// What is sent of a file at once, so that other connections get their turn.
const PIECE_BYTES: u64 = 1 << 20;
/// What is read of a file at once where the system cannot send it.
const READ_BYTES: usize = 128 * 1024;

/// The files of one connection, oldest first.
#[derive(Debug, Default)]
pub(crate) struct SentFiles {
    files: Vec<(u64, Arc<File>)>,
    next: u64,
}

impl SentFiles {
    /// Keeps a file, and gives it a number.
    pub(crate) fn add(&mut self, file: File) -> u64 {
        self.next += 1;
        self.files.push((self.next, Arc::new(file)));
        self.next
    }

    /// The file of this number.
    pub(crate) fn get(&self, number: u64) -> Option<Arc<File>> {
        self.files.iter().find(|(known, _)| *known == number).map(|(_, file)| Arc::clone(file))
    }

    /// Lets a file go; the caller closes it, without a lock.
    pub(crate) fn remove(&mut self, number: u64) -> Option<Arc<File>> {
        let at = self.files.iter().position(|(known, _)| *known == number)?;
        Some(self.files.remove(at).1)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// Sends a piece of a file; returns how many bytes were sent, and whether the socket takes no more.
///
/// # Errors
/// `UnexpectedEof`: the file has become shorter. What sendfile(2), pread(2) and send(2) say.
pub(crate) fn send_file_piece(
    socket: &PeerSocket,
    file: &File,
    outgoing: &mut Outgoing,
) -> (usize, io::Result<bool>) {
    let Some(range) = outgoing.file() else { return (0, Ok(false)) };
    loop {
        let outcome = match send_by_system(socket, file, range) {
            Err(error) if is_unsupported(&error) => send_by_hand(socket, file, range),
            outcome => outcome,
        };
        return match outcome {
            Ok(0) => (0, Err(io::ErrorKind::UnexpectedEof.into())),
            Ok(sent) => {
                outgoing.advance(sent);
                (sent, Ok(false))
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => (0, Ok(true)),
                io::ErrorKind::Interrupted => continue,
                _ => (0, Err(error)),
            },
        };
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP))
}

#[cfg(target_os = "linux")]
fn send_by_system(socket: &PeerSocket, file: &File, range: FileRange) -> io::Result<usize> {
    let mut offset = libc::off_t::try_from(range.offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let count = usize::try_from(range.length.min(PIECE_BYTES)).unwrap_or(READ_BYTES);
    // SAFETY: both descriptors are open for as long as their owners are borrowed, and the offset is an off_t of ours.
    let sent = unsafe { libc::sendfile(socket.as_raw_fd(), file.as_raw_fd(), &raw mut offset, count) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

#[cfg(not(target_os = "linux"))]
fn send_by_system(_: &PeerSocket, _: &File, _: FileRange) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

fn send_by_hand(socket: &PeerSocket, file: &File, range: FileRange) -> io::Result<usize> {
    let mut bytes = vec![0; usize::try_from(range.length).unwrap_or(READ_BYTES).min(READ_BYTES)];
    let read = file.read_at(&mut bytes, range.offset)?;
    bytes.truncate(read);
    if bytes.is_empty() { Ok(0) } else { socket.send_with_flags(&bytes, libc::MSG_NOSIGNAL) }
}
