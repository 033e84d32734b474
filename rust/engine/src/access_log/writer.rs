//! `Writer`: the thread that writes the lines to the file.
//!
//! It sleeps until there is a line, writes it, and rests for a moment, so that a busy server's lines go out many in one
//! write(2); much that waits ends the rest. Before it writes it looks, now and then, whether the file was moved. What
//! cannot be written (the disk is full) it keeps and tries again, while those who record go on, and drop what does not
//! fit. Only this thread touches the file.

use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Tell;
use super::line_buffer::{LineBuffer, Lines, NEVER};
use super::log_file::{LogFile, Name};
use crate::log_event::Level;
use crate::signal_mask::spawn_without_signals;

/// Two writes are so far apart, unless much waits.
const REST: Duration = Duration::from_millis(100);
/// So much ends the rest.
const BATCH_BYTES: usize = 64 << 10;
/// How often the name of the file is looked at, at most.
const LOOK_AT_NAME: Duration = Duration::from_secs(1);
/// How long after an error it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How often it is told that records are lost, at most.
const TELL_AGAIN: Duration = Duration::from_secs(10);

pub(super) struct Writer {
    buffer: Arc<LineBuffer>,
    file: LogFile,
    tell: Tell,
    /// Lines that were taken, and how many of their bytes are written.
    batch: Vec<u8>,
    written: usize,
    looked_at: Option<Instant>,
    /// It was written to without a look, as the last one was not long ago: that is made up for, also if nothing more
    /// is written.
    is_look_due: bool,
    /// The operator knows that the file cannot be written, or not opened anew.
    is_trouble_told: bool,
    is_reopening_told: bool,
    /// The lost records that the operator knows of, and since when.
    told_dropped: u64,
    told_dropped_at: Option<Instant>,
}

impl Writer {
    /// Start the thread.
    pub(super) fn start(buffer: Arc<LineBuffer>, file: LogFile, tell: Tell) -> io::Result<()> {
        let writer = Self {
            buffer,
            file,
            tell,
            batch: Vec::new(),
            written: 0,
            looked_at: None,
            is_look_due: false,
            is_trouble_told: false,
            is_reopening_told: false,
            told_dropped: 0,
            told_dropped_at: None,
        };
        spawn_without_signals("wiretask-log", move || writer.run()).map(drop)
    }

    fn run(mut self) {
        let end = End(Arc::clone(&self.buffer));
        while self.wait() {
            if !self.batch.is_empty() || self.is_to_look_again() {
                self.maybe_follow_name();
                self.write_batch();
            }
            if self.buffer.lock().is_reopen_asked {
                self.reopen();
            }
            self.rest();
        }
        self.write_batch();
        drop(self.file);
        drop(end);
    }

    /// Wait for lines, a wish, or the time to look for the name again, and take all lines; false: they are the last.
    fn wait(&mut self) -> bool {
        let mut lines = self.buffer.lock();
        lines.wake_at_bytes = 1;
        let is_wanted = |lines: &Lines| lines.is_reopen_asked || lines.length() > 0;
        if self.is_to_look_again() {
            lines = pause(&self.buffer, lines, LOOK_AT_NAME, is_wanted);
        } else {
            while !lines.is_closed && !is_wanted(&lines) {
                lines = self.buffer.changed.wait(lines).unwrap_or_else(PoisonError::into_inner);
            }
        }
        self.written = 0;
        lines.take(&mut self.batch, NEVER);
        !lines.is_closed
    }

    fn is_to_look_again(&self) -> bool {
        self.is_look_due || self.file.is_name_missing()
    }

    /// Let lines come together.
    fn rest(&self) {
        let mut lines = self.buffer.lock();
        lines.wake_at_bytes = BATCH_BYTES;
        drop(pause(&self.buffer, lines, REST, |lines| {
            lines.is_reopen_asked || lines.length() >= BATCH_BYTES
        }));
    }

    fn maybe_follow_name(&mut self) {
        let now = Instant::now();
        self.is_look_due = self.looked_at.is_some_and(|then| now.duration_since(then) < LOOK_AT_NAME);
        if self.is_look_due {
            return;
        }
        self.looked_at = Some(now);
        if self.file.look_at_name() == Name::Moved {
            self.reopen();
        }
    }

    fn write_batch(&mut self) {
        while let Some(rest @ [_, ..]) = self.batch.get(self.written..) {
            match self.file.append(rest) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let give_up_at = self.buffer.lock().give_up_at;
                    if give_up_at.is_some_and(|at| Instant::now() >= at) {
                        return self.give_up_batch();
                    }
                    self.file.wait_for_room(REST);
                }
                Err(error) => {
                    if !self.handle_trouble(&error) {
                        return self.give_up_batch();
                    }
                }
            }
        }
        self.note_losses();
    }

    /// Wait before the next attempt; false: there is to be none, as the log is closed.
    fn handle_trouble(&mut self, error: &io::Error) -> bool {
        if !std::mem::replace(&mut self.is_trouble_told, true) {
            let (file, seconds) = (self.file.describe(), TRY_AGAIN.as_secs());
            (self.tell)(
                Level::Error,
                format!(
                    "cannot write the access log to {file}: {error}; it is tried again every {seconds} s"
                ),
            );
        }
        let mut lines = self.buffer.lock();
        lines.figures.errors += 1;
        if lines.is_closed {
            return false;
        }
        lines = pause(&self.buffer, lines, TRY_AGAIN, |lines| lines.is_reopen_asked);
        let is_reopen_asked = lines.is_reopen_asked;
        drop(lines);
        if is_reopen_asked || self.file.look_at_name() == Name::Moved {
            self.reopen();
        }
        true
    }

    /// What is not written is lost.
    fn give_up_batch(&mut self) {
        let lost = self.batch.iter().skip(self.written).filter(|byte| **byte == b'\n').count();
        self.written = self.batch.len();
        self.buffer.lock().figures.dropped += lost as u64;
    }

    /// Tell how many records are lost, when the trouble is over, or now and then.
    fn note_losses(&mut self) {
        let dropped = self.buffer.lock().figures.dropped;
        let lost = dropped - self.told_dropped;
        let is_told_lately = self.told_dropped_at.is_some_and(|then| then.elapsed() < TELL_AGAIN);
        let file = self.file.describe();
        if std::mem::take(&mut self.is_trouble_told) {
            let message = format!("the access log can be written to {file} again; {lost} records are lost");
            (self.tell)(Level::Warning, message);
        } else if lost > 0 && !is_told_lately {
            let message = format!(
                "{lost} records of the access log are lost: they came faster than {file} could be written"
            );
            (self.tell)(Level::Warning, message);
        } else {
            return;
        }
        self.told_dropped = dropped;
        self.told_dropped_at = Some(Instant::now());
    }

    fn reopen(&mut self) {
        self.buffer.lock().is_reopen_asked = false;
        match self.file.reopen() {
            Ok(()) => {
                self.is_reopening_told = false;
                self.leave_broken_line();
            }
            Err(error) => {
                self.buffer.lock().figures.errors += 1;
                if !std::mem::replace(&mut self.is_reopening_told, true) {
                    let file = self.file.describe();
                    (self.tell)(
                        Level::Error,
                        format!(
                            "cannot open the access log {file} again: {error}; the old file is written on"
                        ),
                    );
                }
            }
        }
    }

    /// A line whose beginning is in the old file is lost: the new one begins with a whole line.
    fn leave_broken_line(&mut self) {
        let is_broken = self.written > 0 && self.batch.get(self.written - 1) != Some(&b'\n');
        if !is_broken {
            return;
        }
        let rest = self.batch.get(self.written..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        self.written += end;
        self.buffer.lock().figures.dropped += 1;
    }
}

/// Wait until something is done, the log is closed or the time is over; whatever else wakes the thread.
fn pause<'a>(
    buffer: &'a LineBuffer,
    mut lines: MutexGuard<'a, Lines>,
    patience: Duration,
    is_over: impl Fn(&Lines) -> bool,
) -> MutexGuard<'a, Lines> {
    let deadline = Instant::now() + patience;
    while !lines.is_closed && !is_over(&lines) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        lines = buffer.changed.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    lines
}

/// Says that the writer has left, also if it does in a panic.
struct End(Arc<LineBuffer>);

impl Drop for End {
    fn drop(&mut self) {
        let mut lines = self.0.lock();
        lines.is_closed = true;
        lines.has_ended = true;
        drop(lines);
        self.0.changed.notify_all();
    }
}
