//! `ChannelState`: what happens on one connection, apart from sockets, threads, clocks and Python.
//!
//! Bytes come in by `handle_bytes`, requests go out by `next_work` to the one worker that runs the
//! channel, answers come back by `handle_task_output` and leave by `begin_send`/`handle_sent`.
//! `poll_action` says what the driver has to do next. It owns the order of answers (one worker at a
//! time, requests first in first out), look-ahead, back-pressure, end of input and closing.
//!
//! Laws (tested in `tests/channel_laws.rs`): requests come out in the order they came in, each once;
//! no request starts after `Close`; what is held stays within the
//! limits; bytes leave in the order they were written. It must not know what a socket is: time comes
//! in as milliseconds of any steady clock.

mod body;
mod closing;
mod input;
mod sending;
mod terms;
mod timeouts;
mod worker;

use alloc::boxed::Box;

use body::BodyStream;

use crate::consumer::StreamConsumer;
use crate::error::ProtocolError;
use crate::held_input::{Ready, ReadyRequests, Waiting};
use crate::output::Output;
pub use crate::output::{FileRange, Outgoing, OutputLimits, Spooling};
pub use body::{BodyFailure, BodyPiece, MAX_DISCARDED_BYTES};
pub use input::BODY_PROGRESS_BYTES;
pub use terms::{Action, ChannelLimits, ChannelMode, CloseReason, Refusal, Taken, Timeout, Work};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// No request is started any more; closes when the output is out.
    Finishing,
    Closed,
}

/// The loop's own answer, behind which the connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    None,
    Due(Grounds),
    /// It is being written.
    Asked,
}

/// What is refused; the error of the stream has its own place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grounds {
    Stream,
    Late,
    Unserved,
    Unkept,
}

/// The state of one connection. See the module documentation.
#[derive(Debug)]
pub struct ChannelState<C> {
    current: Option<C>,
    /// Bytes of the stream that `current` has taken.
    current_bytes: usize,
    /// Of these, those that had come when the time for its body was last counted from anew; 0: it has none yet.
    body_mark: usize,
    /// Of the body of `current`, what is kept elsewhere.
    kept_bytes: u64,
    /// The same of the request that was handed out last.
    served_kept_bytes: u64,
    /// The body that a worker takes as it comes.
    stream: Option<Box<BodyStream>>,
    /// The request that was handed out last has come without its body.
    is_body_streamed: bool,
    /// The worker knows of `error`, as it was in the body that it takes.
    is_error_told: bool,
    /// There is no more input, though the peer has not ended it: the connection closes with this reason.
    lost_input: Option<CloseReason>,
    ready: ReadyRequests<C>,
    /// Read but not yet parsed (look-ahead is full), or raw bytes for the worker.
    waiting: Waiting,
    output: Output,
    error: Option<ProtocolError>,
    close_pending: Option<CloseReason>,
    /// Why a connection that finishes does so.
    finish_reason: CloseReason,
    farewell: Farewell,
    /// What is to be refused, as far as it came.
    refused: Option<Box<C>>,
    /// No worker will run the channel any more.
    is_cancelled: bool,
    activity_ms: u64,
    progress_ms: u64,
    request_since_ms: u64,
    phase: Phase,
    mode: ChannelMode,
    open_due: bool,
    close_due: bool,
    /// The host has something that stands for this channel, which is to be told of its beginning and end.
    is_known: bool,
    running: bool,
    /// How often the worker was started.
    runs: u64,
    /// The worker was started by the last `poll_action`.
    is_started: bool,
    blocked: bool,
    /// The socket has refused output and taken none since.
    stalled: bool,
    became_writable: bool,
    flush_wanted: bool,
    is_flush_watched: bool,
    input_ended: bool,
    end_due: bool,
    is_draining: bool,
    tasks_waiting: bool,
    /// `Tasks` was the last work: input has its turn before the next ones.
    were_tasks_last: bool,
    /// The worker has not asked for work since it was started.
    is_run_fresh: bool,
    run_since_ms: u64,
    /// The run ends where it can, for others.
    gives_way: bool,
    reading_paused: bool,
    request_begun: bool,
    is_input_held: bool,
    /// Much output waits: no further request is started until it has gone.
    is_output_high: bool,
}

impl<C: StreamConsumer> ChannelState<C> {
    /// A channel whose connection was opened at `now_ms`.
    #[must_use]
    pub const fn new(mode: ChannelMode, now_ms: u64) -> Self {
        Self {
            current: None,
            current_bytes: 0,
            body_mark: 0,
            kept_bytes: 0,
            served_kept_bytes: 0,
            stream: None,
            is_body_streamed: false,
            is_error_told: false,
            lost_input: None,
            ready: ReadyRequests::new(),
            waiting: Waiting::new(),
            output: Output::new(),
            error: None,
            close_pending: None,
            finish_reason: CloseReason::Finished,
            farewell: Farewell::None,
            refused: None,
            is_cancelled: false,
            activity_ms: now_ms,
            progress_ms: now_ms,
            request_since_ms: now_ms,
            phase: Phase::Open,
            mode,
            open_due: mode.report_open,
            close_due: false,
            is_known: false,
            running: false,
            runs: 0,
            is_started: false,
            blocked: false,
            stalled: false,
            became_writable: false,
            flush_wanted: false,
            is_flush_watched: false,
            input_ended: false,
            end_due: false,
            is_draining: false,
            tasks_waiting: false,
            were_tasks_last: false,
            is_run_fresh: false,
            run_since_ms: now_ms,
            gives_way: false,
            reading_paused: false,
            request_begun: false,
            is_input_held: false,
            is_output_high: false,
        }
    }

    /// What the driver has to do next; `None`: nothing until something else comes in.
    pub fn poll_action(&mut self, limits: &ChannelLimits) -> Option<Action> {
        self.note_output(limits);
        self.maybe_refuse();
        self.maybe_close();
        if !self.output.is_sending()
            && let Some(reason) = self.close_pending.take()
        {
            return Some(Action::Close(reason));
        }
        if !self.running && self.has_work() {
            self.running = true;
            self.runs += 1;
            self.is_started = true;
            self.is_run_fresh = true;
            return Some(Action::StartTask);
        }
        if let Farewell::Due(grounds) = self.farewell {
            self.farewell = Farewell::Asked;
            return Some(Action::Refuse(self.refusal_on(grounds)));
        }
        if self.is_go_ahead_due() {
            self.current.iter_mut().for_each(StreamConsumer::note_go_ahead);
            return Some(Action::GoAhead);
        }
        if self.is_send_due() {
            return Some(Action::Send);
        }
        if self.reading_paused && self.wants_input(limits) {
            self.reading_paused = false;
            return Some(Action::ResumeReading);
        }
        None
    }

    fn is_send_due(&self) -> bool {
        !self.blocked
            && self.output.is_sendable()
            && self.phase != Phase::Closed
            && (!self.running || self.flush_wanted || self.phase == Phase::Finishing)
    }

    /// Whether `poll_action` has something that only the thread which owns the socket may do.
    pub fn needs_owner(&mut self, limits: &ChannelLimits) -> bool {
        self.note_output(limits);
        self.maybe_refuse();
        self.maybe_close();
        (self.close_pending.is_some() && !self.output.is_sending())
            || (!self.running && self.has_work())
            || matches!(self.farewell, Farewell::Due(_))
            || self.is_go_ahead_due()
            || (self.reading_paused && self.wants_input(limits))
    }
}
