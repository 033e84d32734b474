//! The words that a channel is spoken to in, and answers with: limits, modes, work, actions, reasons.

use alloc::vec::Vec;

use crate::error::ProtocolError;
use crate::output::OutputLimits;

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
    /// So much of a body that is coming may be held in memory; what is beyond is to be kept elsewhere
    /// (`take_body_overflow`). `None`: all of it.
    pub max_body_memory_bytes: Option<usize>,
    /// What of the output is kept where.
    pub output: OutputLimits,
    /// A connection with nothing to do is closed after this many milliseconds; `None`: never.
    pub idle_timeout_ms: Option<u64>,
    /// A request that has begun must be complete after this many milliseconds; one with a body must have its head
    /// by then, and after that so many bytes each time (`BODY_PROGRESS_BYTES`), or what is left. `None`: no limit.
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
    /// The loop has words of its own: it answers what it refuses (`Action::Refuse`), and lets a peer go on that
    /// waits for a word before the rest of its request (`Action::GoAhead`). Not for `raw` input.
    pub answers: bool,
    /// A request that has begun when the channel is drained may come to its end, which is read; otherwise only what
    /// is complete by then is answered. Not for `raw` input.
    pub finishes_begun: bool,
    /// A request is handed out when its head is whole, and its worker takes the body as it comes (`take_body`).
    /// Not for `raw` input.
    pub streams_bodies: bool,
}

impl ChannelMode {
    /// Parsed input, and nothing besides.
    pub const PLAIN: Self = Self {
        raw: false,
        report_open: false,
        report_close: false,
        answers: false,
        finishes_begun: false,
        streams_bodies: false,
    };
}

/// What is refused without a worker, and answered all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The parser refuses the stream.
    Stream(ProtocolError),
    /// A request was begun and not completed in time.
    Late,
    /// No worker can be given the request.
    Unserved,
    /// Its body could not be kept.
    Unkept,
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
    /// The body of a request could not be kept.
    BodyFailed,
    /// A file that was to be sent could not be read, or had got shorter.
    FileFailed,
    /// It had nothing to do, and another one needed its place.
    Evicted,
    /// The request could not be queued, and the peer was told.
    Unserved,
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
    /// Give `handle_refusal` an answer to this; the connection closes behind it. Said once.
    Refuse(Refusal),
    /// Give `handle_go_ahead` the word that the peer waits for. Said once a request.
    GoAhead,
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
