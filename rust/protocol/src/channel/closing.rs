//! How a connection ends.

use super::{
    ChannelLimits, ChannelState, CloseReason, Farewell, Grounds, Phase, ReadyRequests, Refusal, Waiting,
};
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

    /// Closes behind an answer of the loop's own, once what was written before has left.
    pub(super) fn refuse(&mut self, grounds: Grounds, reason: CloseReason) {
        self.phase = Phase::Finishing;
        self.finish_reason = reason;
        self.farewell = Farewell::Due(grounds);
        let request = match grounds {
            Grounds::Stream | Grounds::Unkept => None, // noted when it was known
            Grounds::Late => self.current.take(),
            Grounds::Unserved => self.ready.pop().map(|ready| ready.request),
        };
        if request.is_some() {
            self.note_refused(request);
        }
        self.drop_input();
    }

    pub(super) fn refusal_on(&self, grounds: Grounds) -> Refusal {
        match (grounds, self.error) {
            (Grounds::Stream, Some(error)) => Refusal::Stream(error),
            (Grounds::Late | Grounds::Stream, _) => Refusal::Late,
            (Grounds::Unserved, _) => Refusal::Unserved,
            (Grounds::Unkept, _) => Refusal::Unkept,
        }
    }

    /// The first line of what `Action::Refuse` is about, as far as it came; empty if nothing is known of it.
    pub fn refused_line(&self) -> &[u8] {
        self.refused.as_ref().map_or(b"", |refused| refused.first_line())
    }

    /// What cannot be taken is answered when all that came before it has been.
    pub(super) fn maybe_refuse(&mut self) {
        let (grounds, reason) = match self.error {
            _ if self.lost_input == Some(CloseReason::BodyFailed) => {
                (Grounds::Unkept, CloseReason::BodyFailed)
            }
            Some(error) if error.kind.status().is_some() && !self.is_error_told => {
                (Grounds::Stream, CloseReason::ProtocolError)
            }
            _ => return,
        };
        let is_its_turn = self.ready.len() == 0 && !self.running && !self.has_work();
        if self.mode.answers && self.phase == Phase::Open && is_its_turn {
            self.refuse(grounds, reason);
        }
    }

    /// Takes the answer that `Action::Refuse` asked for. It may be empty: the connection then closes without.
    pub fn handle_refusal(&mut self, answer: &[u8], limits: &ChannelLimits, now_ms: u64) {
        if self.farewell != Farewell::Asked {
            return;
        }
        self.farewell = Farewell::None;
        self.refused = None;
        self.push_own(answer, limits, now_ms);
    }

    /// A time limit has passed (`Timeout::Expired`): closes, with an answer if there is a request to be answered; the
    /// worker that takes a body as it comes is told, and answers itself.
    pub fn expire(&mut self, reason: CloseReason) {
        let is_answered =
            self.mode.answers && !self.mode.raw && self.phase == Phase::Open && self.stream.is_none();
        match reason {
            CloseReason::RequestTimeout if self.is_stream_running() => self.expire_stream(),
            CloseReason::RequestTimeout if is_answered => self.refuse(Grounds::Late, reason),
            reason => self.abort(reason),
        }
    }

    /// The server stops: what was read is still answered, then the connection closes.
    ///
    /// With `finishes_begun` a request that has begun is read to its end first, within its time.
    pub fn drain(&mut self) {
        if self.phase != Phase::Open || self.input_ended {
            return;
        }
        // What is unfinished is not the peer's fault: no error is made of it.
        self.is_draining = true;
        if self.finishes_begun() {
            return self.maybe_end_draining();
        }
        self.input_ended = true;
        if self.waiting.is_empty() {
            self.end_current();
        }
    }

    /// Whether the channel is being drained, and reads what has begun to its end.
    pub(super) const fn finishes_begun(&self) -> bool {
        self.is_draining && self.mode.finishes_begun && !self.mode.raw
    }

    /// Reads no more once no request is begun.
    pub(super) fn maybe_end_draining(&mut self) {
        let is_between = self.waiting.is_empty() && !self.is_in_request();
        if self.finishes_begun() && self.phase == Phase::Open && is_between {
            self.input_ended = true;
            self.current = None;
        }
    }

    /// Closes at once; unsent output and unserved requests are dropped.
    pub fn abort(&mut self, reason: CloseReason) {
        if self.phase == Phase::Closed {
            return;
        }
        self.phase = Phase::Closed;
        self.farewell = Farewell::None;
        self.refused = None;
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
        self.end_counts();
        self.ready = ReadyRequests::new();
        self.waiting = Waiting::new();
        self.end_due = false;
        self.stream = None;
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
            || self.farewell != Farewell::None
            || self.running
            || self.output.is_sending()
            || self.output.unsent_bytes() > 0
            || self.has_work()
        {
            return;
        }
        let reason = if self.phase == Phase::Finishing {
            self.finish_reason
        } else if let Some(reason) = self.lost_input {
            reason
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
