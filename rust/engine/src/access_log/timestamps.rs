//! The present time, as the formats write it: in local time with its offset, made anew once a second.
//!
//! The one place of this crate that looks at the wall clock: it tells the time, and nothing waits by it.

use super::escape::write_padded;

/// The clock's reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) second: i64,
    pub(super) microsecond: u32,
}

/// How the second that was written last is written.
#[derive(Debug)]
pub(super) struct Timestamps {
    second: i64,
    /// `22/Nov/2026:14:05:56 +0000`.
    common: Vec<u8>,
    /// `2026-11-22T14:05:56`.
    iso: Vec<u8>,
    /// `+00:00`.
    iso_offset: Vec<u8>,
}

impl Timestamps {
    pub(super) fn new() -> Self {
        Self { second: i64::MIN, common: Vec::new(), iso: Vec::new(), iso_offset: Vec::new() }
    }

    /// As in a log of the Common Log Format, without its brackets.
    pub(super) fn write_common(&mut self, out: &mut Vec<u8>) {
        self.see(read_clock(false).second);
        out.extend_from_slice(&self.common);
    }

    /// As in RFC 3339, with microseconds.
    pub(super) fn write_iso(&mut self, out: &mut Vec<u8>) {
        let now = read_clock(true);
        self.see(now.second);
        out.extend_from_slice(&self.iso);
        out.push(b'.');
        write_padded(now.microsecond, 6, out);
        out.extend_from_slice(&self.iso_offset);
    }

    fn see(&mut self, second: i64) {
        if second != self.second {
            self.second = second;
            self.write_down(&LocalTime::at(second));
        }
    }

    fn write_down(&mut self, time: &LocalTime) {
        let month = MONTHS.get(time.month.saturating_sub(1) as usize).copied().unwrap_or("???");
        let (sign, offset) =
            (if time.offset_minutes < 0 { b'-' } else { b'+' }, time.offset_minutes.unsigned_abs());

        let out = &mut self.common;
        out.clear();
        write_padded(time.day, 2, out);
        out.push(b'/');
        out.extend_from_slice(month.as_bytes());
        out.push(b'/');
        write_padded(time.year, 4, out);
        out.push(b':');
        time.write_clock(out);
        out.extend_from_slice(&[b' ', sign]);
        write_padded(offset / 60, 2, out);
        write_padded(offset % 60, 2, out);

        let out = &mut self.iso;
        out.clear();
        write_padded(time.year, 4, out);
        out.push(b'-');
        write_padded(time.month, 2, out);
        out.push(b'-');
        write_padded(time.day, 2, out);
        out.push(b'T');
        time.write_clock(out);

        let out = &mut self.iso_offset;
        out.clear();
        out.push(sign);
        write_padded(offset / 60, 2, out);
        out.push(b':');
        write_padded(offset % 60, 2, out);
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LocalTime {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    offset_minutes: i32,
}

impl LocalTime {
    fn at(second: i64) -> Self {
        let time: libc::time_t = second;
        // SAFETY: all fields of a `tm` may be zero (its pointer too), and localtime_r reads and writes nothing but its
        // two arguments, which live longer than the call. It may read TZ the first time it is called in a process;
        // the interpreter, in whose `time` module it is called on import, has done that before.
        let parts = unsafe {
            let mut parts: libc::tm = std::mem::zeroed();
            libc::localtime_r(&raw const time, &raw mut parts);
            parts
        };
        let number = |value: i32| u32::try_from(value).unwrap_or(0);
        Self {
            year: number(parts.tm_year.saturating_add(1900)),
            month: number(parts.tm_mon) + 1,
            day: number(parts.tm_mday),
            hour: number(parts.tm_hour),
            minute: number(parts.tm_min),
            second: number(parts.tm_sec),
            offset_minutes: i32::try_from(parts.tm_gmtoff / 60).unwrap_or(0),
        }
    }

    fn write_clock(&self, out: &mut Vec<u8>) {
        write_padded(self.hour, 2, out);
        out.push(b':');
        write_padded(self.minute, 2, out);
        out.push(b':');
        write_padded(self.second, 2, out);
    }
}

/// Read the wall clock; where precision is not wanted, the kernel's note of a few milliseconds ago will do.
fn read_clock(is_precise: bool) -> Reading {
    #[cfg(target_os = "linux")]
    let clock = if is_precise { libc::CLOCK_REALTIME } else { libc::CLOCK_REALTIME_COARSE };
    #[cfg(not(target_os = "linux"))]
    let clock = {
        let _ = is_precise;
        libc::CLOCK_REALTIME
    };
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid, writable timespec for the duration of the call, which keeps no pointer to it. It does
    // not fail for these clocks; if it did, the time would be that of 1970.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    Reading { second: now.tv_sec, microsecond: u32::try_from(now.tv_nsec / 1000).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(time: LocalTime) -> (String, String, String) {
        let mut timestamps = Timestamps::new();
        timestamps.write_down(&time);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(&timestamps.common), text(&timestamps.iso), text(&timestamps.iso_offset))
    }

    #[test]
    fn times_are_written_as_both_formats_have_them() {
        let time =
            LocalTime { year: 2026, month: 3, day: 9, hour: 7, minute: 5, second: 1, offset_minutes: 330 };
        let expected = ("09/Mar/2026:07:05:01 +0530", "2026-03-09T07:05:01", "+05:30");
        let found = written(time);
        assert_eq!((found.0.as_str(), found.1.as_str(), found.2.as_str()), expected);
    }

    #[test]
    fn offsets_west_of_greenwich_are_negative() {
        let time = LocalTime {
            year: 1999,
            month: 12,
            day: 31,
            hour: 23,
            minute: 59,
            second: 60,
            offset_minutes: -210,
        };
        let found = written(time);
        assert_eq!(found.0, "31/Dec/1999:23:59:60 -0330");
        assert_eq!(found.2, "-03:30");
    }

    #[test]
    fn the_local_time_is_the_clocks() {
        // Whatever the time zone is, taking its offset off gives UTC.
        let time = LocalTime::at(1_000_000_000);
        let utc_minute = i64::from(time.hour * 60 + time.minute) - i64::from(time.offset_minutes);
        assert_eq!(utc_minute.rem_euclid(24 * 60), 60 + 46);
        assert_eq!((time.year, time.month, time.second), (2001, 9, 40));
    }

    #[test]
    fn the_second_is_written_anew_when_it_changes() {
        let mut timestamps = Timestamps::new();
        timestamps.see(1_000_000_000);
        let first = timestamps.iso.clone();
        timestamps.see(1_000_000_001);
        assert_ne!(timestamps.iso, first);
        timestamps.see(1_000_000_000);
        assert_eq!(timestamps.iso, first);
    }

    #[test]
    fn the_two_clocks_agree() {
        let (coarse, precise) = (read_clock(false), read_clock(true));
        assert!((precise.second - coarse.second).abs() <= 1);
        assert!(precise.second > 1_700_000_000);
        assert!(precise.microsecond < 1_000_000);
    }
}
