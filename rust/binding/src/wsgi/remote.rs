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
use wiretask_protocol::http::answer::decimal_digits;

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
            let (digits, start) = decimal_digits(u64::from(address.port()));
            (host(py, address.ip()), Some(latin1(py, &digits[start..])))
        }
        PeerAddress::Unix(_) => (pyo3::intern!(py, "localhost").clone(), None),
    }
}

/// Addresses as str.
#[derive(Default)]
struct Known {
    /// The one that was asked for last: behind a proxy it is always the same.
    last: Option<(IpAddr, Py<PyString>)>,
    all: HashMap<IpAddr, Py<PyString>>,
}

fn host(py: Python<'_>, address: IpAddr) -> Bound<'_, PyString> {
    static KNOWN: PyOnceLock<Mutex<Known>> = PyOnceLock::new();
    // Never waits: whoever has the lock holds the interpreter, and runs no Python.
    let mut known = KNOWN.get_or_init(py, Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((last, host)) = &known.last
        && *last == address
    {
        return host.bind(py).clone();
    }
    let host = known.all.get(&address).map(|host| host.bind(py).clone()).unwrap_or_else(|| {
        let host = PyString::new(py, &address.to_string());
        if known.all.len() >= MAX_ADDRESSES {
            known.all.clear();
        }
        known.all.insert(address, host.clone().unbind());
        host
    });
    known.last = Some((address, host.clone().unbind()));
    host
}
