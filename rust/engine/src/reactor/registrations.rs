//! `Registrations`: what is watched, and how the system is made to report it.
//!
//! Interest that changed is put into effect all at once, before a wait. Whoever newly wants to write is asked
//! directly first, all in one poll(2), for most sockets have room most of the time. Only readiness that is more than
//! plain input or room (errors, hang-ups, urgent data) is looked up with poll(2), which says it exactly. What the
//! poll refuses is always ready, and what is not open is reported as poll(2) would (`POLLNVAL`). Must not know who
//! waits, or how long.

use std::io;
use std::os::fd::RawFd;
use std::time::Instant;

use mio::Events;
use mio::event::Event;

use super::Ready;
use crate::level_trigger::LevelTrigger;
use crate::token::{Token, TokenSlab};

pub(super) const ROOM: i16 = libc::POLLOUT;
pub(super) const INVALID: i16 = libc::POLLNVAL;

/// How the system reports a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arming {
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
pub(super) struct Watch {
    pub(super) descriptor: RawFd,
    pub(super) wanted: i16,
    pub(super) arming: Arming,
    /// It stands in `Registrations::changed`.
    pub(super) is_changed: bool,
    /// It stands in `Registrations::touched`.
    pub(super) is_touched: bool,
    /// Where it stands among what is ready, if it does.
    place: usize,
}

#[derive(Debug)]
pub(super) struct Registrations {
    pub(super) trigger: LevelTrigger,
    pub(super) watches: TokenSlab<Watch>,
    /// Whose interest is to be put into effect.
    pub(super) changed: Vec<Token>,
    /// Those that are always ready, or closed.
    pub(super) unpolled: Vec<Token>,
    /// Those that had events since they were last known to be open.
    pub(super) touched: Vec<Token>,
    pub(super) needs_sweep: bool,
    pub(super) swept_at: Instant,
    pub(super) stale_waits: u32,
    asked: Vec<libc::pollfd>,
}

impl Watch {
    /// One whose interest is not in effect yet.
    pub(super) const fn new(descriptor: RawFd, wanted: i16) -> Self {
        Self {
            descriptor,
            wanted,
            arming: Arming::None,
            is_changed: true,
            is_touched: false,
            place: usize::MAX,
        }
    }
}

impl Registrations {
    /// Nothing is watched.
    pub(super) fn new(trigger: LevelTrigger) -> Self {
        Self {
            trigger,
            watches: TokenSlab::new(),
            changed: Vec::new(),
            unpolled: Vec::new(),
            touched: Vec::new(),
            needs_sweep: false,
            swept_at: Instant::now(),
            stale_waits: 0,
            asked: Vec::new(),
        }
    }

    /// Has the system report what is wanted now. Those who newly want to write and can are ready at once.
    pub(super) fn apply_changes(&mut self, ready: &mut Ready) -> io::Result<()> {
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

    /// Adds those that no poll reports: they are ready at every wait, as far as anything is wanted of them.
    pub(super) fn add_unpolled(&mut self, ready: &mut Ready) {
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

    /// Adds what the poll has reported, as far as it is still watched, and has it report that again.
    pub(super) fn add_events(&mut self, events: &Events, ready: &mut Ready) -> io::Result<()> {
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

    /// Registers all with another poll, from the next wait on.
    pub(super) fn move_to(&mut self, trigger: LevelTrigger) {
        self.trigger = trigger;
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
    }
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
