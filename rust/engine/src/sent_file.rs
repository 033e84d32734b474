//! `SentFile`: a file of which ranges are sent, by sendfile(2), without being read into memory.
//!
//! The system is asked for one chunk at a time, so that whoever sends sees its other connections in between. Where
//! it cannot do it (an odd file system, another system than Linux), the range is read and sent in pieces. A file
//! that has got shorter is an error and not the end. A send to a peer that is gone raises SIGPIPE, for which there is
//! no flag here: it is held back around the call. Knows no connection.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use crate::open_descriptors::{note_closed, note_open};
use crate::socket::PeerSocket;

/// What the system is asked to send at once.
const CHUNK_BYTES: usize = 512 * 1024;
/// What is read at once where the system cannot send a file.
const READ_BYTES: usize = 128 * 1024;

/// An open file, of which any number of ranges may be sent.
#[derive(Debug)]
pub struct SentFile(File);

/// Why a range of a file was not sent.
#[derive(Debug)]
pub(crate) enum SendFault {
    /// The peer cannot be reached any more; `WouldBlock`: it takes no more now.
    Socket(io::Error),
    /// The file cannot be read, or is shorter than the range.
    File(io::Error),
}

impl SentFile {
    /// The file behind a descriptor, which is open for reading; its offset is neither used nor changed.
    #[must_use]
    pub fn new(descriptor: OwnedFd) -> Self {
        let file = File::from(descriptor);
        note_open(&file);
        Self(file)
    }

    /// Sends up to a chunk of a range (`length` is more than 0), and returns how much.
    ///
    /// # Blocking
    /// Not for the peer; for the disk, if the file is not in memory.
    pub(crate) fn send(&self, socket: &PeerSocket, offset: u64, length: usize) -> Result<usize, SendFault> {
        loop {
            let outcome = match send_range(socket, &self.0, offset, length.min(CHUNK_BYTES)) {
                Err(error) if is_unable(&error) => return self.read_and_send(socket, offset, length),
                outcome => outcome,
            };
            return match outcome {
                Ok(0) => Err(SendFault::File(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => Ok(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if is_of_socket(&error) => Err(SendFault::Socket(error)),
                Err(error) => Err(SendFault::File(error)),
            };
        }
    }

    fn read_and_send(&self, socket: &PeerSocket, offset: u64, length: usize) -> Result<usize, SendFault> {
        let mut piece = vec![0; length.min(READ_BYTES)];
        let n = loop {
            match self.0.read_at(&mut piece, offset) {
                Ok(0) => return Err(SendFault::File(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => break n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SendFault::File(error)),
            }
        };
        let piece = piece.get(..n).unwrap_or_default();
        loop {
            match socket.send_with_flags(piece, libc::MSG_NOSIGNAL) {
                Ok(0) => return Err(SendFault::Socket(io::ErrorKind::WriteZero.into())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome.map_err(SendFault::Socket),
            }
        }
    }
}

impl Drop for SentFile {
    fn drop(&mut self) {
        note_closed(&self.0);
    }
}

/// Whether the system cannot send this kind of file, and reading it may do.
fn is_unable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP))
}

fn is_of_socket(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EAGAIN
                | libc::EPIPE
                | libc::ECONNRESET
                | libc::ECONNABORTED
                | libc::ENOTCONN
                | libc::ETIMEDOUT
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::ENETDOWN
                | libc::ENOBUFS
        )
    )
}

#[cfg(target_os = "linux")]
fn send_range(socket: &PeerSocket, file: &File, offset: u64, length: usize) -> io::Result<usize> {
    use std::os::fd::AsRawFd;
    let Ok(mut offset) = libc::off_t::try_from(offset) else {
        return Err(io::Error::from_raw_os_error(libc::EOVERFLOW));
    };
    let held = linux::HeldPipeSignal::hold();
    // SAFETY: both descriptors are open as long as they are borrowed here, and the offset is an owned local.
    let sent = unsafe { libc::sendfile(socket.as_raw_fd(), file.as_raw_fd(), &raw mut offset, length) };
    let outcome = usize::try_from(sent).map_err(|_| io::Error::last_os_error());
    held.release();
    outcome
}

#[cfg(not(target_os = "linux"))]
fn send_range(_: &PeerSocket, _: &File, _: u64, _: usize) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

#[cfg(target_os = "linux")]
mod linux {
    /// SIGPIPE, blocked in this thread.
    pub(super) struct HeldPipeSignal {
        signal: libc::sigset_t,
        before: libc::sigset_t,
        was_pending: bool,
    }

    impl HeldPipeSignal {
        pub(super) fn hold() -> Self {
            // SAFETY: the sets are owned locals, filled before they are read; none of the calls fails for valid
            // pointers and a known signal.
            unsafe {
                let mut held =
                    Self { signal: std::mem::zeroed(), before: std::mem::zeroed(), was_pending: false };
                libc::sigemptyset(&raw mut held.signal);
                libc::sigaddset(&raw mut held.signal, libc::SIGPIPE);
                libc::pthread_sigmask(libc::SIG_BLOCK, &raw const held.signal, &raw mut held.before);
                if libc::sigismember(&raw const held.before, libc::SIGPIPE) == 1 {
                    let mut pending = std::mem::zeroed();
                    libc::sigpending(&raw mut pending);
                    held.was_pending = libc::sigismember(&raw const pending, libc::SIGPIPE) == 1;
                }
                held
            }
        }

        /// As it was. The signal that a broken pipe has raised meanwhile is taken away; a send that had sent
        /// something before raises it too, and does not say so.
        pub(super) fn release(self) {
            // SAFETY: as in `hold`; a time-out of zero does not wait.
            unsafe {
                if !self.was_pending {
                    let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
                    libc::sigtimedwait(&raw const self.signal, std::ptr::null_mut(), &raw const at_once);
                }
                libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::panic, clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::socket::Listener;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    fn file_of(content: &[u8]) -> SentFile {
        let path = std::env::temp_dir().join(format!("wiretask-sent-file-test-{}", std::process::id()));
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file.write_all(content).unwrap();
        SentFile::new(file.into())
    }

    #[test]
    fn reading_and_sending_does_what_the_system_would_do() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = Listener::new(listener.into()).unwrap().accept().unwrap();
        let file = file_of(b"0123456789");
        for send in [SentFile::send, SentFile::read_and_send] {
            assert_eq!(send(&file, &socket, 2, 5).unwrap(), 5);
            let mut got = [0; 5];
            client.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"23456");
            // The rest of a file that has got shorter, and then nothing.
            assert_eq!(send(&file, &socket, 8, 5).unwrap(), 2);
            client.read_exact(&mut got[..2]).unwrap();
            assert_eq!(&got[..2], b"89");
            let Err(SendFault::File(error)) = send(&file, &socket, 10, 3) else { panic!("no fault") };
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
        let directory = SentFile::new(File::open(std::env::temp_dir()).unwrap().into());
        assert!(matches!(directory.send(&socket, 0, 1), Err(SendFault::File(_))));
    }
}
