//! `BodyFiles`: what is too much of requests' bodies for memory, in temporary files, one a request.
//!
//! The loop writes them, in pieces and never under a lock; which bytes, and of which request, is for the channel's
//! state to say: requests are handed out in the order in which their files were begun. The worker that a request is
//! handed to takes its file, and puts what is still in memory behind it. A file has no name and is gone with its last
//! owner. It must not know what the bytes mean.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wiretask_protocol::channel::{ChannelLimits, ChannelState};
use wiretask_protocol::consumer::StreamConsumer;
use wiretask_protocol::native::NativeConsumer;

use crate::connection::{Connection, Inner};
use crate::server_core::Host;
use crate::spool::{Spool, SpoolGrave};

/// The largest piece that is written at once.
const PIECE_BYTES: usize = 256 * 1024;

/// The files of one connection.
#[derive(Debug, Default)]
pub(crate) struct BodyFiles {
    /// Of requests that are not handed out yet.
    waiting: VecDeque<Arc<Spool>>,
    /// Of the request that was handed out last, and how much is in it.
    handed: Option<(Arc<Spool>, u64)>,
    /// On its way to the last file.
    writing: Option<Writing>,
}

#[derive(Debug)]
struct Writing {
    position: u64,
    bytes: Vec<u8>,
    written: usize,
}

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// All that is to be kept has been written.
    All,
    /// There is more.
    Part,
    /// The connection closes: there is nothing more to be read.
    Failed,
}

/// The body of one request, in a file that has no name.
#[derive(Debug)]
pub struct BodyFile {
    spool: Option<Arc<Spool>>,
    grave: Arc<SpoolGrave>,
    length: u64,
}

impl BodyFile {
    /// How long the body is, in bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Reads so many bytes at a position, fewer only at the end.
    ///
    /// # Errors
    /// What pread(2) says.
    ///
    /// # Blocking
    /// For the disk.
    pub fn read(&self, position: u64, length: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.length.saturating_sub(position)).unwrap_or(usize::MAX);
        match &self.spool {
            Some(spool) => spool.read(position, length.min(left)),
            None => Ok(Vec::new()),
        }
    }

    /// The file, open for reading and writing; its offset is nobody's concern here. Always there.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.spool.as_ref().map(|spool| spool.as_fd())
    }
}

impl Drop for BodyFile {
    fn drop(&mut self) {
        if let Some(spool) = self.spool.take() {
            self.grave.bury(spool);
        }
    }
}

impl BodyFiles {
    /// Every file, to be let go.
    pub(crate) fn into_spools(self) -> impl Iterator<Item = Arc<Spool>> {
        self.waiting.into_iter().chain(self.handed.map(|(spool, _)| spool))
    }

    /// The next piece, and the file it goes to; `None`: there is none yet.
    fn begin_writing<C: StreamConsumer>(
        &mut self,
        state: &mut ChannelState<C>,
        limits: &ChannelLimits,
    ) -> Option<(Writing, Option<Arc<Spool>>)> {
        let writing = match self.writing.take() {
            Some(writing) => writing,
            None => {
                let (position, bytes) = state.take_body_overflow(limits)?;
                Writing { position, bytes, written: 0 }
            }
        };
        let spool = if writing.is_first() { None } else { self.waiting.back().cloned() };
        Some((writing, spool))
    }
}

impl Writing {
    /// Whether nothing of this body has been written before.
    const fn is_first(&self) -> bool {
        self.position == 0 && self.written == 0
    }
}

impl<H: Host> Inner<H> {
    /// Whether a piece of a body is on its way to a file.
    pub(crate) fn is_keeping_body(&self) -> bool {
        self.bodies.as_ref().is_some_and(|bodies| bodies.writing.is_some())
    }

    /// A request was handed out: its file, if it has one, is the one that may be taken.
    pub(crate) fn hand_out_body(&mut self) -> Option<Arc<Spool>> {
        let bodies = self.bodies.as_mut()?;
        let kept_bytes = self.state.served_kept_bytes();
        let next = if kept_bytes > 0 { bodies.waiting.pop_front() } else { None };
        let last = std::mem::replace(&mut bodies.handed, next.map(|spool| (spool, kept_bytes)));
        last.map(|(spool, _)| spool)
    }
}

impl<H: Host> Connection<H> {
    /// Writes a piece of the body that is too much for memory. Only the loop calls it.
    ///
    /// # Blocking
    /// A write to a file.
    pub(crate) fn keep_body(&self) -> Kept {
        let mut inner = self.lock();
        let Inner { bodies, state, .. } = &mut *inner;
        let bodies = bodies.get_or_insert_default();
        let Some((mut writing, spool)) = bodies.begin_writing(state, &self.core.config.limits) else {
            return Kept::All;
        };
        drop(inner);
        let is_first = writing.is_first();
        let end = writing.bytes.len().min(writing.written + PIECE_BYTES);
        let outcome = spool.map_or_else(|| self.core.new_body_file().map(Arc::new), Ok).and_then(|spool| {
            let piece = writing.bytes.get(writing.written..end).unwrap_or_default();
            spool.write(writing.position + writing.written as u64, piece)?;
            Ok(spool)
        });
        writing.written = end;
        let is_part = end < writing.bytes.len();
        let mut inner = self.lock();
        let spool = match outcome {
            Ok(spool) => spool,
            Err(error) => {
                inner.state.fail_body();
                drop(inner);
                self.core.log_body_failure(&error);
                return Kept::Failed;
            }
        };
        if inner.state.is_closed() {
            return Kept::Failed;
        }
        let bodies = inner.bodies.get_or_insert_default();
        if is_first {
            bodies.waiting.push_back(spool);
            self.core.stats.bodies_in_files.fetch_add(1, Ordering::Relaxed);
        }
        bodies.writing = is_part.then_some(writing);
        if is_part { Kept::Part } else { Kept::All }
    }

    /// The body of the request that was handed out last, if it was too long for memory: all of it, in a file. What
    /// was still in `request`, which is that request, is moved there. Once a request; later ones forget it.
    ///
    /// # Errors
    /// What pwrite(2) says: the rest of the body could not be written, and the body is lost.
    ///
    /// # Blocking
    /// A write to a file.
    pub fn take_body_file(&self, request: &mut NativeConsumer) -> io::Result<Option<BodyFile>> {
        let handed = {
            let mut inner = self.lock();
            inner.bodies.as_mut().and_then(|bodies| bodies.handed.take())
        };
        let Some((spool, kept_bytes)) = handed else { return Ok(None) };
        let rest = request.take_body();
        let length = kept_bytes + rest.len() as u64;
        let file = BodyFile { spool: Some(spool), grave: Arc::clone(&self.core.spools), length };
        if let Some(spool) = &file.spool
            && let Err(error) = spool.write(kept_bytes, &rest)
        {
            self.core.log_body_failure(&error);
            return Err(error);
        }
        Ok(Some(file))
    }

    /// Lets the files go that nobody will ask for: the connection is closed. A worker may yet take the one of the
    /// request that it has.
    pub(crate) fn end_bodies(&self) {
        let mut inner = self.lock();
        let Some(bodies) = inner.bodies.as_mut() else { return };
        bodies.writing = None;
        let waiting = std::mem::take(&mut bodies.waiting);
        drop(inner);
        waiting.into_iter().for_each(|spool| self.core.spools.bury(spool));
    }
}
