//! `Accepting`: the listeners of a loop, and what becomes of the connections that wait at them.
//!
//! The first loop of a server accepts, in batches, and gives new connections to all loops in turn.
//! When the descriptor table is full it pauses. When as many connections are held as may be and another one
//! waits, the connection that has been idle the longest is closed for it; while none is idle, the
//! others wait in the kernel until one has closed. With several loops, the one that is to get the new
//! connection closes its own oldest, or else the next one that can: so the loops stay evenly filled
//! and none looks into another. It must not know what a channel does.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mio::Interest;

use crate::channel_driver::{ChannelDriver, Entry, ONLY_READABLE};
use crate::connection::{Connection, Newcomer, fd_of};
use crate::idle_order::{IdleOrder, Standing};
use crate::log_event::Level;
use crate::poll_loop::LoopHandle;
use crate::server_core::{Host, Message, RoomRequest, ServerCore};
use crate::socket::{AcceptFault, Listener, PeerAddress, PeerSocket};
use crate::token::Token;

/// Accepts in one turn before the connections get theirs.
const ACCEPT_BUDGET: usize = 64;
/// How long accepting pauses when the descriptor table is full.
const ACCEPT_PAUSE_MS: u64 = 200;
/// How soon, at the earliest, idle connections are looked for again when there were none.
const ROOM_PAUSE_MS: u64 = 50;
/// After so long another loop is asked for room again if it has not answered.
const ROOM_PATIENCE_MS: u64 = 1000;
/// How often, at most, a full descriptor table is logged.
const ACCEPT_LOG_PAUSE_MS: u64 = 10_000;

struct Listening {
    listener: Arc<Listener>,
    token: Token,
}

/// What a loop has to do with new connections; only the first one of a server has listeners.
pub(crate) struct Accepting<H: Host> {
    /// All loops of the server, this one too; the first one accepts.
    pub(crate) peers: Vec<Arc<LoopHandle<Message<H>>>>,
    next_peer: usize,
    listeners: Vec<Option<Listening>>,
    /// When to accept again after a pause.
    pub(crate) retry_at_ms: Option<u64>,
    log_at_ms: u64,
    idle_order: IdleOrder,
    /// When another loop was asked to make room and has not answered.
    room_asked_at_ms: Option<u64>,
}

impl<H: Host> Accepting<H> {
    pub(crate) fn new() -> Self {
        Self {
            peers: Vec::new(),
            next_peer: 0,
            listeners: Vec::new(),
            retry_at_ms: None,
            log_at_ms: 0,
            idle_order: IdleOrder::default(),
            room_asked_at_ms: None,
        }
    }
}

impl<H: Host> ChannelDriver<H> {
    /// Accepts from these from the first turn on.
    pub(crate) fn listen(&mut self, listeners: Vec<Arc<Listener>>) -> io::Result<()> {
        for (index, listener) in listeners.into_iter().enumerate() {
            let full = || io::Error::other("too many sockets");
            let token = self.entries.insert(Entry::Listener(index)).ok_or_else(full)?;
            self.poll.register(listener.as_fd(), token, Interest::READABLE)?;
            self.accepting.listeners.push(Some(Listening { listener, token }));
        }
        Ok(())
    }

    pub(crate) fn accept(&mut self, index: usize) {
        let Some(Some(listening)) = self.accepting.listeners.get(index) else { return };
        if self.core.config.accepts_by_host {
            return ServerCore::accept_ready(&self.core, index);
        }
        let listener = Arc::clone(&listening.listener);
        for _ in 0..ACCEPT_BUDGET {
            if self.core.holds_accepting() {
                self.find_room(&listener);
                if self.core.holds_accepting() {
                    return;
                }
            }
            match listener.accept() {
                Ok((socket, peer)) => {
                    self.core.stats.accepted.fetch_add(1, Ordering::Relaxed);
                    self.hand_out(socket, peer);
                }
                Err(error) => {
                    if self.handle_accept_fault(index, &error) {
                        return;
                    }
                }
            }
        }
        if let Some(Some(listening)) = self.accepting.listeners.get(index) {
            self.again.push((listening.token, ONLY_READABLE));
        }
    }

    /// Has an idle connection closed for one that waits, if there is one that waits.
    fn find_room(&mut self, listener: &Listener) {
        let now_ms = self.core.now_ms();
        let is_asked = self.accepting.room_asked_at_ms.is_some_and(|at_ms| now_ms < at_ms + ROOM_PATIENCE_MS);
        if self.core.config.evict_idle_ms.is_none() || is_asked || !listener.has_waiting() {
            return;
        }
        self.ask_for_room(self.next_peer(), RoomRequest::default());
    }

    fn ask_for_room(&mut self, index: usize, request: RoomRequest) {
        match self.accepting.peers.get(index) {
            Some(peer) if !Arc::ptr_eq(peer, &self.poll.handle()) => {
                self.accepting.room_asked_at_ms = Some(self.core.now_ms());
                peer.post(Message::MakeRoom(request));
            }
            _ => self.make_room(request),
        }
    }

    /// Closes the connection of this loop that has been idle the longest, or asks the next loop to.
    pub(crate) fn make_room(&mut self, request: RoomRequest) {
        let is_over = self.is_draining || self.is_stopped || !self.core.is_full();
        let next_ms = match if is_over { Ok(()) } else { self.evict() } {
            Ok(()) => return self.answer_room(None),
            Err(next_ms) => request.next_ms.into_iter().chain(next_ms).min(),
        };
        let peers = &self.accepting.peers;
        let asked = request.asked + 1;
        if asked < peers.len() {
            let own = self.poll.handle();
            let index = peers.iter().position(|peer| Arc::ptr_eq(peer, &own)).unwrap_or(0);
            self.ask_for_room((index + 1) % peers.len(), RoomRequest { asked, next_ms });
        } else {
            // Without any candidate the next close is waited for, which may also come in this moment.
            self.answer_room(Some(next_ms.unwrap_or(0).max(self.core.now_ms() + ROOM_PAUSE_MS)));
        }
    }

    fn answer_room(&mut self, retry_at_ms: Option<u64>) {
        match self.accepting.peers.first() {
            Some(acceptor) if !Arc::ptr_eq(acceptor, &self.poll.handle()) => {
                acceptor.post(Message::RoomAnswer(retry_at_ms));
            }
            _ => self.handle_room_answer(retry_at_ms),
        }
    }

    /// A request for room has come to its end: there is some, or will not be before a time in milliseconds.
    pub(crate) fn handle_room_answer(&mut self, retry_at_ms: Option<u64>) {
        let was_asked = self.accepting.room_asked_at_ms.take().is_some();
        match retry_at_ms {
            Some(at_ms) => {
                let earlier_ms = self.accepting.retry_at_ms.unwrap_or(at_ms);
                self.accepting.retry_at_ms = Some(at_ms.min(earlier_ms));
            }
            None if was_asked => self.listen_again(None),
            // Who asked is this loop, and goes on by itself.
            None => {}
        }
    }

    /// Closes the connection that has been idle the longest; when that may succeed, if there is none.
    fn evict(&mut self) -> Result<(), Option<u64>> {
        let patience_ms = self.core.config.evict_idle_ms.ok_or(None)?;
        // What it is compared with was stamped so.
        let now_ms = self.core.stamp_ms();
        let by_ms = now_ms.checked_sub(patience_ms).ok_or(Some(patience_ms))?;
        loop {
            let entries = &self.entries;
            let look = |index| match entries.token_at(index).and_then(|token| entries.get(token)) {
                Some(Entry::Connection(connection)) => connection.standing(),
                _ => Standing::Empty,
            };
            let index = self
                .accepting
                .idle_order
                .take_oldest(by_ms, now_ms, look)
                .map_err(|since_ms| since_ms.map(|since_ms| since_ms.saturating_add(patience_ms)))?;
            let Some(token) = self.entries.token_at(index) else { continue };
            let Some(Entry::Connection(connection)) = self.entries.get(token) else { continue };
            let connection = Arc::clone(connection);
            if connection.evict() {
                self.core.log_eviction();
                self.guarded(Some(token), |driver| driver.attend_to(&connection, token));
                return Ok(());
            }
            // It has got something to do in this moment.
            self.accepting.idle_order.list(index, now_ms.max(by_ms + 1));
        }
    }

    /// The place of the loop that gets the next connection.
    fn next_peer(&self) -> usize {
        (self.accepting.next_peer + 1) % self.accepting.peers.len().max(1)
    }

    /// Gives a new connection to the loops in turn.
    fn hand_out(&mut self, socket: PeerSocket, peer: PeerAddress) {
        self.accepting.next_peer = self.next_peer();
        let own = self.poll.handle();
        let home = self.accepting.peers.get(self.accepting.next_peer).unwrap_or(&own);
        let connection = Connection::new(Arc::clone(&self.core), Arc::clone(home), socket, peer);
        let Some(newcomer) = Newcomer::new(Arc::new(connection)) else { return };
        if Arc::ptr_eq(home, &own) {
            self.adopt(newcomer);
        } else {
            home.post(Message::Adopt(newcomer));
        }
    }

    /// Deals with an error of `accept`; whether the listener is to be left alone for now.
    pub(crate) fn handle_accept_fault(&mut self, index: usize, error: &io::Error) -> bool {
        match AcceptFault::of(error) {
            AcceptFault::WouldBlock => {}
            AcceptFault::Connection => {
                self.core.stats.accept_errors.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            AcceptFault::Exhausted => self.pause_accepting(error),
            AcceptFault::Listener => self.lose_listener(index, error),
        }
        true
    }

    fn pause_accepting(&mut self, error: &io::Error) {
        self.core.stats.accept_errors.fetch_add(1, Ordering::Relaxed);
        let now_ms = self.core.now_ms();
        if now_ms >= self.accepting.log_at_ms {
            self.accepting.log_at_ms = now_ms + ACCEPT_LOG_PAUSE_MS;
            let text = format!("cannot accept connections, trying again in {ACCEPT_PAUSE_MS} ms: {error}");
            self.core.log(Level::Error, text);
        }
        self.accepting.retry_at_ms = Some(now_ms + ACCEPT_PAUSE_MS);
    }

    /// The host could not accept: its listeners are reported again a little later.
    pub(crate) fn listen_later(&mut self) {
        self.accepting.retry_at_ms = Some(self.core.now_ms() + ACCEPT_PAUSE_MS);
    }

    fn lose_listener(&mut self, index: usize, error: &io::Error) {
        if let Some(listening) = self.accepting.listeners.get_mut(index).and_then(Option::take) {
            drop(self.entries.remove(listening.token));
            drop(self.poll.deregister(listening.listener.as_fd()));
            self.core.log(Level::Error, format!("a listener is lost: {error}"));
        }
    }

    pub(crate) fn listen_again(&mut self, index: Option<usize>) {
        let count = self.accepting.listeners.len();
        for index in index.map_or(0..count, |index| index..index + 1) {
            if self.core.config.accepts_by_host {
                // Re-registering reports a listener again on which connections still wait.
                if let Some(Some(listening)) = self.accepting.listeners.get(index) {
                    let fd = listening.listener.as_fd();
                    drop(self.poll.reregister(fd, listening.token, Interest::READABLE));
                }
            } else {
                self.accept(index);
            }
        }
    }

    pub(crate) fn adopt(&mut self, newcomer: Newcomer<H>) {
        let Some(connection) = newcomer.arrive() else { return };
        if self.is_stopped {
            return connection.refuse();
        }
        let socket = connection.socket();
        let token = self.entries.insert(Entry::Connection(Arc::clone(&connection)));
        let (Some(socket), Some(token)) = (socket, token) else { return connection.refuse() };
        connection.set_token(token);
        let interest = match connection.is_unix() {
            // A Unix socket reports writability after every read of its peer: only on demand.
            true => Interest::READABLE,
            false => Interest::READABLE | Interest::WRITABLE,
        };
        if let Err(error) = self.poll.register(fd_of(&socket), token, interest) {
            drop(self.entries.remove(token));
            self.core.log(Level::Error, format!("cannot watch a connection: {error}"));
            return connection.refuse();
        }
        drop(socket);
        self.watch_time(token);
        if self.core.config.evict_idle_ms.is_some() {
            self.accepting.idle_order.list(token.index(), self.core.stamp_ms());
        }
        self.guarded(Some(token), |driver| match driver.is_draining {
            true => driver.drain_one(&connection, token),
            false => driver.attend_to(&connection, token),
        });
    }

    pub(crate) fn close_listeners(&mut self) {
        self.accepting.retry_at_ms = None;
        for listening in std::mem::take(&mut self.accepting.listeners).into_iter().flatten() {
            drop(self.entries.remove(listening.token));
            drop(self.poll.deregister(listening.listener.as_fd()));
        }
    }
}
