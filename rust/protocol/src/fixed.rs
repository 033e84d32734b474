//! A message of a length known beforehand.
use crate::consumer::{Framed, StreamConsumer};
use crate::error::{ErrorKind, ProtocolError};
use crate::unfinished::Unfinished;
use alloc::vec::Vec;

/// Takes exactly `length_bytes` bytes; its value is those bytes. With a length of 0 it is completed from the start.
#[derive(Debug)]
pub struct Fixed {
    length_bytes: u64,
    taken_bytes: u64,
    value: Unfinished,
    error: Option<ProtocolError>,
}

impl Fixed {
    /// A consumer of the next `length_bytes` bytes.
    pub fn new(length_bytes: u64) -> Self {
        Self { length_bytes, taken_bytes: 0, value: Unfinished::default(), error: None }
    }

    /// The length it was made for.
    pub fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    /// The bytes so far: the value, once completed without an error.
    pub fn value(&self) -> &[u8] {
        self.value.as_slice()
    }

    /// Move the value out; empty afterwards.
    pub fn take_value(&mut self) -> Vec<u8> {
        self.value.take()
    }

    fn hold(&mut self, content: &[u8]) {
        if self.value.extend(content, self.length_bytes).is_err() {
            self.fail(ErrorKind::OutOfMemory { limit_bytes: self.taken_bytes });
        }
    }

    fn fail(&mut self, kind: ErrorKind) {
        self.value.clear();
        self.error = Some(ProtocolError::new(kind, self.taken_bytes));
    }
}

impl Framed for Fixed {
    #[inline]
    fn received_lending<'d>(&mut self, data: &'d [u8]) -> (usize, Option<&'d [u8]>) {
        if self.is_completed() {
            return (0, None);
        }
        let missing = self.length_bytes - self.taken_bytes;
        let taken = usize::try_from(missing).map_or(data.len(), |missing| missing.min(data.len()));
        let content = &data[..taken];
        if taken as u64 == self.length_bytes {
            self.taken_bytes = self.length_bytes;
            return (taken, Some(content));
        }
        self.taken_bytes += taken as u64;
        self.hold(content);
        (taken, None)
    }

    fn held(&self) -> &[u8] {
        self.value()
    }

    fn renew(&mut self) {
        *self = Self::new(self.length_bytes);
    }
}

impl StreamConsumer for Fixed {
    fn received(&mut self, data: &[u8]) -> usize {
        let (taken, lent) = self.received_lending(data);
        if let Some(content) = lent {
            self.hold(content);
        }
        taken
    }

    fn is_completed(&self) -> bool {
        self.error.is_some() || self.taken_bytes == self.length_bytes
    }

    fn error(&self) -> Option<&ProtocolError> {
        self.error.as_ref()
    }

    fn end_of_input(&mut self) {
        if self.is_started() && !self.is_completed() {
            self.fail(ErrorKind::Truncated);
        }
    }

    fn is_started(&self) -> bool {
        self.taken_bytes > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_its_length_and_leaves_the_rest() {
        let mut fixed = Fixed::new(3);
        assert_eq!(fixed.received(b"abcd"), 3);
        assert!(fixed.is_completed());
        assert_eq!(fixed.value(), b"abc");
    }

    #[test]
    fn a_length_of_zero_is_completed_from_the_start() {
        let mut fixed = Fixed::new(0);
        assert!(fixed.is_completed());
        assert_eq!(fixed.received(b"a"), 0);
        assert_eq!(fixed.value(), b"");
    }

    #[test]
    fn the_end_in_the_middle_is_truncated() {
        let mut fixed = Fixed::new(3);
        fixed.received(b"ab");
        fixed.end_of_input();
        assert_eq!(fixed.error(), Some(&ProtocolError::new(ErrorKind::Truncated, 2)));
        assert_eq!(fixed.received(b"c"), 0);
    }
}
