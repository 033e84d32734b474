//! What comes in: bytes are cut into requests, which wait for the worker.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{BodyFailure, ChannelLimits, ChannelState, CloseReason, Phase, Ready, Waiting};
use crate::consumer::StreamConsumer;

/// So much of a body, or what is left of it, must come within the time limit of a request.
pub const BODY_PROGRESS_BYTES: usize = 64 * 1024;
/// What of a body comes behind what is kept is moved there in pieces of about this size.
const KEPT_PIECE_BYTES: usize = 128 * 1024;

impl<C: StreamConsumer> ChannelState<C> {
    /// Takes bytes read from the socket; `make` makes the consumer of the next request.
    pub fn handle_bytes(&mut self, data: &[u8], make: impl Fn() -> C, limits: &ChannelLimits, now_ms: u64) {
        if self.phase != Phase::Open || self.input_ended || data.is_empty() {
            return;
        }
        if self.mode.raw {
            self.activity_ms = now_ms;
            self.waiting.push(data);
            return;
        }
        if !self.is_in_request() {
            self.activity_ms = now_ms;
        }
        if self.waiting.is_empty() {
            let parsed_bytes = self.parse(data, make, limits, now_ms, self.finishes_begun());
            self.maybe_end_draining();
            if let Some(rest) = data.get(parsed_bytes..).filter(|rest| !rest.is_empty()) {
                self.waiting.push(rest);
            }
        } else {
            self.waiting.push(data);
        }
    }

    /// Returns how much is done with; the rest waits until there is room for another request. Behind one that is
    /// the last the rest is done with, too.
    pub(super) fn parse(
        &mut self,
        data: &[u8],
        make: impl Fn() -> C,
        limits: &ChannelLimits,
        now_ms: u64,
        is_one_the_last: bool,
    ) -> usize {
        let mut rest = data;
        while !rest.is_empty() {
            if self.is_ready_full(limits) && !self.is_streaming() {
                return data.len() - rest.len();
            }
            let consumer = self.current.get_or_insert_with(&make);
            let taken = consumer.received(rest).min(rest.len());
            rest = rest.get(taken..).unwrap_or(&[]);
            self.current_bytes += taken;
            if consumer.is_completed() {
                let Some(request) = self.current.take() else { break };
                let (bytes, kept_bytes) = self.end_counts();
                self.activity_ms = now_ms;
                if request.error().is_some() {
                    self.fail(request);
                    break;
                }
                if self.stream.is_some() {
                    self.end_stream(request);
                } else if !request.is_empty() {
                    self.ready.push(Ready { request, bytes, kept_bytes });
                }
                if is_one_the_last {
                    break;
                }
            } else if taken == 0 {
                // A consumer that makes no progress breaks its law; going on would never end.
                self.abort(CloseReason::ProtocolError);
                break;
            } else if consumer.is_in_body() {
                self.note_body_progress(now_ms);
                if self.mode.streams_bodies {
                    self.stream_body();
                }
                if self.phase != Phase::Open {
                    break;
                }
            }
        }
        data.len()
    }

    /// The time for a body begins with it, and anew with every so many bytes of it.
    fn note_body_progress(&mut self, now_ms: u64) {
        if self.body_mark == 0 || self.current_bytes - self.body_mark >= BODY_PROGRESS_BYTES {
            self.body_mark = self.current_bytes;
            self.activity_ms = now_ms;
        }
    }

    /// The current request is over; returns how much of the stream it took, and what of that is kept elsewhere.
    pub(super) const fn end_counts(&mut self) -> (usize, u64) {
        self.body_mark = 0;
        (core::mem::replace(&mut self.current_bytes, 0), core::mem::replace(&mut self.kept_bytes, 0))
    }

    /// Whether `take_body_overflow` has something to give.
    #[must_use]
    pub fn is_body_overflowing(&self, limits: &ChannelLimits) -> bool {
        let Some(limit) = limits.max_body_memory_bytes else { return false };
        // What follows goes in pieces, however much might be held.
        let limit = if self.kept_bytes == 0 { limit } else { limit.min(KEPT_PIECE_BYTES) };
        self.current.as_ref().is_some_and(|current| current.held_body_bytes() > limit)
    }

    /// Takes what is too much of a body for memory, to be kept elsewhere, and where in the body it belongs; `None`:
    /// it is not too much. Its request is handed out when it is complete, with what has come since
    /// (`served_kept_bytes`). Such requests are handed out in the order in which this was first asked for each.
    pub fn take_body_overflow(&mut self, limits: &ChannelLimits) -> Option<(u64, Vec<u8>)> {
        if !self.is_body_overflowing(limits) {
            return None;
        }
        let bytes = self.current.as_mut()?.take_body();
        let position = self.kept_bytes;
        self.kept_bytes += bytes.len() as u64;
        Some((position, bytes))
    }

    /// What `take_body_overflow` gave could not be kept. The connection closes when what came before is answered,
    /// and that is, if the loop has words of its own.
    pub fn fail_body(&mut self) {
        if self.phase == Phase::Open {
            self.lost_input = Some(CloseReason::BodyFailed);
            self.input_ended = true;
            // Nothing waits behind a request that is not complete.
            let request = self.current.take();
            self.note_refused(request);
        }
    }

    /// Whether a request has begun to come, and is not complete.
    pub(super) fn is_in_request(&self) -> bool {
        self.current.as_ref().is_some_and(StreamConsumer::has_begun)
    }

    pub(super) fn is_ready_full(&self, limits: &ChannelLimits) -> bool {
        self.is_behind_body()
            || self.ready.len() >= limits.max_ready_requests
            || self.ready.bytes() >= limits.max_ready_bytes
    }

    pub(super) fn parse_waiting(&mut self, make: impl Fn() -> C, limits: &ChannelLimits, now_ms: u64) {
        let mut waiting = core::mem::replace(&mut self.waiting, Waiting::new());
        let parsed_bytes = self.parse(waiting.as_slice(), make, limits, now_ms, false);
        waiting.advance(parsed_bytes);
        self.waiting = waiting;
        self.maybe_end_draining();
        if self.input_ended && self.waiting.is_empty() {
            self.end_current();
        }
    }

    /// After a framing error nothing is parsed again; what came before it is still answered.
    fn fail(&mut self, request: C) {
        if let Some(error) = request.error() {
            self.error = Some(*error);
            self.fail_stream(BodyFailure::Stream(*error));
        }
        self.note_refused(Some(request));
        self.input_ended = true;
        self.waiting = Waiting::new();
    }

    /// Keeps what is going to be refused, for who writes the answer.
    pub(super) fn note_refused(&mut self, request: Option<C>) {
        self.refused = request.filter(|_| self.mode.answers).map(Box::new);
    }

    /// The peer will send no more. What has been read is still answered.
    pub fn handle_end_of_input(&mut self) {
        if self.phase != Phase::Open || self.input_ended {
            return;
        }
        self.input_ended = true;
        self.end_due = self.mode.raw;
        if !self.mode.raw && self.waiting.is_empty() {
            self.end_current();
        }
    }

    pub(super) fn end_current(&mut self) {
        if self.is_draining && !self.mode.finishes_begun {
            self.current = None;
            if self.is_streaming() {
                self.fail_stream(BodyFailure::Disconnected);
            }
        }
        if let Some(mut consumer) = self.current.take()
            && consumer.has_begun()
        {
            consumer.end_of_input();
            match consumer.error() {
                Some(error) => {
                    self.error = Some(*error);
                    self.fail_stream(BodyFailure::Disconnected);
                    self.note_refused(Some(consumer));
                }
                None if consumer.is_completed() && !consumer.is_empty() => {
                    let (bytes, kept_bytes) = self.end_counts();
                    self.ready.push(Ready { request: consumer, bytes, kept_bytes });
                }
                None => {}
            }
        }
    }

    /// Whether the driver should read from the socket.
    #[must_use]
    pub fn wants_input(&self, limits: &ChannelLimits) -> bool {
        let most_unsent_bytes = match self.reading_paused {
            true => limits.low_watermark_bytes,
            false => limits.high_watermark_bytes,
        };
        self.phase == Phase::Open
            && !self.input_ended
            && !self.is_input_held
            // A worker that takes a body writes as it does, and is held back by itself.
            && (self.is_streaming()
                || (self.output.unsent_bytes() <= most_unsent_bytes && !self.is_ready_full(limits)))
            && !self.is_body_full(limits, self.reading_paused)
            && self.waiting.len() < if self.mode.raw { limits.max_waiting_bytes } else { 1 }
    }

    /// The application wants no input for now (or wants it again): it is left in the socket.
    ///
    /// Meanwhile the peer cannot go on, so a request that has begun gets its full time afterwards.
    pub fn hold_input(&mut self, is_held: bool, now_ms: u64) {
        if self.is_input_held && !is_held {
            // Input may have come while it was held, and nobody read it.
            self.reading_paused = true;
            self.activity_ms = now_ms;
            self.request_since_ms = now_ms;
        }
        self.is_input_held = is_held;
    }

    /// Whether the application wants no input for now.
    #[must_use]
    pub const fn is_input_held(&self) -> bool {
        self.is_input_held
    }

    /// Notes that the driver did not read although there may be input: `ResumeReading` follows.
    pub fn pause_reading(&mut self) {
        self.reading_paused = true;
    }
}
