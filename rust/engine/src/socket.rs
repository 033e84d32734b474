//! `Listener`, `PeerSocket` and the addresses of peers: stream sockets over IPv4, IPv6 and Unix paths.
//!
//! Sockets come bound and listening from outside (Python makes them); this room only accepts. Knows
//! no loop. Accepted sockets are non-blocking and close-on-exec from the first system call on.

use std::fmt;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use mio::net::{TcpListener, UnixListener};
use socket2::{Domain, Socket};

use crate::open_descriptors::{note_closed, note_open};

/// Where a peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// IPv4 or IPv6.
    Inet(SocketAddr),
    /// A Unix socket; its path, empty for an unnamed one.
    Unix(Box<[u8]>),
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => write!(f, "{address}"),
            Self::Unix(path) if path.is_empty() => f.write_str("unix:"),
            Self::Unix(path) => write!(f, "unix:{}", path.escape_ascii()),
        }
    }
}

/// The connected socket of a peer.
#[derive(Debug)]
pub struct PeerSocket(Socket);

impl PeerSocket {
    fn new(socket: Socket) -> Self {
        note_open(&socket);
        Self(socket)
    }

    /// Whether input waits that nobody has read.
    pub(crate) fn has_input(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        self.0.peek(&mut byte).is_ok_and(|n| n > 0)
    }

    /// How many bytes the peer's side has not yet taken of what was sent.
    ///
    /// # Errors
    /// What ioctl(2) says: the system cannot tell.
    pub(crate) fn queued_bytes(&self) -> io::Result<usize> {
        let mut queued: libc::c_int = 0;
        // SAFETY: the descriptor is open, and the request writes one int there.
        let status = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TIOCOUTQ, &raw mut queued) };
        if status < 0 { Err(io::Error::last_os_error()) } else { Ok(usize::try_from(queued).unwrap_or(0)) }
    }

    /// Reads into `buffer`. Never blocks.
    ///
    /// # Errors
    /// What recv(2) says; `WouldBlock`: nothing is there.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buffer)
    }
}

impl Deref for PeerSocket {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.0
    }
}

impl Drop for PeerSocket {
    fn drop(&mut self) {
        note_closed(&self.0);
    }
}

/// A bound, listening socket.
#[derive(Debug)]
pub enum Listener {
    /// IPv4 or IPv6.
    Tcp(TcpListener),
    /// A Unix path.
    Unix(UnixListener),
}

/// What to do after an error of `accept`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptFault {
    /// No connection waits.
    WouldBlock,
    /// This one connection failed; the next may be accepted at once.
    Connection,
    /// The process or the system has no descriptor or memory left; wait a little.
    Exhausted,
    /// The listener itself is broken.
    Listener,
}

impl Listener {
    /// Takes over a listening socket; it becomes non-blocking.
    ///
    /// # Errors
    /// It is no socket, or neither IPv4, IPv6 nor Unix (`InvalidInput`).
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(fd);
        socket.set_nonblocking(true)?;
        let domain = socket.local_addr()?.domain();
        note_open(&socket);
        if domain == Domain::IPV4 || domain == Domain::IPV6 {
            Ok(Self::Tcp(TcpListener::from_std(socket.into())))
        } else if domain == Domain::UNIX {
            Ok(Self::Unix(UnixListener::from_std(OwnedFd::from(socket).into())))
        } else {
            note_closed(&socket);
            Err(io::Error::new(io::ErrorKind::InvalidInput, "a listener is an IPv4, IPv6 or Unix socket"))
        }
    }

    /// Whether a connection waits to be accepted.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        let mut entry = libc::pollfd { fd: self.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid entry, whose descriptor is open as long as `self` is; a time-out of 0 does not wait.
        unsafe { libc::poll(&raw mut entry, 1, 0) > 0 }
    }

    /// A new connection and where it comes from. Never blocks.
    ///
    /// # Errors
    /// See `AcceptFault::of`.
    pub fn accept(&self) -> io::Result<(PeerSocket, PeerAddress)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                let stream = std::net::TcpStream::from(stream);
                Ok((PeerSocket::new(stream.into()), PeerAddress::Inet(address)))
            }
            Self::Unix(listener) => {
                let (stream, address) = listener.accept()?;
                let path = address.as_pathname().map_or(&[][..], |path| path.as_os_str().as_bytes());
                let stream = std::os::unix::net::UnixStream::from(stream);
                Ok((PeerSocket::new(stream.into()), PeerAddress::Unix(path.into())))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        note_closed(&self.as_fd());
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

impl AcceptFault {
    /// What an error of `accept` means (accept(2): errors already pending on the new connection
    /// are reported by it too).
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EAGAIN) => Self::WouldBlock,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Self::Exhausted,
            Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP | libc::EFAULT) => {
                Self::Listener
            }
            _ => Self::Connection,
        }
    }
}
