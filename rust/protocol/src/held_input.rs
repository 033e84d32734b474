//! What a connection holds of its peer's input: completed requests, and bytes that wait to be cut up.
//!
//! Neither holds heap while it is empty. How much may be held is for `ChannelState` to say.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A completed request.
#[derive(Debug)]
pub(crate) struct Ready<C> {
    pub(crate) request: C,
    /// What it took from the stream.
    pub(crate) bytes: usize,
    /// Of its body, what is kept in a file.
    pub(crate) kept_bytes: u64,
}

/// Completed requests in order. One that comes when none is there goes on the heap as well: of most connections none is
/// there most of the time.
#[derive(Debug)]
pub(crate) struct ReadyRequests<C> {
    first: Option<Box<Ready<C>>>,
    rest: VecDeque<Ready<C>>,
    bytes: usize,
}

impl<C> ReadyRequests<C> {
    pub(crate) const fn new() -> Self {
        Self { first: None, rest: VecDeque::new(), bytes: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    /// What they took from the stream, all together.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, ready: Ready<C>) {
        self.bytes += ready.bytes;
        if self.len() == 0 {
            self.first = Some(Box::new(ready));
        } else {
            self.rest.push_back(ready);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Ready<C>> {
        let ready = match self.first.take() {
            Some(first) => *first,
            None => self.rest.pop_front()?,
        };
        self.bytes -= ready.bytes;
        if self.rest.is_empty() && self.rest.capacity() > 0 {
            self.rest = VecDeque::new();
        }
        Some(ready)
    }
}

/// Bytes that were read and wait. Taking some does not move the rest, so any number of takes is linear.
#[derive(Debug)]
pub(crate) struct Waiting {
    bytes: Vec<u8>,
    taken: usize,
}

impl Waiting {
    pub(crate) const fn new() -> Self {
        Self { bytes: Vec::new(), taken: 0 }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or(&[])
    }

    pub(crate) const fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn push(&mut self, data: &[u8]) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(data);
    }

    /// As `push`, but does not copy what would be alone.
    pub(crate) fn push_piece(&mut self, piece: Vec<u8>) {
        if self.is_empty() {
            *self = Self { bytes: piece, taken: 0 };
        } else {
            self.push(&piece);
        }
    }

    /// All of it.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.take(usize::MAX)
    }

    /// Empty again, it holds no heap.
    pub(crate) fn advance(&mut self, n: usize) {
        self.taken = self.bytes.len().min(self.taken.saturating_add(n));
        if self.is_empty() {
            *self = Self::new();
        }
    }

    pub(crate) fn take(&mut self, max_bytes: usize) -> Vec<u8> {
        if self.taken == 0 && self.bytes.len() <= max_bytes {
            return core::mem::take(&mut self.bytes);
        }
        let piece = self.as_slice().get(..max_bytes).unwrap_or(self.as_slice()).to_vec();
        self.advance(piece.len());
        piece
    }
}
