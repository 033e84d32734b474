//! The stream consumer: what cuts a stream of bytes into messages, one consumer a message.
//!
//! The laws, which `tests/laws.rs` checks for every consumer of this crate:
//!
//! 1. *Split-invariance.* Any cut of the same bytes gives the same value, the same number of bytes consumed, the
//!    same error kind and the same error offset (`OutOfMemory` excepted: that is this machine's state, not the stream).
//! 2. *No over-reading.* Once completed, nothing is consumed; what follows the message is left to its successor.
//! 3. *Progress.* `received` returns 0 only for empty input or after completion.
//! 4. *Bounded memory.* A limit counts bytes of the stream (terminators and prefixes too); the heap held is at most
//!    twice what was received, never above the limit, and nothing at all for a consumer that has seen no byte. (Those
//!    of HTTP hold a few hundred bytes of state besides, and count what is around chunks apart from the body.)
//! 5. *Linear work.* No byte is looked at more often than a constant number of times, however it arrives.
//! 6. *Total.* Any bytes give a value, an error value or the wish for more; never a panic.
//! 7. *Round trip.* What an encoder wrote is read back.
//! 8. *End of input* in the middle of a message is [`ErrorKind::Truncated`](crate::error::ErrorKind::Truncated), at
//!    the offset where the stream ended.
//!
//! Source: `IStreamConsumer` of zope.server.
use crate::error::{OutOfMemory, ProtocolError};
use alloc::vec::Vec;

/// A parser of one message. See the module for the laws it keeps.
pub trait StreamConsumer {
    /// Take bytes from the stream and return how many were consumed.
    ///
    /// The answer is less than `data.len()` only once the consumer is completed. After an error nothing more is
    /// consumed.
    fn received(&mut self, data: &[u8]) -> usize;

    /// Whether it has all it needs, or has failed; `received` returns 0 from then on.
    fn is_completed(&self) -> bool;

    /// The peer's fault, if there was one; it is then completed as well.
    fn error(&self) -> Option<&ProtocolError>;

    /// The peer will send nothing more.
    ///
    /// In the middle of a message this completes the consumer with a `Truncated` error. Before the first byte of a
    /// message, and after completion, nothing changes: the stream ended where it may.
    fn end_of_input(&mut self);

    /// Whether the completed message asks for nothing (a blank line, say), so that a server may skip it.
    fn is_empty(&self) -> bool {
        false
    }

    /// Whether at least one byte was consumed.
    fn is_started(&self) -> bool;

    /// Whether the message itself has begun: bytes that may stand before one, such as empty lines, do not count.
    fn has_begun(&self) -> bool {
        self.is_started()
    }

    /// The first line of the message without its end, as far as it is held, for a record of what was refused: also of
    /// a message that failed. At most 1 KiB of it; empty for a message that has no lines.
    fn first_line(&self) -> &[u8] {
        b""
    }

    /// Whether the head of the message is whole and its body is coming, of whatever length: its time is then counted
    /// by progress.
    fn is_in_body(&self) -> bool {
        false
    }

    /// How many bytes of the body are held, which `take_body` would give.
    fn held_body_bytes(&self) -> usize {
        0
    }

    /// Moves out what is held of the body, so that it need not stay in memory; the rest is still to come.
    fn take_body(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes the head out of a message whose body is still coming: the head is a completed message without a body,
    /// and this one goes on with the body. `None`: it is not in its body, or not of that kind, or has been split.
    fn split_head(&mut self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Whether the peer says that it waits for a word before it sends the rest of the message.
    ///
    /// No more once `note_go_ahead` was called, or a byte of the rest has come without.
    fn awaits_go_ahead(&self) -> bool {
        false
    }

    /// The peer is being given the word that it waits for.
    fn note_go_ahead(&mut self) {}
}

/// A consumer whose value is one stretch of the stream, so that it need not be copied where it lies whole.
pub trait Framed: StreamConsumer {
    /// Take bytes as `received` does, but lend the content that lies whole in `data` instead of holding it.
    ///
    /// Completed without an error, the content is what is lent, or else what is held.
    fn received_lending<'d>(&mut self, data: &'d [u8]) -> (usize, Option<&'d [u8]>);

    /// Call `keep` with the content of each message that lies whole at the beginning of `data`, for a consumer that has
    /// seen no byte; return how many bytes they take. Nothing else changes.
    ///
    /// A quick way past many short messages, for those that have one: to pass over none is an answer too.
    ///
    /// # Errors
    /// What `keep` says; the message was not consumed then.
    fn pass_whole(
        &mut self,
        data: &[u8],
        keep: &mut impl FnMut(&[u8]) -> Result<(), OutOfMemory>,
    ) -> (usize, Result<(), OutOfMemory>) {
        let _unseen = (data, keep);
        (0, Ok(()))
    }

    /// The content that is held.
    fn held(&self) -> &[u8];

    /// Make it as it was before the first byte. The bytes it looked at stay counted.
    fn renew(&mut self);
}
