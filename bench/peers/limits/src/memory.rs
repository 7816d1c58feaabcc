//! Memory and checksums: copies, the first touch of pages, and CRC algorithms.
use crate::buffer::fill;
use crate::meter::{Meter, med, row};
use crate::reps;
use std::thread;
use std::time::Duration;

pub(crate) fn mem() {
    for (name, size, rounds) in [("memcpy 16 KiB, in L1/L2", 16usize << 10, 200_000usize), ("memcpy 1 MiB, in L2/L3", 1 << 20, 4000), ("memcpy 256 MiB, in DRAM", 256 << 20, 8)] {
        let a = fill(size);
        let mut b = vec![1u8; size];
        let (mut v, mut oth) = (vec![], vec![]);
        for _ in 0..reps() {
            let m = Meter::new();
            for _ in 0..rounds {
                b.copy_from_slice(std::hint::black_box(&a));
                std::hint::black_box(&mut b);
            }
            let (w, own, o) = m.stop();
            v.push((size * rounds) as f64 / 1e9 / own.min(w));
            oth.push(o);
        }
        row(name, "GB/cpu-s", &mut v, med(oth), "");
    }
}

/// What the first use of memory costs: this VM's host takes free memory back (free page reporting).
pub(crate) fn touch() {
    let len = 1usize << 30;
    for (name, advice) in [("first touch of 1 GiB anonymous memory, 4 KiB pages", libc::MADV_NOHUGEPAGE), ("first touch of 1 GiB anonymous memory, 2 MiB pages", libc::MADV_HUGEPAGE)] {
        let (mut v, mut oth) = (vec![], vec![]);
        for _ in 0..reps() {
            let m = Meter::new();
            unsafe {
                let p = libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
                assert_ne!(p, libc::MAP_FAILED);
                libc::madvise(p, len, advice);
                for o in (0..len).step_by(4096) {
                    *(p as *mut u8).add(o) = 1;
                }
                libc::munmap(p, len);
            }
            let (_, own, o) = m.stop();
            v.push(own);
            oth.push(o);
            if advice == libc::MADV_HUGEPAGE {
                thread::sleep(Duration::from_secs(3)); // the host has taken it back by then
            }
        }
        row(name, "CPU-s/GiB", &mut v, med(oth), "max: memory the host must first supply; min: memory used a moment ago");
    }
}

pub(crate) fn crc() {
    let algos: [(&str, fn(&[u8]) -> u64); 6] = [
        ("CRC-32C crate crc32c 0.6", |b| crc32c::crc32c(b) as u64),
        ("CRC-32C crate crc-fast 1.10 (CRC-32/ISCSI)", |b| crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, b)),
        ("CRC-32 crate crc32fast 1", |b| crc32fast::hash(b) as u64),
        ("CRC-32 crate crc-fast 1.10 (CRC-32/ISO-HDLC)", |b| crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, b)),
        ("CRC-64/NVME crate crc-fast 1.10", |b| crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, b)),
        ("CRC-32C hand table (slicing by 1), software floor", soft_crc32c),
    ];
    for (name, f) in algos {
        let mut cells = vec![];
        let mut main = vec![];
        let mut oth = vec![];
        for (label, size, bytes) in [("128 B", 128usize, 64usize << 20), ("1 KiB", 1 << 10, 256 << 20), ("16 KiB", 16 << 10, 1 << 30), ("1 MiB", 1 << 20, 1 << 30)] {
            let b = fill(size);
            let bytes = if name.contains("software") { bytes / 16 } else { bytes };
            let mut v = vec![];
            for _ in 0..reps() {
                let m = Meter::new();
                let mut x = 0;
                for _ in 0..bytes / size {
                    x ^= f(std::hint::black_box(&b));
                }
                std::hint::black_box(x);
                let (w, own, o) = m.stop();
                v.push(bytes as f64 / 1e9 / own.min(w));
                oth.push(o);
            }
            if size == 16 << 10 {
                main = v.clone();
            }
            cells.push(format!("{label} {:.1}", med(v)));
        }
        row(&format!("{name}, 16 KiB"), "GB/cpu-s", &mut main, med(oth), &cells.join(", "));
    }
}
fn soft_crc32c(b: &[u8]) -> u64 {
    static T: std::sync::OnceLock<[u32; 256]> = std::sync::OnceLock::new();
    let t = T.get_or_init(|| {
        let mut t = [0u32; 256];
        for i in 0..256u32 {
            let mut c = i;
            for _ in 0..8 {
                c = if c & 1 == 1 { (c >> 1) ^ 0x82F63B78 } else { c >> 1 };
            }
            t[i as usize] = c;
        }
        t
    });
    let mut c = !0u32;
    for x in b {
        c = (c >> 8) ^ t[((c ^ *x as u32) & 255) as usize];
    }
    !c as u64
}
