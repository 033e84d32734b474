//! Header fields as an environ has them: `HTTP_USER_AGENT` for `User-Agent`, and its value.
//!
//! Strategy: the keys that were made are kept, for as long as there are not too many of them: clients send the same
//! few names, written the same way, again and again; some of these, always with the same values, which are kept too.
//! Of no other field is a value kept: it may be a secret.
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

use crate::latin1::latin1;

/// So many are kept, and interned; what a hostile client makes up cannot grow without end. (CPython 3.12 never lets
/// an interned str go.)
const MAX_KEYS: usize = 512;
/// Longer ones are made anew each time.
const MAX_NAME_BYTES: usize = 64;
/// Longer values are not kept.
const MAX_VALUE_BYTES: usize = 256;
/// What clients send most, and with the same values: the last one is kept. None of these says who somebody is.
const REPEATED_NAMES: [&str; 21] = [
    "Accept",
    "Accept-Charset",
    "Accept-Encoding",
    "Accept-Language",
    "Cache-Control",
    "Connection",
    "Content-Type",
    "DNT",
    "Expect",
    "Host",
    "Keep-Alive",
    "Pragma",
    "Priority",
    "Sec-Fetch-Dest",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Site",
    "TE",
    "Transfer-Encoding",
    "Upgrade-Insecure-Requests",
    "User-Agent",
    "X-Requested-With",
];

/// What clients send as often, with values that are others' affair or change. The keys of these and the ones above are
/// kept from the start, whatever others make up; in lower case, too.
const COMMON_NAMES: [&str; 13] = [
    "Authorization",
    "Content-Length",
    "Cookie",
    "Forwarded",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "Origin",
    "Range",
    "Referer",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
];

type Keys = HashMap<Box<[u8]>, Option<Known>, BuildHasherDefault<Fnv>>;

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

/// A key that is kept.
struct Known {
    key: Key,
    is_repeated: bool,
    /// ASCII only.
    last_value: Option<Py<PyString>>,
}

impl Known {
    fn value<'py>(&mut self, py: Python<'py>, value: &[u8]) -> Bound<'py, PyString> {
        if let Some(last) = &self.last_value
            && last.bind(py).to_str().is_ok_and(|last| last.as_bytes() == value)
        {
            return last.bind(py).clone();
        }
        let text = latin1(py, value);
        if self.is_repeated && value.len() <= MAX_VALUE_BYTES && value.is_ascii() {
            self.last_value = Some(text.clone().unbind());
        }
        text
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
    with_key(py, name, |key, _| key)
}

/// The key of a field, as `key_of` has it, and its value.
pub fn entry_of<'py>(py: Python<'py>, name: &[u8], value: &[u8]) -> Option<(Key, Bound<'py, PyString>)> {
    with_key(py, name, |key, known| {
        let value = known.map_or_else(|| latin1(py, value), |known| known.value(py, value));
        (key, value)
    })
}

fn with_key<R>(py: Python<'_>, name: &[u8], look: impl FnOnce(Key, Option<&mut Known>) -> R) -> Option<R> {
    let keys = KEYS.get_or_init(py, || Mutex::new(common_keys(py)));
    // Never waits: whoever has the lock holds the interpreter, and runs no Python.
    let mut keys = keys.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(known) = keys.get_mut(name) {
        return known.as_mut().map(|known| look(known.key.clone_ref(py), Some(known)));
    }
    let is_kept = name.len() <= MAX_NAME_BYTES && keys.len() < MAX_KEYS;
    let key = make_key(py, name, is_kept);
    if is_kept {
        keys.insert(name.into(), key.as_ref().map(|key| keep(py, key, false)));
    }
    key.map(|key| look(key, None))
}

fn keep(py: Python<'_>, key: &Key, is_repeated: bool) -> Known {
    Known { key: key.clone_ref(py), is_repeated, last_value: None }
}

fn common_keys(py: Python<'_>) -> Keys {
    let names = REPEATED_NAMES.map(|name| (name, true)).into_iter();
    let names = names.chain(COMMON_NAMES.map(|name| (name, false)));
    let spellings = names.flat_map(|(name, is_repeated)| {
        [name.to_owned(), name.to_ascii_lowercase()].map(|name| (name, is_repeated))
    });
    let known = |(name, is_repeated): (String, bool)| {
        let key = make_key(py, name.as_bytes(), true);
        (Box::from(name.as_bytes()), key.map(|key| keep(py, &key, is_repeated)))
    };
    spellings.map(known).collect()
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
