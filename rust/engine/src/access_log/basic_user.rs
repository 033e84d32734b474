//! The user name in an `Authorization` field of the scheme Basic. Nobody has checked the password.
//!
//! Source: RFC 7617 section 2, RFC 4648 section 4.

/// Longer credentials have no name: the limit keeps the name on the stack.
const MAX_ENCODED_BYTES: usize = 1024;

/// A name, without an allocation.
pub(super) struct UserName {
    bytes: [u8; MAX_ENCODED_BYTES / 4 * 3],
    length: usize,
}

impl UserName {
    /// The name in the field's value; `None` for another scheme, for what is no base64 or has no name in it.
    pub(super) fn of_authorization(value: &[u8]) -> Option<Self> {
        let (scheme, credentials) = value.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let encoded = credentials.trim_ascii();
        let encoded = encoded.strip_suffix(b"==").or(encoded.strip_suffix(b"=")).unwrap_or(encoded);
        if encoded.len() > MAX_ENCODED_BYTES {
            return None;
        }
        let mut name = Self { bytes: [0; MAX_ENCODED_BYTES / 4 * 3], length: 0 };
        let (mut bits, mut count) = (0_u32, 0);
        for &byte in encoded {
            bits = bits << 6 | digit(byte)?;
            count += 6;
            if count >= 8 {
                count -= 8;
                let decoded = (bits >> count & 0xff) as u8;
                if decoded == b':' {
                    break;
                }
                *name.bytes.get_mut(name.length)? = decoded;
                name.length += 1;
            }
        }
        (name.length > 0).then_some(name)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

fn digit(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(value: &[u8]) -> Option<Vec<u8>> {
        UserName::of_authorization(value).map(|name| name.as_bytes().to_vec())
    }

    #[test]
    fn the_name_is_what_stands_before_the_first_colon() {
        assert_eq!(name(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), Some(b"Aladdin".to_vec()));
        assert_eq!(name(b"bAsIc  YTpiOmM="), Some(b"a".to_vec()));
        assert_eq!(name(b"Basic /+8="), Some(vec![0xff, 0xef]));
        assert_eq!(name(b"Basic YTpi"), Some(b"a".to_vec()));
    }

    #[test]
    fn what_is_no_name_is_none() {
        for value in
            [&b""[..], b"Basic", b"Basic ", b"Bearer QWxhZGRpbg==", b"Basic Q*xh", b"Basic Onh4", b"Basic ="]
        {
            assert_eq!(name(value), None, "{value:?}");
        }
        let long = [b"Basic ".to_vec(), vec![b'A'; MAX_ENCODED_BYTES + 1]].concat();
        assert_eq!(name(&long), None);
        let longest = [b"Basic ".to_vec(), vec![b'Q'; MAX_ENCODED_BYTES]].concat();
        assert_eq!(name(&longest).map(|name| name.len()), Some(768));
    }
}
