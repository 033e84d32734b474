//! A line: everything up to a line feed, one carriage return before it not counted as content.
//!
//! A carriage return elsewhere is content. The limit counts the terminator: with `max_bytes` bytes seen and no line
//! feed among them, the line is too long.
use crate::consumer::{Framed, StreamConsumer};
use crate::error::{ErrorKind, OutOfMemory, ProtocolError, Unencodable};
use crate::search::Search;
use crate::unfinished::Unfinished;
use alloc::vec::Vec;

/// Takes one line; its value is the line without its terminator. A blank line is `empty`.
#[derive(Debug)]
pub struct Line {
    max_bytes: u64,
    taken_bytes: u64,
    search: Search,
    value: Unfinished,
    is_ended: bool,
    is_blank: bool,
    error: Option<ProtocolError>,
}

impl Line {
    /// A consumer of one line of at most `max_bytes` bytes (at least 1), terminator included.
    pub fn new(max_bytes: u64) -> Self {
        Self {
            max_bytes,
            taken_bytes: 0,
            search: Search::default(),
            value: Unfinished::default(),
            is_ended: false,
            is_blank: false,
            error: None,
        }
    }

    /// The longest line, terminator included.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// The line without its terminator, once completed without an error; before that, what is held of it.
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

    /// Take the last piece of the line, without its line feed; what is lent of it is the whole line.
    fn finish<'d>(&mut self, last: &'d [u8]) -> Option<&'d [u8]> {
        self.is_ended = true;
        let content = without_carriage_return(last);
        if self.value.as_slice().is_empty() {
            self.is_blank = content.is_empty();
            return Some(content);
        }
        if let (true, [held @ .., b'\r']) = (last.is_empty(), self.value.as_slice()) {
            let len = held.len();
            self.value.truncate(len);
        }
        self.is_blank = content.is_empty() && self.value.as_slice().is_empty();
        self.hold(content, (self.value.as_slice().len() + content.len()) as u64);
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

impl Framed for Line {
    #[inline]
    fn received_lending<'d>(&mut self, data: &'d [u8]) -> (usize, Option<&'d [u8]>) {
        if self.is_completed() {
            return (0, None);
        }
        let room = usize::try_from(self.max_bytes - self.taken_bytes).unwrap_or(usize::MAX);
        let window = &data[..data.len().min(room)];
        let end = self.search.find_byte(b'\n', window);
        let taken = end.map_or(window.len(), |index| index + 1);
        self.taken_bytes += taken as u64;
        let lent = match end {
            Some(index) => self.finish(&window[..index]),
            None if self.taken_bytes == self.max_bytes => {
                self.fail(ErrorKind::LineTooLong { limit_bytes: self.max_bytes });
                None
            }
            None => {
                self.hold(window, self.max_bytes);
                None
            }
        };
        (taken, lent)
    }

    #[inline]
    fn pass_whole(
        &mut self,
        data: &[u8],
        keep: &mut impl FnMut(&[u8]) -> Result<(), OutOfMemory>,
    ) -> (usize, Result<(), OutOfMemory>) {
        let mut start = 0;
        for end in self.search.occurrences(b'\n', data) {
            if (end - start) as u64 >= self.max_bytes {
                break;
            }
            if let Err(refusal) = keep(without_carriage_return(&data[start..end])) {
                return (start, Err(refusal));
            }
            start = end + 1;
        }
        (start, Ok(()))
    }

    fn held(&self) -> &[u8] {
        self.value()
    }

    fn renew(&mut self) {
        *self = Self { search: self.search, ..Self::new(self.max_bytes) };
    }
}

impl StreamConsumer for Line {
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

    fn is_empty(&self) -> bool {
        self.is_blank
    }

    fn is_started(&self) -> bool {
        self.taken_bytes > 0
    }
}

fn without_carriage_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Write `content` as a line with a bare line feed.
///
/// # Errors
/// [`Unencodable`] if it contains a line feed or ends with a carriage return: it would be read back as something
/// else.
pub fn encode(content: &[u8], out: &mut Vec<u8>) -> Result<(), Unencodable> {
    if content.contains(&b'\n') || content.ends_with(b"\r") {
        return Err(Unencodable);
    }
    out.extend_from_slice(content);
    out.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(data: &[u8]) -> (usize, Vec<u8>) {
        let mut line = Line::new(100);
        let taken = line.received(data);
        assert!(line.is_completed());
        (taken, line.take_value())
    }

    fn byte_by_byte(data: &[u8]) -> (usize, Vec<u8>) {
        let mut line = Line::new(100);
        let taken = data.iter().map(|byte| line.received(&[*byte])).sum();
        assert!(line.is_completed());
        (taken, line.take_value())
    }

    #[test]
    fn one_carriage_return_before_the_line_feed_is_not_content() {
        for (data, value) in [
            (&b"ab\ncd"[..], &b"ab"[..]),
            (b"ab\r\ncd", b"ab"),
            (b"ab\r\r\ncd", b"ab\r"),
            (b"a\rb\ncd", b"a\rb"),
            (b"\r\ncd", b""),
            (b"\ncd", b""),
            (b"\r\r\ncd", b"\r"),
        ] {
            let expected = (data.len() - 2, value.to_vec());
            assert_eq!(whole(data), expected, "{data:?}");
            assert_eq!(byte_by_byte(data), expected, "{data:?}");
        }
    }

    #[test]
    fn the_limit_counts_the_terminator() {
        let mut fits = Line::new(5);
        assert_eq!(fits.received(b"abc\r\n"), 5);
        assert_eq!(fits.error(), None);
        let mut too_long = Line::new(4);
        assert_eq!(too_long.received(b"abc\r\n"), 4);
        let kind = ErrorKind::LineTooLong { limit_bytes: 4 };
        assert_eq!(too_long.error(), Some(&ProtocolError::new(kind, 4)));
        assert_eq!(too_long.received(b"\n"), 0);
    }

    #[test]
    fn a_blank_line_stays_empty_after_its_value_is_taken() {
        let mut line = Line::new(5);
        line.received(b"\r\n");
        assert!(line.is_empty());
        line.take_value();
        assert!(line.is_empty());
        let mut line = Line::new(5);
        line.received(b"a\n");
        line.take_value();
        assert!(!line.is_empty());
    }
}
