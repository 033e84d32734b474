//! `Output`: what waits for one peer, in order, wherever it is kept.
//!
//! First what the sender has in hand or has given back, then what has moved to the spool (a file, kept
//! by somebody else), then what is in memory. Two roles change it outside: one sender at a time, and
//! one spooler at a time, which moves the oldest bytes in memory behind those in the spool. Memory is
//! cut into pieces as it comes in, so that neither of them copies it or waits for the other. Between the pieces may be
//! ranges of files, which are sent from where they are and take no room.
//!
//! Laws (tested in `tests/output_laws.rs`): bytes leave in the order they were written, each once; what
//! the spool holds stays within its limit and is not overwritten before it was read. It must not know a
//! file or a socket: positions in the spool only ever grow, and whoever keeps it may wrap them around.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem::take;

/// A range of a file that is to be sent; which file, its owner knows: they are sent in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRange {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub length: usize,
}

/// A piece of output on its way to the socket: taken by `begin_send`, given back by `handle_sent`.
#[derive(Debug, Default)]
pub struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    to_load: Option<(u64, usize)>,
    file: Option<FileRange>,
    is_before_file: bool,
}

impl Outgoing {
    /// Where in the spool this piece is and how long, if it has yet to be read from there.
    #[must_use]
    pub const fn to_load(&self) -> Option<(u64, usize)> {
        self.to_load
    }

    /// Puts in the bytes that were read from the spool.
    pub fn load(&mut self, bytes: Vec<u8>) {
        self.to_load = None;
        self.bytes = bytes;
    }

    /// What is still to be sent.
    #[must_use]
    pub fn unsent(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or(&[])
    }

    /// What of a file is still to be sent, if this piece is a range of one and no bytes.
    #[must_use]
    pub const fn file(&self) -> Option<FileRange> {
        self.file
    }

    /// Whether a range of a file comes right behind it.
    #[must_use]
    pub const fn is_before_file(&self) -> bool {
        self.is_before_file
    }

    /// Counts `n` more bytes as sent.
    pub fn advance(&mut self, n: usize) {
        match &mut self.file {
            Some(range) => {
                let n = n.min(range.length);
                *range = FileRange { offset: range.offset + n as u64, length: range.length - n };
            }
            None => self.sent = self.bytes.len().min(self.sent.saturating_add(n)),
        }
    }

    fn is_done(&self) -> bool {
        self.unsent().is_empty() && self.file.is_none_or(|range| range.length == 0)
    }
}

/// A piece of output on its way to the spool: taken by `begin_spool`, told of by `handle_spooled`.
#[derive(Debug)]
pub struct Spooling {
    /// Where in the spool it is to be written.
    pub position: u64,
    /// What is to be written.
    pub bytes: Vec<u8>,
}

/// How much output is kept where.
#[derive(Clone, Copy, Debug)]
pub struct OutputLimits {
    /// The largest piece that is sent, or moved, at once (at least 1).
    pub piece_bytes: usize,
    /// Output in memory beyond this is to be moved to the spool.
    pub max_memory_bytes: usize,
    /// What the spool may hold; 0: there is no spool.
    pub max_spooled_bytes: usize,
}

/// What is kept behind the spool.
#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    File(FileRange),
}

/// What waits for one peer. See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// What the sender has given back.
    rest: Outgoing,
    /// Full pieces and files, older than `tail`; no heap as long as there is none.
    pieces: VecDeque<Piece>,
    /// How many of them are files.
    queued_files: usize,
    /// What of the unsent bytes is in files that are to be sent.
    file_bytes: usize,
    tail: Vec<u8>,
    unsent_bytes: usize,
    spooled_bytes: usize,
    /// With the spooler.
    spooling_bytes: usize,
    /// In the spool, and being read by the sender.
    loading_bytes: usize,
    /// Where the spool ends.
    spool_end: u64,
    is_sending: bool,
}

impl Output {
    pub(crate) const fn new() -> Self {
        Self {
            rest: Outgoing { bytes: Vec::new(), sent: 0, to_load: None, file: None, is_before_file: false },
            pieces: VecDeque::new(),
            queued_files: 0,
            file_bytes: 0,
            tail: Vec::new(),
            unsent_bytes: 0,
            spooled_bytes: 0,
            spooling_bytes: 0,
            loading_bytes: 0,
            spool_end: 0,
            is_sending: false,
        }
    }

    /// Bytes taken and not yet sent.
    pub(crate) const fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    /// Of these, those that are in the spool only.
    pub(crate) const fn spooled_bytes(&self) -> usize {
        self.spooled_bytes
    }

    /// Of these, those in memory; what the spooler is writing is not counted.
    pub(crate) const fn memory_bytes(&self) -> usize {
        self.unsent_bytes - self.spooled_bytes - self.spooling_bytes - self.file_bytes
    }

    /// Of the unsent bytes, those in files that are to be sent: they take no room.
    pub(crate) const fn file_bytes(&self) -> usize {
        self.file_bytes
    }

    /// How many files wait behind other output.
    pub(crate) const fn queued_files(&self) -> usize {
        self.queued_files
    }

    /// Takes a range of a file behind all others.
    pub(crate) fn push_file(&mut self, range: FileRange) {
        if range.length == 0 {
            return;
        }
        if !self.tail.is_empty() {
            self.pieces.push_back(Piece::Bytes(take(&mut self.tail)));
        }
        self.pieces.push_back(Piece::File(range));
        self.queued_files += 1;
        self.file_bytes += range.length;
        self.unsent_bytes += range.length;
    }

    pub(crate) const fn is_sending(&self) -> bool {
        self.is_sending
    }

    /// Takes bytes behind all others.
    pub(crate) fn push(&mut self, data: &[u8], limits: &OutputLimits) {
        self.unsent_bytes += data.len();
        let mut rest = data;
        loop {
            let room = limits.piece_bytes.max(1).saturating_sub(self.tail.len());
            let Some((piece, behind)) = rest.split_at_checked(room) else { break };
            self.tail.reserve_exact(piece.len());
            self.tail.extend_from_slice(piece);
            rest = behind;
            if rest.is_empty() {
                return;
            }
            self.pieces.push_back(Piece::Bytes(take(&mut self.tail)));
        }
        self.tail.extend_from_slice(rest);
    }

    /// Whether a sender would get something.
    pub(crate) fn is_sendable(&self) -> bool {
        // What is in memory is behind what is on its way to the spool.
        !self.is_sending
            && (!self.rest.is_done()
                || self.spooled_bytes > 0
                || (self.spooling_bytes == 0 && !(self.pieces.is_empty() && self.tail.is_empty())))
    }

    pub(crate) fn begin_send(&mut self, limits: &OutputLimits) -> Option<Outgoing> {
        if !self.is_sendable() {
            return None;
        }
        self.is_sending = true;
        if !self.rest.is_done() {
            return Some(take(&mut self.rest));
        }
        if self.spooled_bytes > 0 {
            let length = self.spooled_bytes.min(limits.piece_bytes.max(1));
            let position = self.spool_end - self.spooled_bytes as u64;
            self.spooled_bytes -= length;
            self.loading_bytes = length;
            return Some(Outgoing { to_load: Some((position, length)), ..Outgoing::default() });
        }
        if let Some(Piece::File(range)) = self.pieces.front() {
            let file = Some(*range);
            self.queued_files -= 1;
            self.drop_oldest();
            return Some(Outgoing { file, ..Outgoing::default() });
        }
        let bytes = self.take_oldest();
        let is_before_file = matches!(self.pieces.front(), Some(Piece::File(_)));
        Some(Outgoing { bytes, is_before_file, ..Outgoing::default() })
    }

    /// The oldest bytes; none if a file comes first.
    fn take_oldest(&mut self) -> Vec<u8> {
        match self.pieces.front_mut() {
            None => take(&mut self.tail),
            Some(Piece::File(_)) => Vec::new(),
            Some(Piece::Bytes(bytes)) => {
                let bytes = take(bytes);
                self.drop_oldest();
                bytes
            }
        }
    }

    fn drop_oldest(&mut self) {
        self.pieces.pop_front();
        if self.pieces.is_empty() {
            self.pieces = VecDeque::new();
        }
    }

    /// Gives back what `begin_send` took.
    pub(crate) fn handle_sent(&mut self, outgoing: Outgoing, sent_bytes: usize) {
        self.is_sending = false;
        self.loading_bytes = 0;
        self.unsent_bytes = self.unsent_bytes.saturating_sub(sent_bytes);
        if outgoing.file.is_some() {
            self.file_bytes = self.file_bytes.saturating_sub(sent_bytes);
        }
        if !outgoing.is_done() {
            self.rest = outgoing;
        }
    }

    /// Whether a spooler would get something.
    pub(crate) fn is_spool_due(&self, limits: &OutputLimits) -> bool {
        // A file stays in its place, and so does what is behind it.
        let oldest = match self.pieces.front() {
            None => self.tail.len(),
            Some(Piece::Bytes(bytes)) => bytes.len(),
            Some(Piece::File(_)) => 0,
        };
        let held = self.spooled_bytes + self.loading_bytes;
        self.spooling_bytes == 0
            && oldest > 0
            && self.memory_bytes() > limits.max_memory_bytes
            && held + oldest <= limits.max_spooled_bytes
    }

    /// Takes the oldest bytes in memory, and with them the role of the spooler; `None`: memory holds
    /// little, the spool is full, or another one is spooling.
    pub(crate) fn begin_spool(&mut self, limits: &OutputLimits) -> Option<Spooling> {
        if !self.is_spool_due(limits) {
            return None;
        }
        if self.spooled_bytes + self.loading_bytes == 0 {
            self.spool_end = 0;
        }
        let bytes = self.take_oldest();
        self.spooling_bytes = bytes.len();
        Some(Spooling { position: self.spool_end, bytes })
    }

    /// What `begin_spool` gave is in the spool.
    pub(crate) fn handle_spooled(&mut self) {
        self.spool_end += self.spooling_bytes as u64;
        self.spooled_bytes += self.spooling_bytes;
        self.spooling_bytes = 0;
    }

    /// Throws everything away. A sender keeps its role until `handle_sent`.
    pub(crate) fn clear(&mut self) {
        *self = Self { is_sending: self.is_sending, ..Self::new() };
    }
}
