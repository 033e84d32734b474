//! Where the body of a message ends: a pure function of its head.
//!
//! `Framing*` take note of the fields that matter while they go by, and judge them together once the head is whole.
//! What could be read in two ways is refused, in requests and in answers alike: any repetition of Content-Length,
//! Content-Length beside Transfer-Encoding, and any coding but one `chunked`.
//! Source: RFC 9112 section 6, RFC 9110 section 8.6.
use super::grammar::{Version, decimal, list_members};
use crate::error::ErrorKind;

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// After so many bytes; 0 where there is no body.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// Where the stream ends (of an answer only).
    UntilClose,
}

/// What Transfer-Encoding said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Codings {
    #[default]
    Absent,
    /// `chunked` and nothing else.
    Chunked,
    /// Something that we do not undo, `chunked` perhaps after it.
    Unsupported { is_chunked: bool },
    /// Something after `chunked`, `chunked` twice, or an empty member.
    Malformed,
}

/// The framing fields of a head, as far as it has been read.
#[derive(Clone, Copy, Debug, Default)]
pub struct FramingFields {
    content_length: Option<u64>,
    codings: Codings,
}

impl FramingFields {
    /// Take note of a Content-Length line.
    ///
    /// # Errors
    /// [`ErrorKind::BadContentLength`], [`ErrorKind::RepeatedContentLength`] (even with the same value).
    pub fn add_content_length(&mut self, value: &[u8]) -> Result<(), ErrorKind> {
        let length = decimal(value).ok_or(ErrorKind::BadContentLength)?;
        if self.content_length.replace(length).is_some() {
            return Err(ErrorKind::RepeatedContentLength);
        }
        Ok(())
    }

    /// Take note of a Transfer-Encoding line: the lists of several are one list.
    pub fn add_transfer_encoding(&mut self, value: &[u8]) {
        for coding in list_members(value) {
            let is_chunked = coding.eq_ignore_ascii_case(b"chunked");
            self.codings = match self.codings {
                _ if coding.is_empty() => Codings::Malformed,
                Codings::Absent if is_chunked => Codings::Chunked,
                Codings::Absent | Codings::Unsupported { is_chunked: false } => {
                    Codings::Unsupported { is_chunked }
                }
                Codings::Chunked | Codings::Unsupported { is_chunked: true } | Codings::Malformed => {
                    Codings::Malformed
                }
            };
        }
    }

    /// The framing of a request.
    ///
    /// # Errors
    /// [`ErrorKind::LengthAndTransferEncoding`], [`ErrorKind::BadTransferEncoding`] (in HTTP/1.0 any),
    /// [`ErrorKind::UnsupportedTransferCoding`].
    pub fn of_request(&self, version: Version) -> Result<BodyFraming, ErrorKind> {
        Ok(self.announced(version)?.unwrap_or(BodyFraming::Length(0)))
    }

    /// The framing of an answer with this status to a request with this method.
    ///
    /// # Errors
    /// As [`FramingFields::of_request`].
    pub fn of_response(
        &self,
        version: Version,
        status: u16,
        request_method: &[u8],
    ) -> Result<BodyFraming, ErrorKind> {
        let announced = self.announced(version)?;
        let is_without_body = request_method == b"HEAD"
            || matches!(status, 100..200 | 204 | 304)
            || (request_method == b"CONNECT" && (200..300).contains(&status));
        if is_without_body {
            return Ok(BodyFraming::Length(0));
        }
        Ok(announced.unwrap_or(BodyFraming::UntilClose))
    }

    fn announced(&self, version: Version) -> Result<Option<BodyFraming>, ErrorKind> {
        match (self.codings, self.content_length) {
            (Codings::Absent, length) => Ok(length.map(BodyFraming::Length)),
            (_, Some(_)) => Err(ErrorKind::LengthAndTransferEncoding),
            (Codings::Malformed, None) => Err(ErrorKind::BadTransferEncoding),
            (_, None) if version == Version::Http10 => Err(ErrorKind::BadTransferEncoding),
            (Codings::Unsupported { .. }, None) => Err(ErrorKind::UnsupportedTransferCoding),
            (Codings::Chunked, None) => Ok(Some(BodyFraming::Chunked)),
        }
    }
}

/// Whether the connection outlives the message, as far as its sender says.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectionOptions {
    has_close: bool,
    has_keep_alive: bool,
}

impl ConnectionOptions {
    /// Take note of a Connection line.
    pub fn add(&mut self, value: &[u8]) {
        for option in list_members(value) {
            self.has_close |= option.eq_ignore_ascii_case(b"close");
            self.has_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// Whether another message may follow; `close` wins.
    pub fn keep_alive(&self, version: Version) -> bool {
        !self.has_close && (version == Version::Http11 || self.has_keep_alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_codings(lines: &[&str]) -> FramingFields {
        let mut fields = FramingFields::default();
        for line in lines {
            fields.add_transfer_encoding(line.as_bytes());
        }
        fields
    }

    #[test]
    fn only_one_chunked_is_a_coding_we_read() {
        for lines in [&["chunked"][..], &["Chunked"], &[" \tCHUNKED "]] {
            assert_eq!(with_codings(lines).of_request(Version::Http11), Ok(BodyFraming::Chunked));
            let error = Err(ErrorKind::BadTransferEncoding);
            assert_eq!(with_codings(lines).of_request(Version::Http10), error);
        }
        for lines in [
            &["gzip"][..],
            &["identity"],
            &["gzip, chunked"],
            &["gzip", "chunked"],
            &["xchunked"],
            &["\"chunked\""],
            &["chunked;a=b"],
            &["chunked chunked"],
            &["chunke"],
        ] {
            let error = Err(ErrorKind::UnsupportedTransferCoding);
            assert_eq!(with_codings(lines).of_request(Version::Http11), error, "{lines:?}");
        }
        for lines in [
            &["chunked, chunked"][..],
            &["chunked", "chunked"],
            &["chunked, gzip"],
            &["chunked", "identity"],
            &[""],
            &["chunked,"],
            &[",chunked"],
            &["gzip, chunked, chunked"],
            &["identity, chunked, identity, chunked"],
        ] {
            let error = Err(ErrorKind::BadTransferEncoding);
            assert_eq!(with_codings(lines).of_request(Version::Http11), error, "{lines:?}");
        }
    }

    #[test]
    fn a_length_is_given_once_and_not_beside_a_coding() {
        let mut fields = FramingFields::default();
        assert_eq!(fields.of_request(Version::Http11), Ok(BodyFraming::Length(0)));
        assert_eq!(fields.add_content_length(b"5"), Ok(()));
        assert_eq!(fields.of_request(Version::Http10), Ok(BodyFraming::Length(5)));
        assert_eq!(fields.add_content_length(b"5"), Err(ErrorKind::RepeatedContentLength));
        assert_eq!(fields.add_content_length(b"5, 5"), Err(ErrorKind::BadContentLength));
        fields.add_transfer_encoding(b"chunked");
        assert_eq!(fields.of_request(Version::Http11), Err(ErrorKind::LengthAndTransferEncoding));
    }

    #[test]
    fn an_answer_may_end_with_the_stream_or_have_no_body_at_all() {
        let mut fields = FramingFields::default();
        let version = Version::Http11;
        assert_eq!(fields.of_response(version, 200, b"GET"), Ok(BodyFraming::UntilClose));
        assert_eq!(fields.add_content_length(b"5"), Ok(()));
        assert_eq!(fields.of_response(version, 200, b"GET"), Ok(BodyFraming::Length(5)));
        for (status, method) in [(200, "HEAD"), (204, "GET"), (304, "GET"), (100, "POST"), (200, "CONNECT")] {
            let framing = fields.of_response(version, status, method.as_bytes());
            assert_eq!(framing, Ok(BodyFraming::Length(0)), "{status} {method}");
        }
        assert_eq!(fields.of_response(version, 403, b"CONNECT"), Ok(BodyFraming::Length(5)));
    }

    #[test]
    fn close_wins_and_only_the_later_version_keeps_alive_by_itself() {
        let options = |lines: &[&str]| {
            let mut options = ConnectionOptions::default();
            lines.iter().for_each(|line| options.add(line.as_bytes()));
            options
        };
        assert!(options(&[]).keep_alive(Version::Http11));
        assert!(!options(&[]).keep_alive(Version::Http10));
        assert!(options(&["Keep-Alive"]).keep_alive(Version::Http10));
        assert!(!options(&["upgrade, Close"]).keep_alive(Version::Http11));
        assert!(!options(&["close", "keep-alive"]).keep_alive(Version::Http10));
    }
}
