//! The page cache: appends and reads through memory maps against system calls.
use crate::buffer::fill;
use crate::disk::{Prep, open_prep};
use crate::meter::{Meter, med, pct, row};
use crate::{env_mb, reps};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub(crate) struct Map(*mut u8, usize);
unsafe impl Send for Map {}
unsafe impl Sync for Map {}
impl Map {
    pub(crate) fn new(f: &File, len: usize, prot: i32, flags: i32) -> Self {
        let p = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, f.as_raw_fd(), 0) };
        assert_ne!(p, libc::MAP_FAILED);
        Map(p as *mut u8, len)
    }
    pub(crate) fn s(&self) -> &mut [u8] {
        unsafe { std::slice::from_raw_parts_mut(self.0, self.1) }
    }
}
impl Drop for Map {
    fn drop(&mut self) {
        unsafe { libc::munmap(self.0 as *mut _, self.1) };
    }
}

/// Appending through mmap against write().
pub(crate) fn mmap(dir: &Path) {
    let p = dir.join("map");
    let total = env_mb("MAP_MB", 256) << 20;
    let rw = libc::PROT_READ | libc::PROT_WRITE;
    for (name, prep, map) in [
        ("append 16 KiB by pwrite, fallocated, no sync", Prep::Fallocate, 0),
        ("append 16 KiB by pwrite, pages cached (rewritten), no sync", Prep::Zeroed, 0),
        ("append 16 KiB by mmap copy, fallocated, no sync", Prep::Fallocate, 1),
        ("append 16 KiB by mmap copy, rewritten, no sync", Prep::Zeroed, 1),
        ("append 16 KiB by mmap copy, rewritten + MAP_POPULATE, no sync", Prep::Zeroed, 2),
    ] {
        let b = fill(16 << 10);
        let (mut v, mut cpu, mut oth) = (vec![], vec![], vec![]);
        for _ in 0..reps() {
            let f = open_prep(&p, prep, total as u64, 0);
            let mm = (map > 0).then(|| Map::new(&f, total, rw, libc::MAP_SHARED | if map == 2 { libc::MAP_POPULATE } else { 0 }));
            let m = Meter::new();
            let mut o = 0;
            while o < total {
                match &mm {
                    None => f.write_all_at(&b, o as u64).unwrap(),
                    Some(x) => x.s()[o..o + b.len()].copy_from_slice(&b),
                }
                o += b.len();
            }
            let (w, own, ot) = m.stop();
            v.push(total as f64 / 1048576.0 / own.min(w));
            cpu.push(own / (total as f64 / (1u64 << 30) as f64));
            oth.push(ot);
        }
        row(name, "MiB/cpu-s", &mut v, med(oth), &format!("own CPU {:.2} s/GiB", med(cpu)));
    }
    for (name, prep) in [("group commit 256 KiB by mmap + msync, fallocated", Prep::Fallocate), ("group commit 256 KiB by mmap + msync, rewritten", Prep::Zeroed)] {
        let size = 256 << 10;
        let b = fill(size);
        let (mut v, mut p50, mut p99, mut oth) = (vec![], vec![], vec![], vec![]);
        for _ in 0..reps() {
            let f = open_prep(&p, prep, total as u64, 0);
            let mm = Map::new(&f, total, rw, libc::MAP_SHARED);
            let m = Meter::new();
            let mut l = vec![];
            let n = (total / size).min(400);
            for i in 0..n {
                let t = Instant::now();
                mm.s()[i * size..(i + 1) * size].copy_from_slice(&b);
                unsafe { assert_eq!(libc::msync(mm.0.add(i * size) as *mut _, size, libc::MS_SYNC), 0) };
                l.push(t.elapsed().as_secs_f64() * 1e3);
            }
            let (w, _, ot) = m.stop();
            v.push((n * size) as f64 / 1048576.0 / w);
            p50.push(pct(&mut l, 0.5));
            p99.push(pct(&mut l, 0.99));
            oth.push(ot);
        }
        row(name, "MiB/s", &mut v, med(oth), &format!("commit p50 {:.2} p99 {:.2} ms", med(p50), med(p99)));
    }
}

pub(crate) fn cached_file(dir: &Path, mb: usize) -> (PathBuf, File) {
    let p = dir.join("cached");
    let f = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&p).unwrap();
    if f.metadata().unwrap().len() != (mb as u64) << 20 {
        let b = fill(1 << 20);
        for i in 0..mb {
            f.write_all_at(&b, (i as u64) << 20).unwrap();
        }
        f.sync_all().unwrap();
    }
    let mut b = vec![0u8; 1 << 20];
    for i in 0..mb {
        f.read_exact_at(&mut b, (i as u64) << 20).unwrap();
    }
    (p, f)
}
fn sum(b: &[u8]) -> u64 {
    // touch every cache line
    let mut s = 0u64;
    let mut i = 0;
    while i + 8 <= b.len() {
        s = s.wrapping_add(u64::from_le_bytes(b[i..i + 8].try_into().unwrap()));
        i += 64;
    }
    s
}
pub(crate) fn cache(dir: &Path) {
    let mb = env_mb("CACHE_MB", 1024);
    let (_p, f) = cached_file(dir, mb);
    let total = mb << 20;
    let mut sink = 0u64;
    for (name, kind, blk) in [
        ("page cache pread 4 KiB", 0, 4 << 10),
        ("page cache pread 64 KiB", 0, 64 << 10),
        ("page cache pread 1 MiB", 0, 1 << 20),
        ("page cache mmap touch, cold map (faults)", 1, 1 << 20),
        ("page cache mmap copy out, cold map (faults)", 3, 1 << 20),
        ("page cache mmap copy out, warm map", 4, 1 << 20),
    ] {
        let (mut v, mut oth) = (vec![], vec![]);
        for _ in 0..reps() {
            let mut b = vec![1u8; blk];
            let warm = (kind == 4).then(|| Map::new(&f, total, libc::PROT_READ, libc::MAP_SHARED | libc::MAP_POPULATE));
            let m = Meter::new();
            if kind == 0 {
                let mut o = 0;
                while o < total {
                    f.read_exact_at(&mut b, o as u64).unwrap();
                    o += blk;
                }
                sink ^= sum(&b);
            } else {
                let cold;
                let mm = match &warm {
                    Some(w) => w,
                    None => {
                        cold = Map::new(&f, total, libc::PROT_READ, libc::MAP_SHARED);
                        &cold
                    }
                };
                for c in mm.s().chunks(blk) {
                    if kind == 1 {
                        sink ^= sum(c);
                    } else {
                        b.copy_from_slice(c);
                    }
                }
                sink ^= sum(&b);
            }
            let (w, own, ot) = m.stop();
            v.push(mb as f64 / own.min(w));
            oth.push(ot);
        }
        row(name, "MiB/cpu-s", &mut v, med(oth), "");
    }
    std::hint::black_box(sink);
}
