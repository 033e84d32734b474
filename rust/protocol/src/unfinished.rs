//! The bytes of a message whose end has not been seen.
//!
//! Grows with what really arrives, never with what was announced: by doubling, capped by what the message can still
//! become, so that a message that is whole in one call costs one allocation of its exact size. A refused allocation
//! is an answer, not an abort.
use crate::error::OutOfMemory;
use alloc::vec::Vec;

/// A value under construction. Empty, it holds no heap.
#[derive(Debug, Default)]
pub(crate) struct Unfinished {
    bytes: Vec<u8>,
}

impl From<Vec<u8>> for Unfinished {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }
}

impl Unfinished {
    /// Add `data`; `max_len` is the longest the value can become (at least what it is after this call).
    pub(crate) fn extend(&mut self, data: &[u8], max_len: u64) -> Result<(), OutOfMemory> {
        let needed = self.bytes.len() + data.len();
        if needed > self.bytes.capacity() {
            let doubled = self.bytes.capacity().saturating_mul(2);
            let capped = doubled.min(usize::try_from(max_len).unwrap_or(usize::MAX));
            let target = capped.max(needed);
            self.bytes.try_reserve_exact(target - self.bytes.len()).map_err(|_| OutOfMemory)?;
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Shorten to `len` bytes, if it is longer.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// Give the memory back.
    pub(crate) fn clear(&mut self) {
        self.bytes = Vec::new();
    }

    /// The bytes so far.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Move the bytes out; it is empty afterwards.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.bytes)
    }
}
