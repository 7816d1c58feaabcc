//! Zig-zag varints as records use them (protobuf's encoding, at most 5 or 10 bytes).

/// Reads an i32 at the front of `bytes` and moves `bytes` past it; `None` when it is cut off or
/// longer than 5 bytes.
#[inline]
pub(crate) fn read_i32(bytes: &mut &[u8]) -> Option<i32> {
    let raw = read_raw(bytes, 5)?;
    // Bits past the 32nd are dropped, as Kafka's reader does.
    let raw = raw as u32;
    Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Reads an i64 at the front of `bytes` and moves `bytes` past it; `None` when it is cut off or
/// longer than 10 bytes.
#[inline]
pub(crate) fn read_i64(bytes: &mut &[u8]) -> Option<i64> {
    let raw = read_raw(bytes, 10)?;
    Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

#[inline]
fn read_raw(bytes: &mut &[u8], bytes_max: usize) -> Option<u64> {
    let mut raw = 0u64;
    for (index, byte) in bytes.iter().take(bytes_max).enumerate() {
        raw |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Some(raw);
        }
    }
    None
}

/// Appends an i64; an i32 has the same encoding as its i64.
pub(crate) fn write(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while raw >= 0x80 {
        out.push((raw & 0x7f) as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varint_round_trips_and_every_truncation_is_refused(value: i64, small: i32) {
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            prop_assert_eq!(read_i64(&mut &bytes[..]), Some(value));
            for end in 0..bytes.len() {
                prop_assert_eq!(read_i64(&mut &bytes[..end]), None);
            }
            bytes.clear();
            write(&mut bytes, i64::from(small));
            prop_assert!(bytes.len() <= 5);
            prop_assert_eq!(read_i32(&mut &bytes[..]), Some(small));
        }
    }

    #[test]
    fn varints_have_protobuf_bytes() {
        for (value, expected) in [
            (0, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[126]),
            (64, &[0x80, 1]),
            (i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            assert_eq!(bytes, expected, "{value}");
        }
        assert_eq!(read_i32(&mut &[0x80, 0x80, 0x80, 0x80, 0x80, 0][..]), None);
    }
}
