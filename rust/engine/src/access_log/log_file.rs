//! `LogFile`: a file that is appended to, and that others may move, delete or truncate at any time.
//!
//! Which file it is shows in device and inode: when its name leads to another one, or to none, it is opened anew.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

use crate::open_descriptors::{note_closed, note_open};

/// An open log.
#[derive(Debug)]
pub(super) struct LogFile {
    /// `None`: it has no name, and cannot be opened anew.
    path: Option<PathBuf>,
    file: File,
    /// Its name led nowhere when it was looked at last.
    is_name_missing: bool,
}

/// What has become of the name of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// It leads to the open file, as far as can be seen.
    Same,
    /// It leads to another file, or the file is to be made.
    Moved,
}

impl LogFile {
    /// The file of this name, made if there is none.
    ///
    /// # Errors
    /// What open(2) says.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let file = open(&path)?;
        note_open(&file);
        Ok(Self { path: Some(path), file, is_name_missing: false })
    }

    /// The standard output. The caller has made sure that the number is it: where a process was started without one,
    /// some other file has the number.
    ///
    /// # Errors
    /// It is closed, or the system has no descriptors left.
    pub(super) fn standard_output() -> io::Result<Self> {
        // SAFETY: fcntl makes a new descriptor, which nobody else owns, of the number 1, whatever that is.
        let file = unsafe {
            match libc::fcntl(libc::STDOUT_FILENO, libc::F_DUPFD_CLOEXEC, 3) {
                -1 => return Err(io::Error::last_os_error()),
                number => File::from_raw_fd(number),
            }
        };
        note_open(&file);
        Ok(Self { path: None, file, is_name_missing: false })
    }

    /// What it is called in messages.
    pub(super) fn describe(&self) -> String {
        match &self.path {
            Some(path) => format!("{path:?}"),
            None => "the standard output".to_owned(),
        }
    }

    /// Append as much as the system takes at once.
    ///
    /// # Errors
    /// What write(2) says.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    /// Wait until a pipe or a terminal takes something; a file always does.
    pub(super) fn wait_for_room(&self, patience: Duration) {
        let mut poll = libc::pollfd { fd: self.file.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        let milliseconds = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: `poll` is one valid, writable pollfd for the duration of the call. Its result does not matter: the
        // caller tries again.
        unsafe { libc::poll(&raw mut poll, 1, milliseconds) };
    }

    /// Look whether the name still leads here.
    ///
    /// One that leads nowhere may be about to be given to a new file by whoever moved the old one. That is left to
    /// him until the next look, and meanwhile the old file is written to; unless it has no name at all any more.
    pub(super) fn look_at_name(&mut self) -> Name {
        let Some(path) = &self.path else { return Name::Same };
        match std::fs::metadata(path) {
            Ok(found) => {
                self.is_name_missing = false;
                let is_same = self.file.metadata().is_ok_and(|own| identity(&own) == identity(&found));
                if is_same { Name::Same } else { Name::Moved }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let is_deleted = self.file.metadata().is_ok_and(|own| own.nlink() == 0);
                if is_deleted || std::mem::replace(&mut self.is_name_missing, true) {
                    Name::Moved
                } else {
                    Name::Same
                }
            }
            Err(_) => Name::Same,
        }
    }

    /// Whether the name led nowhere when it was looked at last: it is to be looked at again, though nothing is written.
    pub(super) fn is_name_missing(&self) -> bool {
        self.is_name_missing
    }

    /// Open the file of the same name again.
    ///
    /// # Errors
    /// What open(2) says; the file stays open as it was.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let file = open(path)?;
        note_open(&file);
        note_closed(&self.file.as_fd());
        self.file = file;
        self.is_name_missing = false;
        Ok(())
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        note_closed(&self.file);
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn open(path: &PathBuf) -> io::Result<File> {
    // O_NONBLOCK: a named pipe without a reader is an error, and not a wait; nor is one waited for later.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    OpenOptions::new().append(true).create(true).mode(0o644).custom_flags(flags).open(path)
}
