//! What a peer can do wrong, as a value: kind, offset, status hint, limit.
//!
//! One table ([`ErrorKind`]) holds every kind of every consumer with all that is known of it, so that a kind cannot
//! exist without a name, a class and an example. Knows no consumer and no exception; the binding maps
//! [`ErrorClass`] to Python classes.
use core::fmt;

/// The families of errors; each is one exception class in Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The bytes break the protocol's grammar.
    Malformed,
    /// A limit was reached.
    TooLarge,
    /// Well formed, but not something this side does.
    Unsupported,
    /// The stream ended inside a message.
    Truncated,
}

/// Write the enum, its examples and its properties from one row a kind:
/// `Kind { limit_bytes } = "name", Class, status, "description";`
macro_rules! error_kinds {
    ($($(#[$doc:meta])* $kind:ident $({ $limit:ident })? = $name:literal, $class:ident, $status:expr, $text:literal;)*) => {
        /// What went wrong, with the limit that was reached where there is one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* $kind $({
                /// The limit that was reached, in the unit that it is named after.
                $limit: u64,
            })?,)*
        }

        impl ErrorKind {
            /// One of each kind, with limits of 0: for tests that must know them all.
            pub const EXAMPLES: &'static [Self] = &[$(Self::$kind $({ $limit: 0 })?,)*];

            /// The kind's stable name, in `snake_case`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind $({ $limit: _ })? => $name,)* }
            }

            /// The family it belongs to.
            pub const fn class(self) -> ErrorClass {
                match self { $(Self::$kind $({ $limit: _ })? => ErrorClass::$class,)* }
            }

            /// The HTTP status that says this best; `None` if nobody is left to be told.
            pub const fn status(self) -> Option<u16> {
                match self { $(Self::$kind $({ $limit: _ })? => $status,)* }
            }

            /// What it means, in a few words without the peer's bytes.
            pub const fn description(self) -> &'static str {
                match self { $(Self::$kind $({ $limit: _ })? => $text,)* }
            }

            /// The limit that was reached, in bytes; `None` for kinds that are no matter of bytes.
            pub const fn limit_bytes(self) -> Option<u64> {
                match self { $(Self::$kind $({ $limit })? => error_kinds!(@bytes $($limit $limit)?),)* }
            }

            /// The limit that was reached, in field lines; `None` for all other kinds.
            pub const fn limit_fields(self) -> Option<u64> {
                match self { $(Self::$kind $({ $limit })? => error_kinds!(@fields $($limit $limit)?),)* }
            }
        }
    };
    (@bytes limit_bytes $limit:ident) => { Some($limit) };
    (@bytes $($other:ident $limit:ident)?) => {{ $(let _other = $limit;)? None }};
    (@fields limit_fields $limit:ident) => { Some($limit) };
    (@fields $($other:ident $limit:ident)?) => {{ $(let _other = $limit;)? None }};
}

error_kinds! {
    /// No line feed within the limit.
    LineTooLong { limit_bytes } = "line_too_long", TooLarge, Some(413), "the line is too long";
    /// No delimiter within the limit.
    MessageTooLong { limit_bytes } = "message_too_long", TooLarge, Some(413), "the message is too long";
    /// The announced length, prefix included, is above the limit.
    LengthTooLarge { limit_bytes } = "length_too_large", TooLarge, Some(413), "the announced length is too large";
    /// This machine refused the memory; the limit is what had been taken.
    OutOfMemory { limit_bytes } = "out_of_memory", TooLarge, Some(503), "there is no memory for the message";
    /// A varint with needless zero groups at its end.
    LengthOverlong = "length_overlong", Malformed, Some(400), "the length is not in its shortest form";
    /// A varint above 2^64 - 1.
    LengthOverflow = "length_overflow", Malformed, Some(400), "the length does not fit into 64 bits";
    /// Not `method SP target SP version`, or too many empty lines before it.
    BadRequestLine = "bad_request_line", Malformed, Some(400), "the request line is not method, target and version";
    /// Not `version SP status SP reason`.
    BadStatusLine = "bad_status_line", Malformed, Some(400), "the status line is not version, status and reason";
    /// Not the version of any HTTP.
    BadHttpVersion = "bad_http_version", Malformed, Some(400), "the version is not one of HTTP";
    /// An HTTP of another major version than 1.
    UnsupportedHttpVersion = "unsupported_http_version", Unsupported, Some(505), "the version of HTTP is not 1.x";
    /// None of the four forms of a target, or not one for this method.
    BadTarget = "bad_target", Malformed, Some(400), "the request target is malformed";
    /// No end of the request line within the limit.
    RequestLineTooLong { limit_bytes } = "request_line_too_long", TooLarge, Some(414), "the request line is too long";
    /// No end of the head within the limit.
    HeadTooLarge { limit_bytes } = "head_too_large", TooLarge, Some(431), "the head is too large";
    /// More field lines than the limit.
    TooManyFields { limit_fields } = "too_many_fields", TooLarge, Some(431), "there are too many field lines";
    /// A line feed without a carriage return before it, where a line has to end with both.
    BareLineFeed = "bare_line_feed", Malformed, Some(400), "a line ends without a carriage return";
    /// A field line that begins with white space: the obsolete way to continue the line before.
    FoldedFieldLine = "folded_field_line", Malformed, Some(400), "a field line begins with white space";
    /// No field name with a colon right behind it.
    BadFieldName = "bad_field_name", Malformed, Some(400), "a field line does not begin with a name and a colon";
    /// A control byte in a field's value.
    BadFieldValue = "bad_field_value", Malformed, Some(400), "a field value has a control byte in it";
    /// No Host field where there has to be one.
    MissingHost = "missing_host", Malformed, Some(400), "there is no Host field";
    /// A second Host field.
    RepeatedHost = "repeated_host", Malformed, Some(400), "there is more than one Host field";
    /// A Host field that is no host, or no port behind it.
    BadHost = "bad_host", Malformed, Some(400), "the Host field is malformed";
    /// An expectation other than `100-continue`.
    UnsupportedExpectation = "unsupported_expectation", Unsupported, Some(417), "an expectation is not known";
    /// Something else than decimal digits.
    BadContentLength = "bad_content_length", Malformed, Some(400), "the Content-Length is not a number";
    /// A second Content-Length field.
    RepeatedContentLength = "repeated_content_length", Malformed, Some(400), "there is more than one Content-Length";
    /// Two ways to say where the body ends.
    LengthAndTransferEncoding = "length_and_transfer_encoding", Malformed, Some(400),
        "there are both Content-Length and Transfer-Encoding";
    /// `chunked` twice or not last, an empty coding, or a coding in HTTP/1.0.
    BadTransferEncoding = "bad_transfer_encoding", Malformed, Some(400), "the Transfer-Encoding makes no sense";
    /// A transfer coding other than `chunked`.
    UnsupportedTransferCoding = "unsupported_transfer_coding", Unsupported, Some(501),
        "a transfer coding is not chunked";
    /// The body is longer than the limit, or announced to be.
    BodyTooLarge { limit_bytes } = "body_too_large", TooLarge, Some(413), "the body is too large";
    /// Not one to sixteen hexadecimal digits, or no end of the line behind them.
    BadChunkSize = "bad_chunk_size", Malformed, Some(400), "the size of a chunk is malformed";
    /// An extension that is none.
    BadChunkExtension = "bad_chunk_extension", Malformed, Some(400), "a chunk extension is malformed";
    /// More extensions than the limit, over all chunks of a body.
    ChunkExtensionsTooLarge { limit_bytes } = "chunk_extensions_too_large", TooLarge, Some(413),
        "the chunk extensions are too large";
    /// Something else than the end of a line behind a chunk.
    BadChunkEnd = "bad_chunk_end", Malformed, Some(400), "a chunk is longer than its size";
    /// No end of the trailers within the limit.
    TrailersTooLarge { limit_bytes } = "trailers_too_large", TooLarge, Some(431), "the trailers are too large";
    /// The stream ended inside a message.
    Truncated = "truncated", Truncated, None, "the stream ended inside a message";
}

/// A peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProtocolError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// How many bytes of this message had been taken when the fault was certain: it lies right before this offset.
    pub offset_bytes: u64,
}

impl ProtocolError {
    /// An error of this kind, certain after `offset_bytes` bytes.
    pub const fn new(kind: ErrorKind, offset_bytes: u64) -> Self {
        Self { kind, offset_bytes }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind.description())?;
        if let Some(limit) = self.kind.limit_bytes() {
            write!(f, " (limit {limit} bytes)")?;
        }
        if let Some(limit) = self.kind.limit_fields() {
            write!(f, " (limit {limit} fields)")?;
        }
        write!(f, ", at byte {}", self.offset_bytes)
    }
}

impl core::error::Error for ProtocolError {}

/// A value that no encoding could bring across: it would be read back as something else, or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unencodable;

impl fmt::Display for Unencodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value cannot be framed: it would not be read back as it is")
    }
}

impl core::error::Error for Unencodable {}

/// There was no memory to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no memory for it")
    }
}

impl core::error::Error for OutOfMemory {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{collections::BTreeSet, string::ToString};

    #[test]
    fn every_kind_has_its_own_name() {
        let names: BTreeSet<_> = ErrorKind::EXAMPLES.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), ErrorKind::EXAMPLES.len());
    }

    #[test]
    fn exactly_the_kinds_of_size_have_a_limit() {
        for kind in ErrorKind::EXAMPLES {
            let limits = [kind.limit_bytes(), kind.limit_fields()].into_iter().flatten().count();
            assert_eq!(limits, usize::from(kind.class() == ErrorClass::TooLarge), "{kind:?}");
        }
    }

    #[test]
    fn an_error_reads_as_a_sentence() {
        let error = ProtocolError::new(ErrorKind::LineTooLong { limit_bytes: 80 }, 80);
        assert_eq!(error.to_string(), "the line is too long (limit 80 bytes), at byte 80");
        let error = ProtocolError::new(ErrorKind::TooManyFields { limit_fields: 8 }, 90);
        assert_eq!(error.to_string(), "there are too many field lines (limit 8 fields), at byte 90");
    }
}
