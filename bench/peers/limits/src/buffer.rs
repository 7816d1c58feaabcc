//! Buffers of bytes that do not compress, aligned where O_DIRECT wants it.

pub(crate) fn fill(n: usize) -> Vec<u8> {
    let mut x = 0x9E3779B97F4A7C15u64;
    let mut v = Vec::with_capacity(n);
    while v.len() < n {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        v.extend_from_slice(&x.to_le_bytes());
    }
    v.truncate(n);
    v
}
pub(crate) struct Aligned(*mut u8, usize);
unsafe impl Send for Aligned {}
impl Aligned {
    pub(crate) fn new(n: usize) -> Self {
        let p = unsafe { std::alloc::alloc(std::alloc::Layout::from_size_align(n, 4096).unwrap()) };
        let mut a = Aligned(p, n);
        a.get().copy_from_slice(&fill(n));
        a
    }
    pub(crate) fn get(&mut self) -> &mut [u8] {
        unsafe { std::slice::from_raw_parts_mut(self.0, self.1) }
    }
}
