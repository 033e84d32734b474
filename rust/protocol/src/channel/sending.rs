//! What goes out: what waits, who sends it, who moves it to the spool, and when much of it waits.

use super::{ChannelLimits, ChannelState, FileRange, Outgoing, Phase, Spooling, Taken};
use crate::consumer::StreamConsumer;

/// Files that may wait behind other output.
const MAX_QUEUED_FILES: usize = 16;

impl<C: StreamConsumer> ChannelState<C> {
    /// Takes output of a task, or of anybody who writes to the peer: all of it or nothing.
    pub fn handle_task_output(&mut self, data: &[u8], limits: &ChannelLimits, now_ms: u64) -> Taken {
        if self.phase != Phase::Open {
            return Taken::Closed;
        }
        if !self.has_room_for(data.len(), limits) {
            return Taken::Full;
        }
        if self.output.unsent_bytes() == 0 {
            self.progress_ms = now_ms;
        }
        if !data.is_empty() {
            self.note_answer();
        }
        self.output.push(data, &limits.output);
        Taken::All
    }

    /// Takes a range of a file as output, to be sent in its turn and from where it is: `Outgoing::file`.
    pub fn handle_task_file(&mut self, range: FileRange, limits: &ChannelLimits, now_ms: u64) -> Taken {
        if self.phase != Phase::Open {
            return Taken::Closed;
        }
        if !self.has_room_for(0, limits) {
            return Taken::Full;
        }
        if self.output.unsent_bytes() == 0 {
            self.progress_ms = now_ms;
        }
        if range.length > 0 {
            self.note_answer();
        }
        self.output.push_file(range);
        Taken::All
    }

    /// Takes the word that `Action::GoAhead` asked for.
    pub fn handle_go_ahead(&mut self, word: &[u8], limits: &ChannelLimits, now_ms: u64) {
        if self.phase == Phase::Open {
            self.push_own(word, limits, now_ms);
        }
    }

    /// Whether the peer waits for a word before it goes on with its request, and all before that is answered.
    pub(super) fn is_go_ahead_due(&self) -> bool {
        self.mode.answers
            && self.current.as_ref().is_some_and(StreamConsumer::awaits_go_ahead)
            && self.phase == Phase::Open
            && !self.running
            && self.stream.is_none()
            && self.ready.len() == 0
            && !self.has_work()
            && !self.input_ended
            && !self.is_input_held
    }

    /// Takes output of the loop's own, however much waits.
    pub(super) fn push_own(&mut self, data: &[u8], limits: &ChannelLimits, now_ms: u64) {
        if self.output.unsent_bytes() == 0 {
            self.progress_ms = now_ms;
        }
        self.output.push(data, &limits.output);
    }

    /// Whether so many bytes of output would be taken. When none waits, any number is; files do not count.
    #[must_use]
    pub const fn has_room_for(&self, length: usize, limits: &ChannelLimits) -> bool {
        let waiting = self.waiting_bytes();
        let room = match self.output.queued_files() {
            MAX_QUEUED_FILES.. => return false,
            0 => limits.max_unsent_bytes,
            // What is behind a file cannot move to the spool.
            _ => limits.output.max_memory_bytes,
        };
        waiting == 0 || waiting.saturating_add(length) <= room
    }

    /// What waits without what is in files that are to be sent.
    const fn waiting_bytes(&self) -> usize {
        self.output.unsent_bytes() - self.output.file_bytes()
    }

    /// Of the unsent bytes, those in files that are to be sent.
    #[must_use]
    pub const fn unsent_file_bytes(&self) -> usize {
        self.output.file_bytes()
    }

    /// Bytes written and not yet taken by the socket.
    #[must_use]
    pub const fn unsent_bytes(&self) -> usize {
        self.output.unsent_bytes()
    }

    /// Of the unsent bytes, those that are in the spool.
    #[must_use]
    pub const fn spooled_bytes(&self) -> usize {
        self.output.spooled_bytes()
    }

    /// Takes the output to be sent next, and with it the role of the sender; `None`: nothing to
    /// send now, another one is sending, or the socket takes nothing now.
    ///
    /// What is in the spool has to be read from there first (`Outgoing::to_load`).
    pub fn begin_send(&mut self, limits: &ChannelLimits) -> Option<Outgoing> {
        if self.blocked || self.phase == Phase::Closed {
            return None;
        }
        let outgoing = self.output.begin_send(&limits.output)?;
        self.became_writable = false;
        Some(outgoing)
    }

    /// The peer has taken some of what was sent before: the time limit for sending begins anew.
    pub const fn handle_peer_progress(&mut self, now_ms: u64) {
        self.progress_ms = now_ms;
    }

    /// Gives back what `begin_send` took. `is_blocked`: the socket takes no more now.
    pub fn handle_sent(&mut self, outgoing: Outgoing, sent_bytes: usize, is_blocked: bool, now_ms: u64) {
        self.output.handle_sent(outgoing, sent_bytes);
        if self.phase == Phase::Closed {
            return self.output.clear();
        }
        // The time limit begins with the first refusal: before it nobody had offered the output.
        if sent_bytes > 0 || !self.stalled {
            self.progress_ms = now_ms;
        }
        self.stalled = is_blocked;
        // The socket may have become writable between the refusal and this call.
        self.blocked = is_blocked && !core::mem::take(&mut self.became_writable);
        if self.output.unsent_bytes() == 0 {
            self.flush_wanted = false;
            // While much output waited the rest of a request could not be read.
            if self.is_in_request() {
                self.activity_ms = now_ms;
            }
        }
    }

    /// Takes output that is to move from memory to the spool, and with it the role of the spooler; `None`:
    /// memory holds little, the spool is full or not there, or another one is spooling.
    pub fn begin_spool(&mut self, limits: &ChannelLimits) -> Option<Spooling> {
        if self.phase == Phase::Closed {
            return None;
        }
        self.output.begin_spool(&limits.output)
    }

    /// What `begin_spool` gave is in the spool. The spooler then sends: what was on its way was in the
    /// way of others. If it failed, the channel is to be aborted.
    pub fn handle_spooled(&mut self) {
        self.output.handle_spooled();
    }

    /// Whether output is to move to the spool.
    #[must_use]
    pub fn is_spool_due(&self, limits: &ChannelLimits) -> bool {
        self.output.is_spool_due(&limits.output)
    }

    /// The socket takes output again.
    pub fn handle_writable(&mut self) {
        if self.output.is_sending() {
            self.became_writable = true;
        }
        // What was offered once is sent on by whoever comes first, though the worker is still at work.
        self.flush_wanted |= self.blocked;
        self.blocked = false;
    }

    /// Whether the worker that was just started got several requests, so that the answer to one may
    /// come to wait behind the next, and nobody watches it yet.
    ///
    /// Says yes once; the driver then calls `want_flush` a little later. What comes to wait after
    /// that is noticed by `watch_answers_of_next_work`, so a slow request is not looked at again and again.
    pub fn watch_answers(&mut self) -> bool {
        let is_due = core::mem::take(&mut self.is_started) && self.ready.len() > 1 && !self.is_flush_watched;
        self.is_flush_watched |= is_due;
        is_due
    }

    /// Whether output waits behind the work that `next_work` has just given out, and nobody watches it yet.
    ///
    /// Says yes once; `want_flush` is then to be called a little later.
    pub fn watch_answers_of_next_work(&mut self) -> bool {
        let is_waiting = self.output.unsent_bytes() > 0 && !self.flush_wanted;
        let is_due = self.running && is_waiting && !self.is_flush_watched;
        self.is_flush_watched |= is_due;
        is_due
    }

    /// Like `watch_answers`, for a worker that knows of more requests than this state does.
    pub fn watch_answers_of_worker(&mut self) -> bool {
        self.running && !core::mem::replace(&mut self.is_flush_watched, true)
    }

    /// Output is to leave now although the channel's worker is still at work.
    pub fn want_flush(&mut self) {
        self.is_flush_watched = false;
        self.flush_wanted = self.output.unsent_bytes() > 0;
    }

    /// Whether the socket refused output and has not become writable since.
    #[must_use]
    pub const fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether a writer had better wait before it writes more.
    #[must_use]
    pub const fn is_above_high_watermark(&self, limits: &ChannelLimits) -> bool {
        self.waiting_bytes() > limits.high_watermark_bytes
    }

    /// Whether writers that waited may go on.
    #[must_use]
    pub fn is_below_low_watermark(&self, limits: &ChannelLimits) -> bool {
        self.waiting_bytes() <= limits.low_watermark_bytes || self.phase == Phase::Closed
    }

    /// Requests are held back from the high watermark on, and until the low one is reached again.
    pub(super) const fn note_output(&mut self, limits: &ChannelLimits) {
        let unsent = self.output.unsent_bytes();
        if unsent > limits.high_watermark_bytes {
            self.is_output_high = true;
        } else if unsent <= limits.low_watermark_bytes {
            self.is_output_high = false;
        }
    }
}
