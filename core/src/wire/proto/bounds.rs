//! Counts the fields of a protobuf request before anything is allocated for them.
//!
//! A repeated field costs two bytes on the wire and many times as much in memory. Lists stand in
//! the body of a request and, as headers, in its record; deeper there are none.

use crate::wire::codec::WireError;
use crate::wire::limits::LIST_MAX;

/// Most fields of a request, of its body, and of all parts of its body together: four to an
/// element.
const FIELDS_MAX: [usize; 3] = [64, LIST_MAX + 64, 4 * LIST_MAX + 64];

/// The fields of a request on all levels.
///
/// # Errors
/// [`WireError`] when the bytes are no fields, or too many on one level.
pub(super) fn check(message: &[u8]) -> Result<usize, WireError> {
    let mut left = FIELDS_MAX;
    count(message, &mut left)?;
    if left.contains(&0) {
        return Err(protobuf("too many fields"));
    }
    assert!(left[0] < FIELDS_MAX[0] || message.is_empty(), "every field was counted");
    Ok(FIELDS_MAX.iter().sum::<usize>() - left.iter().sum::<usize>())
}

/// Takes the fields of `message` off the first of `left`, those of its parts off the others.
fn count(mut message: &[u8], left: &mut [usize]) -> Result<(), WireError> {
    let Some((own, deeper)) = left.split_first_mut() else { return Ok(()) };
    while !message.is_empty() {
        *own = own.checked_sub(1).ok_or_else(|| protobuf("too many fields"))?;
        let part = field(&mut message).ok_or_else(|| protobuf("a field is cut off or unknown"))?;
        // Text and payloads look like messages; as such they are counted as far as they parse. A
        // level without a field left is an error in the end.
        let _ = count(part, deeper);
    }
    Ok(())
}

fn protobuf(what: &str) -> WireError {
    WireError::Protobuf(what.to_owned())
}

/// Reads one field; its bytes if it has a length, else none.
fn field<'a>(message: &mut &'a [u8]) -> Option<&'a [u8]> {
    let key = varint(message)?;
    let length = match key & 7 {
        0 => {
            varint(message)?;
            return Some(&[]);
        }
        1 => 8,
        2 => usize::try_from(varint(message)?).ok()?,
        5 => 4,
        _ => return None,
    };
    let (part, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(if key & 7 == 2 { part } else { &[] })
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
