//! Servers whose output overflows into files, and peers that do not read it.
#![allow(clippy::unwrap_used)]

use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;

use socket2::{Domain, Socket, Type};
use wiretask_engine::server_core::ServerConfig;
use wiretask_protocol::channel::{OutputLimits, Work};
use wiretask_protocol::native::NativeConsumer;

use super::{Client, Peer, loopback, write_patiently};

pub const ANSWER_BYTES: usize = 2 << 20;
pub const PIECE_BYTES: usize = 16 << 10;
pub const MEMORY_BYTES: usize = 64 << 10;

pub fn spooling_config(name: &str) -> ServerConfig {
    let mut config = super::config(name);
    let spooled = 16 << 20;
    config.limits.output =
        OutputLimits { piece_bytes: PIECE_BYTES, max_memory_bytes: MEMORY_BYTES, max_spooled_bytes: spooled };
    config.limits.max_unsent_bytes = MEMORY_BYTES + spooled;
    config.limits.high_watermark_bytes = 1 << 20;
    config.limits.low_watermark_bytes = 1 << 19;
    config
}

/// A listener whose connections have small buffers in the kernel, so that they are soon full.
pub fn narrow_listener() -> (OwnedFd, SocketAddr) {
    let (listener, address) = loopback();
    let socket = Socket::from(listener);
    socket.set_send_buffer_size(8192).unwrap();
    (socket.into(), address)
}

pub fn narrow_client(address: SocketAddr) -> Client<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8192).unwrap();
    socket.connect(&address.into()).unwrap();
    Client::new(socket.into())
}

/// Bytes in which every place looks different from its neighbours, near and far.
pub fn answer(length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from((index ^ (index >> 8) ^ (index >> 16)) & 255).unwrap()).collect()
}

/// "big": a large answer, in many writes; anything else: itself.
pub fn serve(peer: &Peer, work: Work<NativeConsumer>) {
    let Work::Request(request) = work else { return };
    if request.value() == b"big" {
        for chunk in answer(ANSWER_BYTES).chunks(10_000) {
            if !write_patiently(peer, chunk) {
                return;
            }
        }
    } else {
        peer.write(&[request.value(), b"\n"].concat());
    }
}
