//! A large consumer that is made at its first byte, on the heap.
//!
//! A server moves consumers about and keeps one for each connection that has begun a message; those of HTTP have so
//! much to remember that this should cost a pointer only. Before the first byte there is no heap.
use crate::consumer::StreamConsumer;
use crate::error::ProtocolError;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// A consumer that can be made later, from something small.
pub trait Seeded: StreamConsumer {
    /// What it is made from.
    type Seed: Copy;

    /// Make a fresh one. It must not be completed from the start.
    fn from_seed(seed: Self::Seed) -> Self;
}

/// The consumer, or what it will be made from.
#[derive(Debug)]
pub struct Lazy<C: Seeded> {
    seed: C::Seed,
    made: Option<Box<C>>,
}

impl<C: Seeded> Lazy<C> {
    /// One that is not made yet.
    pub fn new(seed: C::Seed) -> Self {
        Self { seed, made: None }
    }

    /// What it is made from.
    pub fn seed(&self) -> C::Seed {
        self.seed
    }

    /// The consumer; `None` before the first byte.
    pub fn get(&self) -> Option<&C> {
        self.made.as_deref()
    }

    /// The consumer, moved out; `None` before the first byte.
    pub fn into_made(self) -> Option<Box<C>> {
        self.made
    }

    /// The consumer; `None` before the first byte.
    pub fn get_mut(&mut self) -> Option<&mut C> {
        self.made.as_deref_mut()
    }
}

impl<C: Seeded> StreamConsumer for Lazy<C> {
    fn received(&mut self, data: &[u8]) -> usize {
        if data.is_empty() {
            return 0;
        }
        let seed = self.seed;
        self.made.get_or_insert_with(|| Box::new(C::from_seed(seed))).received(data)
    }

    fn is_completed(&self) -> bool {
        self.get().is_some_and(C::is_completed)
    }

    fn error(&self) -> Option<&ProtocolError> {
        self.get()?.error()
    }

    fn end_of_input(&mut self) {
        if let Some(consumer) = self.get_mut() {
            consumer.end_of_input();
        }
    }

    fn is_empty(&self) -> bool {
        self.get().is_some_and(C::is_empty)
    }

    fn is_started(&self) -> bool {
        self.get().is_some_and(C::is_started)
    }

    fn has_begun(&self) -> bool {
        self.get().is_some_and(C::has_begun)
    }

    fn first_line(&self) -> &[u8] {
        self.get().map_or(b"", C::first_line)
    }

    fn is_in_body(&self) -> bool {
        self.get().is_some_and(C::is_in_body)
    }

    fn held_body_bytes(&self) -> usize {
        self.get().map_or(0, C::held_body_bytes)
    }

    fn take_body(&mut self) -> Vec<u8> {
        self.get_mut().map_or_else(Vec::new, C::take_body)
    }

    fn split_head(&mut self) -> Option<Self> {
        let head = self.get_mut()?.split_head()?;
        Some(Self { seed: self.seed, made: Some(Box::new(head)) })
    }

    fn awaits_go_ahead(&self) -> bool {
        self.get().is_some_and(C::awaits_go_ahead)
    }

    fn note_go_ahead(&mut self) {
        if let Some(consumer) = self.get_mut() {
            consumer.note_go_ahead();
        }
    }
}
