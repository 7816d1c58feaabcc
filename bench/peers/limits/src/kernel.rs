//! What a call costs: io_uring, system calls, handoffs between threads and tasks, malloc.
use crate::buffer::Aligned;
use crate::disk::{Prep, fdatasync, open_prep};
use crate::meter::{Meter, med, pct, row};
use crate::{env_mb, reps};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

pub(crate) fn uring(dir: &Path) {
    use io_uring::{IoUring, opcode, squeue::Flags, types};
    let mut ring = match IoUring::new(64) {
        Ok(r) => r,
        Err(e) => {
            println!("| io_uring | not available: {e} | | | |");
            return;
        }
    };
    // NOP round trip and batch
    for (name, batch) in [("io_uring NOP, 1 per enter", 1usize), ("io_uring NOP, 32 per enter", 32)] {
        let (mut v, mut oth) = (vec![], vec![]);
        for _ in 0..reps() {
            let n = 200_000;
            let m = Meter::new();
            for _ in 0..n / batch {
                for _ in 0..batch {
                    unsafe { ring.submission().push(&opcode::Nop::new().build()).unwrap() };
                }
                ring.submit_and_wait(batch).unwrap();
                ring.completion().for_each(|c| assert_eq!(c.result(), 0));
            }
            let (w, own, o) = m.stop();
            v.push(own.min(w) * 1e9 / n as f64);
            oth.push(o);
        }
        row(name, "ns/op", &mut v, med(oth), "");
    }
    let p = dir.join("uring");
    let n = env_mb("SYNC_N", 1500);
    for (name, size, link) in [("4 KiB write->fdatasync linked, io_uring, rewritten file", 4096usize, true), ("4 KiB pwrite+fdatasync, two syscalls, rewritten file", 4096, false), ("256 KiB write->fdatasync linked, io_uring, rewritten", 256 << 10, true), ("256 KiB pwrite+fdatasync, two syscalls, rewritten", 256 << 10, false)] {
        let n = if size > 4096 { n / 4 } else { n };
        let mut buf = Aligned::new(size);
        let (mut means, mut p50, mut p99, mut cpu, mut oth) = (vec![], vec![], vec![], vec![], vec![]);
        for _ in 0..reps() {
            let f = open_prep(&p, Prep::Zeroed, (n * size) as u64, 0);
            let m = Meter::new();
            let mut l = vec![];
            for i in 0..n {
                let t = Instant::now();
                if link {
                    let fd = types::Fd(f.as_raw_fd());
                    let w = opcode::Write::new(fd, buf.get().as_ptr(), size as u32).offset((i * size) as u64).build().flags(Flags::IO_LINK);
                    let s = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
                    unsafe { ring.submission().push_multiple(&[w, s]).unwrap() };
                    ring.submit_and_wait(2).unwrap();
                    ring.completion().for_each(|c| assert!(c.result() >= 0));
                } else {
                    f.write_all_at(buf.get(), (i * size) as u64).unwrap();
                    fdatasync(&f);
                }
                l.push(t.elapsed().as_secs_f64() * 1e6);
            }
            let (_, own, o) = m.stop();
            oth.push(o);
            cpu.push(own * 1e6 / n as f64);
            means.push(l.iter().sum::<f64>() / n as f64);
            p50.push(pct(&mut l, 0.5));
            p99.push(pct(&mut l, 0.99));
        }
        let s = format!("p50 {:.0} p99 {:.0} µs, own CPU {:.0} µs/op", med(p50), med(p99), med(cpu));
        row(name, "µs mean", &mut means, med(oth), &s);
    }
}

pub(crate) fn sys() {
    let (mut v, mut oth) = (vec![], vec![]);
    for _ in 0..reps() {
        let n = 1_000_000;
        let m = Meter::new();
        for _ in 0..n {
            std::hint::black_box(unsafe { libc::syscall(libc::SYS_getppid) });
        }
        let (w, own, o) = m.stop();
        v.push(own.min(w) * 1e9 / n as f64);
        oth.push(o);
    }
    row("syscall (getppid)", "ns", &mut v, med(oth), "");
    // thread handoff: two threads unpark each other
    let (mut v, mut oth) = (vec![], vec![]);
    for _ in 0..reps() {
        let n = 30_000u64;
        let turn = Arc::new(AtomicU64::new(0));
        let me = thread::current();
        let t2 = turn.clone();
        let h = thread::spawn(move || {
            for i in 0..n {
                while t2.load(Ordering::Acquire) != 2 * i + 1 {
                    thread::park();
                }
                t2.store(2 * i + 2, Ordering::Release);
                me.unpark();
            }
        });
        let m = Meter::new();
        for i in 0..n {
            turn.store(2 * i + 1, Ordering::Release);
            h.thread().unpark();
            while turn.load(Ordering::Acquire) != 2 * i + 2 {
                thread::park();
            }
        }
        let (w, _, o) = m.stop();
        h.join().unwrap();
        v.push(w * 1e6 / n as f64);
        oth.push(o);
    }
    row("thread handoff there and back (park/unpark)", "µs", &mut v, med(oth), "what moving an ack between threads costs");
    // what tokio's file I/O pays before any I/O: a closure on the blocking pool and back; and a task on another worker
    for (name, kind) in [("tokio spawn_blocking and back (what tokio::fs pays per call)", 0), ("tokio: message to another task and back, multi_thread(2)", 1), ("tokio: message to another task and back, current_thread", 2)] {
        let (mut p50, mut p99, mut oth) = (vec![], vec![], vec![]);
        for _ in 0..reps() {
            let rt = if kind == 2 {
                tokio::runtime::Builder::new_current_thread().build().unwrap()
            } else {
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
            };
            let m = Meter::new();
            let mut l: Vec<f64> = rt.block_on(async {
                tokio::spawn(async move {
                    let mut l = vec![];
                    let (tx, mut rx) = tokio::sync::mpsc::channel::<u32>(4);
                    let (tx2, mut rx2) = tokio::sync::mpsc::channel::<u32>(4);
                    tokio::spawn(async move {
                        while let Some(x) = rx.recv().await {
                            if tx2.send(x).await.is_err() {
                                return;
                            }
                        }
                    });
                    for i in 0..10_000u32 {
                        let t = Instant::now();
                        if kind == 0 {
                            tokio::task::spawn_blocking(move || i).await.unwrap();
                        } else {
                            tx.send(i).await.unwrap();
                            rx2.recv().await.unwrap();
                        }
                        l.push(t.elapsed().as_secs_f64() * 1e6);
                    }
                    l
                })
                .await
                .unwrap()
            });
            let (_, _, o) = m.stop();
            oth.push(o);
            p50.push(pct(&mut l, 0.5));
            p99.push(pct(&mut l, 0.99));
        }
        let s = format!("p99 {:.1} µs", med(p99));
        row(name, "µs p50", &mut p50, med(oth), &s);
    }
    // malloc of a message
    let (mut v, mut oth) = (vec![], vec![]);
    for _ in 0..reps() {
        let n = 5_000_000usize;
        let m = Meter::new();
        for i in 0..n {
            let b: Box<[u8]> = vec![0u8; 100 + (i & 7)].into_boxed_slice();
            std::hint::black_box(b);
        }
        let (w, own, o) = m.stop();
        v.push(own.min(w) * 1e9 / n as f64);
        oth.push(o);
    }
    row("glibc malloc+zero+free of 100 B", "ns", &mut v, med(oth), "");
}
