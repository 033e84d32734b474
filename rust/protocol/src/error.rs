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
                /// The limit that was reached, in bytes.
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

            /// The limit that was reached, in bytes; `None` for kinds that are no matter of size.
            pub const fn limit_bytes(self) -> Option<u64> {
                match self { $(Self::$kind $({ $limit })? => error_kinds!(@limit $($limit)?),)* }
            }
        }
    };
    (@limit) => { None };
    (@limit $limit:ident) => { Some($limit) };
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
            assert_eq!(kind.limit_bytes().is_some(), kind.class() == ErrorClass::TooLarge, "{kind:?}");
        }
    }

    #[test]
    fn an_error_reads_as_a_sentence() {
        let error = ProtocolError::new(ErrorKind::LineTooLong { limit_bytes: 80 }, 80);
        assert_eq!(error.to_string(), "the line is too long (limit 80 bytes), at byte 80");
    }
}
