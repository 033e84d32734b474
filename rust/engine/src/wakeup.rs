//! `WakeUp`: a descriptor of ours that becomes readable when another thread wants a loop to look up.
//!
//! An eventfd on Linux, elsewhere a pair of sockets. Unlike mio's own waker it is noted for the child of
//! a fork, and open exactly as long as its loop. Knows nothing of loops or messages.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::open_descriptors::{note_closed, note_open};

/// Wakes whoever polls `reader`, edge-triggered.
#[derive(Debug)]
pub(crate) struct WakeUp {
    reader: File,
    /// `None`: the reader is written to.
    writer: Option<File>,
}

impl WakeUp {
    /// A new one; nothing is written to it yet.
    ///
    /// # Errors
    /// The descriptor table is full.
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = open()?;
        note_open(&reader);
        writer.iter().for_each(note_open);
        Ok(Self { reader: reader.into(), writer: writer.map(File::from) })
    }

    /// What is to be polled for reading.
    pub(crate) fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Makes the reader readable, anew if it was. Never blocks.
    pub(crate) fn wake(&self) {
        let mut end = self.writer.as_ref().unwrap_or(&self.reader);
        let one = 1_u64.to_ne_bytes();
        // Nobody reads it, so it may be full; emptied, it takes one more.
        if end.write(&one).is_err() && (&self.reader).read(&mut [0; 4096]).is_ok() {
            drop(end.write(&one));
        }
    }
}

impl Drop for WakeUp {
    fn drop(&mut self) {
        note_closed(&self.reader);
        self.writer.iter().for_each(note_closed);
    }
}

#[cfg(target_os = "linux")]
fn open() -> io::Result<(OwnedFd, Option<OwnedFd>)> {
    use std::os::fd::FromRawFd;
    // SAFETY: the call takes no pointer; the descriptor that it returns is new and nobody else's.
    unsafe {
        match libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            number => Ok((OwnedFd::from_raw_fd(number), None)),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn open() -> io::Result<(OwnedFd, Option<OwnedFd>)> {
    let (reader, writer) = std::os::unix::net::UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    writer.set_nonblocking(true)?;
    Ok((reader.into(), Some(writer.into())))
}
