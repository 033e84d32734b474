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

use alloc::vec::Vec;

use crate::consumer::StreamConsumer;
use crate::error::{ErrorClass, ProtocolError};
use crate::held_input::{ReadyRequests, Waiting};
use crate::output::Output;
pub use crate::output::{Outgoing, OutputLimits, Spooling};

/// A worker that has had a channel for so long lets it go, to be started again behind the channels that wait.
const LONG_RUN_MS: u64 = 10;

/// The limits of one channel; shared by all channels of a server.
#[derive(Clone, Debug)]
pub struct ChannelLimits {
    /// Completed requests that may wait for the worker (at least 1).
    pub max_ready_requests: usize,
    /// Bytes of the stream that completed requests may hold before reading pauses (at least 1); one
    /// request and one read more may come on top.
    pub max_ready_bytes: usize,
    /// Bytes that may wait unparsed before reading pauses (at least 1); one read more may come on top.
    pub max_waiting_bytes: usize,
    /// The largest piece `Work::Bytes` hands out (at least 1).
    pub max_piece_bytes: usize,
    /// Unsent output above which nothing more is read, no further request is started and writers are
    /// held back for a while (at least 1).
    pub high_watermark_bytes: usize,
    /// Unsent output at which all that goes on; below the high watermark.
    pub low_watermark_bytes: usize,
    /// Unsent output beyond which no more is taken, unless none waits (at least the high watermark).
    pub max_unsent_bytes: usize,
    /// What of the output is kept where.
    pub output: OutputLimits,
    /// A connection with nothing to do is closed after this many milliseconds; `None`: never.
    pub idle_timeout_ms: Option<u64>,
    /// A request that has begun must be complete after this many milliseconds; `None`: no limit.
    pub request_timeout_ms: Option<u64>,
    /// Output must make progress within this many milliseconds; `None`: no limit.
    pub write_timeout_ms: Option<u64>,
}

/// How the input of a channel is cut up, and which events its worker wants beside requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChannelMode {
    /// Input is handed to the worker as raw bytes (a parser or `received` written in Python).
    pub raw: bool,
    /// The worker is started when the connection opens, before any input (`Work::Opened`).
    pub report_open: bool,
    /// The worker is told, once, that the connection is gone (`Work::Closed`); but for a connection
    /// that went before its opening was reported.
    pub report_close: bool,
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The application asked for it and its output was sent.
    Finished,
    /// The peer ended its input, all was answered and sent.
    EndOfInput,
    /// The peer ended its input in the middle of a request.
    Truncated,
    /// The peer sent what the parser refuses.
    ProtocolError,
    /// Reset, hang-up or another error of the connection.
    ConnectionLost,
    /// Nothing happened for the idle time-out.
    IdleTimeout,
    /// A request was begun and not completed in time.
    RequestTimeout,
    /// The peer did not take output in time.
    WriteTimeout,
    /// Output could not be kept: its temporary file failed.
    SpoolFailed,
    /// It had nothing to do, and another one needed its place.
    Evicted,
    /// The server stopped, could not queue the request, or the application closed at once.
    Aborted,
}

/// What the worker that runs the channel is handed next.
#[derive(Debug)]
pub enum Work<C> {
    /// The connection was opened (only with `report_open`).
    Opened,
    /// A completed request.
    Request(C),
    /// Bytes of the stream, in order (only with `raw`).
    Bytes(Vec<u8>),
    /// The peer will send no more (only with `raw`), once.
    EndOfInput,
    /// Somebody queued tasks of the channel by `handle_tasks_queued`.
    Tasks,
    /// The connection is gone (only with `report_close`), once, and the last of all.
    Closed,
}

/// What the driver has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hand the channel to a worker. It counts as running from now on.
    StartTask,
    /// Call `begin_send` and send.
    Send,
    /// Read from the socket again: reading had been paused.
    ResumeReading,
    /// Close the socket. Said once.
    Close(CloseReason),
}

/// What became of output that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was taken.
    All,
    /// Nothing was taken: too much waits.
    Full,
    /// Nothing was taken: the connection is closed or finishing.
    Closed,
}

/// What a deadline says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Nothing is being waited for that has a limit.
    None,
    /// The limit ends at this time in milliseconds.
    At(u64),
    /// The limit has passed; the channel is to be aborted with this reason.
    Expired(CloseReason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// No request is started any more; closes when the output is out.
    Finishing,
    Closed,
}

/// The state of one connection. See the module documentation.
#[derive(Debug)]
pub struct ChannelState<C> {
    current: Option<C>,
    /// Bytes of the stream that `current` has taken.
    current_bytes: usize,
    ready: ReadyRequests<C>,
    /// Read but not yet parsed (look-ahead is full), or raw bytes for the worker.
    waiting: Waiting,
    output: Output,
    error: Option<ProtocolError>,
    close_pending: Option<CloseReason>,
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
            ready: ReadyRequests::new(),
            waiting: Waiting::new(),
            output: Output::new(),
            error: None,
            close_pending: None,
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
            reading_paused: false,
            request_begun: false,
            is_input_held: false,
            is_output_high: false,
        }
    }

    // ---- input ----------------------------------------------------------------------------------

    /// Takes bytes read from the socket; `make` makes the consumer of the next request.
    pub fn handle_bytes(&mut self, data: &[u8], make: impl Fn() -> C, limits: &ChannelLimits, now_ms: u64) {
        if self.phase != Phase::Open || self.input_ended || data.is_empty() {
            return;
        }
        if self.mode.raw {
            self.activity_ms = now_ms;
            self.waiting.push(data);
            return;
        }
        if self.current.is_none() {
            self.activity_ms = now_ms;
        }
        if self.waiting.is_empty() {
            let parsed_bytes = self.parse(data, make, limits, now_ms);
            if let Some(rest) = data.get(parsed_bytes..).filter(|rest| !rest.is_empty()) {
                self.waiting.push(rest);
            }
        } else {
            self.waiting.push(data);
        }
    }

    /// Returns how much is done with; the rest waits until there is room for another request.
    fn parse(&mut self, data: &[u8], make: impl Fn() -> C, limits: &ChannelLimits, now_ms: u64) -> usize {
        let mut rest = data;
        while !rest.is_empty() {
            if self.is_ready_full(limits) {
                return data.len() - rest.len();
            }
            let consumer = self.current.get_or_insert_with(&make);
            let taken = consumer.received(rest).min(rest.len());
            rest = rest.get(taken..).unwrap_or(&[]);
            self.current_bytes += taken;
            if consumer.is_completed() {
                let Some(request) = self.current.take() else { break };
                let bytes = core::mem::take(&mut self.current_bytes);
                self.activity_ms = now_ms;
                if let Some(error) = request.error() {
                    self.fail(*error);
                    break;
                }
                if !request.is_empty() {
                    self.ready.push(request, bytes);
                }
            } else if taken == 0 {
                // A consumer that makes no progress breaks its law; going on would never end.
                self.abort(CloseReason::ProtocolError);
                break;
            }
        }
        data.len()
    }

    fn is_ready_full(&self, limits: &ChannelLimits) -> bool {
        self.ready.len() >= limits.max_ready_requests || self.ready.bytes() >= limits.max_ready_bytes
    }

    fn parse_waiting(&mut self, make: impl Fn() -> C, limits: &ChannelLimits, now_ms: u64) {
        let mut waiting = core::mem::replace(&mut self.waiting, Waiting::new());
        let parsed_bytes = self.parse(waiting.as_slice(), make, limits, now_ms);
        waiting.advance(parsed_bytes);
        self.waiting = waiting;
        if self.input_ended && self.waiting.is_empty() {
            self.end_current();
        }
    }

    /// After a framing error nothing is parsed again; what came before it is still answered.
    fn fail(&mut self, error: ProtocolError) {
        self.error = Some(error);
        self.input_ended = true;
        self.waiting = Waiting::new();
    }

    /// The peer will send no more. What has been read is still answered.
    pub fn handle_end_of_input(&mut self) {
        if self.phase != Phase::Open || self.input_ended {
            return;
        }
        self.input_ended = true;
        self.end_due = self.mode.raw;
        if !self.mode.raw && self.waiting.is_empty() {
            self.end_current();
        }
    }

    fn end_current(&mut self) {
        if let Some(mut consumer) = self.current.take()
            && consumer.is_started()
            && !self.is_draining
        {
            consumer.end_of_input();
            match consumer.error() {
                Some(error) => self.error = Some(*error),
                None if consumer.is_completed() && !consumer.is_empty() => {
                    self.ready.push(consumer, core::mem::take(&mut self.current_bytes));
                }
                None => {}
            }
        }
    }

    /// Whether the driver should read from the socket.
    #[must_use]
    pub fn wants_input(&self, limits: &ChannelLimits) -> bool {
        let most_unsent_bytes = match self.reading_paused {
            true => limits.low_watermark_bytes,
            false => limits.high_watermark_bytes,
        };
        self.phase == Phase::Open
            && !self.input_ended
            && !self.is_input_held
            && self.output.unsent_bytes() <= most_unsent_bytes
            && !self.is_ready_full(limits)
            && self.waiting.len() < if self.mode.raw { limits.max_waiting_bytes } else { 1 }
    }

    /// The application wants no input for now (or wants it again): it is left in the socket.
    ///
    /// Meanwhile the peer cannot go on, so a request that has begun gets its full time afterwards.
    pub fn hold_input(&mut self, is_held: bool, now_ms: u64) {
        if self.is_input_held && !is_held {
            // Input may have come while it was held, and nobody read it.
            self.reading_paused = true;
            self.activity_ms = now_ms;
            self.request_since_ms = now_ms;
        }
        self.is_input_held = is_held;
    }

    /// Whether the application wants no input for now.
    #[must_use]
    pub const fn is_input_held(&self) -> bool {
        self.is_input_held
    }

    /// Notes that the driver did not read although there may be input: `ResumeReading` follows.
    pub fn pause_reading(&mut self) {
        self.reading_paused = true;
    }

    // ---- the worker -----------------------------------------------------------------------------

    /// What the worker does next; `None`: nothing, or it has had the channel for long, so it sends and calls
    /// `handle_task_finished`.
    pub fn next_work(
        &mut self,
        make: impl Fn() -> C,
        limits: &ChannelLimits,
        now_ms: u64,
    ) -> Option<Work<C>> {
        if core::mem::take(&mut self.is_run_fresh) {
            self.run_since_ms = now_ms;
        } else if self.is_run_long(now_ms) {
            return None;
        }
        self.note_output(limits);
        self.is_known |= self.phase != Phase::Closed;
        if core::mem::take(&mut self.open_due) {
            return Some(Work::Opened);
        }
        self.were_tasks_last = self.tasks_waiting && !(self.were_tasks_last && self.has_input());
        if self.were_tasks_last {
            self.tasks_waiting = false;
            return Some(Work::Tasks);
        }
        if self.phase == Phase::Closed {
            // The close is reported when the socket is gone, not when it was decided.
            let is_due = self.close_due && self.close_pending.is_none();
            self.close_due &= !is_due;
            return is_due.then_some(Work::Closed);
        }
        if self.phase != Phase::Open || self.is_output_high {
            return None;
        }
        if self.mode.raw {
            return self.next_raw(limits);
        }
        let request = self.ready.pop()?;
        if self.ready.len() == 0 && !self.waiting.is_empty() {
            self.parse_waiting(make, limits, now_ms);
        }
        Some(Work::Request(request))
    }

    fn next_raw(&mut self, limits: &ChannelLimits) -> Option<Work<C>> {
        if self.waiting.is_empty() {
            return core::mem::take(&mut self.end_due).then_some(Work::EndOfInput);
        }
        Some(Work::Bytes(self.waiting.take(limits.max_piece_bytes)))
    }

    fn has_work(&self) -> bool {
        if self.tasks_waiting {
            return true;
        }
        match self.phase {
            Phase::Closed => self.open_due || (self.close_due && self.close_pending.is_none()),
            Phase::Finishing => self.open_due,
            Phase::Open => self.open_due || self.has_input(),
        }
    }

    /// Whether there is input for the worker.
    fn has_input(&self) -> bool {
        self.phase == Phase::Open
            && !self.is_output_high
            && (self.ready.len() > 0 || (self.mode.raw && (!self.waiting.is_empty() || self.end_due)))
    }

    /// Whether the worker has had the channel for so long that others come first. What is told of a closed
    /// channel is the last of it, and is told at once.
    fn is_run_long(&self, now_ms: u64) -> bool {
        !self.is_run_fresh
            && self.phase != Phase::Closed
            && now_ms.saturating_sub(self.run_since_ms) >= LONG_RUN_MS
    }

    /// Tasks of the channel were queued from outside the worker that runs it.
    ///
    /// They get their turn even if the connection closes meanwhile: the worker then cancels them.
    /// Returns false, and nothing will happen, once the connection is closed.
    pub fn handle_tasks_queued(&mut self) -> bool {
        self.tasks_waiting |= self.phase != Phase::Closed;
        self.tasks_waiting
    }

    /// The worker has nothing left to do and lets the channel go.
    ///
    /// Returns false, and the channel stays with the worker, if work came meanwhile, or output that
    /// it can send: the socket may have become writable since it tried.
    pub fn handle_task_finished(&mut self, now_ms: u64) -> bool {
        let can_send = self.output.is_sendable() && !self.blocked;
        if (self.has_work() && !self.is_run_long(now_ms)) || can_send {
            return false;
        }
        self.end_run(now_ms);
        true
    }

    fn end_run(&mut self, now_ms: u64) {
        self.running = false;
        self.flush_wanted = false;
        self.activity_ms = now_ms;
        if !self.stalled {
            self.progress_ms = now_ms;
        }
    }

    /// The worker has nothing more to do, and its output is sent a little later (`begin_send`): true. False: as
    /// if it had not been asked; there is more to do, nothing to send, or the connection is about to close.
    pub fn leave_output(&mut self, now_ms: u64) -> bool {
        let is_plain = self.phase == Phase::Open && self.close_pending.is_none();
        if !is_plain || !self.output.is_sendable() || self.blocked || self.has_work() {
            return false;
        }
        self.end_run(now_ms);
        true
    }

    /// Notes that the host has something that stands for this channel; `Opened` and `Closed` are for it.
    ///
    /// Returns false once the connection is closed: nothing will be reported.
    pub fn note_known(&mut self) -> bool {
        self.is_known |= self.phase != Phase::Closed;
        self.is_known
    }

    /// Reports no opening: nobody will ever know the channel.
    pub fn forget_opening(&mut self) {
        self.open_due &= self.is_known;
    }

    /// No worker will run the channel: it could not be queued, or was cancelled. It closes.
    ///
    /// Returns whether the close would have been reported; it will not be.
    pub fn cancel_task(&mut self) -> bool {
        self.abort(CloseReason::Aborted);
        self.running = false;
        self.open_due = false;
        self.tasks_waiting = false;
        core::mem::take(&mut self.close_due)
    }

    /// The worker cannot go on with the channel, in the middle of something. It closes; another worker is
    /// started for what is still to be told, tasks that wait included.
    pub fn give_up_task(&mut self) {
        self.abort(CloseReason::Aborted);
        self.running = false;
        self.tasks_waiting = self.is_known;
    }

    /// The number of the run the worker is on; `None`: it does not have the channel.
    #[must_use]
    pub fn current_run(&self) -> Option<u64> {
        self.running.then_some(self.runs)
    }

    /// Whether the connection is closed, that was said, and no worker has the channel or is to get it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Closed && self.close_pending.is_none() && !self.running && !self.has_work()
    }

    /// Whether the close is still to be reported.
    #[must_use]
    pub const fn is_close_due(&self) -> bool {
        self.close_due
    }

    /// Tells whether a parser of the worker's (`raw`) is in the middle of a request, which then has
    /// the request's time limit instead of the idle one.
    pub fn set_request_begun(&mut self, has_begun: bool, now_ms: u64) {
        if has_begun && !self.request_begun {
            self.request_since_ms = now_ms;
        }
        self.request_begun = has_begun;
    }

    /// Whether a worker has the channel, or is to get it.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.running
    }

    /// The error of the stream, once its parser has refused it.
    #[must_use]
    pub const fn error(&self) -> Option<&ProtocolError> {
        self.error.as_ref()
    }

    // ---- output ---------------------------------------------------------------------------------

    /// Takes output of a task, or of anybody who writes to the peer: all of it or nothing.
    pub fn handle_task_output(&mut self, data: &[u8], limits: &ChannelLimits, now_ms: u64) -> Taken {
        if self.phase != Phase::Open {
            return Taken::Closed;
        }
        if !self.has_room_for(data.len(), limits) {
            return Taken::Full;
        }
        if self.output.unsent_bytes() == 0 {
            self.progress_ms = now_ms;
        }
        self.output.push(data, &limits.output);
        Taken::All
    }

    /// Whether so many bytes of output would be taken. When none waits, any number is.
    #[must_use]
    pub const fn has_room_for(&self, length: usize, limits: &ChannelLimits) -> bool {
        let unsent = self.output.unsent_bytes();
        unsent == 0 || unsent.saturating_add(length) <= limits.max_unsent_bytes
    }

    /// Bytes written and not yet taken by the socket.
    #[must_use]
    pub const fn unsent_bytes(&self) -> usize {
        self.output.unsent_bytes()
    }

    /// Of the unsent bytes, those that are in the spool.
    #[must_use]
    pub const fn spooled_bytes(&self) -> usize {
        self.output.spooled_bytes()
    }

    /// Takes the output to be sent next, and with it the role of the sender; `None`: nothing to
    /// send now, another one is sending, or the socket takes nothing now.
    ///
    /// What is in the spool has to be read from there first (`Outgoing::to_load`).
    pub fn begin_send(&mut self, limits: &ChannelLimits) -> Option<Outgoing> {
        if self.blocked || self.phase == Phase::Closed {
            return None;
        }
        let outgoing = self.output.begin_send(&limits.output)?;
        self.became_writable = false;
        Some(outgoing)
    }

    /// The peer has taken some of what was sent before: the time limit for sending begins anew.
    pub const fn handle_peer_progress(&mut self, now_ms: u64) {
        self.progress_ms = now_ms;
    }

    /// Gives back what `begin_send` took. `is_blocked`: the socket takes no more now.
    pub fn handle_sent(&mut self, outgoing: Outgoing, sent_bytes: usize, is_blocked: bool, now_ms: u64) {
        self.output.handle_sent(outgoing, sent_bytes);
        if self.phase == Phase::Closed {
            return self.output.clear();
        }
        // The time limit begins with the first refusal: before it nobody had offered the output.
        if sent_bytes > 0 || !self.stalled {
            self.progress_ms = now_ms;
        }
        self.stalled = is_blocked;
        // The socket may have become writable between the refusal and this call.
        self.blocked = is_blocked && !core::mem::take(&mut self.became_writable);
        if self.output.unsent_bytes() == 0 {
            self.flush_wanted = false;
        }
    }

    /// Takes output that is to move from memory to the spool, and with it the role of the spooler; `None`:
    /// memory holds little, the spool is full or not there, or another one is spooling.
    pub fn begin_spool(&mut self, limits: &ChannelLimits) -> Option<Spooling> {
        if self.phase == Phase::Closed {
            return None;
        }
        self.output.begin_spool(&limits.output)
    }

    /// What `begin_spool` gave is in the spool. The spooler then sends: what was on its way was in the
    /// way of others. If it failed, the channel is to be aborted.
    pub fn handle_spooled(&mut self) {
        self.output.handle_spooled();
    }

    /// Whether output is to move to the spool.
    #[must_use]
    pub fn is_spool_due(&self, limits: &ChannelLimits) -> bool {
        self.output.is_spool_due(&limits.output)
    }

    /// The socket takes output again.
    pub fn handle_writable(&mut self) {
        if self.output.is_sending() {
            self.became_writable = true;
        }
        // What was offered once is sent on by whoever comes first, though the worker is still at work.
        self.flush_wanted |= self.blocked;
        self.blocked = false;
    }

    /// Whether the worker that was just started got several requests, so that the answer to one may
    /// come to wait behind the next, and nobody watches it yet.
    ///
    /// Says yes once; the driver then calls `want_flush` a little later. What comes to wait after
    /// that is noticed by `watch_answers_of_next_work`, so a slow request is not looked at again and again.
    pub fn watch_answers(&mut self) -> bool {
        let is_due = core::mem::take(&mut self.is_started) && self.ready.len() > 1 && !self.is_flush_watched;
        self.is_flush_watched |= is_due;
        is_due
    }

    /// Whether output waits behind the work that `next_work` has just given out, and nobody watches it yet.
    ///
    /// Says yes once; `want_flush` is then to be called a little later.
    pub fn watch_answers_of_next_work(&mut self) -> bool {
        let is_waiting = self.output.unsent_bytes() > 0 && !self.flush_wanted;
        let is_due = self.running && is_waiting && !self.is_flush_watched;
        self.is_flush_watched |= is_due;
        is_due
    }

    /// Like `watch_answers`, for a worker that knows of more requests than this state does.
    pub fn watch_answers_of_worker(&mut self) -> bool {
        self.running && !core::mem::replace(&mut self.is_flush_watched, true)
    }

    /// Output is to leave now although the channel's worker is still at work.
    pub fn want_flush(&mut self) {
        self.is_flush_watched = false;
        self.flush_wanted = self.output.unsent_bytes() > 0;
    }

    /// Whether the socket refused output and has not become writable since.
    #[must_use]
    pub const fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether a writer had better wait before it writes more.
    #[must_use]
    pub const fn is_above_high_watermark(&self, limits: &ChannelLimits) -> bool {
        self.output.unsent_bytes() > limits.high_watermark_bytes
    }

    /// Whether writers that waited may go on.
    #[must_use]
    pub fn is_below_low_watermark(&self, limits: &ChannelLimits) -> bool {
        self.output.unsent_bytes() <= limits.low_watermark_bytes || self.phase == Phase::Closed
    }

    /// Requests are held back from the high watermark on, and until the low one is reached again.
    const fn note_output(&mut self, limits: &ChannelLimits) {
        let unsent = self.output.unsent_bytes();
        if unsent > limits.high_watermark_bytes {
            self.is_output_high = true;
        } else if unsent <= limits.low_watermark_bytes {
            self.is_output_high = false;
        }
    }

    // ---- closing --------------------------------------------------------------------------------

    /// No request is started any more; the connection closes when the output is out.
    pub fn close_when_done(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Finishing;
            self.drop_input();
        }
    }

    /// The server stops: what was read is still answered, then the connection closes.
    pub fn drain(&mut self) {
        if self.phase == Phase::Open && !self.input_ended {
            self.input_ended = true;
            // What is unfinished is not the peer's fault: no error is made of it.
            self.is_draining = true;
            if self.waiting.is_empty() {
                self.end_current();
            }
        }
    }

    /// Closes at once; unsent output and unserved requests are dropped.
    pub fn abort(&mut self, reason: CloseReason) {
        if self.phase == Phase::Closed {
            return;
        }
        self.phase = Phase::Closed;
        self.close_pending = Some(reason);
        // Who never knew the channel is not told that it ends; who does is told that it began, too.
        self.open_due &= self.is_known;
        self.close_due = self.mode.report_close && self.is_known;
        self.drop_input();
        self.output.clear();
        self.is_output_high = false;
        self.blocked = false;
    }

    fn drop_input(&mut self) {
        self.current = None;
        self.current_bytes = 0;
        self.ready = ReadyRequests::new();
        self.waiting = Waiting::new();
        self.end_due = false;
    }

    /// Whether the connection is closed or about to be, so that nothing more can be written.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.phase != Phase::Open
    }

    /// Whether the connection is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether the peer has ended its input, or nothing more is read from it.
    #[must_use]
    pub const fn has_input_ended(&self) -> bool {
        self.input_ended
    }

    fn maybe_close(&mut self) {
        let is_over = self.phase == Phase::Finishing || (self.phase == Phase::Open && self.input_ended);
        if !is_over
            || self.running
            || self.output.is_sending()
            || self.output.unsent_bytes() > 0
            || self.has_work()
        {
            return;
        }
        let reason = if self.phase == Phase::Finishing {
            CloseReason::Finished
        } else {
            match &self.error {
                None => CloseReason::EndOfInput,
                Some(error) if error.kind.class() == ErrorClass::Truncated => CloseReason::Truncated,
                Some(_) => CloseReason::ProtocolError,
            }
        };
        self.abort(reason);
    }

    // ---- what to do -----------------------------------------------------------------------------

    /// What the driver has to do next; `None`: nothing until something else comes in.
    pub fn poll_action(&mut self, limits: &ChannelLimits) -> Option<Action> {
        self.note_output(limits);
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
        self.maybe_close();
        (self.close_pending.is_some() && !self.output.is_sending())
            || (!self.running && self.has_work())
            || (self.reading_paused && self.wants_input(limits))
    }

    /// Since when the connection has had nothing to do at all, in milliseconds; `None`: it has.
    ///
    /// A connection whose input the application leaves in the socket is not idle: the application waits.
    #[must_use]
    pub fn idle_since_ms(&self) -> Option<u64> {
        let is_idle = self.phase == Phase::Open
            && !self.running
            && !self.has_work()
            && !self.request_begun
            && !self.is_input_held
            && self.waiting.is_empty()
            && self.output.unsent_bytes() == 0
            && !self.current.as_ref().is_some_and(StreamConsumer::is_started);
        is_idle.then_some(self.activity_ms)
    }

    /// The time limit of what is being waited for now.
    #[must_use]
    pub fn poll_timeout(&self, limits: &ChannelLimits, now_ms: u64) -> Timeout {
        let (since, limit, reason) = if self.phase == Phase::Closed {
            return Timeout::None;
        } else if self.output.unsent_bytes() > 0 && (self.blocked || !self.running) {
            (self.progress_ms, limits.write_timeout_ms, CloseReason::WriteTimeout)
        } else if self.running {
            return Timeout::None;
        } else if self.request_begun && !self.is_input_held {
            (self.request_since_ms, limits.request_timeout_ms, CloseReason::RequestTimeout)
        } else if !self.is_input_held && self.current.as_ref().is_some_and(StreamConsumer::is_started) {
            (self.activity_ms, limits.request_timeout_ms, CloseReason::RequestTimeout)
        } else {
            (self.activity_ms, limits.idle_timeout_ms, CloseReason::IdleTimeout)
        };
        match limit {
            None => Timeout::None,
            Some(limit) if now_ms >= since.saturating_add(limit) => Timeout::Expired(reason),
            Some(limit) => Timeout::At(since.saturating_add(limit)),
        }
    }
}
