//! `LineBuffer`: lines on their way from those who record to the one who writes them.
//!
//! One buffer behind a lock, bounded in bytes. The reader says how much must wait before it wants to be woken: at its
//! first line when it sleeps, at many when it only rests, never while it is at work. So those who record make a system
//! call seldom.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::timestamps::Timestamps;

/// More bytes do not wait: what does not fit is dropped.
pub(super) const MAX_WAITING_BYTES: usize = 4 << 20;
/// The reader is not to be woken, however much waits.
pub(super) const NEVER: usize = usize::MAX;
/// A buffer that is larger is given back to the system when it is empty.
const MAX_KEPT_BYTES: usize = 256 << 10;

/// What an access log has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests that were recorded.
    pub records: u64,
    /// Of those, how many are lost: they came faster than they could be written, or an error kept them from it.
    pub dropped: u64,
    /// Errors of the file.
    pub errors: u64,
}

/// The lines that wait, and who waits for them.
#[derive(Debug)]
pub(super) struct LineBuffer {
    lines: Mutex<Lines>,
    /// Lines came that the reader wants, or a flag was set.
    pub(super) changed: Condvar,
}

#[derive(Debug)]
pub(super) struct Lines {
    waiting: Vec<u8>,
    timestamps: Timestamps,
    /// The reader is woken when so many bytes wait.
    pub(super) wake_at_bytes: usize,
    pub(super) is_reopen_asked: bool,
    pub(super) is_closed: bool,
    /// Until when the last lines may take; the closed log gives up what is not written then.
    pub(super) give_up_at: Option<Instant>,
    /// The reader has left.
    pub(super) has_ended: bool,
    pub(super) figures: Figures,
}

impl LineBuffer {
    pub(super) fn new() -> Self {
        let lines = Lines {
            waiting: Vec::new(),
            timestamps: Timestamps::new(),
            wake_at_bytes: 1,
            is_reopen_asked: false,
            is_closed: false,
            give_up_at: None,
            has_ended: false,
            figures: Figures::default(),
        };
        Self { lines: Mutex::new(lines), changed: Condvar::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// Add the line that `write` writes, or count it as lost; whether the reader is to be woken.
    pub(super) fn add(&mut self, write: impl FnOnce(&mut Timestamps, &mut Vec<u8>)) -> bool {
        self.figures.records += 1;
        if self.is_closed || self.waiting.len() >= MAX_WAITING_BYTES {
            self.figures.dropped += 1;
            return false;
        }
        let before = self.waiting.len();
        write(&mut self.timestamps, &mut self.waiting);
        if self.waiting.len() > MAX_WAITING_BYTES {
            self.waiting.truncate(before);
            self.figures.dropped += 1;
        }
        let is_reader_due = self.waiting.len() >= self.wake_at_bytes;
        if is_reader_due {
            self.wake_at_bytes = NEVER;
        }
        is_reader_due
    }

    /// How many bytes wait.
    pub(super) fn length(&self) -> usize {
        self.waiting.len()
    }

    /// Take in no more; what waits is written, if it can be until then.
    pub(super) fn close(&mut self, give_up_at: Instant) {
        self.is_closed = true;
        let before = self.give_up_at.unwrap_or(give_up_at);
        self.give_up_at = Some(before.min(give_up_at));
    }

    /// Move all lines into `taken`, which is emptied before; the reader is then woken at so many bytes.
    pub(super) fn take(&mut self, taken: &mut Vec<u8>, wake_at_bytes: usize) {
        taken.clear();
        taken.shrink_to(MAX_KEPT_BYTES);
        std::mem::swap(&mut self.waiting, taken);
        self.wake_at_bytes = wake_at_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(lines: &mut Lines, text: &[u8]) -> bool {
        lines.add(|_, out| out.extend_from_slice(text))
    }

    fn taken(lines: &mut Lines) -> Vec<u8> {
        let mut taken = b"old".to_vec();
        lines.take(&mut taken, 1);
        taken
    }

    #[test]
    fn lines_come_out_in_order_and_once() {
        let buffer = LineBuffer::new();
        let mut lines = buffer.lock();
        add(&mut lines, b"a\n");
        add(&mut lines, b"b\n");
        assert_eq!(taken(&mut lines), b"a\nb\n");
        assert_eq!(taken(&mut lines), b"");
        assert_eq!(lines.length(), 0);
    }

    #[test]
    fn the_reader_is_woken_once_for_each_time_it_takes() {
        let buffer = LineBuffer::new();
        let mut lines = buffer.lock();
        assert!(add(&mut lines, b"a\n"));
        assert!(!add(&mut lines, b"b\n"));
        lines.take(&mut Vec::new(), 4);
        assert!(!add(&mut lines, b"c\n"));
        assert!(add(&mut lines, b"d\n"));
        assert!(!add(&mut lines, b"e\n"));
    }

    #[test]
    fn what_does_not_fit_is_dropped_whole_and_counted() {
        let buffer = LineBuffer::new();
        let mut lines = buffer.lock();
        let long = vec![b'x'; MAX_WAITING_BYTES - 1];
        add(&mut lines, &long);
        add(&mut lines, b"yy");
        add(&mut lines, b"z");
        add(&mut lines, b"");
        assert_eq!(lines.figures, Figures { records: 4, dropped: 2, errors: 0 });
        let all = taken(&mut lines);
        assert_eq!(all.len(), MAX_WAITING_BYTES);
        assert!(all.ends_with(b"xz"));
        add(&mut lines, b"a");
        assert_eq!(taken(&mut lines), b"a");
    }

    #[test]
    fn nothing_is_taken_in_once_it_is_closed() {
        let buffer = LineBuffer::new();
        let mut lines = buffer.lock();
        add(&mut lines, b"a");
        lines.close(Instant::now());
        assert!(!add(&mut lines, b"b"));
        assert_eq!(lines.figures.dropped, 1);
        assert_eq!(taken(&mut lines), b"a");
    }

    #[test]
    fn a_buffer_that_grew_large_is_not_kept() {
        let buffer = LineBuffer::new();
        let mut lines = buffer.lock();
        let mut batch = Vec::new();
        for _ in 0..3 {
            add(&mut lines, &vec![b'x'; MAX_WAITING_BYTES]);
            lines.take(&mut batch, 1);
        }
        lines.take(&mut batch, 1);
        assert!(batch.capacity() <= MAX_KEPT_BYTES && lines.waiting.capacity() <= MAX_KEPT_BYTES);
    }
}
