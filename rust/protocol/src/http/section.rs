//! Lines up to an empty one: a head, or the trailers after the last chunk.
//!
//! Keeps all bytes, looks for line feeds among new ones only, and hands each line to its reader once, when it is
//! whole. A line that came in one piece is read where it lies; only then all is copied, once. Must not know what the
//! lines mean.
use crate::error::ErrorKind;
use crate::search::Search;
use crate::unfinished::Unfinished;
use alloc::vec::Vec;

/// How much is kept of the first line of a section at fault.
pub(super) const MAX_FIRST_LINE_BYTES: usize = 1024;

/// What to do after a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// There are more lines.
    More,
    /// That was the last.
    End,
}

/// What the lines mean.
pub(super) trait LineReader {
    /// Whether the next line can begin with this byte; if not, the fault is told before the line is whole.
    fn begin(&self, first: u8) -> Result<(), ErrorKind>;

    /// The limit of the line that is being read, its end included, and what it is to be longer.
    fn line_limit(&self) -> Option<(u64, ErrorKind)>;

    /// A whole line without its end, which begins at byte `start` of the section.
    fn line(&mut self, line: &[u8], start: usize) -> Result<Flow, ErrorKind>;
}

/// A section as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Section {
    bytes: Unfinished,
    taken_bytes: usize,
    line_start: usize,
    search: Search,
    #[cfg(feature = "count-work")]
    read_bytes: u64,
}

impl Section {
    /// Take bytes; return how many, and whether the section has ended.
    ///
    /// With `max_bytes` taken and no end among them, the fault is `too_large`. After a fault it holds its first line
    /// only, and must not be fed.
    pub(super) fn received(
        &mut self,
        data: &[u8],
        max_bytes: u64,
        too_large: ErrorKind,
        reader: &mut impl LineReader,
    ) -> (usize, Result<bool, ErrorKind>) {
        let room = usize::try_from(max_bytes).unwrap_or(usize::MAX).saturating_sub(self.taken_bytes);
        let window = &data[..data.len().min(room)];
        let mut held = 0;
        let (taken, mut result) = self.read_lines(window, &mut held, reader);
        self.taken_bytes += taken;
        if result == Ok(false) && self.taken_bytes as u64 >= max_bytes {
            result = Err(too_large);
        }
        if let Ok(is_ended) = result {
            let limit = if is_ended { self.taken_bytes as u64 } else { max_bytes };
            if self.bytes.extend(&window[held..taken], limit).is_err() {
                result = Err(self.out_of_memory());
            }
        }
        if result.is_err() {
            self.keep_first_line(&window[held..taken]);
        }
        (taken, result)
    }

    /// Read the lines that end in `window`; `held` is how much of it was copied for a line that had begun before it.
    fn read_lines(
        &mut self,
        window: &[u8],
        held: &mut usize,
        reader: &mut impl LineReader,
    ) -> (usize, Result<bool, ErrorKind>) {
        let before = self.taken_bytes;
        let mut at = 0;
        while at < window.len() {
            let begun = before + at - self.line_start;
            if begun == 0
                && let Err(kind) = reader.begin(window[at])
            {
                return (at + 1, Err(kind));
            }
            let mut visible = &window[at..];
            let mut too_long = None;
            if let Some((limit, kind)) = reader.line_limit() {
                let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(begun);
                if visible.len() >= room {
                    visible = &visible[..room];
                    too_long = Some(kind);
                }
            }
            let Some(index) = self.search.find_byte(b'\n', visible) else {
                return (at + visible.len(), too_long.map_or(Ok(false), Err));
            };
            let end = at + index + 1;
            let line = if begun == 0 {
                &window[at..end]
            } else {
                if self.bytes.extend(&window[..end], u64::MAX).is_err() {
                    return (end, Err(self.out_of_memory()));
                }
                *held = end;
                &self.bytes.as_slice()[self.line_start..]
            };
            #[cfg(feature = "count-work")]
            {
                self.read_bytes += line.len() as u64;
            }
            let Some(content) = line.strip_suffix(b"\r\n") else {
                return (end, Err(ErrorKind::BareLineFeed));
            };
            let flow = reader.line(content, self.line_start);
            self.line_start = before + end;
            at = end;
            match flow {
                Ok(Flow::More) => {}
                Ok(Flow::End) => return (end, Ok(true)),
                Err(kind) => return (end, Err(kind)),
            }
        }
        (at, Ok(false))
    }

    /// All bytes of the section so far.
    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// Move the bytes out.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.bytes.take()
    }

    /// Whether it holds anything but empty lines.
    pub(super) fn has_content(&self) -> bool {
        self.as_slice().iter().any(|byte| !is_line_end(*byte))
    }

    /// The first line without its end, as far as it is held, empty lines before it left out; up to
    /// `MAX_FIRST_LINE_BYTES` of it.
    pub(super) fn first_line(&self) -> &[u8] {
        let bytes = self.as_slice();
        let start = bytes.iter().position(|byte| !is_line_end(*byte)).unwrap_or(bytes.len());
        let line = &bytes[start..bytes.len().min(start + MAX_FIRST_LINE_BYTES)];
        &line[..line.iter().position(|byte| is_line_end(*byte)).unwrap_or(line.len())]
    }

    /// Hold the first line only; `more` is what was taken of the section but is not held.
    pub(super) fn keep_first_line(&mut self, more: &[u8]) {
        let bytes = self.as_slice().iter().chain(more).copied();
        let line = bytes.skip_while(|byte| is_line_end(*byte)).take_while(|byte| !is_line_end(*byte));
        let line = line.take(MAX_FIRST_LINE_BYTES);
        let mut kept = Vec::new();
        // Without memory there is no line.
        if kept.try_reserve_exact(line.clone().count()).is_ok() {
            kept.extend(line);
        }
        self.bytes = Unfinished::from(kept);
    }

    /// Give the memory back.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// How many bytes were taken.
    pub(super) fn taken_bytes(&self) -> u64 {
        self.taken_bytes as u64
    }

    /// How often a byte was looked at: in search of a line's end, and as part of a whole line.
    #[cfg(feature = "count-work")]
    pub(super) fn examined_bytes(&self) -> u64 {
        self.search.examined_bytes() + self.read_bytes
    }

    fn out_of_memory(&self) -> ErrorKind {
        ErrorKind::OutOfMemory { limit_bytes: self.taken_bytes as u64 }
    }
}

const fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}
