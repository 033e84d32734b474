//! A request: its head, and the body that the head announces.
use super::framing::BodyFraming;
use super::message::{Head, Message};
use super::request_head::RequestHead;
use crate::lazy::Seeded;
use crate::limits::HttpLimits;
use alloc::vec::Vec;

/// Takes one request.
pub type Request = Message<RequestHead>;

impl Request {
    /// A consumer of one request within these limits.
    pub fn new(limits: HttpLimits) -> Self {
        Self::with_head(RequestHead::new(limits))
    }
}

impl Seeded for Request {
    type Seed = HttpLimits;

    fn from_seed(limits: HttpLimits) -> Self {
        Self::new(limits)
    }
}

impl Head for RequestHead {
    fn limits(&self) -> HttpLimits {
        self.limits()
    }

    fn framing(&self) -> BodyFraming {
        self.framing()
    }

    fn keep_alive(&self) -> bool {
        self.keep_alive()
    }

    fn expects_continue(&self) -> bool {
        self.expects_continue()
    }

    fn split(&mut self) -> Option<Self> {
        let fresh = Self::new(self.limits());
        self.is_whole().then(|| core::mem::replace(self, fresh))
    }

    fn take_bytes(&mut self) -> Vec<u8> {
        self.take_bytes()
    }

    #[cfg(feature = "count-work")]
    fn examined_bytes(&self) -> u64 {
        self.examined_bytes()
    }
}
