//! `Reactor`: level-triggered readiness of descriptors that belong to somebody else, for a loop in Python.
//!
//! What the owner wants to hear of a descriptor is only noted, and put into effect when the loop waits: so interest
//! that comes and goes between two waits costs nothing. Whoever newly wants to write is asked directly first, all in
//! one poll(2), for most sockets have room most of the time. Only readiness that is more than plain input or room
//! (errors, hang-ups, urgent data) is looked up with poll(2), which says it exactly.
//!
//! Owners make mistakes, which must cost neither events nor processor time: a descriptor that is closed while it is
//! watched is found when the loop is about to sleep, and reported as poll(2) would (`POLLNVAL`); readiness of a file
//! that outlives its number (a copy elsewhere holds it open) makes the reactor begin anew. Tokens carry a
//! generation, so an event never reaches the next tenant of a number.
//! Must not know Python, or what a descriptor is for.

use std::io;
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll};

use crate::level_trigger::LevelTrigger;
use crate::open_descriptors::{note_closed, note_open};
use crate::token::{Token, TokenSlab};

const EVENTS_PER_WAIT: usize = 1024;
/// For so long the loop is quiet before those who had events are checked for having been closed.
const QUIET_BEFORE_CHECK: Duration = Duration::from_millis(50);
/// For so long it is quiet before all are checked.
const QUIET_BEFORE_SWEEP: Duration = Duration::from_secs(1);
/// A loop that is never quiet checks all now and then: after so long, or this long for each that it watches.
const BUSY_BETWEEN_SWEEPS: Duration = Duration::from_secs(5);
const BUSY_BETWEEN_SWEEPS_EACH: Duration = Duration::from_micros(20);
/// So many waits in a row with news of a number that nobody watches: the file outlives it.
const STALE_WAITS: u32 = 2;

const ROOM: i16 = libc::POLLOUT;
const INVALID: i16 = libc::POLLNVAL;

/// How the system reports a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arming {
    /// Not at all.
    None,
    /// The poll does, for these events.
    Polled(i16),
    /// The poll refuses it: it is always ready.
    Always,
    /// It is not open.
    Closed,
}

#[derive(Debug)]
struct Watch {
    descriptor: RawFd,
    wanted: i16,
    arming: Arming,
    /// It stands in `Registrations::changed`.
    is_changed: bool,
    /// It stands in `Registrations::touched`.
    is_touched: bool,
    /// Where it stands among what is ready, if it does.
    place: usize,
}

#[derive(Debug)]
struct Registrations {
    trigger: LevelTrigger,
    watches: TokenSlab<Watch>,
    /// Whose interest is to be put into effect.
    changed: Vec<Token>,
    /// Those that are always ready, or closed.
    unpolled: Vec<Token>,
    /// Those that had events since they were last known to be open.
    touched: Vec<Token>,
    needs_sweep: bool,
    swept_at: Instant,
    stale_waits: u32,
    asked: Vec<libc::pollfd>,
}

#[derive(Debug)]
struct Waiter {
    poll: Poll,
    events: Events,
}

/// What is watched, and the wait for it. Any thread may watch and forget; one at a time waits.
#[derive(Debug)]
pub struct Reactor {
    registrations: Mutex<Registrations>,
    waiter: Mutex<Waiter>,
}

/// What is ready: tokens with flags of poll(2).
pub type Ready = Vec<(Token, i16)>;

impl Reactor {
    /// One that watches nothing.
    ///
    /// # Errors
    /// The descriptor table is full.
    pub fn new() -> io::Result<Self> {
        let poll = new_poll()?;
        let registrations = Registrations {
            trigger: LevelTrigger::of(&poll)?,
            watches: TokenSlab::new(),
            changed: Vec::new(),
            unpolled: Vec::new(),
            touched: Vec::new(),
            needs_sweep: false,
            swept_at: Instant::now(),
            stale_waits: 0,
            asked: Vec::new(),
        };
        let waiter = Waiter { poll, events: Events::with_capacity(EVENTS_PER_WAIT) };
        Ok(Self { registrations: Mutex::new(registrations), waiter: Mutex::new(waiter) })
    }

    /// Watches a descriptor for `wanted` (flags of poll(2)) from the next wait on; its token. `None`: too many.
    pub fn watch(&self, descriptor: RawFd, wanted: i16) -> Option<Token> {
        let mut registrations = self.lock();
        let token = registrations.watches.insert(Watch {
            descriptor,
            wanted,
            arming: Arming::None,
            is_changed: true,
            is_touched: false,
            place: usize::MAX,
        })?;
        registrations.changed.push(token);
        Some(token)
    }

    /// Changes what a descriptor is watched for, from the next wait on.
    pub fn change(&self, token: Token, wanted: i16) {
        let mut registrations = self.lock();
        let Some(watch) = registrations.watches.get_mut(token) else { return };
        watch.wanted = wanted;
        if !std::mem::replace(&mut watch.is_changed, true) {
            registrations.changed.push(token);
        }
    }

    /// Watches a descriptor no longer. To be called before it is closed.
    pub fn forget(&self, token: Token) {
        let mut registrations = self.lock();
        let Some(watch) = registrations.watches.remove(token) else { return };
        if let Arming::Polled(_) = watch.arming {
            // If it is closed already the system has done that, or else the file lives on: then its events are stale.
            drop(registrations.trigger.remove(watch.descriptor));
        }
    }

    /// How many descriptors are watched.
    pub fn len(&self) -> usize {
        self.lock().watches.len()
    }

    /// Whether nothing is watched.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until something is ready, or the time is over, or a signal came; what is ready is put into `ready`.
    ///
    /// False: another thread waits; nothing was done.
    ///
    /// # Blocking
    /// At most `timeout`; `None`: without an end.
    ///
    /// # Errors
    /// What epoll_ctl(2) and epoll_wait(2) say: no memory, too many watched.
    pub fn wait(&self, timeout: Option<Duration>, ready: &mut Ready) -> io::Result<bool> {
        let mut waiter = match self.waiter.try_lock() {
            Ok(waiter) => waiter,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return Ok(false),
        };
        let waiter = &mut *waiter;
        ready.clear();
        let begun = Instant::now();
        loop {
            let (pause, is_last) = {
                let mut registrations = self.lock();
                if registrations.stale_waits >= STALE_WAITS {
                    registrations.begin_anew(waiter)?;
                }
                registrations.apply_changes(ready)?;
                registrations.add_unpolled(ready);
                registrations.pause(timeout, begun, !ready.is_empty())
            };
            match waiter.poll.poll(&mut waiter.events, pause) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
                Err(error) => return Err(error),
            }
            let mut registrations = self.lock();
            registrations.add_events(&waiter.events, ready)?;
            let is_over = is_last || !ready.is_empty() || !waiter.events.is_empty();
            registrations.check_open(is_over);
            if is_over {
                return Ok(true);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Registrations> {
        self.registrations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        note_closed(&self.waiter.get_mut().unwrap_or_else(PoisonError::into_inner).poll);
    }
}

impl Registrations {
    /// Has the system report what is wanted now. Those who newly want to write and can are ready at once.
    fn apply_changes(&mut self, ready: &mut Ready) -> io::Result<()> {
        if self.changed.is_empty() {
            return Ok(());
        }
        let mut changed = std::mem::take(&mut self.changed);
        changed.retain(|token| self.watches.get(*token).is_some());
        self.ask_writers(&changed, ready);
        let mut failure = Ok(());
        changed.retain(|token| {
            let Some(watch) = self.watches.get_mut(*token) else { return false };
            let has_room = ready.get(watch.place).is_some_and(|(named, _)| named == token);
            let is_settled = match arm(&self.trigger, watch, *token, has_room) {
                Ok(()) => !has_room,
                Err(error) => {
                    failure = Err(error);
                    false
                }
            };
            if matches!(watch.arming, Arming::Always | Arming::Closed) {
                self.unpolled.push(*token);
            }
            watch.is_changed = !is_settled;
            !is_settled
        });
        // What has room is asked again next time: it was not registered for that.
        self.changed = changed;
        failure
    }

    /// Asks all who want to write, and are not polled for it, whether they can.
    fn ask_writers(&mut self, changed: &[Token], ready: &mut Ready) {
        self.asked.clear();
        let asks = |watch: &Watch| {
            watch.wanted & ROOM != 0
                && match watch.arming {
                    Arming::None => true,
                    Arming::Polled(events) => events & ROOM == 0,
                    Arming::Always | Arming::Closed => false,
                }
        };
        let watches = || changed.iter().filter_map(|token| Some((*token, self.watches.get(*token)?)));
        self.asked.extend(watches().filter(|(_, watch)| asks(watch)).map(|(_, watch)| libc::pollfd {
            fd: watch.descriptor,
            events: ROOM,
            revents: 0,
        }));
        if self.asked.is_empty() {
            return;
        }
        ask(&mut self.asked);
        let mut answers = self.asked.iter();
        for token in changed {
            let Some(watch) = self.watches.get_mut(*token) else { continue };
            if !asks(watch) {
                continue;
            }
            let Some(answer) = answers.next() else { break };
            // Anything but plain room is left to the poll: it comes with what there is to read.
            if answer.revents == ROOM {
                push(ready, watch, *token, ROOM);
            }
        }
    }

    fn add_unpolled(&mut self, ready: &mut Ready) {
        let watches = &mut self.watches;
        self.unpolled.retain(|token| {
            let Some(watch) = watches.get_mut(*token) else { return false };
            let events = match watch.arming {
                Arming::Always => watch.wanted & (libc::POLLIN | ROOM),
                Arming::Closed if watch.wanted != 0 => INVALID,
                Arming::Closed => 0,
                Arming::None | Arming::Polled(_) => return false,
            };
            if events != 0 {
                push(ready, watch, *token, events);
            }
            true
        });
    }

    /// How long to sleep now, and whether the wait is over after that.
    fn pause(
        &mut self,
        timeout: Option<Duration>,
        begun: Instant,
        is_ready: bool,
    ) -> (Option<Duration>, bool) {
        if is_ready || timeout == Some(Duration::ZERO) {
            return (Some(Duration::ZERO), true);
        }
        let quiet = begun.elapsed();
        let left = timeout.map(|timeout| timeout.saturating_sub(quiet));
        let until_check = if !self.touched.is_empty() {
            QUIET_BEFORE_CHECK
        } else if self.needs_sweep {
            QUIET_BEFORE_SWEEP
        } else {
            return (left, true);
        };
        let pause = until_check.saturating_sub(quiet);
        match left {
            Some(left) if left <= pause => (Some(left), true),
            _ => (Some(pause), false),
        }
    }

    fn add_events(&mut self, events: &Events, ready: &mut Ready) -> io::Result<()> {
        let mut has_stale = false;
        for event in events {
            let token = Token(event.token().0 as u64);
            let Some(watch) = self.watches.get_mut(token) else {
                has_stale = true;
                continue;
            };
            let events = exact_events(event, watch);
            if events & INVALID != 0 {
                watch.arming = Arming::Closed;
                self.unpolled.push(token);
                has_stale = true;
            } else if let Arming::Polled(armed) = watch.arming {
                self.trigger.rearm(watch.descriptor, token, armed)?;
            }
            if events != 0 {
                push(ready, watch, token, events);
            }
            if !std::mem::replace(&mut watch.is_touched, true) {
                self.touched.push(token);
            }
        }
        self.needs_sweep |= !events.is_empty();
        self.stale_waits = if has_stale { self.stale_waits.saturating_add(1) } else { 0 };
        Ok(())
    }

    /// Looks for descriptors that were closed though they are watched: of those that had events, when the loop has
    /// been quiet for a moment; of all, when it has been for longer, or busy for long.
    fn check_open(&mut self, is_busy: bool) {
        if is_busy {
            let interval = BUSY_BETWEEN_SWEEPS.max(BUSY_BETWEEN_SWEEPS_EACH * clamp(self.watches.len()));
            if self.needs_sweep && self.swept_at.elapsed() >= interval {
                self.sweep();
            }
        } else if self.touched.is_empty() {
            self.sweep();
        } else {
            for token in std::mem::take(&mut self.touched) {
                self.check(token);
            }
        }
    }

    fn sweep(&mut self) {
        self.touched.clear();
        for token in self.watches.tokens() {
            self.check(token);
        }
        self.needs_sweep = false;
        self.swept_at = Instant::now();
    }

    fn check(&mut self, token: Token) {
        let Some(watch) = self.watches.get_mut(token) else { return };
        watch.is_touched = false;
        if matches!(watch.arming, Arming::Polled(_)) && !is_open(watch.descriptor) {
            watch.arming = Arming::Closed;
            self.unpolled.push(token);
        }
    }

    /// Gives up a poll that reports what cannot be unregistered any more, for a new one.
    fn begin_anew(&mut self, waiter: &mut Waiter) -> io::Result<()> {
        let poll = new_poll()?;
        self.trigger = LevelTrigger::of(&poll)?;
        note_closed(&waiter.poll);
        waiter.poll = poll;
        self.stale_waits = 0;
        for token in self.watches.tokens() {
            let Some(watch) = self.watches.get_mut(token) else { continue };
            if let Arming::Polled(_) = watch.arming {
                watch.arming = Arming::None;
                if !std::mem::replace(&mut watch.is_changed, true) {
                    self.changed.push(token);
                }
            }
        }
        Ok(())
    }
}

/// A poll that the child of a fork closes.
fn new_poll() -> io::Result<Poll> {
    let poll = Poll::new()?;
    note_open(&poll);
    Ok(poll)
}

/// Has the system report what is wanted; not room for output, where there is room now.
fn arm(trigger: &LevelTrigger, watch: &mut Watch, token: Token, has_room: bool) -> io::Result<()> {
    let target = if has_room { watch.wanted & !ROOM } else { watch.wanted };
    let outcome = match watch.arming {
        Arming::Always | Arming::Closed => return Ok(()),
        Arming::Polled(events) if events == target => return Ok(()),
        Arming::None if target == 0 => return Ok(()),
        Arming::Polled(_) if target == 0 => {
            watch.arming = Arming::None;
            // Closed already: then there is nothing to unregister.
            drop(trigger.remove(watch.descriptor));
            return Ok(());
        }
        Arming::Polled(_) => trigger.modify(watch.descriptor, token, target),
        Arming::None => trigger.add(watch.descriptor, token, target),
    };
    let code = |outcome: &io::Result<()>| outcome.as_ref().err().and_then(io::Error::raw_os_error);
    let outcome = match code(&outcome) {
        // The number belongs to another file now, or still to one that was watched before.
        Some(libc::ENOENT) => trigger.add(watch.descriptor, token, target),
        Some(libc::EEXIST) => trigger.modify(watch.descriptor, token, target),
        _ => outcome,
    };
    watch.arming = match code(&outcome) {
        Some(libc::EPERM) => Arming::Always,
        // EINVAL: the number is that of the poll itself, so it was closed before.
        Some(libc::EBADF | libc::EINVAL) => Arming::Closed,
        Some(_) => return outcome,
        None => Arming::Polled(target),
    };
    Ok(())
}

/// Notes that a descriptor is ready, in one place though it is found twice.
fn push(ready: &mut Ready, watch: &mut Watch, token: Token, events: i16) {
    if let Some((_, noted)) = ready.get_mut(watch.place).filter(|(named, _)| *named == token) {
        *noted |= events;
    } else {
        watch.place = ready.len();
        ready.push((token, events));
    }
}

/// What an event says, in flags of poll(2): looked up there if it is more than plain input or room.
fn exact_events(event: &Event, watch: &Watch) -> i16 {
    let is_plain =
        !(event.is_error() || event.is_priority() || event.is_read_closed() || event.is_write_closed());
    if is_plain {
        let input = if event.is_readable() { libc::POLLIN } else { 0 };
        let room = if event.is_writable() { ROOM } else { 0 };
        return (input | room) & watch.wanted;
    }
    let mut entry = [libc::pollfd { fd: watch.descriptor, events: watch.wanted, revents: 0 }];
    ask(&mut entry);
    entry[0].revents
}

/// Asks poll(2), which does not wait, and puts its answers into `entries`.
fn ask(entries: &mut [libc::pollfd]) {
    let Ok(count) = libc::nfds_t::try_from(entries.len()) else { return };
    // SAFETY: the entries are valid and writable for the duration of the call, which keeps no pointer to them.
    // If it fails the answers stay empty: nothing is ready.
    unsafe { libc::poll(entries.as_mut_ptr(), count, 0) };
}

fn is_open(descriptor: RawFd) -> bool {
    // SAFETY: the call takes no pointer; a descriptor that is not open is an error and nothing else.
    unsafe { libc::fcntl(descriptor, libc::F_GETFD) >= 0 }
}

fn clamp(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    const INPUT: i16 = libc::POLLIN;

    fn ready_within(reactor: &Reactor, milliseconds: u64) -> Ready {
        let mut ready = Vec::new();
        assert!(reactor.wait(Some(Duration::from_millis(milliseconds)), &mut ready).unwrap());
        ready
    }

    #[test]
    fn a_number_that_the_poll_has_taken_over_is_closed() {
        let reactor = Reactor::new().unwrap();
        let own = reactor.waiter.lock().unwrap().poll.as_raw_fd();
        let token = reactor.watch(own, INPUT).unwrap();
        assert_eq!(ready_within(&reactor, 1000), [(token, INVALID)]);
    }

    #[test]
    fn reports_as_long_as_it_is_ready() {
        let reactor = Reactor::new().unwrap();
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let token = reactor.watch(ours.as_raw_fd(), INPUT).unwrap();
        assert_eq!(ready_within(&reactor, 0), []);
        theirs.write_all(b"xy").unwrap();
        for _ in 0..3 {
            assert_eq!(ready_within(&reactor, 1000), [(token, INPUT)]);
        }
        ours.read_exact(&mut [0; 2]).unwrap();
        assert_eq!(ready_within(&reactor, 0), []);
    }

    #[test]
    fn one_that_may_write_is_ready_without_being_registered_for_it() {
        let reactor = Reactor::new().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let token = reactor.watch(ours.as_raw_fd(), INPUT | ROOM).unwrap();
        theirs.write_all(b"x").unwrap();
        for _ in 0..3 {
            assert_eq!(ready_within(&reactor, 1000), [(token, INPUT | ROOM)]);
        }
        let arming = |reactor: &Reactor| reactor.lock().watches.get(token).unwrap().arming;
        assert_eq!(arming(&reactor), Arming::Polled(INPUT));
        reactor.change(token, INPUT);
        assert_eq!(ready_within(&reactor, 1000), [(token, INPUT)]);
        assert!(reactor.lock().changed.is_empty());
    }

    #[test]
    fn one_that_cannot_write_is_reported_when_it_can() {
        let reactor = Reactor::new().unwrap();
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        while ours.write(&[0; 65536]).is_ok() {}
        let token = reactor.watch(ours.as_raw_fd(), ROOM).unwrap();
        assert_eq!(ready_within(&reactor, 0), []);
        let mut taken = vec![0; 1 << 20];
        assert!(theirs.read(&mut taken).unwrap() > 0);
        theirs.set_nonblocking(true).unwrap();
        while theirs.read(&mut taken).is_ok_and(|size| size > 0) {}
        assert_eq!(ready_within(&reactor, 1000), [(token, ROOM)]);
        reactor.change(token, 0);
        assert_eq!(ready_within(&reactor, 0), []);
    }

    #[test]
    fn an_event_does_not_reach_the_next_tenant_of_a_descriptor() {
        let reactor = Reactor::new().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let number = ours.as_raw_fd();
        let old = reactor.watch(number, INPUT).unwrap();
        theirs.write_all(b"x").unwrap();
        assert_eq!(ready_within(&reactor, 1000), [(old, INPUT)]);
        reactor.forget(old);
        let (other, _peer) = UnixStream::pair().unwrap();
        // SAFETY: the number stays `ours`'s, which is a copy of `other` from here on.
        assert!(unsafe { libc::dup2(other.as_raw_fd(), number) } == number);
        let new = reactor.watch(number, INPUT).unwrap();
        assert_ne!(new, old);
        assert_eq!(ready_within(&reactor, 20), []);
        theirs.write_all(b"y").unwrap_err();
        assert_eq!(ready_within(&reactor, 20), []);
    }

    #[test]
    fn regular_files_are_always_ready() {
        let reactor = Reactor::new().unwrap();
        let file = File::open("/proc/self/exe").unwrap();
        let token = reactor.watch(file.as_raw_fd(), INPUT).unwrap();
        for _ in 0..2 {
            assert_eq!(ready_within(&reactor, 1000), [(token, INPUT)]);
        }
        reactor.change(token, 0);
        assert_eq!(ready_within(&reactor, 0), []);
        reactor.forget(token);
        assert_eq!(ready_within(&reactor, 0), []);
    }

    #[test]
    fn the_end_is_told_exactly() {
        let reactor = Reactor::new().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let token = reactor.watch(ours.as_raw_fd(), INPUT | libc::POLLPRI).unwrap();
        theirs.write_all(b"x").unwrap();
        drop(theirs);
        assert_eq!(ready_within(&reactor, 1000), [(token, INPUT | libc::POLLHUP)]);
    }

    #[test]
    fn a_descriptor_that_is_closed_while_watched_is_found() {
        let reactor = Reactor::new().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        // A number that no other test gets when it is free.
        // SAFETY: the call takes no pointer.
        let number = unsafe { libc::fcntl(ours.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 700) };
        assert!(number >= 700);
        drop(ours);
        let token = reactor.watch(number, INPUT).unwrap();
        theirs.write_all(b"x").unwrap();
        assert_eq!(ready_within(&reactor, 1000), [(token, INPUT)]);
        // SAFETY: it was made above, and nobody owns it.
        unsafe { libc::close(number) };
        assert_eq!(ready_within(&reactor, 5000), [(token, INVALID)]);
        reactor.forget(token);
        assert_eq!(ready_within(&reactor, 0), []);
    }

    #[test]
    fn a_file_that_outlives_its_descriptor_is_not_reported_for_ever() {
        let reactor = Reactor::new().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let _copy = ours.try_clone().unwrap();
        let token = reactor.watch(ours.as_raw_fd(), INPUT).unwrap();
        let (quiet, mut other) = UnixStream::pair().unwrap();
        let quiet_token = reactor.watch(quiet.as_raw_fd(), INPUT).unwrap();
        assert_eq!(ready_within(&reactor, 0), []);
        drop(ours);
        reactor.forget(token);
        theirs.write_all(b"x").unwrap();
        let begun = Instant::now();
        for _ in 0..STALE_WAITS {
            assert_eq!(ready_within(&reactor, 10_000), []);
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the copy was not reported: the test shows nothing"
        );
        assert_eq!(ready_within(&reactor, 20), []);
        other.write_all(b"x").unwrap();
        assert_eq!(ready_within(&reactor, 1000), [(quiet_token, INPUT)]);
    }

    #[test]
    fn a_second_thread_does_not_wait() {
        let reactor = Reactor::new().unwrap();
        let held = reactor.waiter.lock().unwrap();
        assert!(!reactor.wait(None, &mut Vec::new()).unwrap());
        drop(held);
        assert!(reactor.is_empty());
    }
}
