//! The worker that runs the channel: what it is given, and when it lets go.

use super::{ChannelLimits, ChannelState, CloseReason, Grounds, Phase, Ready, Work};
use crate::consumer::StreamConsumer;
use crate::error::ProtocolError;

/// A worker that has had a channel for so long lets it go, to be started again behind the channels that wait.
const LONG_RUN_MS: u64 = 10;

impl<C: StreamConsumer> ChannelState<C> {
    /// What the worker does next; `None`: nothing, or it has had the channel for long, so it sends and calls
    /// `handle_task_finished`.
    pub fn next_work(
        &mut self,
        make: impl Fn() -> C,
        limits: &ChannelLimits,
        now_ms: u64,
    ) -> Option<Work<C>> {
        if self.end_served_body() && self.phase == Phase::Open {
            // What waited behind the body.
            self.parse_waiting(&make, limits, now_ms);
        }
        if core::mem::take(&mut self.is_run_fresh) {
            self.run_since_ms = now_ms;
            self.gives_way = false;
        } else if self.is_run_long(now_ms) {
            return None;
        }
        self.note_output(limits);
        self.is_known |= self.phase != Phase::Closed;
        if core::mem::take(&mut self.open_due) {
            return Some(Work::Opened);
        }
        self.were_tasks_last = self.tasks_waiting && !(self.were_tasks_last && self.has_input());
        if self.were_tasks_last {
            self.tasks_waiting = false;
            return Some(Work::Tasks);
        }
        if self.phase == Phase::Closed {
            // The close is reported when the socket is gone, not when it was decided.
            let is_due = self.close_due && self.close_pending.is_none();
            self.close_due &= !is_due;
            return is_due.then_some(Work::Closed);
        }
        if self.phase != Phase::Open || self.is_output_high {
            return None;
        }
        if self.mode.raw {
            return self.next_raw(limits);
        }
        let Ready { request, kept_bytes, .. } = self.ready.pop()?;
        self.served_kept_bytes = kept_bytes;
        self.note_stream_served();
        if self.ready.len() == 0 && !self.waiting.is_empty() {
            self.parse_waiting(make, limits, now_ms);
        }
        Some(Work::Request(request))
    }

    pub(super) fn next_raw(&mut self, limits: &ChannelLimits) -> Option<Work<C>> {
        if self.waiting.is_empty() {
            return core::mem::take(&mut self.end_due).then_some(Work::EndOfInput);
        }
        Some(Work::Bytes(self.waiting.take(limits.max_piece_bytes)))
    }

    pub(super) fn has_work(&self) -> bool {
        if self.tasks_waiting {
            return true;
        }
        match self.phase {
            Phase::Closed => self.open_due || (self.close_due && self.close_pending.is_none()),
            Phase::Finishing => self.open_due,
            Phase::Open => self.open_due || self.has_input(),
        }
    }

    /// Whether there is input for the worker.
    #[must_use]
    pub fn has_input(&self) -> bool {
        self.phase == Phase::Open
            && !self.is_output_high
            && (self.ready.len() > 0 || (self.mode.raw && (!self.waiting.is_empty() || self.end_due)))
    }

    /// Whether the worker has had the channel for so long that others come first, or gives way to them. What is told
    /// of a closed channel is the last of it, and is told at once.
    pub(super) fn is_run_long(&self, now_ms: u64) -> bool {
        !self.is_run_fresh
            && self.phase != Phase::Closed
            && (self.gives_way || now_ms.saturating_sub(self.run_since_ms) >= LONG_RUN_MS)
    }

    /// Others wait for the worker: what has come since it was without work waits behind them, as if it had had the
    /// channel for long. Forgotten with the run.
    pub fn give_way(&mut self) {
        self.gives_way = !self.is_run_fresh;
    }

    /// Tasks of the channel were queued from outside the worker that runs it.
    ///
    /// They get their turn even if the connection closes meanwhile: the worker then cancels them.
    /// Returns false, and nothing will happen, once the connection is closed.
    pub fn handle_tasks_queued(&mut self) -> bool {
        self.tasks_waiting |= self.phase != Phase::Closed && !self.is_cancelled;
        self.tasks_waiting
    }

    /// The worker has nothing left to do and lets the channel go.
    ///
    /// Returns false, and the channel stays with the worker, if work came meanwhile, or output that
    /// it can send: the socket may have become writable since it tried.
    pub fn handle_task_finished(&mut self, now_ms: u64) -> bool {
        let can_send = self.output.is_sendable() && !self.blocked;
        if (self.has_work() && !self.is_run_long(now_ms)) || can_send {
            return false;
        }
        self.end_run(now_ms);
        true
    }

    pub(super) fn end_run(&mut self, now_ms: u64) {
        self.running = false;
        self.flush_wanted = false;
        self.activity_ms = now_ms;
        if !self.stalled {
            self.progress_ms = now_ms;
        }
    }

    /// The worker has nothing more to do, and its output is sent a little later (`begin_send`): true. False: as
    /// if it had not been asked; there is more to do, nothing to send, or the connection is about to close.
    pub fn leave_output(&mut self, now_ms: u64) -> bool {
        let is_plain = self.phase == Phase::Open && self.close_pending.is_none();
        if !is_plain || !self.output.is_sendable() || self.blocked || self.has_work() {
            return false;
        }
        self.end_run(now_ms);
        true
    }

    /// Notes that the host has something that stands for this channel; `Opened` and `Closed` are for it.
    ///
    /// Returns false once the connection is closed: nothing will be reported.
    pub fn note_known(&mut self) -> bool {
        self.is_known |= self.phase != Phase::Closed && !self.is_cancelled;
        self.is_known
    }

    /// Reports no opening: nobody will ever know the channel.
    pub fn forget_opening(&mut self) {
        self.open_due &= self.is_known;
    }

    /// No worker will run the channel: it could not be queued, or was cancelled. It closes; a request that no
    /// worker has seen is answered before, if the loop has words of its own.
    ///
    /// Returns whether the close would have been reported; it will not be.
    pub fn cancel_task(&mut self) -> bool {
        if self.mode.answers && self.phase == Phase::Open && self.is_run_fresh && self.ready.len() > 0 {
            self.refuse(Grounds::Unserved, CloseReason::Unserved);
            self.close_due = self.mode.report_close && self.is_known;
            self.is_known = false;
        } else {
            self.abort(CloseReason::Aborted);
        }
        self.is_cancelled = true;
        self.running = false;
        self.open_due = false;
        self.tasks_waiting = false;
        core::mem::take(&mut self.close_due)
    }

    /// The worker cannot go on with the channel, in the middle of something. It closes; another worker is
    /// started for what is still to be told, tasks that wait included.
    pub fn give_up_task(&mut self) {
        self.abort(CloseReason::Aborted);
        self.running = false;
        self.tasks_waiting = self.is_known;
    }

    /// Of the body of the request that was handed out last, what is kept elsewhere; the rest is in the request.
    #[must_use]
    pub const fn served_kept_bytes(&self) -> u64 {
        self.served_kept_bytes
    }

    /// The number of the run the worker is on; `None`: it does not have the channel.
    #[must_use]
    pub fn current_run(&self) -> Option<u64> {
        self.running.then_some(self.runs)
    }

    /// Whether the connection is closed, that was said, and no worker has the channel or is to get it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Closed && self.close_pending.is_none() && !self.running && !self.has_work()
    }

    /// Whether the close is still to be reported.
    #[must_use]
    pub const fn is_close_due(&self) -> bool {
        self.close_due
    }

    /// Tells whether a parser of the worker's (`raw`) is in the middle of a request, which then has
    /// the request's time limit instead of the idle one.
    pub fn set_request_begun(&mut self, has_begun: bool, now_ms: u64) {
        if has_begun && !self.request_begun {
            self.request_since_ms = now_ms;
        }
        self.request_begun = has_begun;
    }

    /// Whether a worker has the channel, or is to get it.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.running
    }

    /// The error of the stream, once its parser has refused it.
    #[must_use]
    pub const fn error(&self) -> Option<&ProtocolError> {
        self.error.as_ref()
    }
}
