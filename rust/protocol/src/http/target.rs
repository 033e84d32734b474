//! The target of a request in its four forms, each allowed only where it means something.
//!
//! Not decoded and not normalised: what a server takes for equal is its own affair. Refused is what no browser sends (a
//! fragment, double quotes, angle brackets, a backslash in the path, anything above ASCII). What they do not encode,
//! against RFC 3986, passes: square and curly brackets, `|`, `^` and backquotes, and in the query backslashes and lone
//! percent signs.
//! Source: RFC 9112 section 3.2, RFC 3986 section 3; the path and the query percent-encode set of the URL standard.
use super::grammar::ByteSet;
use super::host::{are_escapes_whole, split_authority};
use core::ops::Range;

static PATH: ByteSet = ByteSet::alphanumeric_and(b"-._~!$&'()*+,;=:@/%[]{}|^`");
static QUERY: ByteSet = ByteSet::alphanumeric_and(b"-._~!$&'()*+,;=:@/%[]{}|^`?\\");

/// How a target is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetForm {
    /// `/path?query`: the usual one.
    Origin,
    /// `http://host/path?query`: to a proxy, but any server has to take it.
    Absolute,
    /// `host:port`: of CONNECT, and of nothing else.
    Authority,
    /// `*`: of OPTIONS, and of nothing else.
    Asterisk,
}

/// Where the parts of a target lie in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// How it is written.
    pub form: TargetForm,
    /// Host and port; empty in the origin and the asterisk form.
    pub authority: Range<usize>,
    /// The path; empty where there is none (the asterisk form has none).
    pub path: Range<usize>,
    /// The query without its question mark.
    pub query: Option<Range<usize>>,
}

impl Target {
    /// Take a target apart; `None` if it is none, or not one for this method.
    pub fn parse(method: &[u8], target: &[u8]) -> Option<Self> {
        if method == b"CONNECT" {
            let (host, port) = split_authority(target)?;
            let is_complete = !host.is_empty() && port.is_some_and(|port| !port.is_empty());
            let nothing = target.len()..target.len();
            return is_complete.then_some(Self {
                form: TargetForm::Authority,
                authority: 0..target.len(),
                path: nothing,
                query: None,
            });
        }
        match target {
            [b'/', ..] => Self::with_path(TargetForm::Origin, 0..0, target, 0),
            b"*" if method == b"OPTIONS" => {
                Some(Self { form: TargetForm::Asterisk, authority: 0..0, path: 0..0, query: None })
            }
            _ => Self::absolute(target),
        }
    }

    fn absolute(target: &[u8]) -> Option<Self> {
        let start = [&b"http://"[..], b"https://"]
            .iter()
            .find(|scheme| {
                target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
            })?
            .len();
        let rest = &target[start..];
        let len = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        let (host, _) = split_authority(&rest[..len])?;
        if host.is_empty() {
            return None;
        }
        Self::with_path(TargetForm::Absolute, start..start + len, target, start + len)
    }

    fn with_path(form: TargetForm, authority: Range<usize>, target: &[u8], start: usize) -> Option<Self> {
        let rest = &target[start..];
        let (path, query) = match memchr::memchr(b'?', rest) {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        let is_good =
            PATH.has_all(path) && are_escapes_whole(path) && query.is_none_or(|query| QUERY.has_all(query));
        is_good.then(|| Self {
            form,
            authority,
            path: start..start + path.len(),
            query: query.map(|query| target.len() - query.len()..target.len()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;

    fn parts<'a>(method: &str, target: &'a str) -> Option<(TargetForm, &'a str, &'a str, Option<&'a str>)> {
        let parsed = Target::parse(method.as_bytes(), target.as_bytes())?;
        Some((
            parsed.form,
            &target[parsed.authority],
            &target[parsed.path],
            parsed.query.map(|at| &target[at]),
        ))
    }

    #[test]
    fn the_four_forms() {
        use TargetForm::{Absolute, Asterisk, Authority, Origin};
        assert_eq!(parts("GET", "/a/b?c=d?e"), Some((Origin, "", "/a/b", Some("c=d?e"))));
        assert_eq!(parts("GET", "/"), Some((Origin, "", "/", None)));
        assert_eq!(parts("GET", "/?"), Some((Origin, "", "/", Some(""))));
        assert_eq!(parts("GET", "//b.example/x"), Some((Origin, "", "//b.example/x", None)));
        assert_eq!(parts("GET", "/%2F[a]{b}|^`"), Some((Origin, "", "/%2F[a]{b}|^`", None)));
        assert_eq!(parts("GET", "/?100%"), Some((Origin, "", "/", Some("100%"))));
        assert_eq!(parts("GET", r"/?p=C:\d"), Some((Origin, "", "/", Some(r"p=C:\d"))));
        assert_eq!(parts("GET", "http://b:80/x?y"), Some((Absolute, "b:80", "/x", Some("y"))));
        assert_eq!(parts("GET", "HTTPS://[::1]"), Some((Absolute, "[::1]", "", None)));
        assert_eq!(parts("GET", "http://b?q"), Some((Absolute, "b", "", Some("q"))));
        assert_eq!(parts("CONNECT", "a:443"), Some((Authority, "a:443", "", None)));
        assert_eq!(parts("OPTIONS", "*"), Some((Asterisk, "", "", None)));
    }

    /// All of visible ASCII that the URL standard does not have browsers encode; they make a slash of a backslash in
    /// the path, and begin the query and the fragment at `?` and `#`.
    #[test]
    fn what_browsers_do_not_encode_passes() {
        let visible = || (b'!'..=b'~').map(char::from);
        let query: String = visible().filter(|byte| !"\"#<>'".contains(*byte)).collect();
        let path: String = query.chars().filter(|byte| !"?`{}^\\%".contains(*byte)).collect();
        let target = format!("/{path}?{query}");
        let expected = (TargetForm::Origin, "", &target[..=path.len()], Some(query.as_str()));
        assert_eq!(parts("GET", &target), Some(expected));
    }

    #[test]
    fn a_form_is_refused_where_it_means_nothing() {
        for (method, target) in [
            ("GET", "*"),
            ("GET", "a:443"),
            ("GET", "foo/bar"),
            ("GET", ""),
            ("CONNECT", "/"),
            ("CONNECT", "a"),
            ("CONNECT", "a:"),
            ("CONNECT", ":443"),
            ("CONNECT", "http://a/"),
            ("OPTIONS", "**"),
            ("options", "*"),
        ] {
            assert_eq!(parts(method, target), None, "{method} {target}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for target in [
            "/a#b",
            "/a b",
            "/a\tb",
            "/a\"b",
            "/a<b",
            "/a>b",
            "/a\\b",
            "/é",
            "/a\0",
            "/%",
            "/%4",
            "/%zz",
            "/?a#b",
            "/?a\"b",
            "http://",
            "http:///x",
            "http://u:p@b/",
            "http://b:x/",
            "http:/b/",
            "ftp://b/",
            "http://b\\x/",
            "http://b\\?q",
            "http://b/#",
            "://b/",
            "http:x",
        ] {
            assert_eq!(parts("GET", target), None, "{target}");
        }
    }
}
