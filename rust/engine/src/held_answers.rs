//! `HeldAnswers`: connections whose output waits a moment, so that many are sent one after the other.
//!
//! Strategy: while a worker turns the loop (`polling_role`) it need not leave the interpreter for each
//! answer, nor wake the peer for each: it notes the connection here and goes on with the next request.
//! What is held is sent by whoever comes first: the worker, when a batch is full or before it polls; the
//! loop's own thread, when nobody has sent it for a tick. Only while somebody is certain to do so does the
//! room take anything. Must not know who that is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::connection::Connection;
use crate::server_core::Host;

/// So many are sent together at most: those behind the first must not wait long.
pub(crate) const BATCH: usize = 16;

/// The connections that are held.
pub(crate) struct HeldAnswers<H: Host>(Mutex<Held<H>>);

struct Held<H: Host> {
    is_open: bool,
    connections: Vec<Arc<Connection<H>>>,
    /// Grows with every flush that found something.
    flushes: u64,
}

impl<H: Host> HeldAnswers<H> {
    /// Nothing is held, nor taken until `open`.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Held { is_open: false, connections: Vec::new(), flushes: 0 }))
    }

    /// From now on somebody calls `flush` soon after each `hold`.
    pub(crate) fn open(&self) {
        self.lock().is_open = true;
    }

    /// Nobody does any more; sends what is held.
    pub(crate) fn close(&self) {
        self.lock().is_open = false;
        self.flush();
    }

    /// Whether `hold` would take a connection now.
    pub(crate) fn has_room(&self) -> bool {
        let held = self.lock();
        held.is_open && held.connections.len() < BATCH
    }

    /// Takes a connection that has output; false: it must be sent by the caller.
    pub(crate) fn hold(&self, connection: &Arc<Connection<H>>) -> bool {
        let mut held = self.lock();
        if held.is_open {
            held.connections.push(Arc::clone(connection));
        }
        held.is_open
    }

    /// Sends what is held.
    ///
    /// # Blocking
    /// One or a few non-blocking system calls for each connection. Detached from whatever should not wait.
    pub(crate) fn flush(&self) {
        let connections = {
            let mut held = self.lock();
            if held.connections.is_empty() {
                return;
            }
            held.flushes += 1;
            std::mem::replace(&mut held.connections, Vec::with_capacity(BATCH))
        };
        for connection in connections {
            connection.send_now();
        }
    }

    /// A number that changes with every flush; `None`: nothing is held.
    pub(crate) fn waiting(&self) -> Option<u64> {
        let held = self.lock();
        (!held.connections.is_empty()).then_some(held.flushes)
    }

    fn lock(&self) -> MutexGuard<'_, Held<H>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
