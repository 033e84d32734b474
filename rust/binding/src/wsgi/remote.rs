//! Who is asking, as an environ says it.
//!
//! Strategy: nothing is kept for a connection, of which there are many that are idle; the str of an address is kept,
//! since many requests come from few addresses.
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;
use wiretask_engine::socket::PeerAddress;
use wiretask_protocol::http::answer::write_decimal;

use crate::latin1::latin1;

/// So many addresses are kept.
const MAX_ADDRESSES: usize = 1024;

/// The address of a peer, and its port; a Unix socket is `localhost`, and has none.
pub fn address_of<'py>(
    py: Python<'py>,
    peer: &PeerAddress,
) -> (Bound<'py, PyString>, Option<Bound<'py, PyString>>) {
    match peer {
        PeerAddress::Inet(address) => {
            let mut digits = Vec::with_capacity(5);
            write_decimal(u64::from(address.port()), &mut digits);
            (host(py, address.ip()), Some(latin1(py, &digits)))
        }
        PeerAddress::Unix(_) => (pyo3::intern!(py, "localhost").clone(), None),
    }
}

fn host(py: Python<'_>, address: IpAddr) -> Bound<'_, PyString> {
    static KNOWN: PyOnceLock<Mutex<HashMap<IpAddr, Py<PyString>>>> = PyOnceLock::new();
    let known = KNOWN.get_or_init(py, Mutex::default);
    // Never waits: whoever has the lock holds the interpreter, and runs no Python.
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(host) = known.get(&address) {
        return host.bind(py).clone();
    }
    let host = PyString::new(py, &address.to_string());
    if known.len() >= MAX_ADDRESSES {
        known.clear();
    }
    known.insert(address, host.clone().unbind());
    host
}
