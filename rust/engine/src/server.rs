//! `Server`: the loop threads of one server, started and stopped from outside.
//!
//! Loop threads block every signal, so that the program's main thread gets them. The listening
//! sockets come from outside. Stopping has three steps, which the caller paces: `drain` (accept no
//! more, end what is idle), `wait_drained`, `stop` (close what is left, end the threads).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::channel_driver::ChannelDriver;
use crate::connection::{Connection, Newcomer};
use crate::poll_loop::LoopHandle;
use crate::polling_role::PollingRole;
use crate::server_core::{Host, Message, RoomRequest, ServerConfig, ServerCore};
use crate::signal_mask::spawn_without_signals;
use crate::socket::{AcceptFault, Listener};

/// How long a start that failed waits for the loops that had begun.
const FAILED_START_PATIENCE: Duration = Duration::from_secs(5);

/// A running server. Dropping it stops the loops without waiting for them.
pub struct Server<H: Host> {
    core: Arc<ServerCore<H>>,
    listeners: Mutex<Vec<Arc<Listener>>>,
    loops: Vec<Arc<LoopHandle<Message<H>>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl<H: Host> Server<H> {
    /// Starts the loop threads; from now on connections are accepted from `listeners`.
    ///
    /// # Errors
    /// A listener is no listening stream socket, or the system has no descriptors or threads left;
    /// nothing runs then, and the listeners are closed.
    pub fn start(config: ServerConfig, listeners: Vec<OwnedFd>, host: H) -> io::Result<Self> {
        let listeners: Vec<_> =
            listeners.into_iter().map(|fd| Listener::new(fd).map(Arc::new)).collect::<io::Result<_>>()?;
        let core = Arc::new(ServerCore::new(host, config));
        let mut drivers: Vec<_> = (0..core.config.io_threads.max(1))
            .map(|_| ChannelDriver::new(Arc::clone(&core)))
            .collect::<io::Result<_>>()?;
        let loops: Vec<_> = drivers.iter().map(ChannelDriver::handle).collect();
        drivers.iter_mut().for_each(|driver| driver.set_peers(loops.clone()));
        if let Some(acceptor) = loops.first() {
            core.acceptor.get_or_init(|| Arc::clone(acceptor));
        }
        if let Some(acceptor) = drivers.first_mut() {
            acceptor.listen(listeners.clone())?;
        }
        let held = if core.config.accepts_by_host { listeners } else { Vec::new() };
        let server = Self { core, listeners: Mutex::new(held), loops, threads: Mutex::new(Vec::new()) };
        // The acceptor comes last, when all it hands connections to are there.
        for (index, driver) in drivers.into_iter().enumerate().rev() {
            let name = format!("{}-io-{index}", server.core.config.name);
            let role = PollingRole::new(Arc::clone(&server.core), driver.handle());
            match spawn_without_signals(&name, move || Arc::new(role).run(driver)) {
                Ok(thread) => server.lock_threads().push(thread),
                Err(error) => {
                    // The others have nothing to do yet, so they end at once.
                    server.stop(FAILED_START_PATIENCE);
                    return Err(error);
                }
            }
        }
        Ok(server)
    }

    fn lock_threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the parts of the server share: the host, the configuration, the counters.
    #[must_use]
    pub fn core(&self) -> &Arc<ServerCore<H>> {
        &self.core
    }

    /// A connection from a listener that the host accepts from; `None`: none waits, the server
    /// drains, or the limit is reached (the listeners are reported again when a connection has closed).
    ///
    /// The loop does not know it until `adopt`; dropped before, it closes.
    ///
    /// # Errors
    /// What accept(2) says; `NotFound`: there never was such a listener.
    pub fn accept(&self, listener_index: usize) -> io::Result<Option<Arc<Connection<H>>>> {
        let listener = {
            let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
            match listeners.get(listener_index) {
                Some(listener) => Arc::clone(listener),
                None if listeners.is_empty() => return Ok(None),
                None => return Err(io::ErrorKind::NotFound.into()),
            }
        };
        if self.core.holds_accepting() {
            // It is told again of the listener when there is room, or a little later.
            if self.core.config.evict_idle_ms.is_some()
                && listener.has_waiting()
                && let Some(acceptor) = self.loops.first()
            {
                acceptor.post(Message::MakeRoom(RoomRequest::default()));
            }
            return Ok(None);
        }
        let stats = &self.core.stats;
        loop {
            let error = match listener.accept() {
                Ok((socket, peer)) => {
                    let accepted = stats.accepted.fetch_add(1, Ordering::Relaxed);
                    let index = usize::try_from(accepted).unwrap_or(0) % self.loops.len().max(1);
                    let home = self.loops.get(index).ok_or(io::ErrorKind::NotFound)?;
                    let core = Arc::clone(&self.core);
                    return Ok(Some(Arc::new(Connection::new(core, Arc::clone(home), socket, peer))));
                }
                Err(error) => error,
            };
            match AcceptFault::of(&error) {
                AcceptFault::WouldBlock => return Ok(None),
                AcceptFault::Connection => {
                    stats.accept_errors.fetch_add(1, Ordering::Relaxed);
                }
                AcceptFault::Exhausted | AcceptFault::Listener => {
                    // The loop has the timer, the listener and the log.
                    if let Some(acceptor) = self.loops.first() {
                        acceptor.post(Message::AcceptFailed(listener_index, error));
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// Lets a listener of the host's be reported again if connections wait on it: at once, or a
    /// little later, when the host could not accept.
    pub fn listen_again(&self, listener_index: usize, at_once: bool) {
        if let Some(acceptor) = self.loops.first() {
            acceptor.post(if at_once {
                Message::ListenAgain(Some(listener_index))
            } else {
                Message::ListenLater
            });
        }
    }

    /// Hands a connection that the host accepted to its loop, once.
    pub fn adopt(connection: &Arc<Connection<H>>) {
        if let Some(newcomer) = Newcomer::new(Arc::clone(connection)) {
            connection.home().post(Message::Adopt(newcomer));
        }
    }

    /// Has a loop close a connection that was accepted by the host and refused before it was adopted.
    pub fn adopt_closing(connection: &Arc<Connection<H>>) {
        if !connection.is_adopted() {
            connection.forget_opening();
            Self::adopt(connection);
        }
    }

    /// Closes the listeners; what was read is still answered, idle connections close. With
    /// `ChannelMode::finishes_begun` requests that have begun are read to their end and answered, too.
    pub fn drain(&self) {
        self.core.is_draining.store(true, Ordering::SeqCst);
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.loops.iter().for_each(|handle| handle.post(Message::Drain));
    }

    /// Whether every connection has ended, and its channel was told, before the deadline.
    ///
    /// # Blocking
    /// Until then.
    #[must_use]
    pub fn wait_drained(&self, deadline: Instant) -> bool {
        let (lock, ended) = &self.core.ended;
        let mut guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.core.has_ended() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            guard = ended.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Closes every connection and ends the loop threads. May be called again.
    ///
    /// Returns whether they have ended within `patience`; a loop never waits for anything but its
    /// poll, so they do.
    ///
    /// # Blocking
    /// At most `patience`. Not to be called on a loop thread.
    pub fn stop(&self, patience: Duration) -> bool {
        self.loops.iter().for_each(|handle| handle.post(Message::Stop));
        let deadline = Instant::now() + patience;
        let mut threads = self.lock_threads();
        while threads.iter().any(|thread| !thread.is_finished()) {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_micros(200));
        }
        threads.drain(..).for_each(|thread| drop(thread.join()));
        true
    }
}

impl<H: Host> Drop for Server<H> {
    fn drop(&mut self) {
        self.loops.iter().for_each(|handle| handle.post(Message::Stop));
    }
}
