//! `Reactor`: level-triggered readiness of descriptors that belong to somebody else, for a loop in Python.
//!
//! What the owner wants to hear of a descriptor is only noted, and put into effect when the loop waits
//! (`registrations`): so interest that comes and goes between two waits costs nothing. Owners make mistakes, which must
//! cost neither events nor processor time: a descriptor that is closed while it is watched is found when the loop is
//! about to sleep (`open_checks`); readiness of a file that outlives its number (a copy elsewhere holds it open) makes
//! the reactor begin anew. Tokens carry a generation, so an event never reaches the next tenant of a number. Must not
//! know Python, or what a descriptor is for.

mod open_checks;
mod registrations;

use std::io;
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use self::registrations::{Arming, Registrations, Watch};
use crate::level_trigger::LevelTrigger;
use crate::open_descriptors::{note_closed, note_open};
use crate::token::Token;

const EVENTS_PER_WAIT: usize = 1024;
/// So many waits in a row with news of a number that nobody watches: the file outlives it.
const STALE_WAITS: u32 = 2;

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
        let registrations = Registrations::new(LevelTrigger::of(&poll)?);
        let waiter = Waiter { poll, events: Events::with_capacity(EVENTS_PER_WAIT) };
        Ok(Self { registrations: Mutex::new(registrations), waiter: Mutex::new(waiter) })
    }

    /// Watches a descriptor for `wanted` (flags of poll(2)) from the next wait on; its token. `None`: too many.
    pub fn watch(&self, descriptor: RawFd, wanted: i16) -> Option<Token> {
        let mut registrations = self.lock();
        let token = registrations.watches.insert(Watch::new(descriptor, wanted))?;
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
                    waiter.begin_anew(&mut registrations)?;
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

impl Waiter {
    /// Gives up a poll that reports what cannot be unregistered any more, for a new one.
    fn begin_anew(&mut self, registrations: &mut Registrations) -> io::Result<()> {
        let poll = new_poll()?;
        registrations.move_to(LevelTrigger::of(&poll)?);
        note_closed(&self.poll);
        self.poll = poll;
        Ok(())
    }
}

/// A poll that the child of a fork closes.
fn new_poll() -> io::Result<Poll> {
    let poll = Poll::new()?;
    note_open(&poll);
    Ok(poll)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::registrations::{INVALID, ROOM};
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
