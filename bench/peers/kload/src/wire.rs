//! Kafka's wire protocol: encoding of record batches and requests, frames and their fields.
use crate::payload::payload;
use std::io::Read;

fn varint(o: &mut Vec<u8>, v: i64) {
    let mut z = ((v << 1) ^ (v >> 63)) as u64;
    while z >= 0x80 {
        o.push(z as u8 | 0x80);
        z >>= 7;
    }
    o.push(z as u8);
}
pub(crate) fn batch(msgs: usize, size: usize) -> Vec<u8> {
    let body = payload(size);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let mut tail = vec![]; // from attributes on
    tail.extend(0i16.to_be_bytes());
    tail.extend((msgs as i32 - 1).to_be_bytes());
    tail.extend(now.to_be_bytes());
    tail.extend(now.to_be_bytes());
    tail.extend((-1i64).to_be_bytes());
    tail.extend((-1i16).to_be_bytes());
    tail.extend((-1i32).to_be_bytes());
    tail.extend((msgs as i32).to_be_bytes());
    for i in 0..msgs {
        let mut r = vec![0u8];
        varint(&mut r, 0);
        varint(&mut r, i as i64);
        varint(&mut r, -1);
        varint(&mut r, size as i64);
        r.extend(&body);
        varint(&mut r, 0);
        varint(&mut tail, r.len() as i64);
        tail.extend(r);
    }
    let mut o = vec![];
    o.extend(0i64.to_be_bytes());
    o.extend((tail.len() as i32 + 9).to_be_bytes());
    o.extend((-1i32).to_be_bytes());
    o.push(2);
    o.extend(crc32c::crc32c(&tail).to_be_bytes());
    o.extend(tail);
    o
}
pub(crate) fn head(api: i16, ver: i16, corr: i32) -> Vec<u8> {
    let mut o = vec![0, 0, 0, 0];
    o.extend(api.to_be_bytes());
    o.extend(ver.to_be_bytes());
    o.extend(corr.to_be_bytes());
    o.extend(5i16.to_be_bytes());
    o.extend(b"kload");
    o
}
pub(crate) fn seal(mut o: Vec<u8>) -> Vec<u8> {
    let n = (o.len() - 4) as i32;
    o[..4].copy_from_slice(&n.to_be_bytes());
    o
}
pub(crate) fn kstr(o: &mut Vec<u8>, s: &str) {
    o.extend((s.len() as i16).to_be_bytes());
    o.extend(s.as_bytes());
}
pub(crate) fn i32at(b: &[u8], o: usize) -> i32 {
    i32::from_be_bytes(b[o..o + 4].try_into().unwrap())
}
pub(crate) fn i16at(b: &[u8], o: usize) -> i16 {
    i16::from_be_bytes(b[o..o + 2].try_into().unwrap())
}
pub(crate) fn frame(s: &mut impl Read, buf: &mut Vec<u8>) -> std::io::Result<()> {
    let mut h = [0u8; 4];
    s.read_exact(&mut h)?;
    buf.resize(i32::from_be_bytes(h) as usize, 0);
    s.read_exact(buf)
}
