//! `Spool`: output of one connection, or the body of a request, in a temporary file that has no name.
//!
//! The file is a ring: positions grow for ever and are wrapped around at its capacity, so it never gets
//! longer than that, however long a slow reader lives; what is where is for the channel's state to say. It is
//! made without a name (or loses it at once), closed on exec and noted for forked children, and its
//! space comes back when it is closed. Closing a long file takes the kernel a while (about 0.1 ms a
//! megabyte), so a long one is closed on a thread of its own, one a server at a time: loops must not wait for it.
//! Nothing here is called under a lock.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_queue::SegQueue;

use crate::open_descriptors::{note_closed, note_open};
use crate::signal_mask::spawn_without_signals;

/// A file of up to this length is closed by whoever is done with it.
const SHORT_FILE_BYTES: u64 = 4 << 20;
/// Names that are tried, where a file cannot be made without one, before it is given up.
const MAX_NAMES: u32 = 100;

static NEXT_NAME: AtomicU64 = AtomicU64::new(0);

/// A temporary file, used as a ring.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    capacity: u64,
    /// How long the file has got.
    length: AtomicU64,
}

impl Spool {
    /// A spool for so many bytes at a time (at least 1), in a file in `directory`.
    ///
    /// # Errors
    /// What open(2) says: no such directory, not writable, no descriptor left.
    pub(crate) fn new(directory: &Path, capacity: u64) -> io::Result<Self> {
        let file = open_nameless(directory)?;
        note_open(&file);
        Ok(Self { file, capacity: capacity.max(1), length: AtomicU64::new(0) })
    }

    /// Writes at a position; what was at that place of the ring before must have been read.
    ///
    /// # Errors
    /// What pwrite(2) says: no space, a file limit, a broken disk. Any part may have been written.
    pub(crate) fn write(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        let (first, second) = bytes.split_at(self.before_the_end(position, bytes.len()));
        self.file.write_all_at(first, position % self.capacity)?;
        self.file.write_all_at(second, 0)?;
        let end = (position % self.capacity).saturating_add(bytes.len() as u64).min(self.capacity);
        self.length.fetch_max(end, Ordering::Relaxed);
        Ok(())
    }

    /// Reads what was written at a position.
    ///
    /// # Errors
    /// What pread(2) says.
    pub(crate) fn read(&self, position: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let (first, second) = bytes.split_at_mut(self.before_the_end(position, length));
        self.file.read_exact_at(first, position % self.capacity)?;
        self.file.read_exact_at(second, 0)?;
        Ok(bytes)
    }

    /// How many of so many bytes at a position come before the ring's end.
    fn before_the_end(&self, position: u64, length: usize) -> usize {
        let left = self.capacity - position % self.capacity;
        usize::try_from(left).map_or(length, |left| left.min(length))
    }
}

impl AsFd for Spool {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        note_closed(&self.file);
    }
}

/// Opens a file that nobody else can reach and that is gone with its last descriptor.
fn open_nameless(directory: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    #[cfg(target_os = "linux")]
    match options.clone().custom_flags(libc::O_TMPFILE).open(directory) {
        // The file system, or an old kernel, does not know it (open(2)).
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) => {}
        outcome => return outcome,
    }
    open_unlinked(options.create_new(true), directory)
}

fn open_unlinked(options: &OpenOptions, directory: &Path) -> io::Result<File> {
    let mut last_error = io::Error::from(io::ErrorKind::AlreadyExists);
    for _ in 0..MAX_NAMES {
        let number = NEXT_NAME.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!(".wiretask-{}-{number}.spool", std::process::id()));
        match options.open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last_error = error,
            Err(error) => return Err(error),
        }
    }
    Err(last_error)
}

/// Where the spools of a server end.
#[derive(Debug, Default)]
pub(crate) struct SpoolGrave {
    waiting: SegQueue<Arc<Spool>>,
    is_at_work: AtomicBool,
}

impl SpoolGrave {
    /// Closes a spool, now or soon: once nobody else has it.
    pub(crate) fn bury(self: &Arc<Self>, spool: Arc<Spool>) {
        if spool.length.load(Ordering::Relaxed) <= SHORT_FILE_BYTES {
            return drop(spool);
        }
        self.waiting.push(spool);
        if self.is_at_work.swap(true, Ordering::SeqCst) {
            return;
        }
        let grave = Arc::clone(self);
        let thread = spawn_without_signals("wiretask-spool", move || grave.work());
        if thread.is_err() {
            self.work();
        }
    }

    fn work(&self) {
        loop {
            while let Some(spool) = self.waiting.pop() {
                drop(spool);
            }
            self.is_at_work.store(false, Ordering::SeqCst);
            // Another one may have come just before that was written down.
            if self.waiting.is_empty() || self.is_at_work.swap(true, Ordering::SeqCst) {
                return;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    fn new_spool(capacity: u64) -> Spool {
        Spool::new(&std::env::temp_dir(), capacity).unwrap()
    }

    #[test]
    fn what_wraps_around_the_end_comes_back_whole_and_the_file_stays_short() {
        let spool = new_spool(10);
        for position in 0..100 {
            let bytes = [position, position + 1, position + 2, position + 3];
            spool.write(u64::from(position), &bytes).unwrap();
            assert_eq!(spool.read(u64::from(position), 4).unwrap(), bytes);
        }
        assert_eq!(spool.file.metadata().unwrap().len(), 10);
    }

    #[test]
    fn its_file_has_no_name_and_is_closed_on_exec() {
        let spool = new_spool(10);
        let number = spool.file.as_raw_fd();
        let target = std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap();
        assert!(target.to_string_lossy().ends_with("(deleted)"), "{target:?}");
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        assert_ne!(i32::from_str_radix(flags, 8).unwrap() & libc::O_CLOEXEC, 0);
    }

    #[test]
    fn a_file_that_had_a_name_has_none_either() {
        let directory = std::env::temp_dir().join(format!("wiretask-spool-test-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let mut options = OpenOptions::new();
        let file = open_unlinked(options.read(true).write(true).create_new(true), &directory).unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
        std::fs::remove_dir(&directory).unwrap();
        let error = open_unlinked(&options, &directory).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn reading_what_is_not_there_is_an_error() {
        assert_eq!(new_spool(10).read(0, 4).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
