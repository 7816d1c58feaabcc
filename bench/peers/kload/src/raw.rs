//! Load by prepared requests over plain TCP: produce, fetch, and the wait for the broker.
use crate::Args;
use crate::meter::{Meter, lat, sum};
use crate::wire::{batch, frame, head, i16at, i32at, kstr, seal};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// Where the partition's index stands in a request of raw_produce: length, header with the client's name, and
/// transactional id, acks, timeout, topics, topic, partitions before it.
fn index_at(topic: usize) -> usize {
    4 + (2 + 2 + 4 + 2 + 5) + (2 + 2 + 4 + 4 + 2 + topic + 4)
}
struct Requests {
    req: Vec<u8>,
    index_at: usize,
    rotate: Option<(u64, u64, u64)>, // next, step, of how many
}
impl Requests {
    fn next(&mut self) -> &[u8] {
        if let Some((at, step, parts)) = &mut self.rotate {
            self.req[self.index_at..self.index_at + 4].copy_from_slice(&((*at % *parts) as i32).to_be_bytes());
            *at += *step;
        }
        &self.req
    }
    /// One thread sends each request when it is due, this one takes the answers.
    fn paced(self, s: &TcpStream, a: &mut Acks, (every, first, secs): (f64, f64, f64)) {
        let (tell, sent) = std::sync::mpsc::sync_channel::<Instant>(4096);
        let mut w = s.try_clone().unwrap();
        let mut p = self;
        let h = thread::spawn(move || {
            let t0 = Instant::now();
            let mut k = 0u64;
            loop {
                let after = first + k as f64 * every;
                if after >= secs {
                    return;
                }
                let due = t0 + Duration::from_secs_f64(after);
                thread::sleep(due.saturating_duration_since(Instant::now()));
                tell.send(due).unwrap();
                w.write_all(p.next()).unwrap();
                k += 1;
            }
        });
        let mut s = s;
        while let Ok(due) = sent.recv() {
            a.take(&mut s, due);
        }
        h.join().unwrap();
    }
}
struct Acks {
    tl: usize,
    buf: Vec<u8>,
    ok: u64,
    err: u64,
    l: Vec<u64>,
}
impl Acks {
    fn take(&mut self, s: &mut impl Read, since: Instant) {
        frame(s, &mut self.buf).unwrap();
        self.l.push(since.elapsed().as_nanos() as u64);
        // corr(4) topics(4) name(2+tl) parts(4) index(4) error(2)
        let e = i16at(&self.buf, 4 + 4 + 2 + self.tl + 4 + 4);
        if e == 0 {
            self.ok += 1;
        } else {
            if self.err == 0 {
                eprintln!("produce error {e}");
            }
            self.err += 1;
        }
    }
}
pub(crate) fn raw_produce(a: &Args) {
    let size = a.n("size", 1024) as usize;
    let msgs = a.n("msgs", 64) as usize;
    let conns = a.n("conns", 1);
    let inflight = a.n("inflight", 4);
    let secs = a.f("secs", 8.0);
    let topic = a.s("topic", "bench");
    let acks = a.s("acks", "1").parse::<i16>().unwrap();
    let parts = a.n("partitions", 1);
    let rotate = a.n("rotate", 0) != 0;
    let rate = a.f("rate", 0.0);
    let limit = a.n("limit-mib", u64::MAX >> 21).saturating_mul(1 << 20) / conns / (msgs * size) as u64;
    let b = batch(msgs, size);
    // connect first: a thousand connections take a while
    let streams: Vec<_> = (0..conns).map(|_| TcpStream::connect(a.s("brokers", "127.0.0.1:9092")).unwrap()).collect();
    let m = Meter::new(&a.s("pid", "0"));
    let hs: Vec<_> = (0..conns)
        .zip(streams)
        .map(|(c, mut s)| {
            let mut o = head(0, 7, 1);
            o.extend((-1i16).to_be_bytes()); // no transactional id
            o.extend(acks.to_be_bytes());
            o.extend(30_000i32.to_be_bytes());
            o.extend(1i32.to_be_bytes());
            kstr(&mut o, &topic);
            o.extend(1i32.to_be_bytes());
            o.extend(((c % parts) as i32).to_be_bytes());
            o.extend((b.len() as i32).to_be_bytes());
            o.extend(&b);
            let req = seal(o);
            let tl = topic.len();
            thread::spawn(move || {
                s.set_nodelay(true).unwrap();
                let mut p = Requests { req, index_at: index_at(tl), rotate: if rotate { Some((c, conns, parts)) } else { None } };
                let mut a = Acks { tl, buf: vec![], ok: 0, err: 0, l: vec![] };
                if rate > 0.0 {
                    let every = conns as f64 * (msgs * size) as f64 / (rate * 1048576.0);
                    p.paced(&s, &mut a, (every, every * c as f64 / conns as f64, secs));
                    return (a.ok, a.err, a.l);
                }
                let mut sent = std::collections::VecDeque::new();
                let (mut count, t0) = (0u64, Instant::now());
                loop {
                    let run = t0.elapsed().as_secs_f64() < secs && count < limit;
                    if run && (sent.len() as u64) < inflight {
                        sent.push_back(Instant::now());
                        s.write_all(p.next()).unwrap();
                        count += 1;
                        continue;
                    }
                    let Some(t) = sent.pop_front() else { break };
                    a.take(&mut s, t);
                }
                let Acks { ok, err, l, .. } = a;
                (ok, err, l)
            })
        })
        .collect();
    let (ok, err, mut l) = sum(hs);
    m.row(
        &a.s("label", &format!("raw produce {msgs} x {size} B, {conns} conn, {inflight} in flight")),
        ok * msgs as u64,
        ok * (msgs * size) as u64,
        &format!("errors {err}; request {}", lat(&mut l)),
    );
}
pub(crate) fn raw_fetch(a: &Args) {
    let conns = a.n("conns", 1);
    let secs = a.f("secs", 5.0);
    let max = a.n("max-bytes", 1 << 20) as i32;
    let rate = a.f("rate", 0.0);
    let topic = a.s("topic", "bench");
    let parts = a.n("partitions", 1);
    let m = Meter::new(&a.s("pid", "0"));
    let hs: Vec<_> = (0..conns)
        .map(|c| {
            let br = a.s("brokers", "127.0.0.1:9092");
            let topic = topic.clone();
            thread::spawn(move || {
                let mut s = TcpStream::connect(br).unwrap();
                s.set_nodelay(true).unwrap();
                let (mut off, mut bytes, mut msgs, mut wraps) = (0i64, 0u64, 0u64, 0u64);
                let mut buf = vec![];
                let mut l = vec![];
                let t0 = Instant::now();
                while t0.elapsed().as_secs_f64() < secs {
                    if rate > 0.0 {
                        let due = t0 + Duration::from_secs_f64(bytes as f64 * conns as f64 / (rate * 1048576.0));
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                    }
                    let mut o = head(1, 11, 1);
                    o.extend((-1i32).to_be_bytes());
                    o.extend(100i32.to_be_bytes());
                    o.extend(1i32.to_be_bytes());
                    o.extend((max.max(1 << 20) * 2).to_be_bytes());
                    o.push(0);
                    o.extend(0i32.to_be_bytes());
                    o.extend((-1i32).to_be_bytes());
                    o.extend(1i32.to_be_bytes());
                    kstr(&mut o, &topic);
                    o.extend(1i32.to_be_bytes());
                    o.extend(((c % parts) as i32).to_be_bytes());
                    o.extend((-1i32).to_be_bytes());
                    o.extend(off.to_be_bytes());
                    o.extend((-1i64).to_be_bytes());
                    o.extend(max.to_be_bytes());
                    o.extend(0i32.to_be_bytes());
                    kstr(&mut o, "");
                    let t = Instant::now();
                    s.write_all(&seal(o)).unwrap();
                    frame(&mut s, &mut buf).unwrap();
                    l.push(t.elapsed().as_nanos() as u64);
                    // corr 4, throttle 4, error 2, session 4, topics 4, name, parts 4, index 4, error 2, hw 8, lso 8, start 8, aborted 4+, replica 4, len 4
                    let mut p = 4 + 4 + 2 + 4 + 4 + 2 + topic.len() + 4 + 4;
                    let e = i16at(&buf, p);
                    if e != 0 {
                        eprintln!("fetch error {e}");
                        break;
                    }
                    let end = i64::from_be_bytes(buf[p + 2..p + 10].try_into().unwrap());
                    p += 2 + 8 + 8 + 8;
                    let ab = i32at(&buf, p).max(0) as usize;
                    p += 4 + ab * 16 + 4;
                    let len = i32at(&buf, p).max(0) as usize;
                    p += 4;
                    let r = &buf[p..p + len];
                    let (mut q, before) = (0usize, off);
                    while q + 61 <= r.len() {
                        let bl = i32at(r, q + 8) as usize + 12;
                        if q + bl > r.len() {
                            break;
                        }
                        let base = i64::from_be_bytes(r[q..q + 8].try_into().unwrap());
                        off = base + i32at(r, q + 23) as i64 + 1;
                        msgs += i32at(r, q + 57) as u64;
                        q += bl;
                    }
                    bytes += q as u64;
                    if off == before || off == end {
                        off = 0; // at the end: read it again, and do not measure how long a broker waits there
                        wraps += 1;
                        if bytes == 0 && wraps > 3 {
                            break;
                        }
                    }
                }
                (msgs, bytes, l, wraps)
            })
        })
        .collect();
    let (mut n, mut by, mut l, mut w) = (0, 0, vec![], 0);
    for h in hs {
        let (a, b, c, d) = h.join().unwrap();
        n += a;
        by += b;
        l.extend(c);
        w += d;
    }
    m.row(&a.s("label", &format!("raw fetch {} KiB, {conns} conn", max >> 10)), n, by, &format!("request {}; {w} rewinds", lat(&mut l)));
}

pub(crate) fn ready(a: &Args) {
    let t0 = Instant::now();
    let lim = a.f("timeout", 60.0);
    while t0.elapsed().as_secs_f64() < lim {
        if let Ok(mut s) = TcpStream::connect(a.s("brokers", "127.0.0.1:9092")) {
            s.set_read_timeout(Some(Duration::from_secs(2))).ok();
            let o = seal(head(18, 0, 7));
            let mut b = vec![];
            if s.write_all(&o).is_ok() && frame(&mut s, &mut b).is_ok() && b.len() > 6 {
                println!("{:.0}", t0.elapsed().as_secs_f64() * 1e3);
                return;
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
    eprintln!("not ready in {lim} s");
    std::process::exit(1);
}
