//! `Connection`: one peer, as the loop and the workers share it.
//!
//! The state (`ChannelState`) sits behind one small mutex. Its sections are short: no system call is
//! made and no host is called under it, so neither side ever waits long for the other. What takes
//! long is a *role* written in the state: one worker runs the channel (`channel_run`), one thread
//! sends (`output`); only the loop reads and closes. A thread that lets a role go and sees that the
//! loop has to act posts `Message::Attend`. It must not know what runs a task: that is the `Host`.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wiretask_protocol::channel::{ChannelState, CloseReason};
use wiretask_protocol::native::NativeConsumer;

use crate::body_files::BodyFiles;
use crate::idle_order::Standing;
use crate::poll_loop::LoopHandle;
use crate::sent_file::SentFile;
use crate::server_core::{Host, Message, ServerCore};
use crate::socket::{PeerAddress, PeerSocket};
use crate::spool::Spool;
use crate::token::Token;
use crate::waiting_writers::Writer;

pub(crate) const NO_TOKEN: u64 = u64::MAX;

/// A connection on its way to its loop. Dropped on the way (the loop is gone), it is refused.
pub struct Newcomer<H: Host>(Option<Arc<Connection<H>>>);

impl<H: Host> Newcomer<H> {
    /// Counts the connection; `None`: it was on its way before.
    pub(crate) fn new(connection: Arc<Connection<H>>) -> Option<Self> {
        if connection.is_adopted.swap(true, Ordering::AcqRel) {
            return None;
        }
        connection.core.stats.connections.fetch_add(1, Ordering::SeqCst);
        Some(Self(Some(connection)))
    }

    /// The connection, for whom it has reached.
    pub(crate) fn arrive(mut self) -> Option<Arc<Connection<H>>> {
        self.0.take()
    }
}

impl<H: Host> Drop for Newcomer<H> {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            connection.refuse();
        }
    }
}

pub(crate) struct Inner<H: Host> {
    pub(crate) state: ChannelState<NativeConsumer>,
    pub(crate) socket: Option<Arc<PeerSocket>>,
    pub(crate) channel: Option<H::Channel>,
    pub(crate) writers: Vec<Writer>,
    /// A writer has waited for the low watermark in vain.
    pub(crate) is_patience_over: bool,
    /// The file that output was moved to; there as long as output waits.
    pub(crate) spool: Option<Arc<Spool>>,
    /// What of it is counted in the statistics.
    pub(crate) spooled_counted: usize,
    /// Files of which ranges are to be sent, in order, one for each range.
    pub(crate) files: VecDeque<Arc<SentFile>>,
    /// Bodies of requests that are too long for memory.
    pub(crate) bodies: Option<Box<BodyFiles>>,
}

/// One peer. Every method may be called from any thread unless it says otherwise.
pub struct Connection<H: Host> {
    pub(crate) core: Arc<ServerCore<H>>,
    pub(crate) home: Arc<LoopHandle<Message<H>>>,
    peer: PeerAddress,
    pub(crate) token: AtomicU64,
    is_peer_gone: AtomicBool,
    is_adopted: AtomicBool,
    /// Counted in `closes_untold`.
    is_close_untold: AtomicBool,
    /// Only the loop looks at it.
    pub(crate) is_watched_for_writing: AtomicBool,
    /// How much the peer had not taken when the socket last took no more, or when that was last asked.
    pub(crate) queued_bytes: AtomicUsize,
    inner: Mutex<Inner<H>>,
}

impl<H: Host> Connection<H> {
    pub(crate) fn new(
        core: Arc<ServerCore<H>>,
        home: Arc<LoopHandle<Message<H>>>,
        socket: PeerSocket,
        peer: PeerAddress,
    ) -> Self {
        let state = ChannelState::new(core.config.mode, core.stamp_ms());
        let inner = Inner {
            state,
            socket: Some(Arc::new(socket)),
            channel: None,
            writers: Vec::new(),
            is_patience_over: false,
            spool: None,
            spooled_counted: 0,
            files: VecDeque::new(),
            bodies: None,
        };
        Self {
            core,
            home,
            peer,
            token: AtomicU64::new(NO_TOKEN),
            is_peer_gone: AtomicBool::new(false),
            is_adopted: AtomicBool::new(false),
            is_close_untold: AtomicBool::new(false),
            is_watched_for_writing: AtomicBool::new(false),
            queued_bytes: AtomicUsize::new(0),
            inner: Mutex::new(inner),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner<H>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server's shared part.
    #[must_use]
    pub fn core(&self) -> &Arc<ServerCore<H>> {
        &self.core
    }

    pub(crate) fn home(&self) -> &LoopHandle<Message<H>> {
        &self.home
    }

    /// Where the peer is.
    #[must_use]
    pub const fn peer(&self) -> &PeerAddress {
        &self.peer
    }

    /// The socket, unless it has been closed. Keep it no longer than a call: it closes with its last owner.
    #[must_use]
    pub fn socket(&self) -> Option<Arc<PeerSocket>> {
        self.lock().socket.clone()
    }

    pub(crate) const fn is_unix(&self) -> bool {
        matches!(self.peer, PeerAddress::Unix(_))
    }

    /// Whether the peer has ended its input or the connection is lost.
    #[must_use]
    pub fn is_peer_gone(&self) -> bool {
        self.is_peer_gone.load(Ordering::Acquire)
    }

    pub(crate) fn note_peer_gone(&self) {
        self.is_peer_gone.store(true, Ordering::Release);
    }

    /// Leaves the peer's input in the socket for now, or reads it again.
    pub fn hold_input(&self, is_held: bool) {
        self.lock().state.hold_input(is_held, self.core.stamp_ms());
        self.attend();
    }

    /// Whether the peer's input is being left in the socket.
    #[must_use]
    pub fn is_input_held(&self) -> bool {
        self.lock().state.is_input_held()
    }

    /// Whether nothing more can be written: the connection is closed, or closes when its output is out.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.lock().state.is_closing()
    }

    /// Whether the connection is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lock().state.is_closed()
    }

    /// Whether the server is being stopped: the answer that is being made is to be the connection's last.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.core.is_draining.load(Ordering::Relaxed)
    }

    /// Whether the server is being stopped and no further request of this connection has come.
    #[must_use]
    pub fn is_last_answer(&self) -> bool {
        self.is_draining() && !self.lock().state.has_input()
    }

    pub(crate) fn set_token(&self, token: Token) {
        self.token.store(token.0, Ordering::Release);
    }

    /// Whether a loop has, or is about to have, this connection.
    #[must_use]
    pub fn is_adopted(&self) -> bool {
        self.is_adopted.load(Ordering::Acquire)
    }

    /// Calls the loop's attention to this connection. Before the loop has adopted it there is
    /// nothing to attend to: adopting looks at everything.
    pub(crate) fn attend(&self) {
        let token = self.token.load(Ordering::Acquire);
        if token != NO_TOKEN {
            self.home.post(Message::Attend(Token(token)));
        }
    }

    /// Reports no opening: the host has refused the connection before it made a channel.
    pub(crate) fn forget_opening(&self) {
        self.lock().state.forget_opening();
    }

    // ---- the host's channel ---------------------------------------------------------------------

    /// Lets `look` see the host's channel. It is called under the lock and must not call back.
    pub fn with_channel<R>(&self, look: impl FnOnce(Option<&H::Channel>) -> R) -> R {
        look(self.lock().channel.as_ref())
    }

    /// Puts the host's channel in its place; given back if the connection is closed or has one.
    ///
    /// From then on the channel is told of the opening and of the close, if the server reports them.
    ///
    /// # Errors
    /// The channel that was not taken.
    pub fn attach_channel(&self, channel: H::Channel) -> Result<(), H::Channel> {
        let mut inner = self.lock();
        if inner.channel.is_some() || inner.state.is_closed() || !inner.state.note_known() {
            return Err(channel);
        }
        inner.channel = Some(channel);
        Ok(())
    }

    /// Takes the host's channel out, once nothing will be asked of it any more.
    pub fn detach_channel(&self) -> Option<H::Channel> {
        self.lock().channel.take()
    }

    /// Lets the host's channel go if nothing will be asked of it any more: not before it was told of the
    /// close, nor while tasks wait in it.
    pub(crate) fn let_go_if_over(&self) {
        let mut inner = self.lock();
        let channel = if inner.state.is_over() { inner.channel.take() } else { None };
        drop(inner);
        if let Some(channel) = channel {
            self.core.release(channel);
        }
    }

    /// The socket is about to be closed: the server has not ended before the channel was told.
    pub(crate) fn note_close(&self, inner: &Inner<H>) {
        if inner.state.is_close_due() && !self.is_close_untold.swap(true, Ordering::SeqCst) {
            self.core.stats.closes_untold.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub(crate) fn note_close_told(&self) {
        if self.is_close_untold.swap(false, Ordering::SeqCst) {
            self.core.count_close_told();
        }
    }

    /// Closes a connection that was counted and never came into a loop.
    pub(crate) fn refuse(&self) {
        drop(self.lock().take_socket());
        let _is_told_by_nobody = self.cancel_work();
        self.end_spool();
        self.end_bodies();
        self.core.count_closed();
    }

    // ---- closing --------------------------------------------------------------------------------

    /// Starts no further request, and closes when the output is out.
    pub fn close_when_done(&self) {
        let mut inner = self.lock();
        inner.state.close_when_done();
        let is_running = inner.state.is_running() && self.is_run_by_caller();
        drop(inner);
        // The worker that runs the channel sends when it is done; anybody else has to ask.
        if !is_running {
            self.send_now();
            self.attend();
        }
    }

    /// Whether there is something to do, and if not since when. Input that nobody has read yet is something.
    pub(crate) fn standing(&self) -> Standing {
        let inner = self.lock();
        let (since_ms, socket) = (inner.state.idle_since_ms(), inner.socket.clone());
        drop(inner);
        match (since_ms, socket) {
            (Some(since_ms), Some(socket)) if !socket.has_input() => Standing::IdleSince(since_ms),
            _ => Standing::Busy,
        }
    }

    /// Closes to make room for another one; false, and nothing happens, if there is something to do.
    pub(crate) fn evict(&self) -> bool {
        let mut inner = self.lock();
        let is_idle = inner.state.idle_since_ms().is_some();
        if is_idle {
            inner.state.abort(CloseReason::Evicted);
        }
        is_idle
    }

    /// Closes at once; output that has not been sent is dropped.
    pub fn abort(&self, reason: CloseReason) {
        self.lock().state.abort(reason);
        self.release_writers_now();
        self.attend();
    }
}

impl<H: Host> Drop for Connection<H> {
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = inner.channel.take() {
            self.core.release(channel);
        }
        if let Some(bodies) = inner.bodies.take() {
            bodies.into_spools().for_each(|spool| self.core.spools.bury(spool));
        }
    }
}

impl<H: Host> std::fmt::Debug for Connection<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl<H: Host> Inner<H> {
    pub(crate) fn take_socket(&mut self) -> Option<Arc<PeerSocket>> {
        self.socket.take()
    }
}

/// The descriptor of a socket, as the loop registers it.
pub(crate) fn fd_of(socket: &PeerSocket) -> BorrowedFd<'_> {
    socket.as_fd()
}
