//! A message that ends with a delimiter of any bytes, which may straddle reads.
//!
//! The limit counts the delimiter: with `max_bytes` bytes seen and no delimiter ended among them, the message is too
//! long. An empty message is a message.
use crate::consumer::{Framed, StreamConsumer};
use crate::error::{ErrorKind, ProtocolError, Unencodable};
use crate::search::{Needle, Search};
use crate::unfinished::Unfinished;
use alloc::{sync::Arc, vec::Vec};

/// Takes everything up to the delimiter's first occurrence; its value is what stands before it.
#[derive(Debug)]
pub struct Delimiter {
    needle: Arc<Needle>,
    max_bytes: u64,
    taken_bytes: u64,
    search: Search,
    value: Unfinished,
    is_ended: bool,
    error: Option<ProtocolError>,
}

impl Delimiter {
    /// A consumer of one message of at most `max_bytes` bytes, delimiter included (at least its length).
    pub fn new(needle: Arc<Needle>, max_bytes: u64) -> Self {
        Self {
            needle,
            max_bytes,
            taken_bytes: 0,
            search: Search::default(),
            value: Unfinished::default(),
            is_ended: false,
            error: None,
        }
    }

    /// The delimiter, made ready for searching.
    pub fn needle(&self) -> &Arc<Needle> {
        &self.needle
    }

    /// The longest message, delimiter included.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// The message without its delimiter, once completed without an error; before that, what is held of it.
    pub fn value(&self) -> &[u8] {
        self.value.as_slice()
    }

    /// Move the value out; empty afterwards.
    pub fn take_value(&mut self) -> Vec<u8> {
        self.value.take()
    }

    /// How often a byte was looked at: what the linear-work law bounds.
    #[cfg(feature = "count-work")]
    pub fn examined_bytes(&self) -> u64 {
        self.search.examined_bytes()
    }

    /// Take the last piece of the message, which ends with (the end of) the delimiter; what is lent of it is the
    /// whole message.
    fn finish<'d>(&mut self, last: &'d [u8]) -> Option<&'d [u8]> {
        self.is_ended = true;
        let held = self.value.as_slice().len();
        let len = held + last.len() - self.needle.as_bytes().len();
        if held == 0 {
            return Some(&last[..len]);
        }
        self.value.truncate(len);
        self.hold(&last[..len.saturating_sub(held)], len as u64);
        None
    }

    fn hold(&mut self, content: &[u8], max_len: u64) {
        if self.value.extend(content, max_len).is_err() {
            self.fail(ErrorKind::OutOfMemory { limit_bytes: self.taken_bytes });
        }
    }

    fn fail(&mut self, kind: ErrorKind) {
        self.value.clear();
        self.error = Some(ProtocolError::new(kind, self.taken_bytes));
    }
}

impl Framed for Delimiter {
    #[inline]
    fn received_lending<'d>(&mut self, data: &'d [u8]) -> (usize, Option<&'d [u8]>) {
        if self.is_completed() {
            return (0, None);
        }
        let room = usize::try_from(self.max_bytes - self.taken_bytes).unwrap_or(usize::MAX);
        let window = &data[..data.len().min(room)];
        let end = self.search.find_end(&self.needle, window);
        let taken = end.unwrap_or(window.len());
        self.taken_bytes += taken as u64;
        let lent = match end {
            Some(end) => self.finish(&window[..end]),
            None if self.taken_bytes == self.max_bytes => {
                self.fail(ErrorKind::MessageTooLong { limit_bytes: self.max_bytes });
                None
            }
            None => {
                self.hold(window, self.max_bytes);
                None
            }
        };
        (taken, lent)
    }

    fn held(&self) -> &[u8] {
        self.value()
    }

    fn renew(&mut self) {
        self.taken_bytes = 0;
        self.search.restart();
        self.value.clear();
        self.is_ended = false;
        self.error = None;
    }
}

impl StreamConsumer for Delimiter {
    fn received(&mut self, data: &[u8]) -> usize {
        let (taken, lent) = self.received_lending(data);
        if let Some(content) = lent {
            self.hold(content, content.len() as u64);
        }
        taken
    }

    fn is_completed(&self) -> bool {
        self.is_ended || self.error.is_some()
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

/// Write `message` and the delimiter behind it.
///
/// # Errors
/// [`Unencodable`] if the delimiter would be found before the message's end.
pub fn encode(needle: &Needle, message: &[u8], out: &mut Vec<u8>) -> Result<(), Unencodable> {
    let mut search = Search::default();
    if search.find_end(needle, message).is_some() {
        return Err(Unencodable);
    }
    // The first occurrence may begin in the message and end in the delimiter ("a" before the delimiter "aa").
    if search.find_end(needle, needle.as_bytes()) != Some(needle.as_bytes().len()) {
        return Err(Unencodable);
    }
    out.extend_from_slice(message);
    out.extend_from_slice(needle.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delimiter(bytes: &[u8], max_bytes: u64) -> Delimiter {
        Delimiter::new(Arc::new(Needle::new(bytes).unwrap()), max_bytes)
    }

    #[test]
    fn a_delimiter_that_straddles_three_reads_is_found() {
        let mut consumer = delimiter(b"\r\n.\r\n", 100);
        assert_eq!(consumer.received(b"mail\r\n"), 6);
        assert_eq!(consumer.received(b"."), 1);
        assert_eq!(consumer.received(b"\r\nQUIT\r\n"), 2);
        assert_eq!(consumer.value(), b"mail");
    }

    #[test]
    fn a_false_start_of_the_delimiter_is_content() {
        let mut consumer = delimiter(b"aab", 100);
        assert_eq!(consumer.received(b"a"), 1);
        assert_eq!(consumer.received(b"a"), 1);
        assert_eq!(consumer.received(b"aabb"), 3);
        assert_eq!(consumer.value(), b"aa");
    }

    #[test]
    fn the_limit_counts_the_delimiter() {
        let mut fits = delimiter(b"--", 4);
        assert_eq!(fits.received(b"ab--"), 4);
        assert_eq!(fits.error(), None);
        let mut too_long = delimiter(b"--", 3);
        assert_eq!(too_long.received(b"ab--"), 3);
        let kind = ErrorKind::MessageTooLong { limit_bytes: 3 };
        assert_eq!(too_long.error(), Some(&ProtocolError::new(kind, 3)));
    }

    #[test]
    fn a_message_that_would_be_cut_short_is_not_encoded() {
        let mut out = Vec::new();
        let needle = Needle::new(b"aa").unwrap();
        assert_eq!(encode(&needle, b"baab", &mut out), Err(Unencodable));
        assert_eq!(encode(&needle, b"ba", &mut out), Err(Unencodable));
        assert_eq!(out, b"");
        assert_eq!(encode(&needle, b"ab", &mut out), Ok(()));
        assert_eq!(out, b"abaa");
    }
}
