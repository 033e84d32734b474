//! One channel and everything around it: what `channel_laws.rs` and the fuzzing of channels play their lives on.
//!
//! `Simulation` stands for a peer, a kernel socket that takes part of what it is given, a driver that does what
//! `poll_action` says, one worker and a foreign thread. Sends and tasks take more than one step, so that every other
//! event can happen in between. Every step asserts what always holds. Must not choose: events come from outside.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::collections::VecDeque;

use wiretask_protocol::channel::{
    Action, BodyPiece, ChannelLimits, ChannelMode, ChannelState, CloseReason, FileRange, Outgoing,
    OutputLimits, Refusal, Spooling, Taken, Timeout, Work,
};
pub mod note;

use note::{Cut, LINE_LIMIT, Note, cut};

const READ_BYTES: usize = 16;
const SPOOL_BYTES: usize = 31;
/// The longest body of a note.
const BODY_LIMIT: usize = 25;
/// What of a body may be in memory.
const BODY_MEMORY: usize = 6;
/// What the loop says when it refuses, and when it lets the peer go ahead.
const REFUSAL: &[u8] = b"no!";
const GO_AHEAD: &[u8] = b"go";
/// The most that anybody writes at once.
pub const LARGEST_WRITE: usize = 60;

type State = ChannelState<Note>;

fn make() -> Note {
    Note::new()
}

fn limits() -> ChannelLimits {
    ChannelLimits {
        max_ready_requests: 3,
        max_ready_bytes: 15,
        max_waiting_bytes: 8,
        max_piece_bytes: 5,
        high_watermark_bytes: 20,
        low_watermark_bytes: 6,
        max_unsent_bytes: 40,
        max_body_memory_bytes: Some(BODY_MEMORY),
        output: OutputLimits { piece_bytes: 7, max_memory_bytes: 9, max_spooled_bytes: SPOOL_BYTES },
        idle_timeout_ms: Some(1000),
        request_timeout_ms: Some(300),
        write_timeout_ms: Some(500),
    }
}

/// What can happen.
#[derive(Clone, Debug)]
pub enum Event {
    PeerSends(usize),
    PeerEnds,
    PeerReads(usize),
    /// The worker does its next step; if that is a request, it writes so many bytes.
    WorkerSteps(usize),
    /// The send system call that is under way returns.
    SendReturns,
    ForeignWrites(usize),
    /// The worker, or anybody, has so many bytes of a file sent.
    WritesFile(usize),
    /// Somebody who wrote moves what is too much for memory to the spool, as far as one piece.
    SpoolBegins,
    /// The write to the file that is under way returns.
    SpoolReturns,
    TasksQueued,
    HoldInput(bool),
    FlushTimer,
    /// The worker stays where it is until nothing else happens.
    WorkerIsSlow,
    TimePasses(u64),
    Drain,
    CloseWhenDone,
    Abort,
    QueueRefuses,
    RequestBegun(bool),
    /// From now on no body can be kept in a file.
    DiskFills,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worker {
    Away,
    Queued,
    Running,
    Sending,
    Finishing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Loop,
    Worker,
    Foreign,
}

/// See the module.
pub struct Simulation {
    state: State,
    limits: ChannelLimits,
    mode: ChannelMode,
    now: u64,
    // The peer and the kernel.
    unsent_by_peer: VecDeque<u8>,
    in_kernel: VecDeque<u8>,
    peer_ended: bool,
    room: usize,
    wants_write_event: bool,
    wire: Vec<u8>,
    // What is due for the loop, in its next turn.
    is_readable: bool,
    is_writable: bool,
    is_attend_posted: bool,
    is_flush_watched: bool,
    is_flush_due: bool,
    // Who does what.
    worker: Worker,
    sending: Option<(Sender, Outgoing, usize, bool)>,
    spooling: Option<Spooling>,
    /// The file: a ring.
    ring: Vec<u8>,
    /// What the sender is reading from the file, and what it has to find there.
    loading: Option<(u64, Vec<u8>)>,
    /// The files with what was too much of bodies.
    bodies: VecDeque<Vec<u8>>,
    is_disk_full: bool,
    // What was seen.
    fed: Vec<u8>,
    is_body_lost: bool,
    /// A body that a worker took did not come in time.
    is_body_late: bool,
    end_was_read: bool,
    fed_at_drain: Option<usize>,
    served: Vec<Vec<u8>>,
    /// The last of them comes with a body that is being taken, or was not taken to its end.
    is_taking: bool,
    /// Those of which the body was not taken to its end.
    partly_served: Vec<usize>,
    raw: Vec<u8>,
    raw_ends: usize,
    written: Vec<u8>,
    written_before_work: usize,
    acknowledged: usize,
    opened: usize,
    closed: usize,
    is_task_promised: bool,
    /// They were at some time.
    were_tasks_queued: bool,
    close: Option<CloseReason>,
    is_finish_asked: bool,
    aborted: Option<CloseReason>,
    refused: Option<Refusal>,
    /// How many notes came before one whose peer was let ahead, each time.
    let_ahead: Vec<usize>,
    is_cancelled: bool,
    /// A worker has looked at the channel while it was open.
    is_known: bool,
    last_progress: u64,
    is_stalled: bool,
}

impl Simulation {
    /// A channel whose peer is going to send `stream`.
    pub fn new(mode: ChannelMode, stream: &[u8]) -> Self {
        let mut simulation = Self {
            state: State::new(mode, 0),
            limits: limits(),
            mode,
            now: 0,
            unsent_by_peer: stream.iter().copied().collect(),
            in_kernel: VecDeque::new(),
            peer_ended: false,
            room: 10,
            wants_write_event: false,
            wire: Vec::new(),
            is_readable: false,
            is_writable: false,
            is_attend_posted: true,
            is_flush_watched: false,
            is_flush_due: false,
            worker: Worker::Away,
            sending: None,
            spooling: None,
            ring: vec![0; SPOOL_BYTES],
            loading: None,
            bodies: VecDeque::new(),
            is_disk_full: false,
            fed: Vec::new(),
            is_body_lost: false,
            is_body_late: false,
            end_was_read: false,
            fed_at_drain: None,
            served: Vec::new(),
            is_taking: false,
            partly_served: Vec::new(),
            raw: Vec::new(),
            raw_ends: 0,
            written: Vec::new(),
            written_before_work: 0,
            acknowledged: 0,
            opened: 0,
            closed: 0,
            is_task_promised: false,
            were_tasks_queued: false,
            close: None,
            is_finish_asked: false,
            aborted: None,
            refused: None,
            let_ahead: Vec::new(),
            is_cancelled: false,
            is_known: false,
            last_progress: 0,
            is_stalled: false,
        };
        simulation.turn();
        simulation
    }

    /// One turn of the loop, unless it is inside a send of its own.
    fn turn(&mut self) {
        if matches!(self.sending, Some((Sender::Loop, ..))) {
            return;
        }
        let is_due = self.is_readable || self.is_writable || self.is_attend_posted || self.is_flush_due;
        if !is_due {
            return;
        }
        self.is_attend_posted = false;
        if std::mem::take(&mut self.is_writable) {
            self.state.handle_writable();
        }
        if std::mem::take(&mut self.is_flush_due) {
            self.state.want_flush();
        }
        if std::mem::take(&mut self.is_readable) && self.close.is_none() {
            self.read();
        }
        loop {
            let action = self.state.poll_action(&self.limits);
            self.watch(State::watch_answers);
            let Some(action) = action else { return };
            match action {
                Action::StartTask => {
                    assert_eq!(self.worker, Worker::Away, "two workers");
                    assert!(self.state.is_running());
                    self.worker = Worker::Queued;
                }
                Action::Send => {
                    assert!(self.begin_send(Sender::Loop), "told to send, and nothing to send");
                    return;
                }
                Action::ResumeReading => {
                    assert!(self.close.is_none(), "reading after Close");
                    self.read();
                }
                Action::Refuse(refusal) => self.refuse(refusal),
                Action::GoAhead => self.let_go_ahead(),
                Action::Close(reason) => {
                    assert_eq!(self.close, None, "Close is said once");
                    assert!(self.sending.is_none(), "closed under a sender");
                    assert!(self.aborted.is_some() || self.worker == Worker::Away, "closed under a worker");
                    self.close = Some(reason);
                }
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        assert!(self.mode.answers && self.refused.is_none() && self.aborted.is_none());
        // A worker that was started since the loop made up its mind is there for tasks, and can write nothing any more.
        assert!(self.worker == Worker::Away || self.were_tasks_queued, "answered over a worker's head");
        assert!(self.state.is_closing(), "a worker could write behind it");
        if refusal == Refusal::Unkept {
            assert!(self.is_body_lost);
            assert_eq!(
                self.served.len(),
                self.to_be_answered().notes.len(),
                "refused before what came earlier was answered"
            );
        }
        if let Refusal::Stream(error) = refusal {
            assert!(cut(&self.fed).has_error && self.state.error() == Some(&error));
            assert_eq!(
                self.served.len(),
                self.to_be_answered().notes.len(),
                "refused before what came earlier was answered"
            );
        }
        self.refused = Some(refusal);
        self.write_own(REFUSAL);
        self.state.handle_refusal(REFUSAL, &self.limits, self.now);
    }

    fn let_go_ahead(&mut self) {
        let Cut { notes, awaits_go_ahead, .. } = cut(&self.fed);
        assert!(self.mode.answers && awaits_go_ahead, "nobody waits for it");
        assert_eq!(self.worker, Worker::Away, "answered over a worker's head");
        assert_eq!(self.served.len(), notes.len(), "let ahead before what came earlier was answered");
        assert!(!self.let_ahead.contains(&notes.len()), "let ahead twice");
        self.let_ahead.push(notes.len());
        self.write_own(GO_AHEAD);
        self.state.handle_go_ahead(GO_AHEAD, &self.limits, self.now);
    }

    fn write_own(&mut self, word: &[u8]) {
        if self.state.unsent_bytes() == 0 {
            self.last_progress = self.now;
            self.is_stalled = false;
        }
        self.written.extend_from_slice(word);
    }

    fn watch(&mut self, is_due: impl Fn(&mut State) -> bool) {
        if is_due(&mut self.state) {
            assert!(!self.is_flush_watched, "watched twice");
            self.is_flush_watched = true;
        }
    }

    fn read(&mut self) {
        loop {
            if !self.state.wants_input(&self.limits) {
                return self.state.pause_reading();
            }
            let length = self.in_kernel.len().min(READ_BYTES);
            if length == 0 {
                if self.peer_ended {
                    self.state.handle_end_of_input();
                    self.end_was_read = true;
                }
                return;
            }
            let piece: Vec<u8> = self.in_kernel.drain(..length).collect();
            self.fed.extend_from_slice(&piece);
            self.state.handle_bytes(&piece, make, &self.limits, self.now);
            self.check_held();
            self.keep_body();
        }
    }

    fn keep_body(&mut self) {
        let Some((position, bytes)) = self.state.take_body_overflow(&self.limits) else { return };
        assert!(!bytes.is_empty());
        if self.is_disk_full {
            self.is_body_lost = true;
            return self.state.fail_body();
        }
        if position == 0 {
            self.bodies.push_back(Vec::new());
        }
        let file = self.bodies.back_mut().unwrap();
        assert_eq!(position, file.len() as u64, "a hole in a body");
        file.extend(bytes);
        assert!(!self.state.is_body_overflowing(&self.limits), "too much of a body in memory");
    }

    fn check_held(&self) {
        if self.mode.raw {
            if !self.state.is_closing() {
                assert!(self.fed.len() - self.raw.len() <= self.limits.max_waiting_bytes + READ_BYTES);
            }
        } else if !self.state.is_closing() {
            // Ready requests, the one that comes in, what waits unparsed; blank lines count nothing.
            let served: usize = self.served.iter().map(|note| note.len() + 1).sum();
            // What nobody has taken is thrown away.
            let served = served + self.partly_served.len() * BODY_LIMIT;
            let blank = self.fed.split(|byte| *byte == b'\n').filter(|line| line.is_empty()).count();
            let longest = LINE_LIMIT + BODY_LIMIT;
            let by_count = self.limits.max_ready_requests * longest;
            let by_bytes = self.limits.max_ready_bytes + longest;
            let most = by_count.min(by_bytes) + longest + READ_BYTES + blank;
            assert!(self.fed.len() <= most + served, "more is held than the limits allow");
        }
    }

    fn begin_send(&mut self, who: Sender) -> bool {
        let Some(mut outgoing) = self.state.begin_send(&limits()) else { return false };
        assert!(self.sending.is_none(), "two senders");
        if let Some((position, length)) = outgoing.to_load() {
            let bytes = self.read_ring(position, length);
            self.loading = Some((position, bytes.clone()));
            outgoing.load(bytes);
        }
        let piece = match outgoing.file() {
            // The files hold what belongs there.
            Some(range) => {
                let offset = usize::try_from(range.offset).unwrap();
                self.written[offset..offset + range.length].to_vec()
            }
            None => {
                assert!(outgoing.unsent().len() <= self.limits.output.piece_bytes);
                outgoing.unsent().to_vec()
            }
        };
        let length = piece.len();
        assert!(length > 0, "an empty send");
        let taken = length.min(self.room);
        self.wire.extend_from_slice(&piece[..taken]);
        outgoing.advance(taken);
        self.room -= taken;
        let is_blocked = taken < length;
        self.wants_write_event |= is_blocked;
        self.sending = Some((who, outgoing, taken, is_blocked));
        true
    }

    fn send_returns(&mut self) {
        let Some((who, outgoing, sent, is_blocked)) = self.sending.take() else { return };
        if let Some((position, bytes)) = self.loading.take() {
            assert!(
                self.state.is_closed() || self.read_ring(position, bytes.len()) == bytes,
                "overwritten unread"
            );
        }
        if sent > 0 || !self.is_stalled {
            self.last_progress = self.now;
        }
        self.is_stalled = is_blocked;
        self.state.handle_sent(outgoing, sent, is_blocked, self.now);
        self.acknowledged += sent;
        match who {
            Sender::Loop => {
                self.is_attend_posted = true;
                self.turn();
            }
            Sender::Worker | Sender::Foreign => {
                if !self.begin_send(who) {
                    self.attend_if_needed();
                }
            }
        }
    }

    /// What any thread but the loop does after it has given something back.
    fn attend_if_needed(&mut self) {
        if self.state.needs_owner(&self.limits) {
            self.is_attend_posted = true;
            self.turn();
        }
    }

    fn write(&mut self, length: usize) {
        let was_closing = self.state.is_closing();
        let data = self.next_data(length);
        if self.state.unsent_bytes() == 0 {
            self.last_progress = self.now;
            self.is_stalled = false;
        }
        let waiting = self.state.unsent_bytes() - self.state.unsent_file_bytes();
        let has_room = self.state.has_room_for(length, &self.limits);
        assert!(!has_room || waiting == 0 || waiting + length <= self.limits.max_unsent_bytes);
        let has_files = self.state.unsent_file_bytes() > 0;
        assert!(has_room || has_files || (waiting > 0 && waiting + length > self.limits.max_unsent_bytes));
        match self.state.handle_task_output(&data, &self.limits, self.now) {
            Taken::All => {
                assert!(!was_closing && has_room);
                self.written.extend(data);
            }
            Taken::Full => assert!(!was_closing && !has_room),
            Taken::Closed => assert!(was_closing),
        }
    }

    fn next_data(&self, length: usize) -> Vec<u8> {
        let first = u8::try_from(self.written.len() % 251).unwrap();
        (0..length).map(|index| first.wrapping_add(index as u8)).collect()
    }

    fn write_file(&mut self, length: usize) {
        if self.state.unsent_bytes() == 0 {
            self.last_progress = self.now;
            self.is_stalled = false;
        }
        let range = FileRange { offset: self.written.len() as u64, length };
        match self.state.handle_task_file(range, &self.limits, self.now) {
            Taken::All => self.written.extend(self.next_data(length)),
            Taken::Full => assert!(self.state.unsent_bytes() > 0),
            Taken::Closed => assert!(self.state.is_closing()),
        }
    }

    fn place(position: u64, index: usize) -> usize {
        usize::try_from((position + index as u64) % SPOOL_BYTES as u64).unwrap()
    }

    fn read_ring(&self, position: u64, length: usize) -> Vec<u8> {
        (0..length).map(|index| self.ring[Self::place(position, index)]).collect()
    }

    fn spool_begins(&mut self) {
        if let Some(spooling) = self.state.begin_spool(&self.limits) {
            assert!(self.spooling.is_none(), "two spoolers");
            assert!(!spooling.bytes.is_empty() && spooling.bytes.len() <= self.limits.output.piece_bytes);
            self.spooling = Some(spooling);
        }
    }

    fn spool_returns(&mut self) {
        let Some(spooling) = self.spooling.take() else { return };
        if self.state.is_closed() {
            return;
        }
        for (index, byte) in spooling.bytes.iter().enumerate() {
            self.ring[Self::place(spooling.position, index)] = *byte;
        }
        self.state.handle_spooled();
        // It was in the way of what came behind it.
        if !self.begin_send(Sender::Foreign) {
            self.attend_if_needed();
        }
    }

    /// Nobody holds more than the limits allow, where and as soon as it could be moved.
    fn check_output(&self) {
        let files = self.state.unsent_file_bytes();
        let (unsent, spooled) = (self.state.unsent_bytes() - files, self.state.spooled_bytes());
        let output = &self.limits.output;
        let own = self.let_ahead.len() * GO_AHEAD.len() + REFUSAL.len();
        assert!(unsent <= self.limits.max_unsent_bytes.max(LARGEST_WRITE) + own);
        let loading = self.loading.as_ref().map_or(0, |(_, bytes)| bytes.len());
        let spooling = self.spooling.as_ref().map_or(0, |spooling| spooling.bytes.len());
        assert!(spooled + loading + spooling <= output.max_spooled_bytes || self.state.is_closed());
        let has_place = spooled + loading + output.piece_bytes <= output.max_spooled_bytes;
        if files > 0 {
            let most = output.max_memory_bytes.max(LARGEST_WRITE) + output.piece_bytes + own;
            assert!(unsent <= self.limits.max_unsent_bytes.max(most));
        } else if self.spooling.is_none() && has_place && !self.state.is_spool_due(&self.limits) {
            // A piece is with the sender, or was given back by it.
            assert!(
                unsent - spooled <= output.max_memory_bytes.max(output.piece_bytes),
                "too much in memory"
            );
        }
    }

    fn worker_steps(&mut self, answer_bytes: usize) {
        if matches!(self.sending, Some((Sender::Worker, ..))) {
            return self.send_returns();
        }
        if matches!(self.worker, Worker::Queued | Worker::Running | Worker::Finishing) {
            self.is_known |= !self.state.is_closed();
        }
        if self.is_taking && self.worker == Worker::Running && self.take_body(answer_bytes) {
            return;
        }
        match self.worker {
            Worker::Away => {}
            Worker::Queued | Worker::Running => match self.state.next_work(make, &self.limits, self.now) {
                Some(work) => self.serve(work, answer_bytes),
                None => self.worker = Worker::Sending,
            },
            Worker::Sending => {
                if !self.begin_send(Sender::Worker) {
                    self.worker = Worker::Finishing;
                }
            }
            Worker::Finishing => {
                if answer_bytes % 3 == 1 {
                    self.state.give_way();
                }
                if let Some(work) = self.state.next_work(make, &self.limits, self.now) {
                    return self.serve(work, answer_bytes);
                }
                self.worker = Worker::Sending;
                if self.state.handle_task_finished(self.now) {
                    self.worker = Worker::Away;
                    if !self.is_stalled {
                        self.last_progress = self.now;
                    }
                    self.attend_if_needed();
                }
            }
        }
    }

    /// The worker takes some of the body, unless it has had enough; whether it stays with that request.
    fn take_body(&mut self, answer_bytes: usize) -> bool {
        let index = self.served.len() - 1;
        if answer_bytes % 7 == 6 {
            self.is_taking = false;
            self.partly_served.push(index);
            return false;
        }
        let is_ready = self.state.is_body_ready();
        match self.state.take_body(4, self.now) {
            BodyPiece::Bytes(piece) => {
                assert!(is_ready && !piece.is_empty() && piece.len() <= 4);
                self.served[index].extend(piece);
            }
            BodyPiece::End => self.is_taking = false,
            BodyPiece::Failed(failure) => {
                let is_over = self.state.is_closing() || self.state.has_input_ended();
                assert!(is_over, "{failure:?} of a body that may come");
                self.is_taking = false;
                self.partly_served.push(index);
            }
            BodyPiece::Wait { needs_go_ahead } => {
                assert!(!is_ready);
                if needs_go_ahead {
                    assert!(self.mode.answers && cut(&self.fed).awaits_go_ahead, "nobody waits for it");
                    assert_eq!(
                        self.written.len(),
                        self.written_before_work,
                        "a word in the middle of an answer"
                    );
                    assert!(!self.let_ahead.contains(&index), "let ahead twice");
                    self.let_ahead.push(index);
                    self.write_own(GO_AHEAD);
                    self.state.handle_go_ahead(GO_AHEAD, &self.limits, self.now);
                }
                // It sends what waits, and sleeps.
                self.begin_send(Sender::Worker);
            }
        }
        self.attend_if_needed();
        true
    }

    fn serve(&mut self, work: Work<Note>, answer_bytes: usize) {
        self.worker = Worker::Running;
        self.watch(State::watch_answers_of_next_work);
        self.written_before_work = self.written.len();
        assert!(self.state.is_running());
        assert_eq!(self.closed, 0, "work after Closed: {work:?}");
        if self.mode.report_open && !matches!(work, Work::Opened | Work::Tasks | Work::Closed) {
            assert_eq!(self.opened, 1, "work before Opened: {work:?}");
        }
        match work {
            Work::Opened => {
                assert!(self.mode.report_open && self.opened == 0);
                self.opened += 1;
                self.write(answer_bytes);
            }
            Work::Request(request) => {
                assert!(!self.mode.raw && self.close.is_none() && !self.state.is_closing());
                assert!(
                    self.state.unsent_bytes() <= self.limits.high_watermark_bytes,
                    "started though much waits"
                );
                let mut kept = Vec::new();
                if self.state.served_kept_bytes() > 0 {
                    kept = self.bodies.pop_front().unwrap();
                    assert_eq!(kept.len() as u64, self.state.served_kept_bytes());
                }
                self.served.push(request.text_behind(&kept));
                self.is_taking = self.state.is_body_streamed();
                assert!(!self.is_taking || self.mode.streams_bodies);
                // It may begin to answer before it asks for the body.
                if !self.is_taking || answer_bytes.is_multiple_of(2) {
                    self.write(answer_bytes);
                }
            }
            Work::Bytes(bytes) => {
                assert!(self.mode.raw && self.close.is_none() && self.raw_ends == 0);
                assert!(
                    self.state.unsent_bytes() <= self.limits.high_watermark_bytes,
                    "started though much waits"
                );
                assert!(!bytes.is_empty() && bytes.len() <= self.limits.max_piece_bytes);
                self.raw.extend(bytes);
                self.write(answer_bytes);
            }
            Work::EndOfInput => {
                assert!(self.mode.raw && self.end_was_read && self.raw == self.fed);
                self.raw_ends += 1;
                self.write(answer_bytes);
            }
            Work::Tasks => {
                assert!(self.is_task_promised, "nobody queued a task");
                self.is_task_promised = false;
            }
            Work::Closed => {
                assert!(self.mode.report_close && self.close.is_some());
                self.closed += 1;
            }
        }
    }

    fn abort(&mut self, reason: CloseReason) {
        if !self.state.is_closed() {
            self.aborted = Some(reason);
        }
        self.state.abort(reason);
        self.is_attend_posted = true;
    }

    /// Let it happen, and the loop do what there is to do then.
    pub fn handle(&mut self, event: &Event) {
        match *event {
            Event::PeerSends(n) => {
                if !self.peer_ended {
                    let n = n.min(self.unsent_by_peer.len());
                    self.in_kernel.extend(self.unsent_by_peer.drain(..n));
                    self.is_readable |= n > 0;
                }
            }
            Event::PeerEnds => {
                self.peer_ended = true;
                self.is_readable = true;
            }
            Event::PeerReads(n) => {
                self.room += n;
                self.is_writable |= std::mem::take(&mut self.wants_write_event);
            }
            Event::WorkerSteps(answer_bytes) => self.worker_steps(answer_bytes),
            Event::SendReturns => self.send_returns(),
            Event::ForeignWrites(n) => {
                self.write(n);
                // As everybody who may: whether it sends or somebody else does is not its concern.
                if !self.begin_send(Sender::Foreign) {
                    self.attend_if_needed();
                }
            }
            Event::WritesFile(n) => {
                self.write_file(n);
                if !self.begin_send(Sender::Foreign) {
                    self.attend_if_needed();
                }
            }
            Event::SpoolBegins => self.spool_begins(),
            Event::SpoolReturns => self.spool_returns(),
            Event::TasksQueued => {
                let is_taken = self.state.handle_tasks_queued();
                assert!(is_taken || self.state.is_closed() || self.is_cancelled);
                assert!(is_taken || !self.is_task_promised);
                self.is_task_promised |= is_taken;
                self.were_tasks_queued |= is_taken;
                self.attend_if_needed();
            }
            Event::HoldInput(is_held) => {
                self.state.hold_input(is_held, self.now);
                self.attend_if_needed();
            }
            Event::FlushTimer => self.is_flush_due |= std::mem::take(&mut self.is_flush_watched),
            Event::WorkerIsSlow => {
                if !matches!(self.sending, Some((Sender::Worker, ..))) {
                    self.settle(false);
                    if self.worker == Worker::Running && !self.state.is_closed() {
                        let answered = self.written.get(..self.written_before_work).unwrap();
                        assert!(self.wire.starts_with(answered), "an answer waits behind a slow request");
                    }
                }
            }
            Event::TimePasses(ms) => {
                self.now += ms;
                self.check_timeout();
            }
            Event::Drain => {
                if !self.state.has_input_ended() && !self.state.is_closing() {
                    self.fed_at_drain = Some(self.fed.len());
                }
                self.state.drain();
                self.is_attend_posted = true;
            }
            Event::CloseWhenDone => {
                self.is_finish_asked |= !self.state.is_closing();
                self.state.close_when_done();
                self.is_attend_posted = true;
            }
            Event::Abort => self.abort(CloseReason::Aborted),
            Event::QueueRefuses => {
                if self.worker == Worker::Queued {
                    let was_closed = self.state.is_closed();
                    self.state.cancel_task();
                    if !was_closed && self.state.is_closed() {
                        self.aborted = Some(CloseReason::Aborted);
                    }
                    self.is_cancelled = true;
                    self.is_task_promised = false;
                    self.worker = Worker::Away;
                    self.is_attend_posted = true;
                }
            }
            Event::DiskFills => self.is_disk_full = true,
            Event::RequestBegun(has_begun) => {
                if self.mode.raw && self.worker == Worker::Running {
                    self.state.set_request_begun(has_begun, self.now);
                }
            }
        }
        self.turn();
        self.check();
    }

    fn check_timeout(&mut self) {
        let limits = self.limits.clone();
        match self.state.poll_timeout(&limits, self.now) {
            Timeout::None => {}
            Timeout::At(at) => assert!(at > self.now, "a limit in the past that has not expired"),
            Timeout::Expired(reason) => {
                assert!(!self.state.is_closed());
                match reason {
                    CloseReason::WriteTimeout => {
                        assert!(self.state.unsent_bytes() > 0);
                        assert!(self.now - self.last_progress >= 500, "the peer had less than its time");
                    }
                    CloseReason::RequestTimeout => {
                        assert!(!self.state.is_running() || self.mode.streams_bodies);
                    }
                    CloseReason::IdleTimeout => {
                        assert!(!self.state.is_running() && self.state.unsent_bytes() == 0);
                    }
                    reason => panic!("no time-out: {reason:?}"),
                }
                self.state.expire(reason);
                if self.state.is_closed() {
                    self.aborted = Some(reason);
                } else if self.worker != Worker::Away {
                    assert!(self.mode.streams_bodies && reason == CloseReason::RequestTimeout);
                    self.is_body_late = true;
                } else {
                    assert!(self.mode.answers && reason == CloseReason::RequestTimeout);
                }
                self.is_attend_posted = true;
            }
        }
    }

    fn check(&mut self) {
        self.check_output();
        assert!(self.written.starts_with(&self.wire), "bytes leave in the order they were written");
        if !self.state.is_closed() {
            assert_eq!(self.state.unsent_bytes(), self.written.len() - self.acknowledged);
        }
        let notes = cut(&self.fed).notes;
        for (index, served) in self.served.iter().enumerate() {
            let is_last_taken = self.is_taking && index + 1 == self.served.len();
            let is_whole = !is_last_taken && !self.partly_served.contains(&index);
            match notes.get(index) {
                Some(note) if is_whole => assert_eq!(served, note, "requests come out in order, once"),
                Some(note) => assert!(note.starts_with(served), "requests come out in order, once"),
                // Its body is still coming, or will never be whole.
                None => assert!(!is_whole && index == notes.len(), "a request that nobody sent"),
            }
        }
        assert!(self.fed.starts_with(&self.raw));
        if self.close.is_some() {
            assert!(self.state.is_closed());
            assert_eq!(self.state.poll_timeout(&self.limits, self.now), Timeout::None);
            assert_eq!(self.state.unsent_bytes(), 0);
        }
    }

    fn fingerprint(&self) -> impl PartialEq + use<> {
        (
            (self.fed.len(), self.served.len(), self.raw.len(), self.raw_ends, self.wire.len()),
            (self.opened, self.closed, self.is_task_promised, self.acknowledged, self.written.len()),
            (self.served.last().map(Vec::len), self.is_taking),
            (self.worker, self.sending.is_some(), self.spooling.is_some(), self.close),
        )
    }

    /// Everybody goes on until nothing happens any more; no time passes.
    fn settle(&mut self, is_worker_moving: bool) {
        let mut unchanged = 0;
        let mut before = self.fingerprint();
        while unchanged < 8 {
            self.handle(&Event::PeerReads(50));
            self.handle(&Event::SendReturns);
            self.handle(&Event::SpoolReturns);
            self.handle(&Event::FlushTimer);
            if is_worker_moving {
                self.handle(&Event::WorkerSteps(3));
            }
            let after = self.fingerprint();
            unchanged = if before == after { unchanged + 1 } else { 0 };
            before = after;
        }
    }

    /// The end of every life: what may be expected when nothing more comes.
    pub fn settle_and_check_nothing_is_lost(&mut self) {
        self.handle(&Event::HoldInput(false));
        self.handle(&Event::PeerSends(usize::MAX));
        self.settle(true);
        let is_waiting_for_body = self.is_taking && self.worker == Worker::Running;
        assert!(self.worker == Worker::Away || is_waiting_for_body);
        assert!(!self.is_task_promised || is_waiting_for_body, "tasks were promised their turn");
        if self.close.is_none() {
            assert_eq!(self.wire, self.written, "output is waiting and nobody sends it");
            let is_begun = self.mode.finishes_begun && self.to_be_answered().is_unfinished;
            let has_more = is_begun || is_waiting_for_body;
            assert!(self.fed_at_drain.is_none() || has_more, "drained, and stays");
            if self.mode.raw {
                assert_eq!(self.raw, self.fed);
            } else {
                assert!(!self.is_body_lost, "what cannot be kept, and stays");
                let Cut { notes, awaits_go_ahead, .. } = cut(&self.fed);
                let is_one_more = self.partly_served.last().is_some_and(|index| *index >= notes.len());
                let served = notes.len() + usize::from(is_waiting_for_body || is_one_more);
                assert_eq!(self.served.len(), served, "a request is waiting and nobody runs it");
                let is_let = self.let_ahead.contains(&notes.len());
                // One that has begun to answer says no other word.
                let has_begun = is_waiting_for_body && self.written.len() > self.written_before_work;
                let waits = awaits_go_ahead && self.mode.answers && !has_begun;
                assert!(!waits || is_let, "the peer waits for a word that does not come");
            }
            assert!(self.in_kernel.is_empty(), "input is waiting and nobody reads it");
            assert_eq!(self.opened, usize::from(self.mode.report_open));
        }
        self.handle(&Event::PeerEnds);
        self.settle(true);
        self.check_end();
    }

    /// What was to be answered of what was read: all of it, but for what was begun or came after the drain.
    fn to_be_answered(&self) -> Cut {
        let whole = cut(&self.fed);
        let Some(fed) = self.fed_at_drain else { return whole };
        let before = cut(&self.fed[..fed]);
        if !before.is_unfinished || !self.mode.finishes_begun {
            return Cut { is_unfinished: false, ..before };
        }
        if self.is_body_lost {
            return before;
        }
        let mut notes = whole.notes;
        if notes.len() == before.notes.len() {
            return Cut { notes, ..whole };
        }
        notes.truncate(before.notes.len() + 1);
        Cut { notes, has_error: false, is_unfinished: false, awaits_go_ahead: false }
    }

    fn check_end(&self) {
        let reason = self.close.unwrap();
        assert_eq!(self.worker, Worker::Away);
        assert!(self.sending.is_none() && !self.is_task_promised);
        if !self.is_cancelled {
            assert_eq!(self.closed, usize::from(self.mode.report_close && self.is_known));
            assert_eq!(self.opened, usize::from(self.mode.report_open && self.is_known));
        }
        if let Some(asked) = self.aborted {
            assert_eq!(reason, asked);
            return;
        }
        assert_eq!(self.wire, self.written, "only an abort may drop output");
        assert!(self.refused.is_none() || self.wire.ends_with(REFUSAL), "something comes behind the refusal");
        match self.refused {
            Some(Refusal::Late) => return assert_eq!(reason, CloseReason::RequestTimeout),
            Some(Refusal::Unserved) => return assert_eq!(reason, CloseReason::Unserved),
            Some(Refusal::Unkept) => return assert_eq!(reason, CloseReason::BodyFailed),
            Some(Refusal::Stream(_)) | None => {}
        }
        if self.is_finish_asked {
            assert_eq!(reason, CloseReason::Finished);
            return;
        }
        if self.mode.raw {
            assert_eq!(self.raw, self.fed[..self.fed_at_drain.unwrap_or(self.fed.len())]);
            assert_eq!(self.raw_ends, usize::from(self.fed_at_drain.is_none()));
            assert_eq!(reason, CloseReason::EndOfInput);
            return;
        }
        if self.is_body_late {
            return assert_eq!(reason, CloseReason::RequestTimeout);
        }
        let Cut { mut notes, has_error, is_unfinished, .. } = self.to_be_answered();
        for index in &self.partly_served {
            match notes.get_mut(*index) {
                Some(note) => note.clone_from(&self.served[*index]),
                None => notes.extend(self.served.get(*index).cloned()),
            }
        }
        assert_eq!(self.served, notes);
        if reason == CloseReason::Finished {
            // The worker did not ask for a body that the peer would not send unasked.
            let asks_not = self.partly_served.last().is_some_and(|index| index + 1 == self.served.len());
            return assert!(asks_not && cut(&self.fed).awaits_go_ahead);
        }
        if self.is_body_lost {
            return assert!(reason == CloseReason::BodyFailed && !self.mode.answers);
        }
        assert_eq!(self.refused.is_some(), has_error && self.mode.answers);
        let expected = match (has_error, is_unfinished) {
            (true, _) => CloseReason::ProtocolError,
            (false, true) => CloseReason::Truncated,
            (false, false) => CloseReason::EndOfInput,
        };
        assert_eq!(reason, expected);
    }
}
