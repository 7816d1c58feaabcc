//! The bounded cursor that every decoder reads from; it never copies and never trusts a length.

use bytes::Bytes;

/// Bytes of memory that any frame may make the decoder allocate.
const MEMORY_MAX: usize = 32 << 20;
/// The same for an answer, which its reader has asked for.
const ANSWER_MEMORY_MAX: usize = 512 << 20;

/// Memory that one frame may make the decoder allocate: 8 bytes for each byte received, and 1 MiB
/// so that small frames of tiny elements are never refused, but at most 32 MiB. Strings and records
/// are slices of the frame and cost nothing.
#[must_use]
pub fn memory_limit(frame_bytes: usize) -> usize {
    memory_of(frame_bytes).min(MEMORY_MAX)
}

fn memory_of(frame_bytes: usize) -> usize {
    frame_bytes.saturating_mul(8).saturating_add(1 << 20)
}

/// Why bytes are no message. None of these may be retried with the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends inside a field, or a length points beyond the frame.
    #[error("{needed} bytes needed at byte {position}, {remaining} remain")]
    Truncated { position: usize, needed: usize, remaining: usize },
    /// An array announces more elements than the remaining bytes can hold.
    #[error("{count} elements announced at byte {position}, {remaining} bytes remain")]
    Count { position: usize, count: usize, remaining: usize },
    /// A length that Kafka does not allow, such as a string above 32,767 bytes.
    #[error("length {length} at byte {position} is not allowed")]
    Length { position: usize, length: i64 },
    /// Null where the version of the message has no null.
    #[error("null at byte {position} is not allowed")]
    Null { position: usize },
    /// A string is not UTF-8.
    #[error("string at byte {position} is not utf-8")]
    Utf8 { position: usize },
    /// A variable-length integer needs more than 32 bits.
    #[error("varint at byte {position} is longer than 32 bits")]
    Varint { position: usize },
    /// A known tagged field is shorter than its announced size.
    #[error("tagged field {tag} leaves {left} bytes before byte {position}")]
    TaggedField { position: usize, tag: u32, left: usize },
    /// The decoded form would exceed [`memory_limit`], or what an answer may take.
    #[error("decoding {frame} bytes needs more than {limit} bytes of memory")]
    Memory { frame: usize, limit: usize },
    /// No message with this key and version is known.
    #[error("api {api_key} has no version {api_version} here")]
    Version { api_key: i16, api_version: i16 },
}

/// A position in a frame, with a moving end for tagged fields and a budget of memory.
#[derive(Debug)]
pub struct Reader {
    frame: Bytes,
    position: usize,
    end: usize,
    memory: usize,
    memory_max: usize,
}

impl Reader {
    pub fn new(frame: Bytes) -> Reader {
        let (end, memory_max) = (frame.len(), memory_limit(frame.len()));
        Reader { frame, position: 0, end, memory: 0, memory_max }
    }

    /// For a body that a client has asked for: a description of a whole cluster may be large.
    #[must_use]
    pub fn of_answer(frame: Bytes) -> Reader {
        let memory_max = memory_of(frame.len()).min(ANSWER_MEMORY_MAX);
        Reader { memory_max, ..Reader::new(frame) }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn remaining(&self) -> usize {
        self.end - self.position
    }

    /// Bytes of memory that decoding has asked for so far: at most [`memory_limit`] of the frame,
    /// and of an answer's 512 MiB.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// What has not been read.
    pub(crate) fn into_rest(self) -> Bytes {
        assert!(self.end == self.frame.len(), "a tagged field was left open");
        self.frame.slice(self.position..self.end)
    }

    fn advance(&mut self, count: usize) -> Result<usize, DecodeError> {
        let (position, remaining) = (self.position, self.remaining());
        if count > remaining {
            return Err(DecodeError::Truncated { position, needed: count, remaining });
        }
        self.position += count;
        assert!(self.position <= self.end, "nothing is read past the end");
        assert!(self.end <= self.frame.len(), "a field ends within its frame");
        Ok(position)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let at = self.advance(N)?;
        let bytes = &self.frame[at..at + N];
        Ok(bytes.try_into().expect("the slice was cut to this length"))
    }

    /// The next bytes, as a slice of the frame.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<Bytes, DecodeError> {
        let at = self.advance(count)?;
        Ok(self.frame.slice(at..at + count))
    }

    /// An unsigned variable-length integer of at most 32 bits: 7 bits a byte, lowest first
    /// (KIP-482).
    pub(crate) fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let position = self.position;
        let mut value = 0u32;
        for shift in (0..).step_by(7).take(5) {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                return Err(DecodeError::Varint { position });
            }
            value |= bits << shift;
            assert!(self.position - position <= 5, "32 bits stand in five bytes");
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint { position })
    }

    /// Checks an array's length before anything is allocated for it: each element takes at least
    /// `wire_bytes_min` of what remains, and `count` times `memory_bytes` must fit the budget.
    pub(crate) fn admit_elements(
        &mut self,
        count: usize,
        wire_bytes_min: usize,
        memory_bytes: usize,
    ) -> Result<(), DecodeError> {
        let (position, remaining) = (self.position, self.remaining());
        if count > remaining / wire_bytes_min.max(1) {
            return Err(DecodeError::Count { position, count, remaining });
        }
        let limit = self.memory_max;
        let memory = self.memory.saturating_add(count.saturating_mul(memory_bytes));
        if memory > limit {
            return Err(DecodeError::Memory { frame: self.frame.len(), limit });
        }
        assert!(memory >= self.memory, "memory asked for is only added to");
        self.memory = memory;
        assert!(self.memory <= self.memory_max, "no frame takes more");
        Ok(())
    }

    /// Opens a tagged field: until [`Reader::close_field`] nothing can be read past its size.
    pub(crate) fn open_field(&mut self) -> Result<OuterEnd, DecodeError> {
        let size = self.uvarint()? as usize;
        let (position, remaining) = (self.position, self.remaining());
        if size > remaining {
            return Err(DecodeError::Truncated { position, needed: size, remaining });
        }
        let outer = OuterEnd(self.end);
        self.end = position + size;
        assert!(self.end <= outer.0, "a field ends within the one around it");
        Ok(outer)
    }

    /// Skips what is left of a tagged field.
    pub(crate) fn close_field(&mut self, outer: OuterEnd) {
        assert!(self.position <= self.end, "nothing was read past the field");
        assert!(self.end <= outer.0, "fields are closed in the order in which they were opened");
        self.position = self.end;
        self.end = outer.0;
    }
}

/// The end that was in force before a tagged field was opened.
#[derive(Debug)]
pub(crate) struct OuterEnd(usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8]) -> Reader {
        Reader::new(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn varints_are_read_up_to_32_bits() {
        let cases: [(&[u8], u32); 5] = [
            (&[0], 0),
            (&[0x7f], 127),
            (&[0x80, 0x01], 128),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], u32::MAX),
            (&[0x80, 0x00], 0),
        ];
        for (bytes, value) in cases {
            assert_eq!(reader(bytes).uvarint(), Ok(value), "{bytes:02x?}");
        }
    }

    #[test]
    fn varints_that_overflow_or_end_early_are_refused() {
        let varint = DecodeError::Varint { position: 0 };
        assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x1f]).uvarint(), Err(varint.clone()));
        assert_eq!(reader(&[0x80; 6]).uvarint(), Err(varint));
        let ended = DecodeError::Truncated { position: 2, needed: 1, remaining: 0 };
        assert_eq!(reader(&[0x80; 2]).uvarint(), Err(ended));
    }

    #[test]
    fn arrays_are_refused_before_memory_is_taken() {
        let mut few = reader(&[0; 10]);
        let count = DecodeError::Count { position: 0, count: 6, remaining: 10 };
        assert_eq!(few.admit_elements(6, 2, 8), Err(count));
        assert_eq!(few.memory(), 0);
        let limit = memory_limit(10);
        let memory = DecodeError::Memory { frame: 10, limit };
        assert_eq!(few.admit_elements(5, 2, limit), Err(memory));
        assert_eq!(few.admit_elements(5, 2, 8), Ok(()));
        assert_eq!(few.memory(), 40);
    }

    #[test]
    fn an_answer_may_take_more_than_a_request_but_not_any_amount() {
        let frame = Bytes::from(vec![0; 10 << 20]);
        assert!(Reader::new(frame.clone()).admit_elements(5 << 20, 2, 8).is_err());
        let mut answer = Reader::of_answer(frame);
        let limit = (80 << 20) + (1 << 20);
        assert_eq!(answer.admit_elements(5 << 20, 2, 8), Ok(()));
        let memory = DecodeError::Memory { frame: 10 << 20, limit };
        assert_eq!(answer.admit_elements(5 << 20, 2, 9), Err(memory));
    }

    #[test]
    fn no_frame_takes_more_than_the_largest_memory() {
        let mut large = reader(&vec![0; 10 << 20]);
        let limit = MEMORY_MAX;
        let memory = DecodeError::Memory { frame: 10 << 20, limit };
        assert_eq!(large.admit_elements((4 << 20) + 1, 2, 8), Err(memory));
        assert_eq!(large.admit_elements(4 << 20, 2, 8), Ok(()));
    }

    #[test]
    fn a_tagged_field_cannot_be_read_past_its_size() {
        let mut fields = reader(&[2, 7, 8, 9]);
        let outer = fields.open_field().unwrap();
        assert_eq!(fields.array::<1>(), Ok([7]));
        assert!(fields.array::<2>().is_err());
        fields.close_field(outer);
        assert_eq!(fields.array::<1>(), Ok([9]));
        assert!(reader(&[3, 7, 8]).open_field().is_err());
    }
}
