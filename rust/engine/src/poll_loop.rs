//! `PollLoop`: readiness of file descriptors, and messages from other threads that wake it.
//!
//! A thin room over mio: tokens in, readiness out, edge-triggered. It knows no protocol, no task and
//! no connection; whoever turns it decides what an event means. Other threads hold its `LoopHandle`:
//! they post a message and write to the wake-up descriptor only if the loop has said it is asleep.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_queue::SegQueue;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};

use crate::open_descriptors::{note_closed, note_open};
use crate::token::Token;
use crate::wakeup::WakeUp;

const EVENTS_PER_TURN: usize = 1024;
const WAKER: mio::Token = mio::Token(usize::MAX);

/// What happened to a descriptor since it was last reported.
#[derive(Clone, Copy, Debug)]
pub struct Readiness {
    /// It may be read (or accepted from).
    pub is_readable: bool,
    /// It may be written.
    pub is_writable: bool,
    /// The peer has ended its input: read until the end shows.
    pub is_read_closed: bool,
    /// Error or hang-up.
    pub is_error: bool,
}

impl Readiness {
    /// What is so in one or the other.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self {
            is_readable: self.is_readable || other.is_readable,
            is_writable: self.is_writable || other.is_writable,
            is_read_closed: self.is_read_closed || other.is_read_closed,
            is_error: self.is_error || other.is_error,
        }
    }
}

/// The sending half of a loop's messages. Any thread may post; posting never blocks.
pub struct LoopHandle<M> {
    messages: SegQueue<M>,
    is_asleep: AtomicBool,
    is_ended: AtomicBool,
    /// `None` once the loop is gone: its descriptor must not outlive it in some connection's hands.
    wake_up: Mutex<Option<WakeUp>>,
}

impl<M> LoopHandle<M> {
    /// Gives the loop a message, and wakes it if it sleeps. Once the loop is gone the message is dropped.
    pub fn post(&self, message: M) {
        self.messages.push(message);
        // Pairs with the fence in `PollLoop::wait`: either the loop sees the message before it
        // sleeps, or this thread sees that it is asleep.
        fence(Ordering::SeqCst);
        self.wake_sleeper();
        if self.is_ended.load(Ordering::Relaxed) {
            self.drop_messages();
        }
    }

    /// Has whoever waits in the loop ask again whether it is called.
    pub fn nudge(&self) {
        // Pairs with the fence in `PollLoop::wait`, as in `post`.
        fence(Ordering::SeqCst);
        self.wake_sleeper();
    }

    fn wake_sleeper(&self) {
        if self.is_asleep.load(Ordering::Relaxed) && self.is_asleep.swap(false, Ordering::AcqRel) {
            self.lock_wake_up().iter().for_each(WakeUp::wake);
        }
    }

    fn lock_wake_up(&self) -> std::sync::MutexGuard<'_, Option<WakeUp>> {
        self.wake_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody will take a message any more.
    fn end(&self) {
        drop(self.lock_wake_up().take());
        self.is_ended.store(true, Ordering::Relaxed);
        // Pairs with the fence in `post`: a message is dropped here or by who posts it.
        fence(Ordering::SeqCst);
        self.drop_messages();
    }

    fn drop_messages(&self) {
        while let Some(message) = self.messages.pop() {
            drop(message);
        }
    }
}

/// The receiving half: polls descriptors, on one thread at a time.
pub struct PollLoop<M> {
    poll: Poll,
    events: Events,
    handle: Arc<LoopHandle<M>>,
}

impl<M> PollLoop<M> {
    /// A loop with its own poll and wake-up descriptors (both close-on-exec).
    ///
    /// # Errors
    /// What `epoll_create`, `eventfd` say: the descriptor table is full.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let wake_up = WakeUp::new()?;
        poll.registry().register(&mut SourceFd(&wake_up.reader().as_raw_fd()), WAKER, Interest::READABLE)?;
        // Last: from here on the descriptor is closed by `Drop`, which takes the note back.
        note_open(&poll);
        let handle = LoopHandle {
            messages: SegQueue::new(),
            is_asleep: AtomicBool::new(false),
            is_ended: AtomicBool::new(false),
            wake_up: Mutex::new(Some(wake_up)),
        };
        Ok(Self { poll, events: Events::with_capacity(EVENTS_PER_TURN), handle: Arc::new(handle) })
    }

    /// What other threads post to.
    #[must_use]
    pub fn handle(&self) -> Arc<LoopHandle<M>> {
        Arc::clone(&self.handle)
    }

    /// Watches a descriptor under a token.
    ///
    /// # Errors
    /// What `epoll_ctl` says; the descriptor is then not watched.
    pub fn register(&self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        self.poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), mio_token(token), interest)
    }

    /// Changes what a descriptor is watched for. If it is ready now, that is reported again.
    ///
    /// # Errors
    /// What `epoll_ctl` says.
    pub fn reregister(&self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        self.poll.registry().reregister(&mut SourceFd(&fd.as_raw_fd()), mio_token(token), interest)
    }

    /// Watches a descriptor no longer.
    ///
    /// # Errors
    /// What `epoll_ctl` says.
    pub fn deregister(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.poll.registry().deregister(&mut SourceFd(&fd.as_raw_fd()))
    }

    /// Waits for readiness, a message, or until `is_called`; what is ready is put into `ready`.
    ///
    /// Who calls makes `is_called` true first and then nudges the handle.
    ///
    /// # Blocking
    /// At most `timeout` (`None`: until something comes).
    ///
    /// # Errors
    /// What `epoll_wait` says, interruption apart.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
        is_called: impl Fn() -> bool,
        ready: &mut Vec<(Token, Readiness)>,
    ) -> io::Result<()> {
        ready.clear();
        self.handle.is_asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let may_sleep = self.handle.messages.is_empty() && !is_called();
        let timeout = if may_sleep { timeout } else { Some(Duration::ZERO) };
        let outcome = self.poll.poll(&mut self.events, timeout);
        self.handle.is_asleep.store(false, Ordering::Relaxed);
        match outcome {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        ready.extend(self.events.iter().filter(|event| event.token() != WAKER).map(|event| {
            let readiness = Readiness {
                is_readable: event.is_readable(),
                is_writable: event.is_writable(),
                is_read_closed: event.is_read_closed(),
                is_error: event.is_error() || (event.is_read_closed() && event.is_write_closed()),
            };
            (Token(event.token().0 as u64), readiness)
        }));
        Ok(())
    }

    /// The next message, in the order of posting.
    pub fn take_message(&self) -> Option<M> {
        self.handle.messages.pop()
    }
}

impl<M> Drop for PollLoop<M> {
    fn drop(&mut self) {
        self.handle.end();
        note_closed(&self.poll);
    }
}

#[allow(clippy::cast_possible_truncation)] // usize has 64 bits on what we build for
const fn mio_token(token: Token) -> mio::Token {
    const { assert!(usize::BITS >= 64, "tokens carry a generation in 64 bits") };
    mio::Token(token.0 as usize)
}
