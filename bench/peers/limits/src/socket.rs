//! Loopback sockets: streams, ping-pong, and files in the page cache sent to a socket.
use crate::buffer::fill;
use crate::meter::{Meter, med, pct, row};
use crate::page_cache::{Map, cached_file};
use crate::{env_mb, reps};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

/// Round trips in microseconds, `n` of them.
fn ping(s: &mut TcpStream, b: &mut [u8], n: usize) -> Vec<f64> {
    let mut l = Vec::with_capacity(n);
    for _ in 0..n {
        let t = Instant::now();
        s.write_all(b).unwrap();
        s.read_exact(b).unwrap();
        l.push(t.elapsed().as_secs_f64() * 1e6);
    }
    l
}

fn pair() -> (TcpStream, TcpStream) {
    let l = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = TcpStream::connect(l.local_addr().unwrap()).unwrap();
    let (b, _) = l.accept().unwrap();
    a.set_nodelay(true).unwrap();
    b.set_nodelay(true).unwrap();
    (a, b)
}
fn drain(mut s: TcpStream) -> thread::JoinHandle<u64> {
    thread::spawn(move || {
        let mut b = vec![0u8; 256 << 10];
        let mut n = 0u64;
        loop {
            let k = s.read(&mut b).unwrap();
            if k == 0 {
                return n;
            }
            n += k as u64;
        }
    })
}
pub(crate) fn tcp() {
    let total = env_mb("TCP_MB", 4096);
    for (name, blk) in [("loopback TCP 1 connection, 16 KiB writes", 16usize << 10), ("loopback TCP 1 connection, 64 KiB writes", 64 << 10), ("loopback TCP 1 connection, 256 KiB writes", 256 << 10), ("loopback TCP 1 connection, 1 MiB writes", 1 << 20)] {
        let b = fill(blk);
        let (mut v, mut cpu, mut oth) = (vec![], vec![], vec![]);
        for _ in 0..reps() {
            let (mut a, c) = pair();
            let h = drain(c);
            let m = Meter::new();
            for _ in 0..(total << 20) / blk {
                a.write_all(&b).unwrap();
            }
            drop(a);
            h.join().unwrap();
            let (w, own, o) = m.stop();
            v.push(total as f64 / w);
            cpu.push(own / (total as f64 / 1024.0));
            oth.push(o);
        }
        row(name, "MiB/s", &mut v, med(oth), &format!("own CPU both ends {:.2} s/GiB", med(cpu)));
    }
    // ping-pong, blocking threads
    let n = env_mb("PING_N", 30_000);
    for (name, sz) in [("ping-pong 64 B, blocking threads", 64usize), ("ping-pong 1 KiB, blocking threads", 1024)] {
        let (mut p50, mut p99, mut p999, mut oth) = (vec![], vec![], vec![], vec![]);
        for _ in 0..reps() {
            let (mut a, mut c) = pair();
            let h = thread::spawn(move || {
                let mut b = vec![0u8; sz];
                while c.read_exact(&mut b).is_ok() {
                    c.write_all(&b).unwrap();
                }
            });
            let mut b = vec![0u8; sz];
            let m = Meter::new();
            let mut l = ping(&mut a, &mut b, n);
            let (_, _, o) = m.stop();
            drop(a);
            h.join().unwrap();
            oth.push(o);
            p50.push(pct(&mut l, 0.5));
            p99.push(pct(&mut l, 0.99));
            p999.push(pct(&mut l, 0.999));
        }
        let s = format!("p99 {:.1} p99.9 {:.1} µs", med(p99), med(p999));
        row(name, "µs p50", &mut p50, med(oth), &s);
    }
    // tokio echo server, blocking client
    for (name, multi) in [("ping-pong 64 B, tokio current_thread server", false), ("ping-pong 64 B, tokio multi_thread(2) server", true)] {
        let (mut p50, mut p99, mut p999, mut oth) = (vec![], vec![], vec![], vec![]);
        for _ in 0..reps() {
            let (tx, rx) = std::sync::mpsc::channel();
            let stop = Arc::new(AtomicBool::new(false));
            let st2 = stop.clone();
            let h = thread::spawn(move || {
                let rt = if multi {
                    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
                } else {
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
                };
                rt.block_on(async move {
                    use tokio::io::{AsyncReadExt, AsyncWriteExt};
                    let l = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                    tx.send(l.local_addr().unwrap()).unwrap();
                    let (mut s, _) = l.accept().await.unwrap();
                    s.set_nodelay(true).unwrap();
                    let j = tokio::spawn(async move {
                        let mut b = [0u8; 64];
                        while s.read_exact(&mut b).await.is_ok() {
                            s.write_all(&b).await.unwrap();
                        }
                    });
                    let _ = j.await;
                    st2.store(true, Ordering::Relaxed);
                });
            });
            let mut a = TcpStream::connect(rx.recv().unwrap()).unwrap();
            a.set_nodelay(true).unwrap();
            let mut b = [0u8; 64];
            let m = Meter::new();
            let mut l = ping(&mut a, &mut b, n);
            let (_, _, o) = m.stop();
            drop(a);
            h.join().unwrap();
            oth.push(o);
            p50.push(pct(&mut l, 0.5));
            p99.push(pct(&mut l, 0.99));
            p999.push(pct(&mut l, 0.999));
        }
        let s = format!("p99 {:.1} p99.9 {:.1} µs", med(p99), med(p999));
        row(name, "µs p50", &mut p50, med(oth), &s);
    }
}

/// File in page cache -> loopback socket.
pub(crate) fn send(dir: &Path) {
    let mb = env_mb("CACHE_MB", 1024);
    let (_p, f) = cached_file(dir, mb);
    let total = mb << 20;
    for (name, kind, blk) in [
        ("cached file to socket: pread+write 64 KiB", 0, 64usize << 10),
        ("cached file to socket: pread+write 1 MiB", 0, 1 << 20),
        ("cached file to socket: write from warm mmap 1 MiB", 1, 1 << 20),
        ("cached file to socket: sendfile 64 KiB", 2, 64 << 10),
        ("cached file to socket: sendfile 1 MiB", 2, 1 << 20),
        ("cached file to socket: splice via pipe 1 MiB", 3, 1 << 20),
    ] {
        let (mut v, mut cpu, mut oth) = (vec![], vec![], vec![]);
        for _ in 0..reps() {
            let (mut a, c) = pair();
            let h = drain(c);
            let mm = (kind == 1).then(|| Map::new(&f, total, libc::PROT_READ, libc::MAP_SHARED | libc::MAP_POPULATE));
            let mut pipe = [0i32; 2];
            if kind == 3 {
                unsafe {
                    assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
                    libc::fcntl(pipe[0], libc::F_SETPIPE_SZ, 1 << 20);
                }
            }
            let mut b = vec![0u8; blk];
            let m = Meter::new();
            let mut o = 0usize;
            while o < total {
                match kind {
                    0 => {
                        f.read_exact_at(&mut b, o as u64).unwrap();
                        a.write_all(&b).unwrap();
                        o += blk;
                    }
                    1 => {
                        a.write_all(&mm.as_ref().unwrap().s()[o..o + blk]).unwrap();
                        o += blk;
                    }
                    2 => {
                        let mut off = o as i64;
                        let r = unsafe { libc::sendfile(a.as_raw_fd(), f.as_raw_fd(), &mut off, blk.min(total - o)) };
                        assert!(r > 0);
                        o += r as usize;
                    }
                    _ => {
                        let mut off = o as i64;
                        let r = unsafe { libc::splice(f.as_raw_fd(), &mut off, pipe[1], std::ptr::null_mut(), blk.min(total - o), libc::SPLICE_F_MOVE | libc::SPLICE_F_MORE) };
                        assert!(r > 0);
                        let mut left = r as usize;
                        while left > 0 {
                            let k = unsafe { libc::splice(pipe[0], std::ptr::null_mut(), a.as_raw_fd(), std::ptr::null_mut(), left, libc::SPLICE_F_MOVE | libc::SPLICE_F_MORE) };
                            assert!(k > 0);
                            left -= k as usize;
                        }
                        o += r as usize;
                    }
                }
            }
            drop(a);
            h.join().unwrap();
            let (w, own, ot) = m.stop();
            if kind == 3 {
                unsafe {
                    libc::close(pipe[0]);
                    libc::close(pipe[1]);
                }
            }
            v.push(mb as f64 / w);
            cpu.push(own / (mb as f64 / 1024.0));
            oth.push(ot);
        }
        row(name, "MiB/s", &mut v, med(oth), &format!("own CPU incl. reader {:.2} s/GiB", med(cpu)));
    }
}
