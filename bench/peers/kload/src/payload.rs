//! Message bodies that do not compress.

pub(crate) fn payload(n: usize) -> Vec<u8> {
    let mut x = 0x9E3779B97F4A7C15u64;
    let mut v = Vec::with_capacity(n + 8);
    while v.len() < n {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        v.extend_from_slice(&x.to_le_bytes());
    }
    v.truncate(n);
    v
}
