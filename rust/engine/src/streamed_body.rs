//! The body of a request that a worker was handed before its body had come: it is taken in pieces.
//!
//! The loop puts what comes into the channel's state, the worker takes it out; neither waits for the other here (that
//! is `wait_for_body`, in `output`). A peer that waits for a word before it sends its body gets it when the body is
//! first asked for. It must not know what the bytes mean.

use wiretask_protocol::channel::BodyPiece;

use crate::connection::Connection;
use crate::server_core::Host;

impl<H: Host> Connection<H> {
    /// Whether the request that the worker has was handed out before its body had come, which is for `take_body`.
    #[must_use]
    pub fn is_body_streamed(&self) -> bool {
        self.lock().state.is_body_streamed()
    }

    /// Whether the connection closes behind an answer that is given without asking for the body: the peer waits for
    /// a word before it sends it.
    #[must_use]
    pub fn is_body_unasked(&self) -> bool {
        self.lock().state.is_body_unasked()
    }

    /// Takes up to so many bytes (at least 1) of the body of the request that the worker has, if it was handed out
    /// before its body had come (`ChannelMode::streams_bodies`); else it is the end at once. After `Wait`,
    /// `wait_for_body` is to be called, which also sends the word that a peer waits for. Never blocks.
    ///
    /// The body is at its end with the next `start_work`; what was not taken of it is thrown away.
    pub fn take_body(&self, max_bytes: usize) -> BodyPiece {
        let (limits, stamp_ms) = (&self.core.config.limits, self.core.stamp_ms());
        let mut inner = self.lock();
        let piece = inner.state.take_body(max_bytes, stamp_ms);
        if piece == (BodyPiece::Wait { needs_go_ahead: true })
            && let Some(answers) = &self.core.config.loop_answers
        {
            inner.state.handle_go_ahead(answers.go_ahead(), limits, stamp_ms);
        }
        let needs_owner = inner.state.needs_owner(limits);
        drop(inner);
        if needs_owner {
            self.attend();
        }
        piece
    }
}
