//! Bodies that a worker takes as they come (`ChannelMode::streams_bodies`).
//!
//! A request is handed out when its head is whole; what comes of its body is held until the worker asks for it, and
//! while much is held nothing is read. The worker's next question for work is the end of it: what it has not taken
//! is read and thrown away up to a limit, and with a longer rest the connection closes. Nothing behind the body is
//! looked at before. A body that does not come whole ends with a failure, never as if it were shorter.

use alloc::vec::Vec;

use super::{ChannelLimits, ChannelState, CloseReason, Phase, Ready, Waiting};
use crate::consumer::StreamConsumer;
use crate::error::ProtocolError;

/// So much of a body that nobody has taken is thrown away behind the answer.
pub const MAX_DISCARDED_BYTES: usize = 256 * 1024;

/// What a worker gets of the body of the request that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyPiece {
    /// Some of it, at least a byte.
    Bytes(Vec<u8>),
    /// There is no more: it was whole.
    End,
    /// The next piece has yet to come.
    Wait {
        /// The peer waits for a word before it sends it: give that to `handle_go_ahead`.
        needs_go_ahead: bool,
    },
    /// It will never be whole.
    Failed(BodyFailure),
}

/// Why a body is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFailure {
    /// The parser refuses what came.
    Stream(ProtocolError),
    /// It did not come in time.
    Late,
    /// The peer has gone, or the connection was closed.
    Disconnected,
}

/// The body that comes, or has come.
#[derive(Debug)]
pub(super) struct BodyStream {
    held: Waiting,
    /// Its request has been handed out.
    is_served: bool,
    /// The answer has begun: no other word can come before it.
    has_answer_begun: bool,
    is_ended: bool,
    failure: Option<BodyFailure>,
    /// The request has been answered; so much was thrown away since.
    discarded_bytes: Option<usize>,
}

impl<C: StreamConsumer> ChannelState<C> {
    /// Whether a body is coming that a worker takes, or would take.
    pub(super) fn is_streaming(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| !stream.is_ended && stream.failure.is_none())
    }

    /// Whether nothing may be parsed, because a body that is all there has not been done with.
    pub(super) fn is_behind_body(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.is_ended)
    }

    /// Whether as much of a body is held as may be; `is_paused`: whether still more is than lets reading go on.
    pub(super) fn is_body_full(&self, limits: &ChannelLimits, is_paused: bool) -> bool {
        let most = if is_paused { limits.max_waiting_bytes / 2 } else { limits.max_waiting_bytes - 1 };
        self.stream.as_ref().is_some_and(|stream| stream.held.len() > most)
    }

    /// Some of the body of `current` has come, or its head is whole: it becomes a stream.
    pub(super) fn stream_body(&mut self) {
        let Some(current) = &mut self.current else { return };
        if self.stream.is_none() {
            let Some(request) = current.split_head() else { return };
            self.ready.push(Ready { request, bytes: self.current_bytes, kept_bytes: 0 });
            self.stream = Some(alloc::boxed::Box::new(BodyStream {
                held: Waiting::new(),
                is_served: false,
                has_answer_begun: false,
                is_ended: false,
                failure: None,
                discarded_bytes: None,
            }));
        }
        let piece = current.take_body();
        self.hold_body(piece);
    }

    fn hold_body(&mut self, piece: Vec<u8>) {
        let Some(stream) = &mut self.stream else { return };
        match &mut stream.discarded_bytes {
            None => stream.held.push_piece(piece),
            Some(discarded) => {
                *discarded += piece.len();
                if *discarded > MAX_DISCARDED_BYTES {
                    self.close_when_done();
                }
            }
        }
    }

    /// The last of a body that streams has come, in `rest`.
    pub(super) fn end_stream(&mut self, mut rest: C) {
        self.hold_body(rest.take_body());
        match &mut self.stream {
            Some(stream) if stream.discarded_bytes.is_none() => stream.is_ended = true,
            _ => self.stream = None,
        }
    }

    /// The body that streams will not be whole; its request, which has it from the worker, answers that.
    pub(super) fn fail_stream(&mut self, failure: BodyFailure) {
        if let Some(stream) = &mut self.stream {
            stream.failure = Some(failure);
            self.is_error_told = true;
        }
    }

    /// A request was handed out, with its head only if that is the last there is.
    pub(super) fn note_stream_served(&mut self) {
        let is_streamed = self.ready.len() == 0 && self.stream.is_some();
        self.is_body_streamed = is_streamed;
        if is_streamed && let Some(stream) = &mut self.stream {
            stream.is_served = true;
        }
    }

    /// The worker writes to the peer.
    pub(super) fn note_answer(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.has_answer_begun |= stream.is_served;
        }
    }

    /// The worker is done with the request that it had; whether its body was in the way of what came behind it.
    pub(super) fn end_served_body(&mut self) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        if !stream.is_served || stream.discarded_bytes.is_some() {
            return false;
        }
        self.is_body_streamed = false;
        if stream.is_ended || stream.failure.is_some() {
            self.stream = None;
            return true;
        } else if self.current.as_ref().is_some_and(StreamConsumer::awaits_go_ahead) {
            // Nobody can tell whether the peer will send the body after all.
            self.close_when_done();
        } else {
            let held = core::mem::replace(&mut stream.held, Waiting::new());
            stream.discarded_bytes = Some(0);
            self.hold_body(held.into_bytes());
        }
        false
    }

    /// Whether the request that was handed out last has come without its body, which is for `take_body`.
    #[must_use]
    pub const fn is_body_streamed(&self) -> bool {
        self.is_body_streamed
    }

    /// Whether the connection cannot go on behind an answer that is given now, because the peer has not been let
    /// send the body, and nobody could tell whether it does.
    #[must_use]
    pub fn is_body_unasked(&self) -> bool {
        self.is_body_streamed && self.current.as_ref().is_some_and(StreamConsumer::awaits_go_ahead)
    }

    /// Takes up to so many bytes (at least 1) of the body of the request that was handed out last. If that had its
    /// body with it, it is the end at once.
    pub fn take_body(&mut self, max_bytes: usize, now_ms: u64) -> BodyPiece {
        if !self.is_body_streamed {
            return BodyPiece::End;
        }
        let Some(stream) = &mut self.stream else { return BodyPiece::Failed(BodyFailure::Disconnected) };
        if !stream.held.is_empty() {
            if self.reading_paused {
                // The peer could not go on.
                self.activity_ms = now_ms;
            }
            return BodyPiece::Bytes(stream.held.take(max_bytes.max(1)));
        }
        if let Some(failure) = stream.failure {
            return BodyPiece::Failed(failure);
        }
        if stream.is_ended {
            return BodyPiece::End;
        }
        let needs_go_ahead = self.mode.answers
            && !stream.has_answer_begun
            && self.current.as_ref().is_some_and(StreamConsumer::awaits_go_ahead);
        if needs_go_ahead {
            self.current.iter_mut().for_each(StreamConsumer::note_go_ahead);
            self.activity_ms = now_ms;
        }
        BodyPiece::Wait { needs_go_ahead }
    }

    /// Whether `take_body` would give something else than `Wait`.
    #[must_use]
    pub fn is_body_ready(&self) -> bool {
        !self.is_body_streamed
            || self
                .stream
                .as_ref()
                .is_none_or(|stream| !stream.held.is_empty() || stream.is_ended || stream.failure.is_some())
    }

    /// Whether the worker's request waits for its peer to go on with the body.
    pub(super) fn is_body_awaited(&self, limits: &ChannelLimits) -> bool {
        self.is_streaming()
            && self.wants_input(limits)
            && !self.current.as_ref().is_some_and(StreamConsumer::awaits_go_ahead)
    }

    /// A body that streams did not come in time: its worker is told, and the connection closes behind the answer.
    pub(super) fn expire_stream(&mut self) {
        self.fail_stream(BodyFailure::Late);
        self.current = None;
        self.end_counts();
        self.input_ended = true;
        self.lost_input = Some(CloseReason::RequestTimeout);
    }

    /// Whether a time limit of the body is the worker's affair.
    pub(super) fn is_stream_running(&self) -> bool {
        self.running && self.phase == Phase::Open && self.is_streaming()
    }
}
