//! Load through librdkafka: producers, consumers, end to end, topics, and its mock cluster.
use crate::Args;
use crate::meter::{Meter, lat, sum, wait_until};
use crate::payload::payload;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

struct Ctx {
    ok: AtomicU64,
    err: AtomicU64,
    lat: Option<Mutex<Vec<u64>>>,
    t0: Instant,
    every: usize,
}
impl ClientContext for Ctx {}
impl ProducerContext for Ctx {
    type DeliveryOpaque = usize; // intended send time in ns since t0 (0: not measured)
    fn delivery(&self, r: &DeliveryResult<'_>, o: usize) {
        match r {
            Ok(_) => {
                let n = self.ok.fetch_add(1, Relaxed);
                if let Some(l) = &self.lat {
                    if n as usize % self.every == 0 {
                        l.lock().unwrap().push(self.t0.elapsed().as_nanos() as u64 - o as u64);
                    }
                }
            }
            Err((e, _)) => {
                if self.err.fetch_add(1, Relaxed) == 0 {
                    eprintln!("delivery error: {e}");
                }
            }
        }
    }
}
fn ctx(every: usize) -> Ctx {
    Ctx { ok: AtomicU64::new(0), err: AtomicU64::new(0), lat: Some(Mutex::new(vec![])), t0: Instant::now(), every }
}
fn pconf(a: &Args) -> ClientConfig {
    let mut c = ClientConfig::new();
    c.set("bootstrap.servers", a.s("brokers", "127.0.0.1:9092"))
        .set("acks", a.s("acks", "1"))
        .set("linger.ms", a.s("linger", "5"))
        .set("batch.size", a.s("batch", "1000000"))
        .set("batch.num.messages", a.s("batch-msgs", "10000"))
        .set("max.in.flight", a.s("inflight", "5"))
        .set("queue.buffering.max.messages", a.s("queue", "100000"))
        .set("queue.buffering.max.kbytes", "262144")
        .set("compression.type", a.s("compression", "none"))
        .set("socket.nagle.disable", "true")
        .set("message.timeout.ms", "60000");
    c
}

pub(crate) fn produce(a: &Args) {
    let size = a.n("size", 1024) as usize;
    let np = a.n("producers", 1);
    let count = a.n("count", 1_000_000);
    let topic = a.s("topic", "bench");
    let parts = a.n("partitions", 1) as i32;
    let label = a.s("label", &format!("produce {size} B x{np}"));
    // open loop: message k is due at k/rate, and latency counts from when it was due
    let rate = a.f("rate", 0.0) / np as f64;
    // connect first, so that the measured time is steady sending
    let prods: Vec<_> = (0..np)
        .map(|_| {
            let p: ThreadedProducer<Ctx> = pconf(a).create_with_context(ctx(97)).unwrap();
            p.client().fetch_metadata(Some(&topic), Duration::from_secs(30)).expect("metadata");
            p
        })
        .collect();
    let m = Meter::new(&a.s("pid", "0"));
    let hs: Vec<_> = prods
        .into_iter()
        .enumerate()
        .map(|(i, p)| {
            let topic = topic.clone();
            thread::spawn(move || {
                let body = payload(size);
                let n = count / np;
                let t0 = p.context().t0;
                let start = t0.elapsed().as_nanos() as u64;
                for k in 0..n {
                    let part = ((k / 64) as i32 + i as i32) % parts;
                    let mut t = t0.elapsed().as_nanos() as usize;
                    if rate > 0.0 {
                        t = (start + (k as f64 * 1e9 / rate) as u64) as usize;
                        wait_until(t0, t as u64);
                    }
                    let mut r: BaseRecord<'_, (), [u8], usize> = BaseRecord::with_opaque_to(&topic, t).payload(&body[..]).partition(part);
                    loop {
                        match p.send(r) {
                            Ok(()) => break,
                            Err((_, back)) => {
                                r = back;
                                thread::sleep(Duration::from_micros(300));
                            }
                        }
                    }
                }
                p.flush(Duration::from_secs(120)).expect("flush");
                let c = p.context();
                (c.ok.load(Relaxed), c.err.load(Relaxed), std::mem::take(&mut *c.lat.as_ref().unwrap().lock().unwrap()))
            })
        })
        .collect();
    let (ok, err, mut l) = sum(hs);
    m.row(&label, ok, ok * size as u64, &format!("errors {err}; queue+ack {}", lat(&mut l)));
}

pub(crate) fn consume(a: &Args) {
    let nc = a.n("consumers", 1);
    let count = a.n("count", 1_000_000);
    let topic = a.s("topic", "bench");
    let parts = a.n("partitions", 1) as i32;
    let got = Arc::new(AtomicU64::new(0));
    let bytes = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let m = Meter::new(&a.s("pid", "0"));
    let hs: Vec<_> = (0..nc)
        .map(|i| {
            let mut c = ClientConfig::new();
            c.set("bootstrap.servers", a.s("brokers", "127.0.0.1:9092"))
                .set("group.id", format!("kload{i}"))
                .set("enable.auto.commit", "false")
                .set("check.crcs", a.s("check-crcs", "false"))
                .set("fetch.message.max.bytes", a.s("max-bytes", "1048576"))
                .set("queued.min.messages", "100000")
                .set("queued.max.messages.kbytes", "65536")
                .set("fetch.wait.max.ms", a.s("wait", "100"));
            let (topic, got, bytes, stop) = (topic.clone(), got.clone(), bytes.clone(), stop.clone());
            thread::spawn(move || {
                let c: BaseConsumer = c.create().unwrap();
                let mut l = TopicPartitionList::new();
                for p in (0..parts).filter(|p| *p as u64 % nc == i || parts as u64 % nc != 0 || parts == 1) {
                    l.add_partition_offset(&topic, p, Offset::Beginning).unwrap();
                }
                c.assign(&l).unwrap();
                let (mut n, mut b, mut idle) = (0u64, 0u64, Instant::now());
                while !stop.load(Relaxed) {
                    match c.poll(Duration::from_millis(100)) {
                        Some(Ok(msg)) => {
                            n += 1;
                            b += msg.payload_len() as u64;
                            idle = Instant::now();
                            if n & 1023 == 0 {
                                bytes.fetch_add(b, Relaxed);
                                b = 0;
                                if got.fetch_add(1024, Relaxed) + 1024 >= count {
                                    stop.store(true, Relaxed);
                                }
                            }
                        }
                        Some(Err(e)) => eprintln!("consume: {e}"),
                        None => {
                            if idle.elapsed() > Duration::from_secs(10) {
                                eprintln!("consumer {i}: nothing for 10 s, stopping at {n}");
                                stop.store(true, Relaxed);
                            }
                        }
                    }
                }
                bytes.fetch_add(b, Relaxed);
                got.fetch_add(n & 1023, Relaxed);
                c // dropped after the row is printed
            })
        })
        .collect();
    while !stop.load(Relaxed) {
        thread::sleep(Duration::from_millis(1));
    }
    m.row(&a.s("label", &format!("consume x{nc}")), got.load(Relaxed), bytes.load(Relaxed), "");
    drop(hs);
    std::process::exit(0);
}

/// Open loop: message k is due at k/rate; latency counts from when it was due.
pub(crate) fn e2e(a: &Args) {
    let size = (a.n("size", 1024) as usize).max(16);
    let rate = a.f("rate", 2000.0);
    let secs = a.f("secs", 15.0);
    let topic = a.s("topic", "bench");
    let parts = a.n("partitions", 1) as i32;
    let n = (rate * secs) as u64;
    let mut c = pconf(a);
    c.set("linger.ms", a.s("linger", "0"));
    c.set("acks", a.s("acks", "-1"));
    let t0 = Instant::now();
    let mut cx = ctx(1);
    cx.t0 = t0;
    let p: ThreadedProducer<Ctx> = c.create_with_context(cx).unwrap();
    p.client().fetch_metadata(Some(&topic), Duration::from_secs(30)).expect("metadata");
    let done = Arc::new(AtomicBool::new(false));
    let ready = Arc::new(AtomicBool::new(false));
    let (d2, r2, tp, br, wait) = (done.clone(), ready.clone(), topic.clone(), a.s("brokers", "127.0.0.1:9092"), a.s("wait", "100"));
    let h = thread::spawn(move || {
        let c: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", br)
            .set("group.id", "e2e")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", wait)
            .set("fetch.min.bytes", "1")
            .create()
            .unwrap();
        let mut l = TopicPartitionList::new();
        for i in 0..parts {
            // start at the present end
            let (_, hi) = c.fetch_watermarks(&tp, i, Duration::from_secs(10)).unwrap_or((0, 0));
            l.add_partition_offset(&tp, i, Offset::Offset(hi)).unwrap();
        }
        c.assign(&l).unwrap();
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            let _ = c.poll(Duration::from_millis(50));
        }
        r2.store(true, Relaxed);
        let mut v = vec![];
        let mut last = Instant::now();
        while !(d2.load(Relaxed) && (v.len() as u64 >= n || last.elapsed() > Duration::from_secs(3))) {
            if let Some(Ok(m)) = c.poll(Duration::from_millis(100)) {
                if let Some(b) = m.payload() {
                    let due = u64::from_le_bytes(b[..8].try_into().unwrap());
                    v.push((t0.elapsed().as_nanos() as u64).saturating_sub(due));
                    last = Instant::now();
                }
            }
        }
        v
    });
    while !ready.load(Relaxed) {
        thread::sleep(Duration::from_millis(5));
    }
    let mut body = payload(size);
    let m = Meter::new(&a.s("pid", "0"));
    let start = t0.elapsed().as_nanos() as u64;
    for k in 0..n {
        let due = start + (k as f64 * 1e9 / rate) as u64;
        wait_until(t0, due);
        body[..8].copy_from_slice(&due.to_le_bytes());
        let mut r: BaseRecord<'_, (), [u8], usize> = BaseRecord::with_opaque_to(&topic, due as usize).payload(&body[..]).partition((k % parts as u64) as i32);
        while let Err((_, back)) = p.send(r) {
            r = back;
            thread::sleep(Duration::from_micros(300));
        }
    }
    p.flush(Duration::from_secs(60)).ok();
    done.store(true, Relaxed);
    let mut v = h.join().unwrap();
    let mut acks = std::mem::take(&mut *p.context().lat.as_ref().unwrap().lock().unwrap());
    let got = v.len() as u64;
    m.row(
        &a.s("label", &format!("e2e {size} B {rate:.0}/s")),
        got,
        got * size as u64,
        &format!("e2e {}; ack {}; {got}/{n} read, errors {}", lat(&mut v), lat(&mut acks), p.context().err.load(Relaxed)),
    );
}

pub(crate) fn create(a: &Args) {
    let ad: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", a.s("brokers", "127.0.0.1:9092")).create().unwrap();
    let t = a.s("topic", "bench");
    let mut nt = NewTopic::new(&t, a.n("partitions", 1) as i32, TopicReplication::Fixed(a.n("replicas", 1) as i32));
    let cfg = a.s("config", "");
    for kv in cfg.split(',').filter(|s| s.contains('=')) {
        let (k, v) = kv.split_once('=').unwrap();
        nt = nt.set(k, v);
    }
    let f = ad.create_topics([&nt], &AdminOptions::new().operation_timeout(Some(Duration::from_secs(10))));
    println!("{:?}", block(f));
}

pub(crate) fn mock(a: &Args) {
    let c = rdkafka::mocking::MockCluster::new(1).unwrap();
    c.create_topic("bench", a.n("partitions", 4) as i32, 1).unwrap();
    println!("{}", c.bootstrap_servers());
    std::io::stdout().flush().unwrap();
    thread::sleep(Duration::from_secs(a.n("secs", 60)));
}

fn block<F: Future>(f: F) -> F::Output {
    struct W(thread::Thread);
    impl std::task::Wake for W {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let w = Arc::new(W(thread::current())).into();
    let mut cx = std::task::Context::from_waker(&w);
    let mut f = std::pin::pin!(f);
    loop {
        if let std::task::Poll::Ready(v) = f.as_mut().poll(&mut cx) {
            return v;
        }
        thread::park();
    }
}
