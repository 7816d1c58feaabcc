//! Record data in a fetch response: pieces of the log that are sent without copying them.

use std::fmt;

use bytes::Bytes;

/// Record batches back to back, in as many pieces as the log gave out. One piece costs no
/// allocation. Two values are equal if their bytes are, however they are cut.
#[derive(Clone, Default)]
pub struct Records {
    first: Bytes,
    rest: Vec<Bytes>,
}

impl Records {
    /// Appends a piece; an empty one is dropped.
    pub fn push(&mut self, piece: Bytes) {
        if self.first.is_empty() {
            self.first = piece;
        } else if !piece.is_empty() {
            self.rest.push(piece);
        }
        assert!(!self.first.is_empty() || self.rest.is_empty(), "the first piece has bytes");
    }

    /// Sum of the pieces' bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces().map(Bytes::len).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The pieces in order; none of them is empty.
    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first).filter(|first| !first.is_empty()).chain(&self.rest)
    }

    /// All bytes in one piece; copies only if there are several.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        if self.rest.is_empty() {
            return self.first.clone();
        }
        let mut whole = Vec::with_capacity(self.len());
        self.pieces().for_each(|piece| whole.extend_from_slice(piece));
        assert!(whole.len() == self.len(), "every piece once");
        Bytes::from(whole)
    }
}

impl From<Bytes> for Records {
    fn from(first: Bytes) -> Records {
        Records { first, rest: Vec::new() }
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Records) -> bool {
        self.pieces().flatten().eq(other.pieces().flatten())
    }
}

impl Eq for Records {}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Records({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_ignores_where_the_pieces_are_cut() {
        let mut cut = Records::default();
        for piece in ["", "ab", "", "c"] {
            cut.push(Bytes::from_static(piece.as_bytes()));
        }
        let whole = Records::from(Bytes::from_static(b"abc"));
        assert_eq!(cut, whole);
        assert_eq!((cut.len(), cut.pieces().count()), (3, 2));
        assert_eq!(cut.to_bytes(), whole.to_bytes());
        assert_ne!(cut, Records::default());
    }
}
