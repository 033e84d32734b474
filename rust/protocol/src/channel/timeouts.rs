//! Since when nothing happens, and how long that may go on.

use super::{ChannelLimits, ChannelState, CloseReason, Phase, Timeout};
use crate::consumer::StreamConsumer;

impl<C: StreamConsumer> ChannelState<C> {
    /// Since when the connection has had nothing to do at all, in milliseconds; `None`: it has.
    ///
    /// A connection whose input the application leaves in the socket is not idle: the application waits.
    #[must_use]
    pub fn idle_since_ms(&self) -> Option<u64> {
        let is_idle = self.phase == Phase::Open
            && !self.running
            && !self.has_work()
            && !self.request_begun
            && !self.is_input_held
            && self.waiting.is_empty()
            && self.output.unsent_bytes() == 0
            && !self.is_in_request();
        is_idle.then_some(self.activity_ms)
    }

    /// The time limit of what is being waited for now.
    #[must_use]
    pub fn poll_timeout(&self, limits: &ChannelLimits, now_ms: u64) -> Timeout {
        let (since, limit, reason) = if self.phase == Phase::Closed {
            return Timeout::None;
        } else if self.output.unsent_bytes() > 0 && (self.blocked || !self.running) {
            (self.progress_ms, limits.write_timeout_ms, CloseReason::WriteTimeout)
        } else if self.running && !self.is_body_awaited(limits) {
            return Timeout::None;
        } else if self.running {
            (self.activity_ms, limits.request_timeout_ms, CloseReason::RequestTimeout)
        } else if self.request_begun && !self.is_input_held {
            (self.request_since_ms, limits.request_timeout_ms, CloseReason::RequestTimeout)
        } else if !self.is_input_held && self.is_in_request() {
            (self.activity_ms, limits.request_timeout_ms, CloseReason::RequestTimeout)
        } else {
            (self.activity_ms, limits.idle_timeout_ms, CloseReason::IdleTimeout)
        };
        match limit {
            None => Timeout::None,
            Some(limit) if now_ms >= since.saturating_add(limit) => Timeout::Expired(reason),
            Some(limit) => Timeout::At(since.saturating_add(limit)),
        }
    }
}
