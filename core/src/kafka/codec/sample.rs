//! Message values for tests, made from a stream of bytes that proptest can shrink.

use crate::ids::TopicId;
use bytes::Bytes;

use super::error_code::ErrorCode;
use super::records::Records;
use super::text::WireStr;

/// Bytes that decide every choice; when they run out all choices are 0, so that a shorter stream
/// gives a simpler value.
#[derive(Debug)]
pub(crate) struct Entropy<'a>(&'a [u8]);

impl<'a> Entropy<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Entropy<'a> {
        Entropy(bytes)
    }

    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// Mostly short, sometimes beyond one byte of varint and beyond the sharing threshold.
    fn length(&mut self) -> usize {
        match self.byte() {
            255 => 1500,
            254 => 200,
            byte => usize::from(byte % 8),
        }
    }
}

/// A value as a message of one version can carry it: absent fields have their defaults.
pub(crate) trait Sample {
    fn sample(entropy: &mut Entropy<'_>, version: i16) -> Self;
}

macro_rules! integers {
    ($($int:ty),*) => {$(
        impl Sample for $int {
            /// One in four is small, so that defaults such as −1 and 0 occur.
            fn sample(entropy: &mut Entropy<'_>, _: i16) -> Self {
                match entropy.byte() % 4 {
                    0 => <$int>::from(i8::from_be_bytes(entropy.array()) % 2),
                    _ => <$int>::from_be_bytes(entropy.array()),
                }
            }
        }
    )*};
}

integers!(i8, i16, i32, i64);

impl Sample for bool {
    fn sample(entropy: &mut Entropy<'_>, _: i16) -> Self {
        entropy.byte() % 2 == 1
    }
}

impl Sample for ErrorCode {
    fn sample(entropy: &mut Entropy<'_>, version: i16) -> Self {
        ErrorCode(i16::sample(entropy, version))
    }
}

impl Sample for [u8; 16] {
    fn sample(entropy: &mut Entropy<'_>, _: i16) -> Self {
        entropy.array()
    }
}

impl Sample for TopicId {
    fn sample(entropy: &mut Entropy<'_>, version: i16) -> Self {
        TopicId(Sample::sample(entropy, version))
    }
}

impl Sample for WireStr {
    fn sample(entropy: &mut Entropy<'_>, _: i16) -> Self {
        let length = entropy.length();
        let letter = entropy.byte();
        let text: String = (0..length).map(|i| char::from(letter.wrapping_add(i as u8))).collect();
        WireStr::from(text)
    }
}

impl Sample for Bytes {
    fn sample(entropy: &mut Entropy<'_>, _: i16) -> Self {
        let length = entropy.length();
        Bytes::from(vec![entropy.byte(); length])
    }
}

impl Sample for Records {
    fn sample(entropy: &mut Entropy<'_>, version: i16) -> Self {
        let mut records = Records::default();
        for _ in 0..entropy.byte() % 3 {
            records.push(Bytes::sample(entropy, version));
        }
        records
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(entropy: &mut Entropy<'_>, version: i16) -> Self {
        match entropy.byte() % 4 {
            0 => None,
            _ => Some(T::sample(entropy, version)),
        }
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(entropy: &mut Entropy<'_>, version: i16) -> Self {
        (0..entropy.byte() % 4).map(|_| T::sample(entropy, version)).collect()
    }
}
