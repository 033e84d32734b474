//! WSGI: what a worker is handed in place of a bare request, when the server serves an application.
//!
//! Strategy: Rust makes the environ and writes the answer; Python calls the application (`wiretask.wsgi`), so that no
//! Rust frame lies below it. Nothing here runs Python code, or drops the last reference to an application's object.
//! Source: PEP 3333.
mod access;
mod answer;
mod delivery;
mod disconnect_probe;
mod environ;
mod exchange;
mod given_head;
mod header_entries;
mod input;
mod remote;
mod request_body;
mod settings;
mod spare_buffer;
mod whole_body;

pub use access::peer_of;
pub use disconnect_probe::DisconnectProbe;
pub use exchange::Exchange;
pub use settings::WsgiSettings;
