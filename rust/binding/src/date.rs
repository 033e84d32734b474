//! The present time as HTTP writes it, made once a second.
use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

thread_local! {
    /// The second that was written last, and its text.
    static LAST: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

/// Let `look` see the present time, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn with_date<R>(look: impl FnOnce(&[u8]) -> R) -> R {
    let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    LAST.with_borrow_mut(|last| {
        if last.0 != second {
            *last = (second, httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second)));
        }
        look(last.1.as_bytes())
    })
}
