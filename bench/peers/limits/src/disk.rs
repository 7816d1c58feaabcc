//! Writing to disk: appends, group commits, and partition files against one shared WAL.
use crate::buffer::{Aligned, fill};
use crate::meter::{Meter, med, pct, row};
use crate::{env_mb, reps};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Prep {
    Append,    // size grows with each write: fdatasync must journal i_size
    Fallocate, // blocks reserved, size set, extents still unwritten
    Zeroed,    // blocks written once before (a recycled segment): no metadata at all
}
pub(crate) fn open_prep(p: &Path, prep: Prep, bytes: u64, flags: i32) -> File {
    let _ = std::fs::remove_file(p);
    let f = OpenOptions::new().read(true).write(true).create(true).custom_flags(0).open(p).unwrap();
    match prep {
        Prep::Append => {}
        Prep::Fallocate => unsafe {
            assert_eq!(libc::fallocate(f.as_raw_fd(), 0, 0, bytes as i64), 0);
        },
        Prep::Zeroed => {
            let z = vec![0u8; 1 << 20];
            let mut o = 0;
            while o < bytes {
                f.write_all_at(&z[..(bytes - o).min(1 << 20) as usize], o).unwrap();
                o += 1 << 20;
            }
        }
    }
    f.sync_all().unwrap();
    drop(f);
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(p).unwrap()
}
pub(crate) fn fdatasync(f: &File) {
    let r = unsafe { libc::fdatasync(f.as_raw_fd()) };
    assert_eq!(r, 0);
}

pub(crate) fn disk(dir: &Path) {
    let mb = env_mb("SEQ_MB", 1024);
    let p = dir.join("seq");
    for (name, prep, flags) in [
        ("seq write 1 MiB blocks, growing file, fdatasync at end", Prep::Append, 0),
        ("seq write 1 MiB, fallocated, fdatasync at end", Prep::Fallocate, 0),
        ("seq write 1 MiB, rewritten file, fdatasync at end", Prep::Zeroed, 0),
        ("seq write 1 MiB, rewritten file, O_DIRECT, fdatasync at end", Prep::Zeroed, libc::O_DIRECT),
    ] {
        let mut buf = Aligned::new(1 << 20);
        let (mut v, mut w1, mut cpu, mut oth) = (vec![], vec![], vec![], vec![]);
        for _ in 0..reps() {
            let f = open_prep(&p, prep, (mb as u64) << 20, flags);
            let m = Meter::new();
            for i in 0..mb {
                f.write_all_at(buf.get(), (i as u64) << 20).unwrap();
            }
            w1.push(mb as f64 / m.t.elapsed().as_secs_f64());
            fdatasync(&f);
            let (w, own, o) = m.stop();
            v.push(mb as f64 / w);
            cpu.push(own / (mb as f64 / 1024.0));
            oth.push(o);
        }
        row(name, "MiB/s", &mut v, med(oth), &format!("writes alone {:.0} MiB/s; own CPU {:.2} s/GiB", med(w1), med(cpu)));
    }
    let n = env_mb("SYNC_N", 1500);
    for (name, prep, flags, how) in [
        ("4 KiB append + fdatasync, growing file", Prep::Append, 0, 0),
        ("4 KiB append + fsync, growing file", Prep::Append, 0, 1),
        ("4 KiB append + fdatasync, fallocated", Prep::Fallocate, 0, 0),
        ("4 KiB append + fdatasync, rewritten (recycled) file", Prep::Zeroed, 0, 0),
        ("4 KiB O_DIRECT + fdatasync, rewritten file", Prep::Zeroed, libc::O_DIRECT, 0),
        ("4 KiB O_DIRECT|O_DSYNC, rewritten file", Prep::Zeroed, libc::O_DIRECT | libc::O_DSYNC, 2),
        ("4 KiB O_DIRECT, no sync (device write alone)", Prep::Zeroed, libc::O_DIRECT, 2),
    ] {
        let mut buf = Aligned::new(4096);
        let (mut means, mut p50, mut p99, mut p999, mut oth) = (vec![], vec![], vec![], vec![], vec![]);
        for _ in 0..reps() {
            let f = open_prep(&p, prep, (n * 4096) as u64, flags);
            let m = Meter::new();
            let mut l = Vec::with_capacity(n);
            for i in 0..n {
                let t = Instant::now();
                f.write_all_at(buf.get(), (i * 4096) as u64).unwrap();
                match how {
                    0 => fdatasync(&f),
                    1 => f.sync_all().unwrap(),
                    _ => {}
                }
                l.push(t.elapsed().as_secs_f64() * 1e6);
            }
            let (_, _, o) = m.stop();
            oth.push(o);
            means.push(l.iter().sum::<f64>() / n as f64);
            p50.push(pct(&mut l, 0.5));
            p99.push(pct(&mut l, 0.99));
            p999.push(pct(&mut l, 0.999));
        }
        let s = format!("p50 {:.0} p99 {:.0} p99.9 {:.0} µs", med(p50), med(p99), med(p999));
        row(name, "µs mean", &mut means, med(oth), &s);
    }
}

/// MB/s and latency when every `size` bytes are followed by one fdatasync.
pub(crate) fn group(dir: &Path) {
    let p = dir.join("grp");
    for (prep, flags) in [(Prep::Append, 0), (Prep::Fallocate, 0), (Prep::Zeroed, 0), (Prep::Zeroed, libc::O_DIRECT)] {
        for kb in [16usize, 64, 256, 1024, 4096] {
            let size = kb << 10;
            let total = ((env_mb("GROUP_MB", 256) << 20).min(size * 800)).max(size * 16);
            let n = total / size;
            let mut buf = Aligned::new(size);
            let (mut v, mut means, mut p99, mut cpu, mut oth) = (vec![], vec![], vec![], vec![], vec![]);
            for _ in 0..reps() {
                let f = open_prep(&p, prep, total as u64, flags);
                let m = Meter::new();
                let mut l = Vec::with_capacity(n);
                for i in 0..n {
                    let t = Instant::now();
                    f.write_all_at(buf.get(), (i * size) as u64).unwrap();
                    fdatasync(&f);
                    l.push(t.elapsed().as_secs_f64() * 1e3);
                }
                let (w, own, o) = m.stop();
                oth.push(o);
                v.push(total as f64 / 1048576.0 / w);
                cpu.push(own * 1024.0 / (total as f64 / 1048576.0));
                means.push(l.iter().sum::<f64>() / n as f64);
                p99.push(pct(&mut l, 0.99));
            }
            let name = format!(
                "group commit {kb} KiB/fdatasync, {}",
                match (prep, flags) {
                    (Prep::Append, _) => "growing",
                    (Prep::Fallocate, _) => "fallocated",
                    (Prep::Zeroed, 0) => "rewritten",
                    (Prep::Zeroed, _) => "rewritten, O_DIRECT",
                }
            );
            row(&name, "MiB/s", &mut v, med(oth), &format!("commit mean {:.2} p99 {:.2} ms; own CPU {:.2} s/GiB", med(means), med(p99), med(cpu)));
        }
    }
}

/// P partitions: one fdatasync per partition file against one shared WAL.
pub(crate) fn shared(dir: &Path) {
    let chunk = 16 << 10;
    for parts in [1usize, 8, 64] {
        // (a) each round: 16 KiB into every partition file, then fdatasync every file, from `thr` threads
        for thr in [1usize, 4] {
            if parts < thr {
                continue;
            }
            let rounds = (512 / parts).max(8);
            let mut v = vec![];
            let mut lat = vec![];
            let mut oth = vec![];
            for _ in 0..reps() {
                let files: Vec<File> =
                    (0..parts).map(|i| open_prep(&dir.join(format!("p{i}")), Prep::Fallocate, (rounds * chunk) as u64, 0)).collect();
                let files = Arc::new(files);
                let m = Meter::new();
                let hs: Vec<_> = (0..thr)
                    .map(|t| {
                        let files = files.clone();
                        thread::spawn(move || {
                            let b = fill(chunk);
                            let mut l = vec![];
                            for r in 0..rounds {
                                let t0 = Instant::now();
                                for f in files.iter().skip(t).step_by(thr) {
                                    f.write_all_at(&b, (r * chunk) as u64).unwrap();
                                    fdatasync(f);
                                }
                                l.push(t0.elapsed().as_secs_f64() * 1e3);
                            }
                            l
                        })
                    })
                    .collect();
                let mut l: Vec<f64> = vec![];
                for h in hs {
                    l.extend(h.join().unwrap());
                }
                let (w, _, o) = m.stop();
                oth.push(o);
                v.push((parts * rounds) as f64 / w);
                lat.push(pct(&mut l, 0.5));
            }
            row(&format!("{parts} partitions x 16 KiB, fdatasync per file, {thr} thread(s)"), "commits/s", &mut v, med(oth), &format!("all durable after p50 {:.2} ms", med(lat)));
        }
        // (b) one WAL: 16 KiB x partitions into one file, one fdatasync; then plain write to partition files (no sync)
        let rounds = 512usize.min(4096 / parts).max(32);
        let mut v = vec![];
        let mut lat = vec![];
        let mut oth = vec![];
        for _ in 0..reps() {
            let wal = open_prep(&dir.join("wal"), Prep::Zeroed, (rounds * chunk * parts) as u64, 0);
            let files: Vec<File> =
                (0..parts).map(|i| open_prep(&dir.join(format!("p{i}")), Prep::Fallocate, (rounds * chunk) as u64, 0)).collect();
            let b = fill(chunk);
            let all = fill(chunk * parts);
            let m = Meter::new();
            let mut l = vec![];
            for r in 0..rounds {
                let t0 = Instant::now();
                wal.write_all_at(&all, (r * chunk * parts) as u64).unwrap();
                fdatasync(&wal);
                l.push(t0.elapsed().as_secs_f64() * 1e3);
                for f in &files {
                    f.write_all_at(&b, (r * chunk) as u64).unwrap();
                }
            }
            let (w, _, o) = m.stop();
            oth.push(o);
            v.push((parts * rounds) as f64 / w);
            lat.push(pct(&mut l, 0.5));
        }
        row(&format!("{parts} partitions x 16 KiB, one recycled WAL + unsynced segments"), "commits/s", &mut v, med(oth), &format!("all durable after p50 {:.2} ms", med(lat)));
    }
    for i in 0..64 {
        let _ = std::fs::remove_file(dir.join(format!("p{i}")));
    }
}
