//! Each promise of the documentation of `ChannelState`, by example. `channel_laws.rs` has the laws.
#![allow(clippy::panic, clippy::unwrap_used)]

mod answers;
mod bodies;
mod endings;
mod lines;
mod requests;
mod sending;
mod spooling;
mod times;

use wiretask_protocol::channel::{ChannelLimits, ChannelState, OutputLimits};
use wiretask_protocol::native::NativeConsumer;

type State = ChannelState<NativeConsumer>;

/// Limits that no small example reaches, but for those of time.
const ROOMY: ChannelLimits = ChannelLimits {
    max_ready_requests: 4,
    max_ready_bytes: 1000,
    max_waiting_bytes: 1000,
    max_piece_bytes: 1000,
    high_watermark_bytes: 1000,
    low_watermark_bytes: 500,
    max_unsent_bytes: 1000,
    max_body_memory_bytes: None,
    output: OutputLimits { piece_bytes: 1000, max_memory_bytes: 1000, max_spooled_bytes: 0 },
    idle_timeout_ms: Some(1000),
    request_timeout_ms: Some(300),
    write_timeout_ms: Some(500),
};

/// Sends everything that waits.
fn send_all(state: &mut State, limits: &ChannelLimits, now_ms: u64) -> Vec<u8> {
    let mut sent = Vec::new();
    while let Some(mut outgoing) = state.begin_send(limits) {
        let bytes = outgoing.unsent().to_vec();
        outgoing.advance(bytes.len());
        state.handle_sent(outgoing, bytes.len(), false, now_ms);
        sent.extend(bytes);
    }
    sent
}
