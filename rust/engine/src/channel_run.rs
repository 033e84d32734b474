//! The run of a channel: what a worker does between being handed a connection and letting it go.
//!
//! One worker at a time runs a channel, which is a role in its state. It asks for work until there is none, sends
//! what has been written, and lets the channel go in the same section in which it has seen that nothing more has
//! come. A run may also be called off: before it has begun (`cancel_work`), or in its middle, by anybody
//! (`give_up_run`). Each thread knows whose channel it runs. It must not know what runs a task: that is the `Host`.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use wiretask_protocol::channel::{Action, Work};
use wiretask_protocol::native::NativeConsumer;

use crate::connection::{Connection, Inner};
use crate::server_core::{Host, Message, ServerCore};
use crate::token::Token;

/// What `start_work` found.
#[derive(Debug)]
pub enum Next {
    /// Something to do.
    Work(Work<NativeConsumer>),
    /// Nothing more: call `finish_work`, which sends, detached from whatever should not wait.
    Finish,
}

/// What a thread runs, by addresses that are compared and never followed; 0: none.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Running {
    connection: usize,
    server: usize,
}

impl Running {
    const NOTHING: Self = Self { connection: 0, server: 0 };
}

thread_local! {
    /// The connection whose channel this thread runs, and its server.
    static RUNNING: Cell<Running> = const { Cell::new(Running::NOTHING) };
}

/// Whether the calling thread runs a channel of the server.
pub fn is_server_run_by_caller<H: Host>(core: &Arc<ServerCore<H>>) -> bool {
    RUNNING.get().server == Arc::as_ptr(core).addr()
}

/// Forgets what the calling thread runs: in the child of a fork it runs nothing of the parent's.
pub fn forget_running() {
    RUNNING.set(Running::NOTHING);
}

impl<H: Host> Connection<H> {
    /// The next thing to do for the worker that was handed this connection. Never blocks.
    pub fn start_work(&self) -> Next {
        let core = &self.core;
        let make = || core.config.parser.new_consumer();
        let mut inner = self.lock();
        match inner.state.next_work(make, &core.config.limits, core.stamp_ms()) {
            Some(work) => Next::Work(self.begin_work(inner, work)),
            None => Next::Finish,
        }
    }

    fn begin_work(
        &self,
        mut inner: MutexGuard<'_, Inner<H>>,
        work: Work<NativeConsumer>,
    ) -> Work<NativeConsumer> {
        let waits_behind = inner.state.watch_answers_of_next_work();
        let old_body = if inner.bodies.is_some() { inner.hand_out_body() } else { None };
        drop(inner);
        old_body.into_iter().for_each(|spool| self.core.spools.bury(spool));
        self.note_run_by_caller();
        self.core.stats.begun.fetch_add(1, Ordering::Relaxed);
        if waits_behind {
            self.home.post(Message::FlushSoon(Token(self.token.load(Ordering::Acquire))));
        }
        work
    }

    /// Lets the channel go; its output is sent in a moment, with that of others. False: `finish_work` is to be called.
    ///
    /// Never blocks, and makes no system call.
    pub fn finish_and_hold(self: &Arc<Self>) -> bool {
        if !self.core.held.has_room() {
            return false;
        }
        let is_over = self.lock().state.leave_output(self.core.stamp_ms());
        if is_over {
            RUNNING.set(Running::NOTHING);
            if !self.core.held.hold(self) {
                self.send_now();
            }
        }
        is_over
    }

    /// Sends what waits and lets the channel go; work that came meanwhile is returned instead, if nobody waits.
    ///
    /// # Blocking
    /// One or a few non-blocking system calls.
    pub fn finish_work(&self) -> Option<Work<NativeConsumer>> {
        let core = &self.core;
        core.held.flush();
        loop {
            self.send_now();
            let others_wait = core.has_waiting_work();
            let mut inner = self.lock();
            if others_wait {
                inner.state.give_way();
            }
            let make = || core.config.parser.new_consumer();
            if let Some(work) = inner.state.next_work(make, &core.config.limits, core.stamp_ms()) {
                return Some(self.begin_work(inner, work));
            }
            if inner.state.handle_task_finished(core.stamp_ms()) {
                let needs_owner = inner.state.needs_owner(&core.config.limits);
                let is_told = !inner.state.is_close_due();
                drop(inner);
                RUNNING.set(Running::NOTHING);
                if is_told {
                    self.note_close_told();
                    self.let_go_if_over();
                }
                if needs_owner {
                    self.attend();
                }
                return None;
            }
        }
    }

    /// No worker will run the channel after all: the connection closes and the channel is let go.
    ///
    /// Returns whether the channel would have been told of the close: that is now for the caller to do.
    #[must_use]
    pub fn cancel_work(&self) -> bool {
        let mut inner = self.lock();
        let is_close_due = inner.state.cancel_task();
        let channel = inner.channel.take();
        drop(inner);
        self.stop_running();
        self.note_close_told();
        if let Some(channel) = channel {
            self.core.release(channel);
        }
        self.release_writers_now();
        self.attend();
        is_close_due
    }

    /// The worker on this run ends it in the middle, if it has not come to its end: the connection closes,
    /// and another worker is started for what is still to be told.
    pub fn give_up_run(self: &Arc<Self>, run: u64) {
        let mut inner = self.lock();
        if inner.state.current_run() != Some(run) {
            return;
        }
        inner.state.give_up_task();
        // Once the socket is closed the loop does not know the connection any more.
        let is_own_affair = inner.socket.is_none();
        let action = if is_own_affair { inner.state.poll_action(&self.core.config.limits) } else { None };
        drop(inner);
        self.stop_running();
        self.release_writers_now();
        if !is_own_affair {
            self.attend();
        } else if action == Some(Action::StartTask) {
            if !self.core.submit(self) {
                let _is_told_by_nobody = self.cancel_work();
            }
            self.core.wake_workers();
        }
    }

    /// The number of the run that was handed to a worker; `None`: none has the channel.
    #[must_use]
    pub fn current_run(&self) -> Option<u64> {
        self.lock().state.current_run()
    }

    /// The worker's own parser is, or is not, in the middle of a request.
    pub fn set_request_begun(&self, has_begun: bool) {
        self.lock().state.set_request_begun(has_begun, self.core.stamp_ms());
    }

    /// Tasks of the channel were queued by another thread than the one that runs it.
    ///
    /// Returns whether they will get their turn: false once the connection is closed.
    pub fn tasks_queued(&self) -> bool {
        let mut inner = self.lock();
        let is_taken = inner.state.handle_tasks_queued();
        let is_running = inner.state.is_running();
        drop(inner);
        if is_taken && !is_running {
            self.attend();
        }
        is_taken
    }

    /// Whether the calling thread runs this connection's channel.
    #[must_use]
    pub fn is_run_by_caller(&self) -> bool {
        RUNNING.get().connection == self.address()
    }

    fn note_run_by_caller(&self) {
        RUNNING.set(Running { connection: self.address(), server: Arc::as_ptr(&self.core).addr() });
    }

    fn stop_running(&self) {
        if self.is_run_by_caller() {
            RUNNING.set(Running::NOTHING);
        }
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}
