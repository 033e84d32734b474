//! Names of fields and methods that are in nearly every message: their str are made once and shared.
use crate::latin1::latin1;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

/// Field names as they are spelled by browsers, proxies, servers, and libraries that write lower case.
const NAMES: &str = "\
    Host Connection User-Agent Accept Accept-Encoding Accept-Language Cookie Referer Origin Cache-Control Pragma \
    Content-Type Content-Length Content-Encoding Transfer-Encoding Upgrade-Insecure-Requests DNT Priority TE Trailer \
    Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform \
    If-Modified-Since If-None-Match If-Match If-Range Range Authorization Expect Upgrade Keep-Alive Via Forwarded \
    X-Forwarded-For X-Forwarded-Proto X-Forwarded-Host X-Real-IP X-Request-ID X-Requested-With traceparent \
    Sec-WebSocket-Key Sec-WebSocket-Version Sec-WebSocket-Extensions Sec-WebSocket-Protocol \
    Access-Control-Request-Method Access-Control-Request-Headers Access-Control-Allow-Origin \
    Date Server Last-Modified ETag Expires Vary Set-Cookie Location Accept-Ranges Content-Range Age Allow \
    host connection user-agent accept accept-encoding accept-language cookie referer origin cache-control pragma \
    content-type content-length content-encoding transfer-encoding upgrade-insecure-requests priority \
    sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user if-modified-since if-none-match authorization \
    x-forwarded-for x-forwarded-proto x-forwarded-host x-real-ip x-request-id \
    date server last-modified etag expires vary set-cookie location \
    GET HEAD POST PUT DELETE OPTIONS CONNECT PATCH";

const SLOTS: usize = 256;

// Half of the slots stay free, so that a search is short, and comes to an end.
const _: () = {
    let (mut names, mut at) = (1, 0);
    while at < NAMES.len() {
        names += (NAMES.as_bytes()[at] == b' ') as usize;
        at += 1;
    }
    assert!(names <= SLOTS / 2);
};

/// The shared strings, each in the first free slot from that of its hash on.
type Table = [Option<(&'static [u8], Py<PyString>)>; SLOTS];

/// A name or a method as a str: a shared one, or one of its own.
pub(super) fn shared<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    static TABLE: PyOnceLock<Table> = PyOnceLock::new();
    let table = TABLE.get_or_init(py, || make_table(py));
    let mut slot = first_slot(bytes);
    while let Some((known, text)) = &table[slot % SLOTS] {
        if *known == bytes {
            return text.bind(py).clone();
        }
        slot += 1;
    }
    latin1(py, bytes)
}

fn make_table(py: Python<'_>) -> Table {
    let mut table = [const { None }; SLOTS];
    for known in NAMES.split(' ') {
        let mut slot = first_slot(known.as_bytes());
        while table[slot % SLOTS].is_some() {
            slot += 1;
        }
        table[slot % SLOTS] = Some((known.as_bytes(), PyString::new(py, known).unbind()));
    }
    table
}

/// From the length and three letters: a peer who makes many names collide gains nothing, as the table never grows.
fn first_slot(bytes: &[u8]) -> usize {
    let letter = |index: usize| usize::from(bytes.get(index).copied().unwrap_or_default());
    let len = bytes.len();
    len * 3 + letter(0) * 7 + letter(len / 2) * 31 + letter(len.saturating_sub(1)) * 13
}
