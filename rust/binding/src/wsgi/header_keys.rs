//! The names of header fields as an environ has them: `HTTP_USER_AGENT` for `User-Agent`.
//!
//! Strategy: the keys that were made are kept, for as long as there are not too many of them: clients send the same
//! few names, written the same way, again and again.
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

/// So many are kept, and interned; what a hostile client makes up cannot grow without end. (CPython 3.12 never lets
/// an interned str go.)
const MAX_KEYS: usize = 512;
/// Longer ones are made anew each time.
const MAX_NAME_BYTES: usize = 64;

/// What clients send most. These are kept from the start, whatever others make up; in lower case, too.
const COMMON_NAMES: [&str; 34] = [
    "Accept",
    "Accept-Charset",
    "Accept-Encoding",
    "Accept-Language",
    "Authorization",
    "Cache-Control",
    "Connection",
    "Content-Length",
    "Content-Type",
    "Cookie",
    "DNT",
    "Expect",
    "Forwarded",
    "Host",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "Keep-Alive",
    "Origin",
    "Pragma",
    "Priority",
    "Range",
    "Referer",
    "Sec-Fetch-Dest",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Site",
    "TE",
    "Transfer-Encoding",
    "Upgrade-Insecure-Requests",
    "User-Agent",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Requested-With",
];

type Keys = HashMap<Box<[u8]>, Option<Key>, BuildHasherDefault<Fnv>>;

/// The key of a field.
pub struct Key {
    /// As it stands in an environ.
    pub name: Py<PyString>,
    /// It says what a proxy knows of the request (`Forwarded`, `X-Forwarded-For` ...).
    pub is_forwarding: bool,
}

impl Key {
    fn clone_ref(&self, py: Python<'_>) -> Self {
        Self { name: self.name.clone_ref(py), is_forwarding: self.is_forwarding }
    }
}

/// The hash of Fowler, Noll and Vo. That names may be made to collide costs little: there are few, and short ones.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

static KEYS: PyOnceLock<Mutex<Keys>> = PyOnceLock::new();

/// The key of a field, or `None` for one that an environ does not have: a name with an underscore would be mistaken
/// for the one with a hyphen, which a proxy may have vouched for; and `Proxy`, of which libraries take the key for a
/// setting of the process (CVE-2016-5385).
pub fn key_of(py: Python<'_>, name: &[u8]) -> Option<Key> {
    let keys = KEYS.get_or_init(py, || Mutex::new(common_keys(py)));
    // Never waits: whoever has the lock holds the interpreter, and runs no Python.
    let mut keys = keys.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(key) = keys.get(name) {
        return key.as_ref().map(|key| key.clone_ref(py));
    }
    let is_kept = name.len() <= MAX_NAME_BYTES && keys.len() < MAX_KEYS;
    let key = make_key(py, name, is_kept);
    if is_kept {
        keys.insert(name.into(), key.as_ref().map(|key| key.clone_ref(py)));
    }
    key
}

fn common_keys(py: Python<'_>) -> Keys {
    let spellings = COMMON_NAMES.iter().flat_map(|name| [(*name).to_owned(), name.to_ascii_lowercase()]);
    spellings.map(|name| (Box::from(name.as_bytes()), make_key(py, name.as_bytes(), true))).collect()
}

fn make_key(py: Python<'_>, name: &[u8], is_kept: bool) -> Option<Key> {
    if name.contains(&b'_') || name.eq_ignore_ascii_case(b"proxy") {
        return None;
    }
    let upper = |byte: &u8| if *byte == b'-' { '_' } else { char::from(byte.to_ascii_uppercase()) };
    let text: String = name.iter().map(upper).collect();
    let key = match text.as_str() {
        "CONTENT_TYPE" | "CONTENT_LENGTH" => text,
        _ => format!("HTTP_{text}"),
    };
    let is_forwarding = key == "HTTP_FORWARDED" || key.starts_with("HTTP_X_FORWARDED_");
    let name = if is_kept { PyString::intern(py, &key) } else { PyString::new(py, &key) };
    Some(Key { name: name.unbind(), is_forwarding })
}
