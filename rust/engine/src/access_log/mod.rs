//! The access log: a line for each request, written without holding up the one that made it.
//!
//! Strategy: whoever ends a request writes its line into a buffer that all share, under a lock that nobody holds for
//! longer than that takes. A thread of its own takes the buffer and writes it to the file in one piece; or, for a log
//! that somebody else writes, that one is told, and takes it. What does not fit into the buffer is dropped, and
//! counted: nobody ever waits for a disk. Must not know sockets, servers or Python.

mod basic_user;
mod escape;
mod format;
mod line_buffer;
mod log_file;
mod record;
mod timestamps;
mod writer;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

pub use format::Format;
pub use line_buffer::Figures;
use line_buffer::LineBuffer;
use log_file::LogFile;
pub use record::{Asked, Peer, Record};
use writer::Writer;

use crate::log_event::Level;

/// How long the last lines of a log may take that is dropped.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// How long the thread may take to see that its time is over.
const GIVING_UP: Duration = Duration::from_millis(500);

/// Where the lines go.
pub enum Target {
    /// To the end of this file, which is made if there is none. It may be moved or deleted at any time.
    File(PathBuf),
    /// To the standard output of the process, as it is when the log is made.
    StandardOutput,
    /// To whoever calls [`AccessLog::take_lines`], which this function asks for: on any thread, at most once for each
    /// time that the lines were taken. It must not block.
    Collector(Box<dyn Fn() + Send + Sync>),
}

/// Tells the operator of a trouble. Called on the log's own thread.
pub type Tell = Box<dyn Fn(Level, String) + Send>;

/// An access log. Dropping it lets its thread write what there is and end, and does not wait for it.
pub struct AccessLog {
    format: Format,
    buffer: Arc<LineBuffer>,
    /// Asks for the lines to be taken; `None`: a thread waits for them.
    ask: Option<Box<dyn Fn() + Send + Sync>>,
}

impl AccessLog {
    /// Open the target, and start the thread that writes to it.
    ///
    /// # Errors
    /// What open(2) says of the file; the system has no descriptors or threads left.
    pub fn new(format: Format, target: Target, tell: Tell) -> io::Result<Self> {
        let buffer = Arc::new(LineBuffer::new());
        let file = match target {
            Target::Collector(ask) => return Ok(Self { format, buffer, ask: Some(ask) }),
            Target::File(path) => LogFile::open(path)?,
            Target::StandardOutput => LogFile::standard_output()?,
        };
        Writer::start(Arc::clone(&buffer), file, tell)?;
        Ok(Self { format, buffer, ask: None })
    }

    /// Whether records are to have a duration.
    pub fn has_duration(&self) -> bool {
        self.format.has_duration()
    }

    /// Write down a request. Any thread; never blocks for longer than it takes to copy a line.
    pub fn record(&self, record: &Record<'_>) {
        let mut lines = self.buffer.lock();
        let is_reader_due = lines.add(|timestamps, out| self.format.write(record, timestamps, out));
        drop(lines);
        if is_reader_due {
            match &self.ask {
                Some(ask) => ask(),
                None => self.buffer.changed.notify_all(),
            }
        }
    }

    /// Move out all lines that wait, each with its end. For a collector.
    pub fn take_lines(&self) -> Vec<u8> {
        let mut taken = Vec::new();
        self.buffer.lock().take(&mut taken, 1);
        taken
    }

    /// Let the file be closed and opened anew by its name, once what was recorded before is written. Returns at once.
    pub fn reopen(&self) {
        self.buffer.lock().is_reopen_asked = true;
        self.buffer.changed.notify_all();
    }

    /// Record no more, write what there is, and end; whether that was done before the deadline. Twice is harmless.
    ///
    /// What cannot be written because of an error is given up, and counted. What waits for a collector still waits.
    ///
    /// # Blocking
    /// Until a moment after the deadline at most: a pipe that nobody reads may keep the thread beyond it.
    pub fn close(&self, deadline: Instant) -> bool {
        let mut lines = self.buffer.lock();
        lines.close(deadline);
        // The thread gives up at the deadline, and says so.
        let deadline = deadline + GIVING_UP;
        self.buffer.changed.notify_all();
        if self.ask.is_some() {
            return true;
        }
        while !lines.has_ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.buffer.changed.wait_timeout(lines, left);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// What was counted so far.
    pub fn figures(&self) -> Figures {
        self.buffer.lock().figures
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.buffer.lock().close(Instant::now() + LAST_PATIENCE);
        self.buffer.changed.notify_all();
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").field("format", &self.format).finish_non_exhaustive()
    }
}
