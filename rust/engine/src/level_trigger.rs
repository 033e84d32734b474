//! `LevelTrigger`: registers descriptors with a mio poll so that they are reported as long as they are ready.
//!
//! mio's own registrations are edge-triggered. On Linux this room registers with the poll's epoll descriptor
//! itself, without `EPOLLET`; elsewhere what was reported is armed again, at the price of a system call an event.
//! Knows nothing of who watches what. Flags are those of poll(2), which epoll shares.

use std::io;
use std::os::fd::RawFd;

use mio::Poll;

use crate::token::Token;

/// Where to register. Used under one lock; must not outlive its poll.
#[derive(Debug)]
pub(crate) struct LevelTrigger {
    #[cfg(target_os = "linux")]
    epoll: RawFd,
    #[cfg(not(target_os = "linux"))]
    registry: mio::Registry,
}

#[cfg(target_os = "linux")]
impl LevelTrigger {
    /// That of a poll.
    ///
    /// # Errors
    /// None on Linux.
    #[allow(clippy::unnecessary_wraps)] // elsewhere it may fail
    pub(crate) fn of(poll: &Poll) -> io::Result<Self> {
        use std::os::fd::AsRawFd;
        Ok(Self { epoll: poll.as_raw_fd() })
    }

    /// Begins to report a descriptor under a token.
    ///
    /// # Errors
    /// What epoll_ctl(2) says: `EPERM`: it is always ready; `EEXIST`, `EBADF`.
    pub(crate) fn add(&self, descriptor: RawFd, token: Token, events: i16) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, descriptor, token, events)
    }

    /// Changes what is reported.
    ///
    /// # Errors
    /// What epoll_ctl(2) says; `ENOENT`: it is not registered (any more).
    pub(crate) fn modify(&self, descriptor: RawFd, token: Token, events: i16) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, descriptor, token, events)
    }

    /// Reports a descriptor no longer.
    ///
    /// # Errors
    /// As `modify`.
    pub(crate) fn remove(&self, descriptor: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, descriptor, Token(0), 0)
    }

    /// After it was reported: it may be reported again.
    ///
    /// # Errors
    /// None on Linux.
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)] // elsewhere it does something
    pub(crate) fn rearm(&self, _descriptor: RawFd, _token: Token, _events: i16) -> io::Result<()> {
        Ok(())
    }

    fn control(&self, operation: i32, descriptor: RawFd, token: Token, events: i16) -> io::Result<()> {
        let mut event = libc::epoll_event { events: u32::from(events.cast_unsigned()), u64: token.0 };
        // SAFETY: `event` is valid for the duration of the call, which keeps no pointer to it; a descriptor that is
        // not open is an error and nothing else.
        let status = unsafe { libc::epoll_ctl(self.epoll, operation, descriptor, &raw mut event) };
        if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(not(target_os = "linux"))]
impl LevelTrigger {
    /// That of a poll.
    ///
    /// # Errors
    /// The descriptor table is full.
    pub(crate) fn of(poll: &Poll) -> io::Result<Self> {
        Ok(Self { registry: poll.registry().try_clone()? })
    }

    /// Begins to report a descriptor under a token.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn add(&self, descriptor: RawFd, token: Token, events: i16) -> io::Result<()> {
        use mio::event::Source;
        let (token, interest) = (mio_token(token), interest(events));
        mio::unix::SourceFd(&descriptor).register(&self.registry, token, interest)
    }

    /// Changes what is reported.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn modify(&self, descriptor: RawFd, token: Token, events: i16) -> io::Result<()> {
        use mio::event::Source;
        let (token, interest) = (mio_token(token), interest(events));
        mio::unix::SourceFd(&descriptor).reregister(&self.registry, token, interest)
    }

    /// Reports a descriptor no longer.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn remove(&self, descriptor: RawFd) -> io::Result<()> {
        use mio::event::Source;
        mio::unix::SourceFd(&descriptor).deregister(&self.registry)
    }

    /// After it was reported: it may be reported again.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn rearm(&self, descriptor: RawFd, token: Token, events: i16) -> io::Result<()> {
        self.modify(descriptor, token, events)
    }
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::cast_possible_truncation)] // usize has 64 bits on what we build for
const fn mio_token(token: Token) -> mio::Token {
    mio::Token(token.0 as usize)
}

#[cfg(not(target_os = "linux"))]
fn interest(events: i16) -> mio::Interest {
    match (events & libc::POLLIN != 0, events & libc::POLLOUT != 0) {
        (true, true) => mio::Interest::READABLE | mio::Interest::WRITABLE,
        (false, true) => mio::Interest::WRITABLE,
        _ => mio::Interest::READABLE,
    }
}
