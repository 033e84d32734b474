//! An answer: its head, and the body that the head announces. For clients, and for tests of servers.
//!
//! An interim answer (100 to 199) is an answer of its own, without a body; the next consumer reads what follows.
//! Where the head gives no length, the body ends where the stream does, and `end_of_input` completes it.
use super::framing::BodyFraming;
use super::message::{Head, Message};
use super::response_head::{Asked, ResponseHead};
use crate::lazy::Seeded;
use crate::limits::HttpLimits;
use alloc::vec::Vec;

/// Takes one answer.
pub type Response = Message<ResponseHead>;

impl Response {
    /// A consumer of one answer within these limits.
    pub fn new(limits: HttpLimits, asked: Asked) -> Self {
        Self::with_head(ResponseHead::new(limits, asked))
    }
}

impl Seeded for Response {
    type Seed = (HttpLimits, Asked);

    fn from_seed((limits, asked): (HttpLimits, Asked)) -> Self {
        Self::new(limits, asked)
    }
}

impl Head for ResponseHead {
    fn limits(&self) -> HttpLimits {
        self.limits()
    }

    fn framing(&self) -> BodyFraming {
        self.framing()
    }

    fn keep_alive(&self) -> bool {
        self.keep_alive()
    }

    fn take_bytes(&mut self) -> Vec<u8> {
        self.take_bytes()
    }

    #[cfg(feature = "count-work")]
    fn examined_bytes(&self) -> u64 {
        self.examined_bytes()
    }
}
