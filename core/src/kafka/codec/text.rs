//! Strings that are slices of the frame they came in.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;

/// Kafka allows no longer string, in classic and in flexible versions alike.
pub(crate) const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// UTF-8 text over shared bytes: cloning copies no text. A slice of a frame keeps the whole frame
/// alive, so what is stored for long should be copied into a `String`.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WireStr(Bytes);

impl WireStr {
    #[must_use]
    pub const fn from_static(text: &'static str) -> WireStr {
        WireStr(Bytes::from_static(text.as_bytes()))
    }

    /// The text if the bytes are UTF-8.
    pub(crate) fn from_utf8(bytes: Bytes) -> Option<WireStr> {
        std::str::from_utf8(&bytes).is_ok().then_some(WireStr(bytes))
    }

    /// The text with a replacement character for each invalid sequence, as Kafka reads client ids.
    pub(crate) fn from_utf8_lossy(bytes: Bytes) -> WireStr {
        match std::str::from_utf8(&bytes) {
            Ok(_) => WireStr(bytes),
            Err(_) => WireStr::from(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// The bytes as far as [`STRING_BYTES_MAX`] lets them stand. A longer text, which only an error
    /// message or a stored configuration value can be, is cut between characters.
    pub(crate) fn sendable(&self) -> &[u8] {
        if self.0.len() <= STRING_BYTES_MAX {
            return &self.0;
        }
        let end = self.as_str().floor_char_boundary(STRING_BYTES_MAX);
        assert!(
            end <= STRING_BYTES_MAX && end + 4 > STRING_BYTES_MAX,
            "no more is cut than must be"
        );
        &self.0[..end]
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("every constructor checks that the bytes are utf-8")
    }
}

impl Deref for WireStr {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for WireStr {
    fn from(text: &str) -> WireStr {
        WireStr(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for WireStr {
    fn from(text: String) -> WireStr {
        WireStr(Bytes::from(text))
    }
}

impl PartialEq<str> for WireStr {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for WireStr {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl Hash for WireStr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for WireStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for WireStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_utf8_is_refused_or_replaced() {
        let bytes = Bytes::from_static(b"a\xffb");
        assert_eq!(WireStr::from_utf8(bytes.clone()), None);
        assert_eq!(WireStr::from_utf8_lossy(bytes), "a\u{fffd}b");
    }

    #[test]
    fn text_beyond_the_limit_is_cut_between_characters() {
        let text = WireStr::from("é".repeat(STRING_BYTES_MAX));
        let sent = Bytes::copy_from_slice(text.sendable());
        assert_eq!(sent.len(), STRING_BYTES_MAX - 1);
        assert!(WireStr::from_utf8(sent).is_some());
    }

    #[test]
    fn text_of_a_frame_is_not_copied() {
        let frame = Bytes::from_static(b"orders");
        let text = WireStr::from_utf8(frame.clone()).unwrap();
        assert_eq!(text.as_str().as_ptr(), frame.as_ptr());
        assert_eq!(text.clone().as_str().as_ptr(), frame.as_ptr());
    }
}
