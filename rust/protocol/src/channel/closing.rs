//! How a connection ends.

use super::{ChannelState, CloseReason, Phase, ReadyRequests, Waiting};
use crate::consumer::StreamConsumer;
use crate::error::ErrorClass;

impl<C: StreamConsumer> ChannelState<C> {
    /// No request is started any more; the connection closes when the output is out.
    pub fn close_when_done(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Finishing;
            self.drop_input();
        }
    }

    /// The server stops: what was read is still answered, then the connection closes.
    pub fn drain(&mut self) {
        if self.phase == Phase::Open && !self.input_ended {
            self.input_ended = true;
            // What is unfinished is not the peer's fault: no error is made of it.
            self.is_draining = true;
            if self.waiting.is_empty() {
                self.end_current();
            }
        }
    }

    /// Closes at once; unsent output and unserved requests are dropped.
    pub fn abort(&mut self, reason: CloseReason) {
        if self.phase == Phase::Closed {
            return;
        }
        self.phase = Phase::Closed;
        self.close_pending = Some(reason);
        // Who never knew the channel is not told that it ends; who does is told that it began, too.
        self.open_due &= self.is_known;
        self.close_due = self.mode.report_close && self.is_known;
        self.drop_input();
        self.output.clear();
        self.is_output_high = false;
        self.blocked = false;
    }

    pub(super) fn drop_input(&mut self) {
        self.current = None;
        self.current_bytes = 0;
        self.ready = ReadyRequests::new();
        self.waiting = Waiting::new();
        self.end_due = false;
    }

    /// Whether the connection is closed or about to be, so that nothing more can be written.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.phase != Phase::Open
    }

    /// Whether the connection is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether the peer has ended its input, or nothing more is read from it.
    #[must_use]
    pub const fn has_input_ended(&self) -> bool {
        self.input_ended
    }

    pub(super) fn maybe_close(&mut self) {
        let is_over = self.phase == Phase::Finishing || (self.phase == Phase::Open && self.input_ended);
        if !is_over
            || self.running
            || self.output.is_sending()
            || self.output.unsent_bytes() > 0
            || self.has_work()
        {
            return;
        }
        let reason = if self.phase == Phase::Finishing {
            CloseReason::Finished
        } else {
            match &self.error {
                None => CloseReason::EndOfInput,
                Some(error) if error.kind.class() == ErrorClass::Truncated => CloseReason::Truncated,
                Some(_) => CloseReason::ProtocolError,
            }
        };
        self.abort(reason);
    }
}
